"""Design effects: by how much rows that depend on each other in time widen a statistic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.drift.arrays import Floats

Statistic = Callable[[NDArray[np.intp], Floats], float]
"""Of the starts and the sizes of stretches of rows: a statistic's design effect."""


@dataclass(frozen=True)
class Dispersion:
    """By how much the variance between stretches of time exceeds that of independent rows.

    `effects[statistic][i]` is the design effect of a mean over `sizes[i]` consecutive rows,
    estimated from `groups[i]` such stretches.
    """

    sizes: tuple[int, ...]
    groups: tuple[int, ...]
    effects: dict[str, tuple[float, ...]]

    def effect(self, statistic: str, rows: Floats | float) -> Floats:
        """Give the design effect (>= 1) of windows of `rows` rows; beyond the sizes it grows."""
        n = np.maximum(np.asarray(rows, dtype=np.float64), 1.0)
        sizes = np.asarray(self.sizes, dtype=np.float64)
        relative_error = np.sqrt(2.0 / (np.asarray(self.groups, dtype=np.float64) - 1.0))
        estimate = np.asarray(self.effects[statistic], dtype=np.float64)
        # An estimate within its own error of 1 is no evidence of dependence; one beyond it is
        # raised by its error, as it comes from few stretches.
        used = np.where(estimate <= 1.0 + relative_error, 1.0, estimate * (1.0 + relative_error))
        used = np.maximum.accumulate(used)
        inside = np.interp(np.log(n), np.log(sizes), used)
        beyond = 1.0 + (n - 1.0) * (used[-1] - 1.0) / (sizes[-1] - 1.0)
        before = 1.0 + (n - 1.0) * (used[0] - 1.0) / max(sizes[0] - 1.0, 1.0)
        result = np.where(n > sizes[-1], beyond, np.where(n < sizes[0], before, inside))
        return np.asarray(np.maximum(result, 1.0), dtype=np.float64)

    def degrees(self, rows: float) -> float:
        """Give the degrees of freedom of the design effect of a window of `rows` rows."""
        return float(np.interp(math.log(max(rows, 1.0)), np.log(self.sizes), self.groups)) - 1.0


def parse_dispersion(raw: Mapping[str, Any] | None) -> Dispersion | None:
    """Read design effects from a baseline's JSON, where there are any."""
    if raw is None:
        return None
    effects = {name: tuple(values) for name, values in raw["effects"].items()}
    return Dispersion(tuple(raw["sizes"]), tuple(raw["groups"]), effects)


def design_effect(dispersion: Dispersion | None, statistic: str, rows: float) -> float:
    """Give a statistic's design effect for a window of `rows` rows; 1 where none is known."""
    return 1.0 if dispersion is None else float(dispersion.effect(statistic, rows))


def estimate_dispersion(rows: int, statistics: Mapping[str, Statistic]) -> Dispersion | None:
    """Estimate design effects from stretches of 50, 100, 200, ... rows in time order.

    None where there are too few rows for 8 stretches.
    """
    sizes, groups = [], []
    found: dict[str, list[float]] = {name: [] for name in statistics}
    size = 50
    while rows // size >= 8:
        count = rows // size
        starts = np.linspace(0, rows, count, endpoint=False).astype(np.intp)
        lengths = np.diff(np.append(starts, rows)).astype(np.float64)
        sizes.append(size)
        groups.append(count)
        for name, statistic in statistics.items():
            found[name].append(round(float(statistic(starts, lengths)), 4))
        size *= 2
    if not sizes:
        return None
    return Dispersion(tuple(sizes), tuple(groups), {n: tuple(v) for n, v in found.items()})
