"""The metrics of each task, computed for many weightings of the rows at once.

A bootstrap replicate is a weighting: how often each row was drawn. Every function here takes
weights of shape (replicates, rows) and gives one value a replicate, so that a thousand replicates
cost a few matrix products and not a thousand calls. With weights of one it gives what scikit-learn
gives (the tests compare them). Labels are class indices for classification and values for
regression; outputs are those of `Contract.outputs`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arrays import BoolArray, FloatArray

CALIBRATION_BINS = 10
_SMALLEST_PROBABILITY = 1e-15


@dataclass(frozen=True)
class Answers:
    """What a model answered for labelled rows: labels (n,), outputs (n, k), how to read them."""

    task: str
    labels: FloatArray
    outputs: FloatArray
    positive: int = 1
    threshold: float = 0.5

    def take(self, rows: NDArray[Any]) -> "Answers":
        """Keep some of the rows."""
        return Answers(
            self.task, self.labels[rows], self.outputs[rows], self.positive, self.threshold
        )

    @property
    def predicted(self) -> FloatArray:
        """Give the class index (or the value) that is answered for each row."""
        if self.task == "regression":
            return self.outputs[:, 0]
        if self.task == "binary":
            hit = self.outputs[:, self.positive] >= self.threshold
            return np.where(hit, float(self.positive), float(1 - self.positive))
        likeliest: FloatArray = np.argmax(self.outputs, axis=1).astype(np.float64)
        return likeliest

    def losses(self) -> FloatArray:
        """Give each row's own loss: log loss, or the absolute error of a regression."""
        if self.task == "regression":
            return np.abs(self.outputs[:, 0] - self.labels)
        chosen = self.outputs[np.arange(len(self.labels)), self.labels.astype(np.intp)]
        return -np.log(np.clip(chosen, _SMALLEST_PROBABILITY, None))


def compute(name: str, answers: Answers, weights: FloatArray | None = None) -> FloatArray:
    """Compute a metric for each row of `weights`, (replicates, n); without them, once for all rows.

    A replicate in which the metric is undefined (one class only, say) is NaN.
    """
    if weights is None:
        weights = np.ones((1, len(answers.labels)))
    table: Mapping[str, Callable[[Answers, FloatArray], FloatArray]]
    table = {"binary": _BINARY, "multiclass": _MULTICLASS, "regression": _REGRESSION}[answers.task]
    with np.errstate(divide="ignore", invalid="ignore"):
        values: FloatArray = table[name](answers, weights)
    return values


def compute_one(name: str, answers: Answers) -> float:
    """Compute a metric over all rows with equal weight."""
    return float(compute(name, answers)[0])


def weighted_auc(scores: FloatArray, hits: BoolArray, weights: FloatArray) -> FloatArray:
    """Area under the ROC curve: the chance that a hit scores above a miss, ties counting half."""
    order, starts = _tie_groups(scores)
    positive = np.add.reduceat(weights[:, order] * hits[order], starts, axis=1)
    negative = np.add.reduceat(weights[:, order] * ~hits[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    pairs: FloatArray = (positive * (below + 0.5 * negative)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        share: FloatArray = pairs / (positive.sum(axis=1) * negative.sum(axis=1))
    return share


def weighted_average_precision(
    scores: FloatArray, hits: BoolArray, weights: FloatArray
) -> FloatArray:
    """Area under the precision-recall curve as a step function (average precision)."""
    order, starts = _tie_groups(-scores)
    positive = np.add.reduceat(weights[:, order] * hits[order], starts, axis=1)
    everything = np.add.reduceat(weights[:, order], starts, axis=1)
    seen = np.cumsum(everything, axis=1)
    precision = np.divide(
        np.cumsum(positive, axis=1), seen, out=np.zeros_like(seen), where=seen > 0
    )
    area: FloatArray = (precision * positive).sum(axis=1)
    with np.errstate(invalid="ignore"):
        share: FloatArray = area / positive.sum(axis=1)
    return share


# The metrics of an anomaly task whose anomalies are known.
DETECTION = {"roc_auc": weighted_auc, "pr_auc": weighted_average_precision}


def measure_detection(name: str, scores: FloatArray, truth: FloatArray) -> float:
    """Measure how well scores find the known anomalies; NaN where only one kind is known."""
    known = np.isfinite(truth)
    hits = truth[known] == 1
    if hits.all() or not hits.any():
        return math.nan
    return float(DETECTION[name](scores[known], hits, np.ones((1, len(hits))))[0])


def separation_auc(scores: FloatArray) -> float:
    """Area under the ROC curve of scores whose second half belongs to unreal rows."""
    unreal = np.arange(len(scores)) >= len(scores) // 2
    area = weighted_auc(scores, unreal, np.ones((1, len(scores))))[0]
    return float(area) if math.isfinite(area) else 0.5


def silhouettes(points: FloatArray, labels: FloatArray) -> FloatArray:
    """Give each row's silhouette; 0 where all rows are in one cluster."""
    from sklearn.metrics import silhouette_samples

    found = np.unique(labels)
    if not 2 <= len(found) < len(labels):
        return np.zeros(len(labels))
    return np.asarray(silhouette_samples(points, labels), dtype=np.float64)


def calibration_bins(probabilities: FloatArray) -> NDArray[np.intp]:
    """Put each probability into one of up to `CALIBRATION_BINS` bins of about equal size."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]))
    return np.searchsorted(edges, probabilities, side="right")


def _tie_groups(scores: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return order, starts


def _mean(values: FloatArray | BoolArray, weights: FloatArray) -> FloatArray:
    result: FloatArray = (weights @ values.astype(np.float64)) / weights.sum(axis=1)
    return result


def _hits(answers: Answers) -> BoolArray:
    hits: BoolArray = answers.labels == answers.positive
    return hits


def _scores(answers: Answers) -> FloatArray:
    return answers.outputs[:, answers.positive]


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide, with 0 where nothing was there to count."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _per_class(answers: Answers, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Count, (classes, replicates): answered correctly, answered, and present, for each class."""
    predicted = answers.predicted
    right, answered, there = [], [], []
    for index in range(answers.outputs.shape[1]):
        said, is_there = predicted == index, answers.labels == index
        right.append(weights @ (said & is_there).astype(np.float64))
        answered.append(weights @ said.astype(np.float64))
        there.append(weights @ is_there.astype(np.float64))
    return np.asarray(right), np.asarray(answered), np.asarray(there)


def _accuracy(answers: Answers, weights: FloatArray) -> FloatArray:
    return _mean(answers.predicted == answers.labels, weights)


def _balanced_accuracy(answers: Answers, weights: FloatArray) -> FloatArray:
    right, _, there = _per_class(answers, weights)
    mean: FloatArray = np.nanmean(np.where(there > 0, right / there, np.nan), axis=0)
    return mean


def _binary_counts(
    answers: Answers, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    right, answered, there = _per_class(answers, weights)
    return right[answers.positive], answered[answers.positive], there[answers.positive]


def _precision(answers: Answers, weights: FloatArray) -> FloatArray:
    right, answered, _ = _binary_counts(answers, weights)
    return _ratio(right, answered)


def _recall(answers: Answers, weights: FloatArray) -> FloatArray:
    right, _, there = _binary_counts(answers, weights)
    return _ratio(right, there)


def _f1(answers: Answers, weights: FloatArray) -> FloatArray:
    right, answered, there = _binary_counts(answers, weights)
    return _ratio(2 * right, answered + there)


def _macro(values: FloatArray, there: FloatArray, answered: FloatArray) -> FloatArray:
    """Average over the classes that occur among labels or answers (as scikit-learn does)."""
    known = np.where((there > 0) | (answered > 0), values, np.nan)
    mean: FloatArray = np.nanmean(known, axis=0)
    return mean


def _macro_precision(answers: Answers, weights: FloatArray) -> FloatArray:
    right, answered, there = _per_class(answers, weights)
    return _macro(_ratio(right, answered), there, answered)


def _macro_recall(answers: Answers, weights: FloatArray) -> FloatArray:
    right, answered, there = _per_class(answers, weights)
    return _macro(_ratio(right, there), there, answered)


def _macro_f1(answers: Answers, weights: FloatArray) -> FloatArray:
    right, answered, there = _per_class(answers, weights)
    return _macro(_ratio(2 * right, answered + there), there, answered)


def _log_loss(answers: Answers, weights: FloatArray) -> FloatArray:
    return _mean(answers.losses(), weights)


def _brier(answers: Answers, weights: FloatArray) -> FloatArray:
    if answers.task == "binary":
        return _mean((_scores(answers) - _hits(answers)) ** 2, weights)
    truth = answers.labels[:, None] == np.arange(answers.outputs.shape[1])[None, :]
    return _mean(((answers.outputs - truth) ** 2).sum(axis=1), weights)


def _calibration_error(answers: Answers, weights: FloatArray) -> FloatArray:
    """Average how far probabilities are off; for several classes, that of the answered one."""
    if answers.task == "binary":
        stated, happened = _scores(answers), _hits(answers)
    else:
        stated = answers.outputs.max(axis=1)
        happened = answers.predicted == answers.labels
    bins = calibration_bins(stated)
    gap = stated - happened
    members = (bins[:, None] == np.arange(bins.max() + 1)[None, :]).astype(np.float64)
    result: FloatArray = np.abs(weights @ (members * gap[:, None])).sum(axis=1) / weights.sum(
        axis=1
    )
    return result


def _one_against_rest(
    curve: Callable[[FloatArray, BoolArray, FloatArray], FloatArray],
) -> Callable[[Answers, FloatArray], FloatArray]:
    def average(answers: Answers, weights: FloatArray) -> FloatArray:
        present = [i for i in range(answers.outputs.shape[1]) if (answers.labels == i).any()]
        areas = [curve(answers.outputs[:, i], answers.labels == i, weights) for i in present]
        return np.mean(areas, axis=0) if len(present) > 1 else np.full(len(weights), np.nan)

    return average


def _absolute_error_quantile(share: float) -> Callable[[Answers, FloatArray], FloatArray]:
    def quantile(answers: Answers, weights: FloatArray) -> FloatArray:
        errors = answers.losses()
        order = np.argsort(errors, kind="stable")
        reached = np.cumsum(weights[:, order], axis=1)
        wanted = share * reached[:, -1:]
        position = np.minimum((reached < wanted).sum(axis=1), len(errors) - 1)
        found: FloatArray = errors[order][position]
        return found

    return quantile


def _mae(answers: Answers, weights: FloatArray) -> FloatArray:
    return _mean(answers.losses(), weights)


def _rmse(answers: Answers, weights: FloatArray) -> FloatArray:
    result: FloatArray = np.sqrt(_mean(answers.losses() ** 2, weights))
    return result


def _r2(answers: Answers, weights: FloatArray) -> FloatArray:
    centre = np.median(answers.labels)  # keeps the subtraction below exact enough for large labels
    labels = answers.labels - centre
    spread = _mean(labels**2, weights) - _mean(labels, weights) ** 2
    return np.where(spread > 0, 1.0 - _mean(answers.losses() ** 2, weights) / spread, np.nan)


_BINARY: Mapping[str, Callable[[Answers, FloatArray], FloatArray]] = {
    "log_loss": _log_loss,
    "roc_auc": lambda a, w: weighted_auc(_scores(a), _hits(a), w),
    "pr_auc": lambda a, w: weighted_average_precision(_scores(a), _hits(a), w),
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "brier": _brier,
    "calibration_error": _calibration_error,
}
_MULTICLASS: Mapping[str, Callable[[Answers, FloatArray], FloatArray]] = {
    "log_loss": _log_loss,
    "roc_auc": _one_against_rest(weighted_auc),
    "pr_auc": _one_against_rest(weighted_average_precision),
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "precision": _macro_precision,
    "recall": _macro_recall,
    "f1": _macro_f1,
    "brier": _brier,
    "calibration_error": _calibration_error,
}
_REGRESSION: Mapping[str, Callable[[Answers, FloatArray], FloatArray]] = {
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
    "median_absolute_error": _absolute_error_quantile(0.5),
    "error_p90": _absolute_error_quantile(0.9),
    "error_p95": _absolute_error_quantile(0.95),
}
