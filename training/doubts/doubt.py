"""What every check is given, and what it says."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from training.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Doubt:
    """One reason not to believe the score; `name` is what `[gates] accepted` lists.

    `sentence` says what was seen, with figures, and what to do about it.
    """

    name: str
    sentence: str
    columns: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready members."""
        return {"name": self.name, "sentence": self.sentence, "columns": list(self.columns)}


@dataclass(frozen=True)
class Variable:
    """One column as float64, one entry a row: numbers, or codes of categories; NaN is missing."""

    name: str
    kind: Literal["number", "category"]
    values: FloatArray


def rank_area(scores: FloatArray, hits: BoolArray) -> float:
    """Give the ROC-AUC of scores; 0.5 where one side is empty."""
    from scipy.stats import rankdata

    ones = int(hits.sum())
    zeros = len(hits) - ones
    if not ones or not zeros:
        return 0.5
    ranks = rankdata(scores)
    return float((ranks[hits].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def area_error(area: float, ones: int, zeros: int) -> float:
    """Give the standard error of a ROC-AUC (Hanley and McNeil, Radiology 143, 1982)."""
    first, second = area / (2.0 - area), 2.0 * area * area / (1.0 + area)
    spread = (
        area * (1.0 - area)
        + (ones - 1) * (first - area * area)
        + (zeros - 1) * (second - area * area)
    )
    return float(np.sqrt(max(spread, 0.0) / max(1, ones * zeros)))


def sample_rows(rows: int, most: int, seed: int = 0) -> IntArray:
    """Give row positions in order: all of them, or a random choice of `most`."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng([seed, 11]).choice(rows, most, replace=False))


def last_decimal(values: FloatArray) -> float:
    """Give half a unit of the last decimal that values are written with, at most six."""
    for decimals in range(1, 7):
        if np.array_equal(np.round(values, decimals), values):
            return 0.51 * 10.0**-decimals if not np.array_equal(np.round(values), values) else 1e-9
    return 1e-6 * max(1.0, float(np.abs(values).max()))
