"""A whole model: what prepares, what estimates, what calibrates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.arrays import FloatArray
from training.export.folding.calibration import fold_calibrator
from training.export.folding.distances import fold_envelope, fold_kmeans, fold_mixture
from training.export.folding.ensembles import (
    fold_forest,
    fold_gradient_boosting,
    fold_histogram_boosting,
    fold_isolation_forest,
)
from training.export.folding.linear import fold_dummy, fold_linear
from training.export.folding.preparation import Preparation, follow_steps
from training.export.folding.tables import NotFoldable, Tables
from training.export.folding.terms import fold_terms


@dataclass(frozen=True)
class _Model:
    """The parts of a fitted model: what prepares, what estimates, what calibrates."""

    preparations: list[Any]
    estimator: Any
    calibrator: Any


def fold_model(model: Any, template: FloatArray) -> Tables:
    """Fold a fitted estimator, Pipeline or calibrated classifier into tables.

    `template` is one encoded row of ordinary values, shape (features,). Raises NotFoldable for
    anything that has no exact tables.
    """
    parts = _take_apart(model)
    preparation = follow_steps(parts.preparations, template)
    with np.errstate(over="ignore", invalid="ignore"):
        tables = _fold_estimator(parts.estimator, preparation, parts.calibrator is not None)
    if parts.calibrator is not None:
        calibration = fold_calibrator(parts.calibrator)
        tables = Tables(tables.family, {**tables.content, "calibration": calibration})
    return tables


@dataclass(frozen=True)
class Halves:
    """A model whose preprocessing folds and whose estimator does not.

    `terms` give coordinates (see `core/engine.py`); the estimator is given the coordinate
    `order[i]` as its column i. `calibration` is as in the tables, None where there is none.
    """

    terms: list[dict[str, Any]]
    order: list[int]
    estimator: Any
    calibration: dict[str, Any] | None


def fold_preparation(model: Any, template: FloatArray) -> Halves:
    """Fold all of a model but its estimator; raises NotFoldable if that is impossible too."""
    parts = _take_apart(model)
    preparation = follow_steps(parts.preparations, template)
    with np.errstate(over="ignore", invalid="ignore"):
        terms, order = fold_terms(preparation, None)
    calibration = None if parts.calibrator is None else fold_calibrator(parts.calibrator)
    return Halves(terms, np.argsort(order).tolist(), parts.estimator, calibration)


def _take_apart(model: Any) -> _Model:
    """Unwrap pipelines, frozen estimators and calibration."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline

    preparations: list[Any] = []
    calibrator = None
    while True:
        if isinstance(model, Pipeline):
            *before, (_, last) = model.steps
            preparations += [step for _, step in before if step not in (None, "passthrough")]
            model = last
        elif isinstance(model, FrozenEstimator):
            model = model.estimator
        elif isinstance(model, CalibratedClassifierCV):
            fitted = model.calibrated_classifiers_
            if calibrator is not None or len(fitted) != 1:
                raise NotFoldable(
                    "calibration over several fits of a model; calibrate one fitted model "
                    "(FrozenEstimator, or ensemble=False)"
                )
            calibrator = fitted[0]
            model = calibrator.estimator
        else:
            return _Model(preparations, model, calibrator)


def _fold_estimator(estimator: Any, preparation: Preparation, calibrated: bool) -> Tables:
    from sklearn import cluster, covariance, dummy, ensemble, mixture, tree

    if isinstance(estimator, dummy.DummyClassifier | dummy.DummyRegressor):
        return fold_dummy(estimator, preparation, calibrated)
    if isinstance(
        estimator, ensemble.HistGradientBoostingClassifier | ensemble.HistGradientBoostingRegressor
    ):
        return fold_histogram_boosting(estimator, preparation)
    if isinstance(
        estimator, ensemble.GradientBoostingClassifier | ensemble.GradientBoostingRegressor
    ):
        return fold_gradient_boosting(estimator, preparation)
    if isinstance(estimator, ensemble.IsolationForest):
        return fold_isolation_forest(estimator, preparation)
    if isinstance(
        estimator,
        ensemble.RandomForestClassifier
        | ensemble.RandomForestRegressor
        | ensemble.ExtraTreesClassifier
        | ensemble.ExtraTreesRegressor
        | tree.DecisionTreeClassifier
        | tree.DecisionTreeRegressor,
    ):
        return fold_forest(estimator, preparation)
    if isinstance(estimator, cluster.KMeans):
        return fold_kmeans(estimator, preparation)
    if isinstance(estimator, mixture.GaussianMixture):
        return fold_mixture(estimator, preparation)
    if isinstance(estimator, covariance.EllipticEnvelope):
        return fold_envelope(estimator, preparation)
    return fold_linear(estimator, preparation, calibrated)
