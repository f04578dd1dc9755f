"""CloudWatch's rules of evaluation: statistics, comparisons, M of N with missing data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


class AlarmError(ValueError):
    """Say what in an alarm's definition is not understood."""


def judge_breaches(
    breaches: Mapping[int, bool], periods: int, needed: int, missing: str
) -> str | None:
    """Return the state that M-of-N with missing data gives, None to keep the present one.

    `breaches` says of each window with data, by age, whether it breaches; windows beyond `periods`
    serve only where newer ones are missing (CloudWatch User Guide, "Configuring how CloudWatch
    alarms treat missing data").
    """
    if not breaches:
        return {
            "missing": "INSUFFICIENT_DATA",
            "ignore": None,
            "breaching": "ALARM",
            "notBreaching": "OK",
        }[missing]
    real = sorted(breaches)[:periods]
    breaching = sum(breaches[age] for age in real)
    filled = periods - len(real) if missing == "breaching" else 0
    if breaching + filled >= needed:
        return "ALARM"
    if missing in ("breaching", "notBreaching") or len(real) == periods or breaching < len(real):
        return "OK"
    if missing == "ignore":
        return None
    # All points breach, but there are fewer than needed: alarm only if the oldest point is as old
    # as the points that are needed, so that an alarm does not start too early.
    return "ALARM" if max(real) + 1 >= needed else None


def compute_statistic(values: Sequence[float], statistic: str) -> float:
    """Return a CloudWatch statistic of at least one value; percentiles interpolate."""
    if statistic == "Sum":
        return math.fsum(values)
    if statistic == "Average":
        return math.fsum(values) / len(values)
    if statistic == "Minimum":
        return min(values)
    if statistic == "Maximum":
        return max(values)
    if statistic == "SampleCount":
        return float(len(values))
    if (percent := _percent(statistic)) is not None:
        ordered = sorted(values)
        place = percent / 100 * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
    raise AlarmError(f"the statistic {statistic!r} is not modelled here")


def _percent(statistic: str) -> float | None:
    found = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?|100)", statistic)
    return float(found[1]) if found else None


def has_few_samples(values: Sequence[float], statistic: str) -> bool:
    """Tell whether a percentile has too few samples to mean anything."""
    percent = _percent(statistic)
    if percent is None:
        return False
    tail = min(percent, 100 - percent) / 100
    return tail > 0 and len(values) < 10 / tail
