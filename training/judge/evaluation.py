"""The evaluation on held-out rows, with an interval around every figure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.settings import METRICS
from training import metrics
from training.arrays import FloatArray, IntArray
from training.data.dataset import Data
from training.data.splits import Split
from training.fit.model import Model
from training.fit.selection import Chosen
from training.jobs import Job
from training.judge.answers import label_answers
from training.judge.curves import trace_curves
from training.judge.importance import measure_importance
from training.judge.intervals import (
    Interval,
    draw_weights,
    interval_of,
    replicates_for,
    wilson_interval,
)
from training.judge.slices import measure_slices
from training.judge.unlabelled import evaluate_anomalies, evaluate_clusters
from training.log import Log
from training.metrics import Answers


@dataclass(frozen=True)
class Evaluated:
    """What the holdout showed."""

    metrics: Mapping[str, Interval]
    curves: Mapping[str, Any]
    slices: list[dict[str, Any]]
    importance: list[dict[str, Any]]


def evaluate_model(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, log: Log
) -> Evaluated:
    """Measure the model on the holdout."""
    seed = job.settings.split.seed
    matrix, units = data.matrix[split.holdout], split.units[split.holdout]
    outputs = model.answer(matrix)
    if model.contract.task == "anomaly":
        found, curves = evaluate_anomalies(job, data, split, chosen, model, outputs)
        evaluated = Evaluated(found, curves, [], [])
    elif model.contract.task == "clustering":
        found, curves = evaluate_clusters(job, data, split, chosen, model, outputs)
        evaluated = Evaluated(found, curves, [], [])
    else:
        answers = label_answers(data, model, split.holdout, outputs)
        evaluated = Evaluated(
            evaluate_metrics(answers, units, seed),
            trace_curves(answers, model.contract.classes),
            measure_slices(model.contract, matrix, answers, chosen.metric, units, seed),
            measure_importance(model.contract, matrix, model.answer, answers, chosen.metric, seed),
        )
    for name, interval in evaluated.metrics.items():
        limits = ""
        if math.isfinite(interval.low):
            limits = f" [{interval.low:.4f}, {interval.high:.4f}]"
        log.say(f"holdout {name} {interval.value:.4f}{limits}")
    return evaluated


def evaluate_metrics(answers: Answers, units: IntArray, seed: int) -> dict[str, Interval]:
    """Compute every metric of a labelled task with its interval."""
    names = list(METRICS[answers.task])
    found: dict[str, list[FloatArray]] = {name: [] for name in names}
    for weights in draw_weights(units, replicates_for(len(units)), seed):
        for name in names:
            found[name].append(metrics.compute(name, answers, weights))
    return {
        name: _doubt_perfection(
            name,
            interval_of(metrics.compute_one(name, answers), np.concatenate(found[name])),
            answers,
        )
        for name in names
    }


def _doubt_perfection(name: str, interval: Interval, answers: Answers) -> Interval:
    """Give a perfect share a lower limit: resamples of rows without an error have none either.

    Wilson's limit, for the rows that could have shown an error: those answered as positive for
    precision, all for accuracy, and of the rarest class for what is averaged over classes.
    """
    best = METRICS[answers.task][name] == "higher" and answers.task != "regression"
    if not best or not interval.value == interval.low == interval.high == 1.0:
        return interval
    if name == "accuracy":
        rows = len(answers.labels)
    elif name == "precision" and answers.task == "binary":
        rows = int((answers.predicted == answers.positive).sum())
    elif name == "recall" and answers.task == "binary":
        rows = int((answers.labels == answers.positive).sum())
    else:
        rows = int(np.unique(answers.labels, return_counts=True)[1].min())
    return Interval(1.0, wilson_interval(1.0, rows)[0], 1.0)
