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
from training.fit.estimators import fit_rows, prepared, reference_outputs
from training.fit.model import Model
from training.fit.objectives import MAX_SEPARATION_ROWS, MAX_SILHOUETTE_ROWS, make_unreal_rows
from training.fit.selection import Chosen, list_candidates
from training.jobs import Job
from training.judge.answers import label_answers
from training.judge.clusters import summarise_clusters
from training.judge.curves import trace_curves
from training.judge.importance import measure_importance
from training.judge.intervals import (
    Interval,
    draw_weights,
    interval_of,
    mean_interval,
    replicates_for,
    wilson_interval,
)
from training.judge.slices import measure_slices
from training.log import Log
from training.metrics import DETECTION, Answers


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
        evaluated = _evaluate_anomalies(job, data, split, chosen, model, outputs)
    elif model.contract.task == "clustering":
        evaluated = _evaluate_clusters(job, data, split, chosen, model, outputs)
    else:
        answers = label_answers(data, model, split.holdout, outputs)
        evaluated = Evaluated(
            evaluate_metrics(answers, units, seed),
            trace_curves(answers, model.contract.classes),
            measure_slices(model.contract, matrix, answers, chosen.metric, units, seed),
            measure_importance(model.contract, matrix, model.answer, answers, chosen.metric, seed),
        )
    for name, found in evaluated.metrics.items():
        limits = f" [{found.low:.4f}, {found.high:.4f}]" if math.isfinite(found.low) else ""
        log.say(f"holdout {name} {found.value:.4f}{limits}")
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


def _evaluate_anomalies(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, outputs: FloatArray
) -> Evaluated:
    seed = job.settings.split.seed
    held = data.matrix[split.holdout][:MAX_SEPARATION_ROWS]
    unreal = model.answer(make_unreal_rows(held, seed))[:, 0]
    scores = np.r_[outputs[: len(held), 0], unreal]
    hits = np.arange(len(scores)) >= len(held)
    units = split.units[split.holdout][: len(held)]
    drawn = [
        metrics.weighted_auc(scores, hits, np.hstack([weights, np.ones((len(weights), len(held)))]))
        for weights in draw_weights(units, replicates_for(len(units)), seed)
    ]
    value = float(metrics.weighted_auc(scores, hits, np.ones((1, len(scores))))[0])
    found = {"separation_auc": interval_of(value, np.concatenate(drawn))}
    # Stability: do two fits, each on half of the training rows, put the holdout in one order?
    first, second = (scores[:, 0] for scores in _answer_by_halves(job, data, split, chosen, held))
    found["stability"] = Interval(_rank_correlation(first, second), math.nan, math.nan)
    edges = np.quantile(scores, [0.0, 1.0])
    bins = np.linspace(edges[0], edges[1] if edges[1] > edges[0] else edges[0] + 1, 31)
    flagged = float((outputs[:, 0] >= (model.threshold or math.inf)).mean())
    curves = {
        "anomalies": {
            "edges": bins.tolist(),
            "real": np.histogram(scores[~hits], bins)[0].tolist(),
            "unreal": np.histogram(scores[hits], bins)[0].tolist(),
            "flagged_share": flagged,
        }
    }
    labels = data.truth
    if labels is not None:
        labels = labels[split.holdout]
        known = np.isfinite(labels)
        truth = labels[known] == 1
        if truth.any() and not truth.all():
            curve = outputs[known, 0]
            units = split.units[split.holdout][known]
            ones = np.ones((1, len(curve)))
            for name, measure in DETECTION.items():
                parts = [
                    measure(curve, truth, weights)
                    for weights in draw_weights(units, replicates_for(len(units)), seed)
                ]
                value = float(measure(curve, truth, ones)[0])
                found[name] = interval_of(value, np.concatenate(parts))
    return Evaluated(found, curves, [], [])


def _evaluate_clusters(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, outputs: FloatArray
) -> Evaluated:
    from sklearn.metrics import adjusted_rand_score, davies_bouldin_score

    seed = job.settings.split.seed
    held = data.matrix[split.holdout]
    shown = np.arange(min(len(held), MAX_SILHOUETTE_ROWS))
    points, labels = prepared(model.estimator, held[shown]), outputs[shown, 0]
    found = {
        "silhouette": mean_interval(
            metrics.silhouettes(points, labels), split.units[split.holdout][shown], seed
        )
    }
    if 2 <= len(np.unique(labels)) < len(labels):
        found["davies_bouldin"] = Interval(
            float(davies_bouldin_score(points, labels)), math.nan, math.nan
        )
    # Stability: fit the same model on each half of the training rows; do they agree on the holdout?
    agreed = [answers[:, 0] for answers in _answer_by_halves(job, data, split, chosen, held)]
    found["stability"] = Interval(float(adjusted_rand_score(*agreed)), math.nan, math.nan)
    curves = {"clusters": summarise_clusters(model.contract, held, outputs[:, 0])}
    return Evaluated(found, curves, [], [])


def _answer_by_halves(
    job: Job, data: Data, split: Split, chosen: Chosen, rows: FloatArray
) -> list[FloatArray]:
    """Fit the chosen model on either half of the training rows; give what each answers."""
    shuffled = np.random.default_rng([job.settings.split.seed, 3]).permutation(split.train)
    answers = []
    for half in np.array_split(shuffled, 2):
        candidate = list_candidates(job, data.contract, len(half)).get(
            chosen.searched.best.candidate
        )
        refitted = (candidate or chosen.candidate).build(chosen.searched.best.params)
        fit_rows(refitted, data.matrix[np.sort(half)])
        answers.append(reference_outputs(refitted, rows, data.contract))
    return answers


def _rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Spearman's rank correlation; 0 where a side is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(first), rankdata(second)
    if min(float(np.ptp(side)) for side in ranks) == 0.0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])
