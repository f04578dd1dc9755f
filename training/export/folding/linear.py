"""Linear models, and dummies that answer every row alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.export.folding.preparation import Preparation
from training.export.folding.tables import NotFoldable, Tables
from training.export.folding.terms import fold_terms


def fold_linear(estimator: Any, preparation: Preparation, calibrated: bool) -> Tables:
    """Fold a linear model; `calibrated` says that its score need not be a probability."""
    from sklearn import linear_model, svm
    from sklearn.base import is_classifier
    from sklearn.linear_model._base import LinearModel

    if is_classifier(estimator):
        probabilistic = isinstance(estimator, linear_model.LogisticRegression)
        scored = isinstance(
            estimator, linear_model.RidgeClassifier | linear_model.SGDClassifier | svm.LinearSVC
        )
        if not probabilistic and not (scored and calibrated):
            raise NotFoldable(f"the estimator {type(estimator).__name__}")
        link = "softmax" if len(np.atleast_2d(estimator.coef_)) > 1 else "logistic"
    elif isinstance(estimator, linear_model.PoissonRegressor | linear_model.GammaRegressor):
        link = "exponential"
    elif isinstance(estimator, LinearModel):
        link = "identity"
    else:
        raise NotFoldable(f"the estimator {type(estimator).__name__}")
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    base = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), (len(weights),))
    terms, _ = fold_terms(preparation, lambda index: weights[:, index])
    return Tables("linear", {"base": base.tolist(), "terms": terms, "link": link})


def fold_dummy(estimator: Any, preparation: Preparation, calibrated: bool) -> Tables:
    """Fold a dummy: a constant."""
    from sklearn.dummy import DummyClassifier

    row = preparation.transform(preparation.template[None, :])
    if isinstance(estimator, DummyClassifier):
        if estimator.strategy in ("stratified", "uniform") or calibrated:
            raise NotFoldable("a dummy classifier that draws at random or is calibrated")
        return Tables(
            "constant",
            {"base": [float(p) for p in estimator.predict_proba(row)[0]], "scale": "probability"},
        )
    return Tables("constant", {"base": [float(estimator.predict(row)[0])]})
