"""Folded models answer what scikit-learn answers, from tables and from ONNX."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
)
from sklearn.linear_model import PoissonRegressor, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier

from core.contract import Column, Contract
from core.engine import load_engine
from core.errors import ExportError
from tests.training.export.models import (
    BOOSTING,
    CLASSIFIERS,
    REGRESSORS,
    calibrate,
    export,
    fit,
    make_contract,
    make_rows,
    make_target,
    prepare,
    rare,
)
from training.export.formats import FOLDED_BOUND, export_model
from training.export.proof import prove_parity


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_fold_exactly(name: str, classes: int) -> None:
    """Tables and ONNX give predict_proba to 1e-12 on ordinary and crafted rows, no label off."""
    task = "binary" if classes == 2 else "multiclass"
    model, contract, fresh = fit(CLASSIFIERS[name](), task, classes)
    exported = export(model, contract, fresh)
    assert exported.family != "none", exported.note
    report = prove_parity(model, exported, fresh, contract)
    assert exported.bound == FOLDED_BOUND
    assert report.max_abs_diff <= FOLDED_BOUND
    assert report.flips == 0
    assert report.refused == 0
    assert set(report.engines) == {"table", "onnx"}
    assert report.rows > len(fresh)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_fold_exactly(name: str) -> None:
    """Tables and ONNX give predict to 1e-12, relative where the value is large."""
    model, contract, fresh = fit(REGRESSORS[name](), "regression")
    exported = export(model, contract, fresh)
    assert exported.family != "none", exported.note
    assert prove_parity(model, exported, fresh, contract).max_abs_diff <= FOLDED_BOUND


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_regressors_on_a_logarithmic_scale_fold(loss: str) -> None:
    """Poisson and gamma losses answer the exponential of the sum."""
    rows, contract, fresh = make_rows(0), make_contract("regression"), make_rows(7, 100)
    target = np.exp(make_target(rows, "regression", 0) / 4)
    for model in (
        HistGradientBoostingRegressor(loss=loss, **BOOSTING),
        Pipeline([("p", prepare()), ("m", PoissonRegressor(max_iter=20))]),
    ):
        exported = export(model.fit(rows, target), contract, fresh)
        assert exported.family in ("trees", "linear")
        # exp magnifies the rounding of large sums: rows far outside are left out here.
        assert (
            prove_parity(model, exported, fresh, contract, most_adversarial_rows=1).max_abs_diff
            <= FOLDED_BOUND
        )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
@pytest.mark.parametrize("name", ["logistic", "boosting-native", "forest", "gradient-boosting"])
def test_calibration_is_part_of_the_export(name: str, method: str, classes: int) -> None:
    """A calibrated model folds whole, whatever its calibration is fed with."""
    task = "binary" if classes == 2 else "multiclass"
    model, contract, fresh = fit(CLASSIFIERS[name](), task, classes)
    rows = make_rows(3)
    calibrated = calibrate(method, model).fit(rows, make_target(rows, task, classes))
    exported = export(calibrated, contract, fresh)
    assert exported.family != "none", exported.note
    report = prove_parity(calibrated, exported, fresh, contract)
    assert report.max_abs_diff <= exported.bound
    assert "calibration" in json.loads(exported.model_json)["tables"]


@pytest.mark.parametrize("scored", [True, False])
def test_a_linear_score_needs_calibration_to_be_a_probability(scored: bool) -> None:
    """A classifier without probabilities folds once it is calibrated, and is refused before."""
    model, contract, fresh = fit(
        Pipeline([("p", prepare()), ("m", SGDClassifier(random_state=0))]), "binary", 2
    )
    if not scored:
        with pytest.raises((ExportError, AttributeError)):
            prove_parity(model, export(model, contract, fresh), fresh, contract)
        return
    rows = make_rows(3)
    calibrated = calibrate("sigmoid", model).fit(rows, make_target(rows, "binary", 2))
    exported = export(calibrated, contract, fresh)
    assert exported.family == "linear"
    assert prove_parity(calibrated, exported, fresh, contract).max_abs_diff <= FOLDED_BOUND


@pytest.mark.parametrize(
    "model",
    [
        IsolationForest(n_estimators=20, random_state=0),
        IsolationForest(n_estimators=20, max_features=0.5, random_state=0),
        EllipticEnvelope(random_state=0),
    ],
    ids=["isolation", "isolation-columns", "envelope"],
)
def test_anomaly_detectors_fold(model: Any) -> None:
    """The score is minus scikit-learn's score_samples, in both engines."""
    pipeline, contract, fresh = fit(
        Pipeline([("p", prepare(categories=rare())), ("m", model)]), "anomaly"
    )
    exported = export(pipeline, contract, fresh)
    assert exported.family in ("trees", "distances")
    assert prove_parity(pipeline, exported, fresh, contract).max_abs_diff <= exported.bound


@pytest.mark.parametrize("covariance", [None, "full", "tied", "diag", "spherical"])
def test_clusterings_fold(covariance: str | None) -> None:
    """K-means answers distances and mixtures answer responsibilities, after the cluster's index."""
    model: Any = KMeans(n_clusters=3, n_init=2, random_state=0)
    if covariance:
        model = GaussianMixture(3, covariance_type=covariance, reg_covar=1e-3, random_state=0)
    pipeline, contract, fresh = fit(Pipeline([("p", prepare()), ("m", model)]), "clustering")
    contract = make_contract("clustering", 3)
    exported = export(pipeline, contract, fresh)
    assert exported.family == "distances"
    report = prove_parity(pipeline, exported, fresh, contract)
    assert report.max_abs_diff <= exported.bound
    labels = np.array(load_engine(exported.model_json).score_many(fresh.tolist()))[:, 0]
    assert (labels == pipeline.predict(fresh)).all()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    centre=st.floats(-1e9, 1e9),
    spread=st.floats(1e-9, 1e9),
    single=st.booleans(),
)
def test_scaled_thresholds_fold_to_the_float(
    seed: int, centre: float, spread: float, single: bool
) -> None:
    """Whatever the scale of a column, no row changes sides of a split, in float32 or float64."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(centre, spread, size=(80, 2))
    target = (rows[:, 0] + draw.normal(size=80) * spread > centre).astype(int)
    if len(set(target.tolist())) < 2:
        return
    estimator: Any = DecisionTreeClassifier(random_state=0)
    if not single:
        estimator = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5)
    model = Pipeline([("scale", StandardScaler()), ("m", estimator)]).fit(rows, target)
    contract = Contract(
        task="binary",
        columns=(Column("a", "number"), Column("b", "number")),
        target="t",
        classes=("no", "yes"),
    )
    exported = export_model(model, contract, rows[0])
    report = prove_parity(model, exported, rows, contract)
    assert report.max_abs_diff <= FOLDED_BOUND
    assert report.flips == 0
