"""What one column looked like in training: the slots of its counts, and the counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from core.drift.arrays import Counts, Floats
from core.drift.dispersion import Dispersion, parse_dispersion

Kind = Literal["number", "category", "presence"]
Group = Literal["input", "output", "joint"]


@dataclass(frozen=True)
class ColumnBaseline:
    """What one column looked like: the edges or categories of its counts, and the counts.

    Slots of a number: below the range, the bins, above the range, missing, unseen (not a number).
    Of a category: the most frequent, all other known ones, missing, unseen. Of a column whose
    values are bound to move (a time) or too many to count: present, missing, unseen.
    """

    name: str
    kind: Kind
    group: Group
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    text: bool = False
    unseen_of: tuple[int, int] = (0, 0)
    dispersion: Dispersion | None = None

    @cached_property
    def values(self) -> int:
        """Give the number of slots of values, which come before missing and unseen."""
        return len(self.counts) - 2

    @cached_property
    def rows(self) -> int:
        """Give the number of rows counted."""
        return sum(self.counts)

    @cached_property
    def seen(self) -> Floats:
        """Give the counts of the slots of values; not to be written to."""
        return np.asarray(self.counts[: self.values], dtype=np.float64)

    @cached_property
    def present(self) -> float:
        """Give the number of rows with a value."""
        return float(self.seen.sum())

    @property
    def misses(self) -> bool:
        """Say whether this is a column of the table that missed values in training."""
        return self.group == "input" and self.counts[self.values] > 0

    @cached_property
    def slots(self) -> dict[str, int]:
        """Map a known category to its slot."""
        top = {label: i for i, label in enumerate(self.labels)}
        return {value: top.get(value, len(self.labels)) for value in self.known}

    @cached_property
    def locations(self) -> Floats:
        """Give each slot of values its mid-rank in the baseline, less one half."""
        return _midranks(self.seen)

    @cached_property
    def spreads(self) -> Floats:
        """Give each slot of values the mid-rank of its distance from the median, less one half."""
        counts = self.seen
        order = np.argsort(np.abs(self.locations), kind="stable")
        folded = np.empty_like(counts)
        folded[order] = _midranks(counts[order])
        return folded

    def shares(self, counts: Sequence[int] | Counts) -> Floats:
        """Give each slot's share of the rows."""
        values = np.asarray(counts, dtype=np.float64)
        return np.asarray(values / max(float(values.sum()), 1.0), dtype=np.float64)

    def quantile(self, counts: Sequence[int] | Counts, share: float) -> float:
        """Estimate a number's quantile from counts, straight within a bin; NaN without rows."""
        values = np.asarray(counts[: self.values], dtype=np.float64)
        total = values.sum()
        if self.kind != "number" or total == 0:
            return math.nan
        edges = np.asarray(self.edges)
        lower = np.concatenate([edges[:1], edges])
        upper = np.concatenate([edges, edges[-1:]])
        reached = np.cumsum(values)
        i = int(np.searchsorted(reached, share * total))
        i = min(i, len(values) - 1)
        before = reached[i] - values[i]
        within = (share * total - before) / values[i] if values[i] else 0.0
        return float(lower[i] + (upper[i] - lower[i]) * within)


def parse_column(raw: Mapping[str, Any]) -> ColumnBaseline:
    """Read a column from a baseline's JSON."""
    members: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
    members["dispersion"] = parse_dispersion(raw["dispersion"])
    return ColumnBaseline(**members)


def _midranks(counts: Floats) -> Floats:
    total = max(float(counts.sum()), 1.0)
    return np.asarray((np.cumsum(counts) - counts / 2.0) / total - 0.5, dtype=np.float64)
