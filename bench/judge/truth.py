"""The truth: a model's exported tables asked for rows that no training run has had."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.contract import Contract
from core.settings import METRICS
from training import metrics
from training.arrays import Answer, FloatArray
from training.data.reading import read_table
from training.data.tables import check_table, encode_table, encode_target
from training.fit.model import Model
from training.judge.champion import load_champion
from training.judge.intervals import measure_interval
from training.metrics import Answers

MAX_BOOTSTRAP_ROWS = 20_000


class Measured(NamedTuple):
    """A metric on rows from service, with the interval that their number leaves."""

    metric: str
    value: float
    low: float
    high: float
    rows: int


def relax(contract: Contract) -> Contract:
    """Drop the limits that a contract had, so that every row is answered."""
    columns = tuple(
        replace(column, min=None, max=None, missing=True, unseen="accept")
        for column in contract.columns
    )
    return replace(contract, columns=columns)


def ask_bundle(bundle: Path, table: Path) -> Answers:
    """Answer a file of labelled rows with the bundle's own engine."""
    champion = load_champion(bundle)
    return _ask(champion.contract, champion.answer, champion.threshold, table)


def ask_model(model: Model, table: Path) -> Answers:
    """Answer a file of labelled rows with a fitted model."""
    return _ask(model.contract, model.answer, model.threshold, table)


def _ask(contract: Contract, answer: Answer, threshold: float | None, table: Path) -> Answers:
    contract = relax(contract)
    frame = read_table(table)
    for column in contract.columns:
        if column.name not in frame.columns:
            frame[column.name] = None
    checked = check_table(frame, contract).frame
    return Answers(
        contract.task,
        np.asarray(encode_target(checked, contract), dtype=np.float64),
        answer(encode_table(checked, contract)),
        contract.positive_index if contract.is_classification else 0,
        0.5 if threshold is None else threshold,
    )


def measure_truth(answers: Answers, metric: str, *, exact: bool = False) -> Measured:
    """Measure the metric on rows from service, each a unit of its own.

    With `exact` there are so many that their own noise does not count.
    """
    value, rows = metrics.compute_one(metric, answers), len(answers.labels)
    if exact:
        return Measured(metric, value, value, value, rows)
    part = answers.take(np.arange(min(rows, MAX_BOOTSTRAP_ROWS)))
    interval = measure_interval(
        lambda weights: metrics.compute(metric, part, weights), np.arange(len(part.labels)), 0
    )
    return Measured(metric, value, interval.low, interval.high, rows)


def overstates(claim: dict[str, float], true: Measured, task: str) -> bool:
    """Say whether the truth is worse than the claimed interval allows, beyond its own noise."""
    lower = METRICS[task][true.metric] == "lower"
    value, far = claim["value"], claim.get("high" if lower else "low", math.nan)
    mine = abs(far - value)
    theirs = abs(true.value - (true.low if lower else true.high))
    gap = true.value - value if lower else value - true.value
    return not gap <= math.hypot(mine, theirs)


def knowing_nothing(answers: Answers, metric: str) -> float:
    """Give the metric of the base rates (or the mean) of these very rows."""
    labels = answers.labels
    base: FloatArray
    if answers.task == "regression":
        base = np.asarray([labels.mean()])
    else:
        counts = np.bincount(labels.astype(np.intp), minlength=answers.outputs.shape[1])
        base = counts / counts.sum()
    return metrics.compute_one(metric, replace(answers, outputs=np.tile(base, (len(labels), 1))))
