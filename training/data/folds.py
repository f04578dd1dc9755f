"""Folds within the training rows, for choosing a model."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.arrays import FloatArray, IntArray
from training.data.dataset import Data
from training.jobs import Job

Folds: TypeAlias = Sequence[tuple[IntArray, IntArray]]

FOLDS = 3
MANY_ROWS = 20_000  # above this many, one validation block is precise enough


def fold_rows(job: Job, data: Data, rows: IntArray) -> Folds:
    """Make the folds in which `rows` (of the training side) choose the model.

    Their positions count within `rows`. Many rows are validated on the last blocks only.
    """
    strategy = job.settings.split.strategy
    order = data.order(strategy)
    folds = FOLDS
    if data.strata is not None:
        folds = max(2, min(FOLDS, int(np.bincount(data.strata[rows]).min())))
    places = data.entities(strategy, job.settings.split.seed)[rows]
    made = make_folds(
        len(rows),
        folds=folds,
        seed=job.settings.split.seed,
        strata=None if data.strata is None else data.strata[rows],
        order=None if order is None else order[rows],
        groups=places if strategy == "group" and data.groups is not None else None,
        places=places,
    )
    if len(rows) <= MANY_ROWS:
        return made
    # In order of time the last two: does what calibrates one model also calibrate the next?
    return made[-1:] if order is None else made[-2:]


def make_folds(
    n: int,
    *,
    folds: int,
    seed: int,
    strata: IntArray | None = None,
    order: FloatArray | None = None,
    groups: NDArray[Any] | None = None,
    places: FloatArray | None = None,
) -> list[tuple[IntArray, IntArray]]:
    """Make (train, validation) pairs of positions within the training rows.

    With `order` (seconds) each validation block follows its training rows in time; with `groups` no
    group is on both sides; otherwise folds are random, with each class spread evenly over them and
    rows of one place (the hash of their entity) together.
    """
    if order is not None:
        positions = np.argsort(order, kind="stable")
        blocks = np.array_split(positions, folds + 1)
        return [
            (np.sort(np.concatenate(blocks[: k + 1])), np.sort(blocks[k + 1])) for k in range(folds)
        ]
    assigned = np.empty(n, dtype=np.intp)
    if groups is not None:
        _, inverse = np.unique(
            np.asarray([str(g) for g in groups], dtype=object), return_inverse=True
        )
        sizes = np.bincount(inverse)
        load = np.zeros(folds)
        home = np.empty(len(sizes), dtype=np.intp)
        # The largest group first, each to the emptiest fold.
        for group in np.argsort(-sizes, kind="stable"):
            home[group] = int(np.argmin(load))
            load[home[group]] += sizes[group]
        assigned = home[inverse]
    else:
        assigned = _deal(n, folds, seed, strata, places)
    pairs = [(np.flatnonzero(assigned != k), np.flatnonzero(assigned == k)) for k in range(folds)]
    return [(train, validation) for train, validation in pairs if len(train) and len(validation)]


def _deal(
    n: int, folds: int, seed: int, strata: IntArray | None, places: FloatArray | None
) -> IntArray:
    """Deal entities to folds in random order, class by class; an entity is of its first row's."""
    random = np.random.default_rng(seed)
    first, entity = np.arange(n), np.arange(n)
    if places is not None:
        _, first, entity = np.unique(places, return_index=True, return_inverse=True)
    classes = np.zeros(len(first), dtype=np.intp) if strata is None else strata[first]
    home = np.empty(len(first), dtype=np.intp)
    offset = 0
    for stratum in np.unique(classes):
        members = random.permutation(np.flatnonzero(classes == stratum))
        home[members] = (np.arange(len(members)) + offset) % folds
        offset += len(members)
    return home[entity]
