"""A claim like one that labels have refuted.

When labels come back from service, the monitor compares them with what the holdout had claimed
(lambdas/monitor/claims.py). Where the claim never was true the holdout is not like service, and
there is no reason for the next holdout of the same data to be: a run that claims more than service
showed is not believed, until a later claim has held.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

from training.doubts.doubt import Doubt

SURE = 2.33  # standard errors: 1 in 100 by chance, on one side
ERRORS_WIDE = 3.92  # the standard errors that a 95% interval spans


def find_refuted(
    refuted: Mapping[str, Any] | None,
    metric: str,
    claimed: Mapping[str, float],
    better: Literal["higher", "lower"],
) -> Doubt | None:
    """Doubt a claim beyond what service showed of the last one, by more than noise.

    `refuted` is the plan's note of a claim that labels refuted; `claimed` is this run's `metric`,
    with `value`, `low` and `high`, without those that are undefined.
    """
    if refuted is None or refuted["metric"] != metric or "value" not in claimed:
        return None
    shown, before = refuted["shown"], refuted["claimed"]
    sign = 1.0 if better == "higher" else -1.0
    gain = sign * (claimed["value"] - shown["value"])
    if gain <= SURE * math.hypot(_error(shown), _error(claimed)):
        return None
    return Doubt(
        f"refuted:{refuted['run']}",
        f"labels have refuted the claim of the run {refuted['run']}: its holdout promised {metric} "
        f"{_show(before)}, its first {shown['rows']} labelled predictions showed {_show(shown)}; "
        f"this run claims {_show(claimed)}, from a holdout of the same making. Find out why the "
        "claim was wrong (the runbook's page quality-drop) before this one goes live",
    )


def _error(part: Mapping[str, Any]) -> float:
    low, high = part.get("low"), part.get("high")
    if low is None or high is None:
        return 0.0
    return abs(float(high) - float(low)) / ERRORS_WIDE


def _show(part: Mapping[str, Any]) -> str:
    limits = f" ({part['low']:.4g} to {part['high']:.4g})" if _error(part) else ""
    return f"{part['value']:.4g}{limits}"
