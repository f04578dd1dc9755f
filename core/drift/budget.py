"""The error budget: how many false alarms are allowed, and how the tests share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from core.drift.columns import ColumnBaseline, Kind
from core.errors import DriftError

# What a change must be at least, besides being significant.
FLOORS = {
    "location": 0.02,  # AUC beyond one half
    "spread": 0.02,  # the same, of the ranks folded at the median
    "shape": 0.10,  # Cohen's w
    "missing": 0.005,  # share of the rows
    "unseen": 0.002,
    "below": 0.002,
    "above": 0.002,
    "means": 0.10,  # Mahalanobis length of the shift of mean ranks
}
# How a column's share of the budget is split over its tests. Most goes to location, which changes
# most often.
TESTS: dict[Kind, dict[str, float]] = {
    "number": {
        "location": 0.42,
        "shape": 0.30,
        "spread": 0.12,
        "missing": 0.04,
        "unseen": 0.04,
        "below": 0.04,
        "above": 0.04,
    },
    "category": {"shape": 0.8, "missing": 0.1, "unseen": 0.1},
    "presence": {"missing": 0.5, "unseen": 0.5},
}
GROUP_SHARES: dict[str, float] = {
    "input": 0.50,
    "missing": 0.11,
    "output": 0.13,
    "joint": 0.13,
    "means": 0.13,
}
"""Columns that missed values in training share a part of the budget for that test. Where none were
missing in training, a few missing values are significant at the column's own small share."""
DATA_QUALITY = ("missing", "unseen", "below", "above")


class Budget(NamedTuple):
    """How many false alarms are allowed, and how many windows share them."""

    false_alarms_per_year: float
    windows_per_year: float

    @property
    def per_window(self) -> float:
        """Give the probability that a window without drift may alarm."""
        return min(0.2, self.false_alarms_per_year / self.windows_per_year)


def budget_for(false_alarms_per_year: float, schedule_minutes: float) -> Budget:
    """Give the budget of a monitor that judges one window every `schedule_minutes`."""
    if false_alarms_per_year <= 0 or schedule_minutes <= 0:
        raise DriftError(
            "false_alarms_per_year and schedule_minutes must be above 0, not "
            f"{false_alarms_per_year} and {schedule_minutes}"
        )
    return Budget(false_alarms_per_year, 365.25 * 24 * 60 / schedule_minutes)


def split_budget(columns: Sequence[ColumnBaseline], *, joint: bool) -> dict[str, float]:
    """Split the budget over the groups that there are, and evenly over the columns of each.

    `joint` says that the mean ranks of all number columns are tested together.
    """
    counted: dict[str, int] = Counter(column.group for column in columns)
    counted["missing"] = sum(column.misses for column in columns)
    counted["means"] = int(joint)
    shares = {group: share * (counted[group] > 0) for group, share in GROUP_SHARES.items()}
    total = sum(shares.values()) or 1.0
    return {group: share / total / max(counted.get(group, 1), 1) for group, share in shares.items()}
