"""Sets the holdout apart, or refuses a table or a split from which nothing can be learned."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.bundle import Bundle
from core.errors import TrainingError
from training.data import seen
from training.data.dataset import Data
from training.data.seen import Seen
from training.data.splits import (
    MIN_CLASS_ROWS,
    Split,
    split_rows,
)
from training.jobs import Job
from training.log import Log

LARGEST_TARGET = 1e100  # in size; sums of squared errors must stay finite
MIN_BASELINE_ROWS = 20  # to train on; the monitor's baseline refuses fewer


def split_data(job: Job, data: Data, log: Log) -> Split:
    """Set the holdout apart; raises TrainingError if a side or a class would be too small."""
    settings = job.settings.split
    _check_rows(data, settings.holdout)
    split = split_rows(
        data.matrix,
        strategy=settings.strategy,
        holdout=settings.holdout,
        seed=settings.seed,
        strata=data.strata,
        times=data.order(settings.strategy),
        groups=data.groups,
        ids=data.ids,
        labels=data.labels,
        inherited=_read_champions_split(job),
    )
    if len(split.train) < MIN_BASELINE_ROWS:
        raise TrainingError(
            f"the split leaves {len(split.train)} rows to train on; at least {MIN_BASELINE_ROWS} "
            "are needed: bring more rows, or change [split]"
        )
    if data.strata is not None:
        _check_classes(data, split, settings.strategy)
    log.say(
        f"split {settings.strategy}: {len(split.train)} rows to train on, {len(split.holdout)} "
        f"held out"
    )
    return split


def list_seen(job: Job, data: Data, split: Split) -> bytes:
    """Record which entities the model is trained on, for the next job's comparison."""
    places, by = data.place_in(data.matrix, job.settings.split.strategy, seen.SEED)
    return Seen.of(places[split.train], by).to_bytes()


def _read_champions_split(job: Job) -> Mapping[str, Any] | None:
    """Give how the live model's rows were split, so that every entity stays on its side."""
    if job.champion is None:
        return None
    split = Bundle.from_folder(job.champion).evaluation().get("split")
    return split if isinstance(split, dict) else None


def _check_rows(data: Data, holdout: float) -> None:
    """Refuse a table with too few rows, or with a target that cannot be learned."""
    if data.strata is not None:
        counts = np.bincount(data.strata, minlength=len(data.contract.classes))
        for name, count in zip(data.contract.classes, counts, strict=True):
            if count < MIN_CLASS_ROWS:
                raise TrainingError(
                    f"class {name!r} of {data.contract.target!r} has {count} rows; at least "
                    f"{MIN_CLASS_ROWS} are needed: bring more, merge it, or leave it out"
                )
    if data.labels is not None and len(data.labels) and float(np.ptp(data.labels)) == 0.0:
        raise TrainingError(
            f"the target {data.contract.target!r} has the same value in every row: nothing to learn"
        )
    if data.contract.task == "regression" and data.labels is not None and len(data.labels):
        low, high = float(data.labels.min()), float(data.labels.max())
        if max(abs(low), abs(high)) > LARGEST_TARGET or high - low < 1 / LARGEST_TARGET:
            raise TrainingError(
                f"the target {data.contract.target!r} goes from {low:.6g} to {high:.6g}, of which "
                "float64 cannot square the errors: give it in another unit"
            )
    needed = math.ceil(MIN_BASELINE_ROWS / (1.0 - holdout))
    if len(data.frame) < needed:
        raise TrainingError(
            f"the table has {len(data.frame)} usable rows; at least {needed} are needed, "
            f"{MIN_BASELINE_ROWS} of them to train on: bring more"
        )


def _check_classes(data: Data, split: Split, strategy: str) -> None:
    """Refuse a split by which a class cannot be learned, or nothing told apart."""
    assert data.strata is not None
    hint = 'use another [split] strategy, e.g. "random"'
    for code, name in enumerate(data.contract.classes):
        if not (data.strata[split.train] == code).any():
            raise TrainingError(
                f"all rows of class {name!r} of {data.contract.target!r} are held out by the split "
                f"(strategy {strategy!r}), so it cannot be learned: {hint}, or leave the class out"
            )
    held = np.unique(data.strata[split.holdout])
    if len(held) < 2:
        raise TrainingError(
            f"all {len(split.holdout)} rows held out by the split (strategy {strategy!r}) are of "
            f"class {data.contract.classes[held[0]]!r}, which judges no model: {hint}"
        )
