"""Models of distances from centres: k-means, Gaussian mixtures, the elliptic envelope."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from training.export.folding.preparation import Preparation
from training.export.folding.tables import Tables
from training.export.folding.terms import fold_terms


def fold_kmeans(estimator: Any, preparation: Preparation) -> Tables:
    """Fold k-means: minus the squared distance to each centre."""
    centres = np.asarray(estimator.cluster_centers_, dtype=np.float64)
    terms, order = fold_terms(preparation, None)
    return Tables(
        "distances",
        {
            "base": [0.0] * len(centres),
            "factor": -1.0,
            "terms": terms,
            "centres": centres[:, order].tolist(),
            "shape": "unit",
            "precisions": [],
            "link": "nearest",
        },
    )


def fold_mixture(estimator: Any, preparation: Preparation) -> Tables:
    """Fold a Gaussian mixture: the log of each component's weighted density."""
    from sklearn.mixture._gaussian_mixture import _compute_log_det_cholesky

    kind = estimator.covariance_type
    count, width = estimator.means_.shape
    determinants = _compute_log_det_cholesky(estimator.precisions_cholesky_, kind, width)
    base = np.log(estimator.weights_) + determinants - 0.5 * width * math.log(2.0 * math.pi)
    terms, order = fold_terms(preparation, None)
    precisions = np.asarray(estimator.precisions_, dtype=np.float64)
    if kind == "spherical":
        precisions = np.repeat(precisions[:, None], width, axis=1)
    elif kind == "tied":
        precisions = np.repeat(precisions[None], count, axis=0)
    diagonal = precisions.ndim == 2
    precisions = precisions[:, order] if diagonal else precisions[:, order][:, :, order]
    return Tables(
        "distances",
        {
            "base": base.tolist(),
            "factor": -0.5,
            "terms": terms,
            "centres": estimator.means_[:, order].tolist(),
            "shape": "diagonal" if diagonal else "full",
            "precisions": precisions.tolist(),
            "link": "responsibility",
        },
    )


def fold_envelope(estimator: Any, preparation: Preparation) -> Tables:
    """Fold an elliptic envelope: the squared Mahalanobis distance."""
    terms, order = fold_terms(preparation, None)
    precision = np.asarray(estimator.get_precision(), dtype=np.float64)
    return Tables(
        "distances",
        {
            "base": [0.0],
            "factor": 1.0,
            "terms": terms,
            "centres": [np.asarray(estimator.location_)[order].tolist()],
            "shape": "full",
            "precisions": [precision[order][:, order].tolist()],
            "link": "identity",
            "scale": "squared Mahalanobis distance",
        },
    )
