"""Watch a model's inputs and outputs: summaries, tests, and alarms at a rate that the user sets.

::

    build_baseline   training rows, held-out outputs  ->  Baseline   (baseline.json of a bundle)
    summarise        rows that were served            ->  Summary    (counts; `a + b` merges)
    judge            Baseline, Summary, Creep         ->  Verdict, Creep

A window is judged by two rules, which share the error budget evenly:

* *shock*: this window against the baseline. Each column has tests of location, spread and shape and
  exact tests of missing, unseen and out-of-range values; all number columns together have a test of
  their mean ranks (Hotelling's T-square) and of the distance of each row from the cloud of the
  training rows (Mahalanobis). A test alarms when it is significant at its share of the budget *and*
  its effect clears a floor.
* *creep*: all windows since the baseline. A Shiryaev-Roberts detector averaged over components
  (Shin, Ramdas and Rinaldo, "E-detectors", 2023): the sum over every possible start of the
  likelihood ratio "it has shifted since then". Each ratio compares the windows since the start with
  the baseline *and* the windows before it, so that the error of a small baseline is not taken for
  drift.

Every test accounts for the size of the baseline as well as for that of the window. Where the
baseline's rows carry times, the variance between stretches of time enters all of them. Location and
spread rest on saddlepoint approximations: the error rate is designed and measured, not proved
(docs/drift.md).
"""

from core.drift.baseline import DISTANCE, MEANS, Baseline
from core.drift.budget import Budget, budget_for
from core.drift.building import build_baseline
from core.drift.columns import ColumnBaseline
from core.drift.creep import Creep
from core.drift.findings import Finding, show_number
from core.drift.summary import Summary, place_columns, summarise, summarise_columns
from core.drift.verdict import Verdict, judge

__all__ = [
    "DISTANCE",
    "MEANS",
    "Baseline",
    "Budget",
    "ColumnBaseline",
    "Creep",
    "Finding",
    "Summary",
    "Verdict",
    "budget_for",
    "build_baseline",
    "judge",
    "place_columns",
    "show_number",
    "summarise",
    "summarise_columns",
]
