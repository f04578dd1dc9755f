"""Judge a model by the labels that came back, and estimate its quality before they do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.contract import Contract
from core.drift.tails import normal_tail

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats], float]

RESAMPLES = 300
ORDER = {
    "binary": ("roc_auc", "accuracy", "log_loss", "brier"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("mae", "rmse", "r2"),
}


class Quality(NamedTuple):
    """A metric over labelled rows: its value with a 95% interval, and what the holdout showed."""

    metric: str
    value: float
    low: float
    high: float
    rows: int
    expected: float
    dropped: bool
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Give the members that JSON can hold."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in self._asdict().items()
        }


def measure_quality(
    contract: Contract,
    evaluation: dict[str, Any],
    labels: Sequence[str | float],
    outputs: Sequence[Sequence[float]],
    *,
    max_drop: float,
    level: float,
) -> Quality | None:
    """Compare labelled rows with the holdout's metric.

    It has dropped when it is worse than the holdout showed by more than the share `max_drop` of it,
    and by more than the noise of both allows at a probability of `level`. None where the evaluation
    has no metric that can be computed here.
    """
    table = np.asarray(outputs, dtype=np.float64)
    metrics = evaluation.get("metrics") or {}
    preferred = evaluation.get("metric")
    names = [preferred] if preferred in _METRICS else []
    names += [name for name in ORDER.get(contract.task, ()) if name not in names]
    name = next((name for name in names if isinstance(metrics.get(name), dict)), None)
    if name is None or len(labels) == 0:
        return None
    truth, answers = _prepare(contract, evaluation, labels, table, name)
    if len(truth) == 0:
        return None
    better_high = name not in _LOWER_IS_BETTER
    metric = _METRICS[name]
    value = metric(truth, answers)
    generator = np.random.default_rng(len(truth))
    draws = []
    for _ in range(RESAMPLES):
        chosen = generator.integers(0, len(truth), len(truth))
        draw = metric(truth[chosen], answers[chosen])
        if math.isfinite(draw):
            draws.append(draw)
    shown = metrics[name]
    expected = float(shown["value"])
    if not draws or not math.isfinite(value):
        return Quality(name, value, math.nan, math.nan, len(truth), expected, False, 1.0)
    low, high = (float(q) for q in np.quantile(draws, (0.025, 0.975)))
    holdout = abs(float(shown.get("high", expected)) - float(shown.get("low", expected))) / 3.92
    # A metric at its limit (all right) resamples to itself: no sample is that certain.
    noise = math.hypot(max(float(np.std(draws)), 0.5 / len(truth)), holdout)
    drop = expected - value if better_high else value - expected
    probability = normal_tail(drop / noise)
    dropped = drop > max_drop * abs(expected) and probability < level
    return Quality(name, value, low, high, len(truth), expected, bool(dropped), probability)


def estimate_confidence(
    contract: Contract, threshold: float | None, outputs: Sequence[Sequence[float]]
) -> tuple[float, int]:
    """Sum the probability that each decision is right, as the model itself believes it.

    Right under covariate shift for a calibrated classifier, blind to a change of what the label
    means. Gives (sum, rows); (0, 0) for tasks without probabilities.
    """
    if not contract.is_classification or len(outputs) == 0:
        return 0.0, 0
    total, rows = 0.0, 0
    for given in outputs:
        if len(given) != len(contract.classes) or any(math.isnan(p) for p in given):
            continue
        if contract.task == "binary":
            p = given[contract.positive_index]
            total += p if p >= (0.5 if threshold is None else threshold) else 1.0 - p
        else:
            total += max(given)
        rows += 1
    return total, rows


def _prepare(
    contract: Contract,
    evaluation: dict[str, Any],
    labels: Sequence[str | float],
    table: Floats,
    metric: str,
) -> tuple[Floats, Floats]:
    """Give truth and answers as the metric wants them."""
    if contract.task == "regression":
        truth, answers = np.asarray(labels, dtype=np.float64), table[:, 0]
    else:
        position = {label: i for i, label in enumerate(contract.classes)}
        truth = np.array([position[str(label)] for label in labels], dtype=np.float64)
        if contract.task == "binary":
            truth = (truth == contract.positive_index).astype(np.float64)
            answers = table[:, contract.positive_index]
            if metric == "accuracy":
                threshold = evaluation.get("threshold")
                answers = (answers >= (0.5 if threshold is None else threshold)).astype(np.float64)
        elif metric == "accuracy":
            answers = table.argmax(axis=1).astype(np.float64)
        else:
            answers = table[np.arange(len(truth)), truth.astype(int)]
            truth = np.ones_like(truth)
    usable = np.isfinite(answers)
    return truth[usable], answers[usable]


def _roc_auc(truth: Floats, score: Floats) -> float:
    positives = float(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        return math.nan
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2.0)[inverse]
    rank_sum = float(ranks[truth == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


def _log_loss(truth: Floats, probability: Floats) -> float:
    p = np.clip(probability, 1e-15, 1.0 - 1e-15)
    return float(-(truth * np.log(p) + (1.0 - truth) * np.log1p(-p)).mean())


def _r2(truth: Floats, answers: Floats) -> float:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - float(((truth - answers) ** 2).sum()) / spread if spread else math.nan


_METRICS: dict[str, Metric] = {
    "roc_auc": _roc_auc,
    "accuracy": lambda truth, answers: float((truth == answers).mean()),
    "log_loss": _log_loss,
    "brier": lambda truth, answers: float(((truth - answers) ** 2).mean()),
    "mae": lambda truth, answers: float(np.abs(truth - answers).mean()),
    "rmse": lambda truth, answers: float(np.sqrt(((truth - answers) ** 2).mean())),
    "r2": _r2,
}
_LOWER_IS_BETTER = ("log_loss", "brier", "mae", "rmse")
