"""Fitted scikit-learn estimators: how they are given rows, and what they answer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contract import Contract
from training.arrays import FloatArray


def fit_rows(model: Any, matrix: FloatArray, labels: NDArray[Any] | None = None) -> None:
    """Fit a model; a column without a single value among these rows is given as zeros.

    Histogram boosting refuses such a column; as a constant it can teach no model anything either.
    """
    empty = np.isnan(matrix).all(axis=0)
    if empty.any():
        matrix = np.where(empty, 0.0, matrix)
    if labels is None:
        model.fit(matrix)
    else:
        model.fit(matrix, labels)


def prepared(model: Any, matrix: FloatArray) -> FloatArray:
    """Give the rows as the Pipeline's last step sees them."""
    dense = model[:-1].transform(matrix)
    return np.asarray(dense, dtype=np.float64)


def reference_outputs(model: Any, rows: FloatArray, contract: Contract) -> FloatArray:
    """Give scikit-learn's own outputs for encoded rows, in the order of `Contract.outputs`.

    Classification: `predict_proba`. Regression: `predict`. Anomaly: minus `score_samples`, higher
    for an unusual row. Clustering: the index of the cluster, then minus the distance to each centre
    (k-means), or the responsibility of each component (mixtures).
    """
    if contract.is_classification:
        return np.asarray(model.predict_proba(rows), dtype=np.float64)
    if contract.task == "regression":
        return np.asarray(model.predict(rows), dtype=np.float64).reshape(-1, 1)
    if contract.task == "anomaly":
        return -np.asarray(model.score_samples(rows), dtype=np.float64).reshape(-1, 1)
    if hasattr(model, "predict_proba"):
        scores = np.asarray(model.predict_proba(rows), dtype=np.float64)
    else:
        scores = -_distances(model, rows)
    return np.column_stack([scores.argmax(axis=1).astype(np.float64), scores])


def _distances(model: Any, rows: FloatArray) -> FloatArray:
    """Give the distance of rows to the centres of a k-means, without expanding squares."""
    *_, (_, last) = model.steps if hasattr(model, "steps") else [("", model)]
    at = model[:-1].transform(rows) if hasattr(model, "steps") and len(model.steps) > 1 else rows
    at = np.asarray(at.toarray() if hasattr(at, "toarray") else at, dtype=np.float64)
    centres = np.asarray(last.cluster_centers_, dtype=np.float64)
    return np.column_stack([np.sqrt(((at - centre) ** 2).sum(axis=1)) for centre in centres])
