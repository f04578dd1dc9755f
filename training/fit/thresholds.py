"""Thresholds: from which probability or score on a row counts as found."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.arrays import FloatArray
from training.data.dataset import Data
from training.data.splits import Split
from training.fit.estimators import reference_outputs
from training.fit.selection import Chosen
from training.jobs import Job


@dataclass(frozen=True)
class Threshold:
    """From which probability on the positive class is answered, and why."""

    value: float
    reason: str


def find_threshold(
    job: Job, data: Data, split: Split, chosen: Chosen, estimator: Any
) -> Threshold | None:
    """Find the threshold of a binary or an anomaly task; None where there is none."""
    contract = data.contract
    if contract.task == "binary":
        assert chosen.outputs is not None
        assert data.labels is not None
        positive = contract.positive_index
        if chosen.searched.best.candidate == "dummy":
            return Threshold(0.5, "the model answers every row alike, so it stays at 0.5")
        return choose_threshold(
            data.labels[chosen.rows] == positive,
            chosen.outputs[:, positive],
            contract.classes[positive],
        )
    if contract.task == "anomaly":
        share = job.settings.problem.anomaly_share
        scores = reference_outputs(estimator, data.matrix[split.train], contract)[:, 0]
        return Threshold(
            float(np.quantile(scores, 1 - share)),
            f"the score that {share:.3g} of the training rows exceed ([problem] anomaly_share)",
        )
    return None


def choose_threshold(labels: FloatArray, probabilities: FloatArray, positive: str) -> Threshold:
    """Choose the probability that gives the best F1 on rows that the model did not see.

    Of thresholds that are as good, the middle of the widest gap between probabilities is taken, so
    that the choice does not depend on one row. With one class only it stays at 0.5.
    """
    hits = labels.astype(bool)
    if hits.all() or not hits.any():
        return Threshold(0.5, "the rows that choose it hold one class only, so it stays at 0.5")
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    right = np.cumsum(hits[order])
    answered = np.arange(1, len(ranked) + 1)
    f1 = 2 * right / (answered + hits.sum())
    last_of_ties = np.r_[ranked[1:] != ranked[:-1], True]
    f1 = np.where(last_of_ties, f1, -1.0)
    below = np.r_[ranked[1:], 0.0]
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    chosen = int(best[np.argmax(ranked[best] - below[best])])
    value = float(np.clip((ranked[chosen] + below[chosen]) / 2, 1e-6, 1.0))
    if value > ranked[chosen]:
        value = float(ranked[chosen])
    at_half = (
        2
        * float((hits & (probabilities >= 0.5)).sum())
        / max(1.0, float((probabilities >= 0.5).sum() + hits.sum()))
    )
    reason = (
        f"best F1 of {positive!r} in cross-validation of the training rows: "
        f"{float(f1[chosen]):.3f} there, {at_half:.3f} at 0.5"
    )
    return Threshold(value, reason)
