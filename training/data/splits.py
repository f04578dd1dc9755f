"""Splits that do not leak: the holdout by strata, time or group.

Membership comes from a hash of the row's entity, not from its position: of its group where the
split is by group, else of its id, else of its encoded vector (`training.data.entities` says which
entity a row is of, and why it stays so). The entities with the lowest hashes
are held out. The cut is kept in the bundle and the next job takes it over, so that an entity stays
on one side for ever: in the holdout, in the folds (`training.data.folds`), in the comparison with
the champion.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import TrainingError
from training.arrays import BoolArray, FloatArray, IntArray
from training.data.hashing import find_nameless, hash_rows, hash_values, place_named, place_rows
from training.doubts.copies import are_copies

Strategy = Literal["random", "time", "order", "group"]
By = Literal["group", "id", "row", "case"]
MIN_HOLDOUT_ROWS = 3
MIN_CLASS_ROWS = 4
MIN_TRAIN_ROWS = 6


@dataclass(frozen=True)
class Split:
    """Row positions of both sides, the units that a bootstrap resamples, how the cut was made."""

    train: IntArray
    holdout: IntArray
    units: IntArray
    record: Mapping[str, Any]


def split_rows(
    matrix: FloatArray,
    *,
    strategy: Strategy,
    holdout: float,
    seed: int,
    strata: IntArray | None = None,
    times: FloatArray | None = None,
    groups: NDArray[Any] | None = None,
    ids: NDArray[Any] | None = None,
    labels: FloatArray | None = None,
    inherited: Mapping[str, Any] | None = None,
) -> Split:
    """Split into training and holdout rows.

    `strata` are class indices (random only); `times` are seconds (strategy "order": the positions
    of the rows), `groups` and `ids` codes of entities or any values, `labels` the target; each has
    one entry a row. `inherited` is the record of the champion's split, whose cut is kept where it
    fits. Raises TrainingError if a side would be too small to mean anything.
    """
    n = len(matrix)
    if strategy in ("time", "order"):
        split = _split_by_time(strategy, holdout, times)
    elif strategy == "group":
        split = _split_by_group(matrix, holdout, seed, groups, inherited or {})
    else:
        places, by = place_entities(matrix, seed, ids=ids, labels=labels)
        split = _split_at_random(places, by, holdout, seed, strata, inherited or {})
    if len(split.holdout) < MIN_HOLDOUT_ROWS or len(split.train) < MIN_TRAIN_ROWS:
        raise TrainingError(
            f"{n} usable rows leave {len(split.train)} to train on and {len(split.holdout)} held "
            f"out (split strategy {strategy!r}); at least {MIN_TRAIN_ROWS} and {MIN_HOLDOUT_ROWS} "
            "are needed: bring more rows, or change [split]"
        )
    return split


def place_entities(
    matrix: FloatArray,
    seed: int,
    *,
    groups: NDArray[Any] | None = None,
    ids: NDArray[Any] | None = None,
    labels: FloatArray | None = None,
) -> tuple[FloatArray, By]:
    """Place each row's entity in [0, 1) by a hash, and say what the entity is.

    Rows with equal vectors are one entity drawn often, unless their answers differ as the target's
    noise has it: then each is a case of its own.
    """
    if groups is not None:
        return place_named(groups, matrix, seed), "group"
    if ids is not None:
        return place_named(ids, matrix, seed), "id"
    together = hash_rows(matrix, seed)
    if len(np.unique(together)) < 0.5 * len(matrix) and not are_copies(together, labels):
        return place_rows(matrix, seed, apart=True), "case"
    return together, "row"


def unseen_by(
    record: Mapping[str, Any],
    matrix: FloatArray,
    *,
    strata: IntArray | None = None,
    times: FloatArray | None = None,
    groups: NDArray[Any] | None = None,
    ids: NDArray[Any] | None = None,
) -> BoolArray:
    """Say which rows the model whose split `record` is given cannot have been trained on.

    `matrix` is encoded by that model's own contract. Rows that arrived after its training are
    judged by the same cut, which leaves out some that it never saw but none that it did. Where rows
    go by group or id, one without is not known to be unseen.
    """
    strategy, seed = record["strategy"], int(record["seed"])
    if strategy in ("time", "order"):
        return np.zeros(len(matrix), dtype=bool) if times is None else times >= float(record["cut"])
    if strategy == "group":
        if groups is None:
            return np.zeros(len(matrix), dtype=bool)
        held = hash_values(groups, seed) < float(record["cut"])
        return held & ~find_nameless(groups)
    by = record.get("by") or ("case" if record.get("duplicates") == "apart" else "row")
    if by == "id":
        if ids is None:
            return np.zeros(len(matrix), dtype=bool)
        places = np.where(find_nameless(ids), np.inf, hash_values(ids, seed))
    else:
        places = place_rows(matrix, seed, apart=by == "case")
    cuts = np.asarray(record["cuts"], dtype=np.float64)
    which = np.zeros(len(matrix), dtype=np.intp) if len(cuts) == 1 or strata is None else strata
    known = (which >= 0) & (which < len(cuts))
    return known & (places < cuts[np.where(known, which, 0)])


def _split_at_random(
    places: FloatArray,
    by: By,
    holdout: float,
    seed: int,
    strata: IntArray | None,
    inherited: Mapping[str, Any],
) -> Split:
    n = len(places)
    which = np.zeros(n, dtype=np.intp) if strata is None else strata
    record = {
        "strategy": "random",
        "seed": seed,
        "holdout": holdout,
        "by": by,
        "stratified": strata is not None,
    }
    cuts = _inherit_cuts(record, places, which, inherited)
    if cuts is None and by == "id":
        # One cut for all classes, so that an entity whose answer changes stays where it is.
        whole = _cut_strata(places, np.zeros(n, dtype=np.intp), holdout)
        cuts = whole * (int(which.max()) + 1 if n else 1)
        if not _is_fair(places, which, cuts, holdout):
            cuts = None
    if cuts is None:
        cuts = _cut_strata(places, which, holdout)
    held = places < np.asarray(cuts)[which]
    units = np.arange(n)
    if by == "row" or (by == "id" and len(np.unique(places)) < n):
        units = np.unique(places, return_inverse=True)[1].astype(np.intp)
    return Split(np.flatnonzero(~held), np.flatnonzero(held), units, {**record, "cuts": cuts})


def _cut_strata(places: FloatArray, which: IntArray, holdout: float) -> list[float]:
    """Give for each class the place below which its share of rows is held out."""
    cuts = []
    for stratum in range(int(which.max()) + 1 if len(which) else 1):
        ordered = np.sort(places[which == stratum])
        if len(ordered) == 0:
            cuts.append(0.0)
            continue
        size = round(holdout * len(ordered))
        if len(ordered) > 1:
            size = min(max(size, 1), len(ordered) - 1)
        cuts.append(float(ordered[size]) if size < len(ordered) else 1.0)
    return cuts


def _inherit_cuts(
    record: Mapping[str, Any],
    places: FloatArray,
    which: IntArray,
    inherited: Mapping[str, Any],
) -> list[float] | None:
    """Give the champion's cuts, if its split was made in the same way and still serves."""
    if any(inherited.get(name) != value for name, value in record.items()):
        return None
    cuts = [float(cut) for cut in inherited["cuts"]]
    if len(cuts) != (int(which.max()) + 1 if len(which) else 1):
        return None
    return cuts if _is_fair(places, which, cuts, float(record["holdout"])) else None


def _is_fair(places: FloatArray, which: IntArray, cuts: Sequence[float], holdout: float) -> bool:
    """Say whether every class has about its share of rows on both sides."""
    held = places < np.asarray(cuts)[which]
    for stratum in range(len(cuts)):
        rows = int((which == stratum).sum())
        if rows == 0:
            continue
        expected, spread = holdout * rows, math.sqrt(holdout * (1.0 - holdout) * rows)
        count = int(held[which == stratum].sum())
        if not 1 <= count < rows or abs(count - expected) > 5.0 * spread + 1.0:
            return False
        if count < 0.5 * expected:
            return False
    return True


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


def _split_by_group(
    matrix: FloatArray,
    holdout: float,
    seed: int,
    groups: NDArray[Any] | None,
    inherited: Mapping[str, Any],
) -> Split:
    if groups is None:
        raise TrainingError(
            'split strategy "group" needs a group column: set [problem] group_column, '
            'or use [split] strategy = "random"'
        )
    places = place_named(groups, matrix, seed)
    distinct, inverse, sizes = np.unique(places, return_inverse=True, return_counts=True)
    if len(distinct) < 4:
        raise TrainingError(
            f"the group column has {len(distinct)} groups; at least 4 are needed to hold some out: "
            'use another column or [split] strategy = "random"'
        )
    reached = np.cumsum(sizes)
    last = int(
        np.argmin(np.abs(reached - holdout * len(matrix))[:-1])
    )  # groups whose rows come closest
    record = {"strategy": "group", "seed": seed, "holdout": holdout, "by": "group"}
    cut = float(distinct[last + 1])
    if all(inherited.get(name) == value for name, value in record.items()):
        kept = float(inherited["cut"])
        groups_held = int((distinct < kept).sum())
        share = float((places < kept).mean())
        if 1 <= groups_held < len(distinct) and 0.5 * holdout <= share <= 1.0 - 0.5 * (1 - holdout):
            cut = kept
    held = places < cut
    record["cut"] = cut
    return Split(np.flatnonzero(~held), np.flatnonzero(held), inverse.astype(np.intp), record)
