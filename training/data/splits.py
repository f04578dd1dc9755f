"""Splits that do not leak: the holdout by strata, time or group.

Membership comes from a hash of the row's encoded vector, not from its position: the rows with the
lowest hashes of each class are held out. A row that is held out today is held out tomorrow, when
the table has grown, and in the next model's job, so that champion and challenger can meet on rows
that neither has seen. The cut is kept in the bundle and `unseen_by` reads it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import TrainingError
from training.arrays import BoolArray, FloatArray, IntArray
from training.data.hashing import hash_rows, hash_values, place_rows

Strategy = Literal["random", "time", "order", "group"]
MIN_HOLDOUT_ROWS = 3
MIN_CLASS_ROWS = 4
MIN_TRAIN_ROWS = 6
# From this likeness of neighbours' labels on, a random split leaks the future into training.
ALIKE = 0.2


@dataclass(frozen=True)
class Split:
    """Row positions of both sides, the units that a bootstrap resamples, how the cut was made."""

    train: IntArray
    holdout: IntArray
    units: IntArray
    record: Mapping[str, Any]


def measure_likeness(labels: FloatArray, *, classes: bool) -> float:
    """Measure how alike the labels of neighbouring rows are: 0 as if shuffled, 1 the same.

    For classes the share of equal neighbours beyond chance, for numbers the correlation of their
    ranks at lag one; 0 where that is within what chance gives so many rows.
    """
    n = len(labels)
    if n < 2 or float(np.ptp(labels)) == 0.0:
        return 0.0
    if classes:
        chance = float(((np.unique(labels, return_counts=True)[1] / n) ** 2).sum())
        likeness = (float((labels[1:] == labels[:-1]).mean()) - chance) / (1.0 - chance)
    else:
        ranks = np.argsort(np.argsort(labels, kind="stable"), kind="stable").astype(np.float64)
        likeness = float(np.corrcoef(ranks[1:], ranks[:-1])[0, 1])
    return likeness if likeness > 4.0 / np.sqrt(n) else 0.0


def split_rows(
    matrix: FloatArray,
    *,
    strategy: Strategy,
    holdout: float,
    seed: int,
    strata: IntArray | None = None,
    times: FloatArray | None = None,
    groups: NDArray[Any] | None = None,
) -> Split:
    """Split into training and holdout rows.

    `strata` are class indices (random only); `times` are seconds (strategy "order": the positions
    of the rows), `groups` any values; each has one entry a row. Raises TrainingError if a side
    would be too small to mean anything.
    """
    n = len(matrix)
    if strategy in ("time", "order"):
        split = _split_by_time(strategy, holdout, times)
    elif strategy == "group":
        split = _split_by_group(n, holdout, seed, groups)
    else:
        split = _split_at_random(matrix, holdout, seed, strata)
    if len(split.holdout) < MIN_HOLDOUT_ROWS or len(split.train) < MIN_TRAIN_ROWS:
        raise TrainingError(
            f"{n} usable rows leave {len(split.train)} to train on and {len(split.holdout)} held "
            f"out (split strategy {strategy!r}); at least {MIN_TRAIN_ROWS} and {MIN_HOLDOUT_ROWS} "
            "are needed: bring more rows, or change [split]"
        )
    return split


def unseen_by(
    record: Mapping[str, Any],
    matrix: FloatArray,
    *,
    strata: IntArray | None = None,
    times: FloatArray | None = None,
    groups: NDArray[Any] | None = None,
) -> BoolArray:
    """Say which rows the model whose split `record` is given cannot have been trained on.

    `matrix` is encoded by that model's own contract. Rows that arrived after its training are
    judged by the same cut, which leaves out some that it never saw but none that it did.
    """
    strategy, seed = record["strategy"], int(record["seed"])
    if strategy in ("time", "order"):
        return np.zeros(len(matrix), dtype=bool) if times is None else times >= float(record["cut"])
    if strategy == "group":
        if groups is None:
            return np.zeros(len(matrix), dtype=bool)
        return hash_values(groups, seed) < float(record["cut"])
    places = place_rows(matrix, seed, apart=record["duplicates"] == "apart")
    cuts = np.asarray(record["cuts"], dtype=np.float64)
    which = np.zeros(len(matrix), dtype=np.intp) if len(cuts) == 1 or strata is None else strata
    known = (which >= 0) & (which < len(cuts))
    return known & (places < cuts[np.where(known, which, 0)])


def _split_at_random(
    matrix: FloatArray, holdout: float, seed: int, strata: IntArray | None
) -> Split:
    n = len(matrix)
    together = hash_rows(matrix, seed)
    # Where few rows are distinct, equal rows are different cases, not copies.
    apart = len(np.unique(together)) < 0.5 * n
    places = place_rows(matrix, seed, apart=apart)
    which = np.zeros(n, dtype=np.intp) if strata is None else strata
    cuts = []
    held = np.zeros(n, dtype=bool)
    for stratum in range(int(which.max()) + 1 if n else 1):
        members = np.flatnonzero(which == stratum)
        if len(members) == 0:
            cuts.append(0.0)
            continue
        ordered = np.sort(places[members])
        size = round(holdout * len(members))
        if len(members) > 1:
            size = min(max(size, 1), len(members) - 1)
        cut = float(ordered[size]) if size < len(ordered) else 1.0
        cuts.append(cut)
        held[members] = places[members] < cut
    record = {
        "strategy": "random",
        "seed": seed,
        "holdout": holdout,
        "stratified": strata is not None,
        "duplicates": "apart" if apart else "together",
        "cuts": cuts,
    }
    return Split(np.flatnonzero(~held), np.flatnonzero(held), np.arange(n), record)


def _split_by_time(strategy: Strategy, holdout: float, times: FloatArray | None) -> Split:
    if times is None or not np.isfinite(times).any():
        raise TrainingError(
            'split strategy "time" needs a time column: set [problem] time_column, '
            'or use [split] strategy = "random"'
        )
    known = np.where(np.isfinite(times), times, np.nanmin(times))
    ordered = np.sort(known)
    cut = float(ordered[min(len(ordered) - 1, round((1.0 - holdout) * len(ordered)))])
    held = known >= cut  # equal times stay on one side
    if held.all():
        raise TrainingError(
            "the time column holds one moment for most rows, so there is no later part to hold "
            'out: use [split] strategy = "random"'
        )
    # Neighbours in time are alike: the bootstrap resamples blocks of them, about n^(1/3) rows each.
    rank = np.argsort(np.argsort(known, kind="stable"), kind="stable")
    length = max(1, round(float(held.sum()) ** (1 / 3)))
    record = {"strategy": strategy, "seed": 0, "holdout": holdout, "cut": cut, "block_rows": length}
    return Split(np.flatnonzero(~held), np.flatnonzero(held), rank // length, record)


def _split_by_group(n: int, holdout: float, seed: int, groups: NDArray[Any] | None) -> Split:
    if groups is None:
        raise TrainingError(
            'split strategy "group" needs a group column: set [problem] group_column, '
            'or use [split] strategy = "random"'
        )
    places = hash_values(groups, seed)
    distinct, inverse, sizes = np.unique(places, return_inverse=True, return_counts=True)
    if len(distinct) < 4:
        raise TrainingError(
            f"the group column has {len(distinct)} groups; at least 4 are needed to hold some out: "
            'use another column or [split] strategy = "random"'
        )
    reached = np.cumsum(sizes)
    last = int(np.argmin(np.abs(reached - holdout * n)[:-1]))  # groups whose rows come closest
    cut = float(distinct[last + 1])
    held = places < cut
    record = {"strategy": "group", "seed": seed, "holdout": holdout, "cut": cut}
    return Split(np.flatnonzero(~held), np.flatnonzero(held), inverse.astype(np.intp), record)
