"""The evaluation of tasks without labels: anomalies and clusters."""

import math
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from core.contract import Contract
from training import metrics
from training.arrays import FloatArray
from training.data.dataset import Data
from training.data.splits import Split
from training.fit.estimators import fit_rows, prepared, reference_outputs
from training.fit.model import Model
from training.fit.objectives import MAX_SEPARATION_ROWS, MAX_SILHOUETTE_ROWS, make_unreal_rows
from training.fit.selection import Chosen, list_candidates
from training.jobs import Job
from training.judge.intervals import Interval, mean_interval, measure_interval
from training.metrics import DETECTION

# The metrics with their intervals, and what the report draws.
Measured: TypeAlias = tuple[dict[str, Interval], Mapping[str, Any]]


def evaluate_anomalies(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, outputs: FloatArray
) -> Measured:
    """Measure how well the scores tell held-out rows from unreal ones and from known anomalies."""
    seed = job.settings.split.seed
    held = data.matrix[split.holdout][:MAX_SEPARATION_ROWS]
    unreal = model.answer(make_unreal_rows(held, seed))[:, 0]
    scores = np.r_[outputs[: len(held), 0], unreal]
    hits = np.arange(len(scores)) >= len(held)
    units = split.units[split.holdout][: len(held)]

    def separate(weights: FloatArray) -> FloatArray:
        unreal_weights = np.ones((len(weights), len(held)))
        return metrics.weighted_auc(scores, hits, np.hstack([weights, unreal_weights]))

    found = {"separation_auc": measure_interval(separate, units, seed)}
    # Stability: do two fits, each on half of the training rows, put the holdout in one order?
    first, second = (side[:, 0] for side in _answer_by_halves(job, data, split, chosen, held))
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
    return found | _measure_detection(data, split, outputs[:, 0], seed), curves


def _measure_detection(
    data: Data, split: Split, scores: FloatArray, seed: int
) -> dict[str, Interval]:
    """Measure how well scores of the holdout find the anomalies that are known."""
    truth = data.truth
    if truth is None:
        return {}
    truth = truth[split.holdout]
    known = np.isfinite(truth)
    hits = truth[known] == 1
    if hits.all() or not hits.any():
        return {}
    units = split.units[split.holdout][known]
    return {
        name: measure_interval(partial(measure, scores[known], hits), units, seed)
        for name, measure in DETECTION.items()
    }


def evaluate_clusters(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, outputs: FloatArray
) -> Measured:
    """Measure how well the clusters of held-out rows are apart, and how stable they are."""
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
    return found, curves


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


def summarise_clusters(
    contract: Contract, matrix: FloatArray, labels: FloatArray
) -> list[dict[str, Any]]:
    """Describe each cluster: its share of the rows and the columns in which it differs most."""
    # A column without values has no centre; neither has a cluster without values in a column.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return _describe_clusters(contract, matrix, labels)


def _describe_clusters(
    contract: Contract, matrix: FloatArray, labels: FloatArray
) -> list[dict[str, Any]]:
    described = []
    spread = np.nanstd(matrix, axis=0)
    centre = np.nanmean(matrix, axis=0)
    for index, name in enumerate(contract.classes):
        members = matrix[labels == index]
        entry: dict[str, Any] = {
            "cluster": name,
            "rows": len(members),
            "share": len(members) / len(matrix),
        }
        if len(members):
            shift = (np.nanmean(members, axis=0) - centre) / spread
            shift = np.where(np.isfinite(shift), shift, 0.0)
            top = np.argsort(-np.abs(shift), kind="stable")[:4]
            numeric = [i for i in top if contract.features[i].kind != "category"]
            entry["differs"] = [
                {"feature": contract.features[i].name, "deviations": float(shift[i])}
                for i in numeric
            ]
        described.append(entry)
    return described
