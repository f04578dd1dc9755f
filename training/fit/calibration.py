"""Calibrated probabilities: Platt's sigmoids, fitted on rows that the model did not see."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from training.arrays import FloatArray


def raw_scores(model: Any, matrix: FloatArray) -> FloatArray:
    """Give what a sigmoid maps: decision values, or probabilities where a model has none.

    Shape (n, 1) for two classes, (n, classes) for more, as in scikit-learn's
    `CalibratedClassifierCV`.
    """
    if hasattr(model, "decision_function"):
        scores = np.asarray(model.decision_function(matrix), dtype=np.float64)
        return scores[:, None] if scores.ndim == 1 else scores
    probabilities = np.asarray(model.predict_proba(matrix), dtype=np.float64)
    return probabilities[:, 1:] if probabilities.shape[1] == 2 else probabilities


def fit_sigmoids(scores: FloatArray, labels: FloatArray) -> FloatArray:
    """Fit one sigmoid 1 / (1 + exp(a * s + b)) a column, each class against the rest; (columns, 2).

    Platt's (1999) targets, which shrink from 0 and 1, by Newton's method as Lin, Lin and Weng
    (2007).
    """
    columns = scores.shape[1]
    classes = [1] if columns == 1 else list(range(columns))
    return np.asarray([_fit_sigmoid(scores[:, i], labels == c) for i, c in enumerate(classes)])


def apply_sigmoids(sigmoids: FloatArray, scores: FloatArray) -> FloatArray:
    """Turn raw scores into probabilities of each class that sum to one."""
    exponent = np.clip(scores * sigmoids[:, 0] + sigmoids[:, 1], -700, 700)
    each = 1.0 / (1.0 + np.exp(exponent))
    if each.shape[1] == 1:
        return np.hstack([1.0 - each, each])
    total = each.sum(axis=1, keepdims=True)
    even = np.full_like(each, 1.0 / each.shape[1])
    shares: FloatArray = np.divide(each, total, out=even, where=total > 0)
    return shares


def calibrate(model: Any, scores: FloatArray, labels: FloatArray) -> Any:
    """Wrap a fitted classifier with sigmoids learned from raw scores of rows that it did not see.

    Gives scikit-learn's own `CalibratedClassifierCV`, as fitted with `ensemble=False`, without
    fitting the model once more for every fold.
    """
    replay = Replay(classes=len(model.classes_)).fit(scores, labels)
    every = np.arange(len(scores))
    calibrated = CalibratedClassifierCV(
        FrozenEstimator(replay), method="sigmoid", ensemble=False, cv=[(every, every)]
    )
    calibrated.fit(scores, labels.astype(np.intp))
    calibrated.cv = None
    calibrated.estimator = model
    calibrated.n_features_in_ = model.n_features_in_
    for fitted in calibrated.calibrated_classifiers_:
        fitted.estimator = model
    return calibrated


class Replay(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose decision values are the rows that it is given."""

    def __init__(self, classes: int = 2) -> None:
        """Take the number of classes."""
        self.classes = classes

    def fit(self, scores: FloatArray, labels: FloatArray) -> Self:
        """Keep the classes."""
        self.classes_ = np.arange(self.classes)
        self.n_features_in_ = scores.shape[1]
        return self

    def decision_function(self, scores: FloatArray) -> FloatArray:
        """Give the rows back."""
        return scores[:, 0] if self.classes == 2 else scores

    def predict(self, scores: FloatArray) -> NDArray[np.intp]:
        """Predict the class with the highest decision value."""
        at = self.decision_function(scores)
        return (at > 0).astype(np.intp) if self.classes == 2 else at.argmax(axis=1)


def _fit_sigmoid(scores: FloatArray, hits: NDArray[np.bool_]) -> tuple[float, float]:
    positives = float(hits.sum())
    negatives = float(len(hits)) - positives
    targets = np.where(hits, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    # A common scale keeps Newton's steps well conditioned whatever the unit of the scores.
    scale = float(np.max(np.abs(scores))) or 1.0
    x = scores / scale
    a, b = 0.0, float(np.log((negatives + 1.0) / (positives + 1.0)))

    def loss(a: float, b: float) -> float:
        f = a * x + b
        return float(np.sum(np.logaddexp(0.0, -f) + targets * f))

    current = loss(a, b)
    for _ in range(100):
        f = np.clip(a * x + b, -700, 700)
        p = 1.0 / (1.0 + np.exp(f))
        d1, d2 = targets - p, p * (1.0 - p)
        g1, g2 = float(d1 @ x), float(d1.sum())
        if abs(g1) < 1e-9 and abs(g2) < 1e-9:
            break
        h11 = float(d2 @ (x * x)) + 1e-12
        h22, h21 = float(d2.sum()) + 1e-12, float(d2 @ x)
        determinant = h11 * h22 - h21 * h21
        if determinant <= 0:
            break
        step_a, step_b = -(h22 * g1 - h21 * g2) / determinant, -(h11 * g2 - h21 * g1) / determinant
        size = 1.0
        while size > 1e-10:
            trial = loss(a + size * step_a, b + size * step_b)
            if trial <= current:
                break
            size /= 2.0
        else:
            break
        a, b = a + size * step_a, b + size * step_b
        if current - trial < 1e-12 * max(1.0, abs(current)):
            break
        current = trial
    return a / scale, b
