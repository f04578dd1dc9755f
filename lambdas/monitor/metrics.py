"""The metrics by which labels judge a model, as training defines them (training/metrics.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.contract import Contract

Floats = NDArray[np.float64]

SMALLEST_PROBABILITY = 1e-15


@dataclass(frozen=True)
class Answers:
    """What a model answered for labelled rows.

    `truth` (n,) holds class indices or values, `outputs` (n, k) is as `Contract.outputs` says,
    `times` (n,) are those of the predictions in epoch milliseconds, NaN where not known.
    """

    truth: Floats
    outputs: Floats
    times: Floats
    positive: int = 0
    threshold: float = 0.5

    @classmethod
    def read(
        cls,
        contract: Contract,
        threshold: float | None,
        labels: Sequence[str | float],
        outputs: Sequence[Sequence[float]],
        times: Sequence[float] | None = None,
    ) -> Answers:
        """Put labels beside outputs.

        Leaves out rows whose outputs cannot be used: some are not finite, or are not as many as the
        model has.
        """
        width = len(contract.outputs)
        usable = [len(one) == width and all(map(math.isfinite, one)) for one in outputs]
        moments = [math.nan] * len(labels) if times is None else times
        labels, outputs = list(compress(labels, usable)), list(compress(outputs, usable))
        if contract.is_classification:
            position = {label: i for i, label in enumerate(contract.classes)}
            labels = [float(position[str(label)]) for label in labels]
        return cls(
            np.asarray(labels, dtype=np.float64),
            np.asarray(outputs, dtype=np.float64).reshape(-1, width),
            np.asarray(moments, dtype=np.float64)[usable],
            contract.positive_index if contract.task == "binary" else 0,
            0.5 if threshold is None else threshold,
        )

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.truth)

    def take(self, rows: NDArray[Any] | slice) -> Answers:
        """Keep some of the rows."""
        return replace(
            self, truth=self.truth[rows], outputs=self.outputs[rows], times=self.times[rows]
        )


class Metric(NamedTuple):
    """A metric: each row's own loss, and the value over rows with weights.

    Weights are (replicates, n), how often a bootstrap drew each row; `values` gives one value a
    replicate, NaN where it is undefined. Where the mean of the losses rises the value is worse.
    """

    losses: Callable[[Answers], Floats]
    values: Callable[[Answers, Floats], Floats]
    better: str

    def value(self, answers: Answers) -> float:
        """Give the value over all rows."""
        if not len(answers):
            return math.nan
        return float(self.values(answers, np.ones((1, len(answers))))[0])


def _hits(answers: Answers) -> NDArray[np.bool_]:
    hits: NDArray[np.bool_] = answers.truth == answers.positive
    return hits


def _scores(answers: Answers) -> Floats:
    return answers.outputs[:, answers.positive]


def _below(score: Floats, others: Floats) -> Floats:
    """Give the share of others that lie below each score, ties counting half."""
    ordered = np.sort(others)
    low, high = ordered.searchsorted(score, "left"), ordered.searchsorted(score, "right")
    return (low + high) / (2.0 * len(others))


def _misplaced(answers: Answers) -> Floats:
    """Give the share of the other class's rows that each row is on the wrong side of.

    The placements of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), each class with half
    of the weight, so that their mean is 1 - ROC-AUC. Zero where there is one class only.
    """
    hits, score = _hits(answers), _scores(answers)
    found = np.zeros(len(answers))
    for side, other in ((hits, ~hits), (~hits, hits)):
        if side.any() and other.any():
            share = _below(score[side], score[other])
            wrong = 1.0 - share if side is hits else share
            found[side] = wrong * len(hits) / (2.0 * side.sum())
    return found


def _roc_auc(answers: Answers, weights: Floats) -> Floats:
    hits, score = _hits(answers), _scores(answers)
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    drawn = weights[:, order]
    positive = np.add.reduceat(drawn * hits[order], starts, axis=1)
    negative = np.add.reduceat(drawn * ~hits[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    with np.errstate(invalid="ignore"):
        area: Floats = (positive * (below + 0.5 * negative)).sum(axis=1) / pairs
    return area


def _log_losses(answers: Answers) -> Floats:
    given = answers.outputs[np.arange(len(answers)), answers.truth.astype(np.intp)]
    losses: Floats = -np.log(np.clip(given, SMALLEST_PROBABILITY, None))
    return losses


def _wrong(answers: Answers) -> Floats:
    wrong = (_scores(answers) >= answers.threshold) != _hits(answers)
    return np.asarray(wrong, dtype=np.float64)


def _wrong_of_many(answers: Answers) -> Floats:
    wrong = answers.outputs.argmax(axis=1) != answers.truth
    return np.asarray(wrong, dtype=np.float64)


def _brier(answers: Answers) -> Floats:
    squares: Floats = (_scores(answers) - _hits(answers)) ** 2
    return squares


def _brier_of_many(answers: Answers) -> Floats:
    truth = answers.truth[:, None] == np.arange(answers.outputs.shape[1])[None, :]
    squares: Floats = ((answers.outputs - truth) ** 2).sum(axis=1)
    return squares


def _errors(answers: Answers) -> Floats:
    errors: Floats = np.abs(answers.outputs[:, 0] - answers.truth)
    return errors


def _squares(answers: Answers) -> Floats:
    squares: Floats = _errors(answers) ** 2
    return squares


def _average(values: Floats, weights: Floats) -> Floats:
    means: Floats = (weights @ values) / weights.sum(axis=1)
    return means


def _r2(answers: Answers, weights: Floats) -> Floats:
    truth = answers.truth - np.median(answers.truth)  # large values would cancel below
    spread = _average(truth**2, weights) - _average(truth, weights) ** 2
    unexplained = _average(_squares(answers), weights)
    found: Floats = np.full(len(weights), np.nan)
    found[spread > 0] = 1.0 - unexplained[spread > 0] / spread[spread > 0]
    return found


def _mean(losses: Callable[[Answers], Floats]) -> Metric:
    return Metric(losses, lambda answers, w: _average(losses(answers), w), "lower")


def _share(wrong: Callable[[Answers], Floats]) -> Metric:
    return Metric(wrong, lambda answers, w: 1.0 - _average(wrong(answers), w), "higher")


# By task, in the order of preference where the evaluation's own metric is none of them.
METRICS: Mapping[str, Mapping[str, Metric]] = {
    "binary": {
        "roc_auc": Metric(_misplaced, _roc_auc, "higher"),
        "accuracy": _share(_wrong),
        "log_loss": _mean(_log_losses),
        "brier": _mean(_brier),
    },
    "multiclass": {
        "accuracy": _share(_wrong_of_many),
        "log_loss": _mean(_log_losses),
        "brier": _mean(_brier_of_many),
    },
    "regression": {
        "mae": _mean(_errors),
        "rmse": Metric(_squares, lambda a, w: np.sqrt(_average(_squares(a), w)), "lower"),
        "r2": Metric(_squares, _r2, "higher"),
    },
}
