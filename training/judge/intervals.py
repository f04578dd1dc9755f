"""Intervals: percentile bootstraps, and Wilson's limits of a share.

Bootstraps (Efron 1979) resample the units of the split: rows, whole groups, or blocks of neighbours
in time, so that an interval does not claim more than the rows support.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from training.arrays import FloatArray, IntArray

# From bootstrap weights, (replicates, rows), to one value a replicate.
Measure: TypeAlias = Callable[[FloatArray], FloatArray]

LEVEL = 0.95
REPLICATES = 1000
LARGE_REPLICATES = 200
LARGE_ROWS = 5_000
_CELLS_AT_ONCE = 250_000  # batches that stay in the cache


@dataclass(frozen=True)
class Interval:
    """A value with the limits between which it lies with 95% confidence; NaN where undefined."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Give JSON-ready members, without those that are undefined."""
        members = {"value": self.value, "low": self.low, "high": self.high}
        return {key: float(value) for key, value in members.items() if math.isfinite(value)}


def number_or_none(value: float) -> float | None:
    """Make a number fit for JSON: None for what is not finite."""
    return float(value) if math.isfinite(value) else None


def draw_weights(units: IntArray, replicates: int, seed: int) -> Sequence[FloatArray]:
    """Draw bootstrap weights, (some replicates, n) at a time: how often each row's unit was drawn.

    The same seed and units give the same draws, which is what makes comparisons paired.
    """
    _, inverse = np.unique(units, return_inverse=True)
    count = int(inverse.max()) + 1
    at_once = max(1, _CELLS_AT_ONCE // max(len(units), 1))
    return _Draws(inverse, count, replicates, at_once, seed)


class _Draws(Sequence[FloatArray]):
    """Batches of weights, drawn when asked for, each from a stream of its own."""

    def __init__(
        self, inverse: IntArray, count: int, replicates: int, at_once: int, seed: int
    ) -> None:
        self._inverse, self._count, self._seed = inverse, count, seed
        self._sizes = [min(at_once, replicates - start) for start in range(0, replicates, at_once)]

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self._sizes):
            raise IndexError(index)
        random = np.random.default_rng([self._seed, index])
        # How often each of `count` units is drawn in `count` draws with replacement.
        drawn = random.integers(self._count, size=(self._sizes[index], self._count))
        offsets = np.arange(self._sizes[index])[:, None] * self._count
        counts = np.bincount((drawn + offsets).ravel(), minlength=self._sizes[index] * self._count)
        weights = counts.reshape(self._sizes[index], self._count).astype(np.float64)
        return weights[:, self._inverse]


def replicates_for(rows: int) -> int:
    """Choose how many replicates; intervals of many rows are smooth with fewer."""
    return REPLICATES if rows <= LARGE_ROWS else LARGE_REPLICATES


def interval_of(value: float, replicates: FloatArray) -> Interval:
    """Put percentile limits around a value; replicates where it is undefined are left out."""
    known = replicates[np.isfinite(replicates)]
    if len(known) < 20 or not math.isfinite(value):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def measure_interval(measure: Measure, units: IntArray, seed: int) -> Interval:
    """Measure all rows with equal weight, and put the interval of its bootstrap around it."""
    value = float(measure(np.ones((1, len(units))))[0])
    drawn = [measure(weights) for weights in draw_weights(units, replicates_for(len(units)), seed)]
    return interval_of(value, np.concatenate(drawn))


def mean_interval(values: FloatArray, units: IntArray, seed: int) -> Interval:
    """Average with its interval."""
    found = [
        (weights @ values) / weights.sum(axis=1)
        for weights in draw_weights(units, replicates_for(len(units)), seed)
    ]
    return interval_of(float(values.mean()), np.concatenate(found))


def wilson_interval(share: float, rows: int) -> tuple[float, float]:
    """Give Wilson's (1927) 95% interval of a share."""
    z = 1.959963984540054
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = (
        z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    )
    return max(0.0, centre - half), min(1.0, centre + half)
