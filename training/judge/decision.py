"""The rule that says whether a challenger replaces the champion.

Both answered rows that neither was trained on (`training.judge.comparison`), and a paired bootstrap
gives the challenger's advantage in the metric with its standard error.

- *As a rule* the challenger is promoted if its advantage is larger than chance would ever show
  while this champion is live, however often it is challenged: the limit in standard errors is
  Robbins' mixture boundary (Annals of Mathematical Statistics 41, 1970), which holds for all
  numbers of rows at once. A new model every day is compared on much the same rows every day; a
  limit for a single look, at 5%, would promote by luck eighteen times a year. `LUCKY_RATE` is the
  chance of one such promotion in the life of a champion.
- *After a drift alarm* the champion is known to face data that it was not made for, so the burden
  of proof turns around: on the new rows the challenger is promoted unless its score is worse by
  more than `[gates] max_regression`, the loss that the project states.
- *Always* a model must do better than knowing nothing (the class shares, the mean) beyond the same
  limit.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.judge.duel import Duel

LUCKY_RATE = 0.05
MIN_ROWS = 20
TUNED_UNITS = 300  # the number of units at which the limit is about lowest


@dataclass(frozen=True)
class Decision:
    """Whether the challenger should take over, and why."""

    promote: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready members."""
        return {"promote": self.promote, "reason": self.reason}


def limit_in_errors(units: int) -> float:
    """Give the standard errors that an advantage must exceed, to hold over every look.

    The normal mixture over the size of the advantage, one-sided; about 2.8 at a hundred units and
    2.9 at a thousand.
    """
    scale = 10.0 * max(1, units) / TUNED_UNITS
    return math.sqrt((1.0 + 1.0 / scale) * (math.log1p(scale) - 2.0 * math.log(2.0 * LUCKY_RATE)))


def is_sure(result: Duel) -> bool:
    """Say whether the challenger's advantage is beyond what chance shows in many looks."""
    return result.advantage.value > limit_in_errors(result.units) * result.error


def decide(
    everything: Duel | None,
    held: Duel | None,
    fresh: Duel | None,
    *,
    trigger: str,
    max_regression: float,
) -> Decision:
    """Apply this module's rule.

    `everything` is on all rows unseen by both, `held` on those of the holdout alone (which chose
    neither model), `fresh` on labelled rows that came back from service.
    """
    if trigger == "drift" and fresh is not None and fresh.rows >= MIN_ROWS:
        return _decide_after_drift(fresh, max_regression)
    if everything is None or everything.rows < MIN_ROWS:
        rows = everything.rows if everything else 0
        return Decision(
            False,
            f"only {rows} rows are unseen by both the champion and this model, too few to tell "
            f"them apart ({MIN_ROWS} are needed); the champion stays",
        )
    shown = _show(everything)
    if everything.advantage.value <= 0:
        return Decision(False, f"not better than the champion: {shown}")
    if not is_sure(everything):
        return Decision(False, f"better than the champion, but within noise: {shown}")
    if held is not None and held.advantage.value <= 0:
        return Decision(
            False,
            f"better than the champion in cross-validation, but not on the {held.rows} held-out "
            f"rows, which chose neither: {shown}",
        )
    return Decision(True, f"better than the champion by more than noise: {shown}")


def decide_against_nothing(held: Duel, everything: Duel) -> Decision:
    """Say whether a model knows anything: `held` on the holdout, `everything` on all rows."""
    shown = _show(held, "held-out rows", "knowing nothing")
    if held.advantage.value <= 0 or held.favourable < 1 - LUCKY_RATE or not is_sure(everything):
        return Decision(False, f"not better than knowing nothing, beyond noise: {shown}")
    return Decision(True, f"better than knowing nothing: {shown}")


def _decide_after_drift(fresh: Duel, max_regression: float) -> Decision:
    shown = _show(fresh, "new rows")
    if fresh.advantage.value < -max_regression:
        return Decision(False, f"after drift, worse than the champion: {shown}")
    if is_sure(fresh):
        return Decision(True, f"after drift, clearly better than the champion: {shown}")
    return Decision(True, f"after drift, not worse than the champion: {shown}")


def _show(result: Duel, rows: str = "rows unseen by both", other: str = "") -> str:
    against = f" ({other})" if other else ""
    sizes = ""
    if np.isfinite(result.error) and result.error > 0:
        errors = result.advantage.value / result.error
        sizes = (
            f", an advantage of {result.advantage.value:.4g} or {errors:.1f} standard errors "
            f"({limit_in_errors(result.units):.1f} are needed)"
        )
    return (
        f"{result.metric} {result.challenger.value:.4g} against {result.champion.value:.4g}"
        f"{against} on {result.rows} {rows}{sizes}"
    )
