"""Exported models answer what scikit-learn answers, from tables and from ONNX."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.covariance import EllipticEnvelope
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from core.contract import Column, Contract
from core.engine import load_engine
from core.errors import ExportError
from training.export.formats import FOLDED_BOUND, Exported, export_model
from training.export.probes import adversarial_rows
from training.export.proof import prove_parity
from training.export.sessions import run_onnx

NUMBERS, CATEGORIES = [0, 1, 2, 3], [4, 5]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Keep the many small fits of this file from waiting for each other's threads."""
    with threadpool_limits(1):
        yield


ROWS = 400


class Median(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator of one's own that no converter knows."""

    def fit(self, rows: np.ndarray, target: np.ndarray) -> Median:
        self.median_ = float(np.median(target))
        return self

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.full(len(rows), self.median_)


def make_contract(task: str, classes: int = 0) -> Contract:
    """Describe four numbers, two categories (7 and 4 codes) and a boolean."""
    columns = [Column(f"number {i}", "number", missing=True) for i in NUMBERS]
    columns += [
        Column("colour", "category", categories=tuple("abcdefg"), missing=True),
        Column("größe", "category", categories=tuple("wxyz"), missing=True),
        Column("flag", "boolean", missing=True),
    ]
    return Contract(
        task=task,  # type: ignore[arg-type]
        columns=tuple(columns),
        target=None if task in ("anomaly", "clustering") else "target",
        classes=tuple(f"class {i}" for i in range(classes)),
    )


def make_rows(seed: int, rows: int = ROWS) -> np.ndarray:
    """Draw encoded rows, with missing values and unseen categories."""
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=(rows, 4)) * [1.0, 1e6, 1e-5, 3.7] + [0.0, 1e6, 0.3, -50.0]
    numbers[:, 3] = np.round(numbers[:, 3])
    codes = np.column_stack([draw.integers(0, 8, rows), draw.integers(0, 5, rows)])
    flag = draw.integers(0, 2, rows)
    table = np.column_stack([numbers, codes, flag]).astype(np.float64)
    table[draw.random(table.shape) < 0.05] = np.nan
    return table


def make_target(rows: np.ndarray, task: str, classes: int) -> np.ndarray:
    """Draw a target that depends on numbers, categories and missing values."""
    draw = np.random.default_rng(1)
    filled = np.nan_to_num(rows, nan=-1.0)
    signal = filled[:, 0] + filled[:, 1] / 2e6 + np.isin(filled[:, 4], [1, 3, 6]) - filled[:, 6]
    signal = signal + draw.normal(size=len(rows)) * 0.5
    if task == "regression":
        return np.asarray(signal)
    edges = np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1])
    return np.asarray(np.digitize(signal, edges))


def prepare(*, scaler: Any = None, categories: Any = None) -> ColumnTransformer:
    """Impute and scale the numbers, encode the categories, pass the flag on."""
    return ColumnTransformer(
        [
            (
                "numbers",
                Pipeline(
                    [
                        ("impute", SimpleImputer(strategy="median", add_indicator=True)),
                        ("scale", scaler or StandardScaler()),
                    ]
                ),
                NUMBERS,
            ),
            (
                "categories",
                Pipeline(
                    [
                        ("impute", SimpleImputer(strategy="constant", fill_value=-1.0)),
                        ("encode", categories or OneHotEncoder(handle_unknown="ignore")),
                    ]
                ),
                CATEGORIES,
            ),
            ("flag", SimpleImputer(strategy="most_frequent"), [6]),
        ]
    )


def ordinal() -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-5)


def rare() -> OneHotEncoder:
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=40, sparse_output=False
    )


def native(estimator: Any) -> Any:
    return estimator.set_params(categorical_features=CATEGORIES)


def calibrate(method: str, model: Any) -> Any:
    return CalibratedClassifierCV(FrozenEstimator(model), method=method)


FOREST = {"n_estimators": 12, "random_state": 0}
BOOSTING = {"max_iter": 15, "random_state": 0, "min_samples_leaf": 5}

CLASSIFIERS: dict[str, Any] = {
    "dummy": lambda: DummyClassifier(strategy="prior"),
    "logistic": lambda: Pipeline([("p", prepare()), ("m", LogisticRegression())]),
    "logistic-rare": lambda: Pipeline(
        [("p", prepare(categories=rare(), scaler=RobustScaler())), ("m", LogisticRegression())]
    ),
    "boosting": lambda: HistGradientBoostingClassifier(**BOOSTING),
    "boosting-native": lambda: native(HistGradientBoostingClassifier(**BOOSTING)),
    "boosting-prepared": lambda: Pipeline(
        [("p", prepare()), ("m", HistGradientBoostingClassifier(**BOOSTING))]
    ),
    "forest": lambda: RandomForestClassifier(**FOREST),
    "forest-prepared": lambda: Pipeline(
        [("p", prepare(scaler=MinMaxScaler())), ("m", RandomForestClassifier(**FOREST))]
    ),
    "forest-ordinal": lambda: Pipeline(
        [
            ("p", prepare(categories=ordinal())),
            ("select", VarianceThreshold()),
            ("m", RandomForestClassifier(max_depth=6, **FOREST)),
        ]
    ),
    "extra-target": lambda: Pipeline(
        [
            ("p", prepare(categories=TargetEncoder(random_state=0))),
            ("m", ExtraTreesClassifier(**FOREST)),
        ]
    ),
    "gradient-boosting": lambda: Pipeline(
        [
            ("p", prepare()),
            ("m", GradientBoostingClassifier(n_estimators=10, random_state=0)),
        ]
    ),
    "tree": lambda: DecisionTreeClassifier(random_state=0),
}

REGRESSORS: dict[str, Any] = {
    "dummy": lambda: DummyRegressor(),
    "ridge": lambda: Pipeline([("p", prepare()), ("m", Ridge())]),
    "boosting": lambda: native(HistGradientBoostingRegressor(**BOOSTING)),
    "forest": lambda: RandomForestRegressor(**FOREST),
    "extra": lambda: Pipeline([("p", prepare()), ("m", ExtraTreesRegressor(**FOREST))]),
    "gradient-boosting": lambda: Pipeline(
        [("p", prepare()), ("m", GradientBoostingRegressor(n_estimators=10, random_state=0))]
    ),
    "tree": lambda: DecisionTreeRegressor(random_state=0),
}


def fit(model: Any, task: str, classes: int = 0) -> tuple[Any, Contract, np.ndarray]:
    """Fit a model; give it with its contract and fresh rows."""
    rows = make_rows(0)
    target = None
    if task not in ("anomaly", "clustering"):
        target = make_target(rows, task, classes)
    model.fit(rows, target)
    return model, make_contract(task, classes), make_rows(7, 200)


def export(model: Any, contract: Contract, fresh: np.ndarray, **options: Any) -> Exported:
    return export_model(model, contract, fresh[0], **options)


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


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("binary", MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0)),
        ("multiclass", KNeighborsClassifier()),
        ("regression", MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0)),
        ("anomaly", OneClassSVM()),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_other_estimators_go_through_onnx(task: str, model: Any) -> None:
    """A model without tables is converted, says why it has none, and keeps its weaker bound."""
    classes = {"binary": 2, "multiclass": 3}.get(task, 0)
    pipeline, contract, fresh = fit(
        Pipeline([("p", prepare(categories=rare())), ("m", model)]), task, classes
    )
    exported = export(pipeline, contract, fresh)
    assert exported.family == "none"
    assert type(model).__name__ in exported.note
    assert json.loads(exported.model_json)["tables"] is None
    assert prove_parity(pipeline, exported, fresh, contract).bound > FOLDED_BOUND


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "model",
    [MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0), SVC(random_state=0)],
    ids=["probabilities", "scores"],
)
@pytest.mark.filterwarnings("ignore")
def test_other_estimators_are_calibrated_in_onnx(model: Any, classes: int) -> None:
    """Calibration follows a converted estimator, whatever it gives: probabilities or scores."""
    task = "binary" if classes == 2 else "multiclass"
    pipeline, contract, fresh = fit(Pipeline([("p", prepare()), ("m", model)]), task, classes)
    rows = make_rows(3)
    calibrated = calibrate("sigmoid", pipeline).fit(rows, make_target(rows, task, classes))
    exported = export(calibrated, contract, fresh)
    assert exported.family == "none"
    assert prove_parity(calibrated, exported, fresh, contract).max_abs_diff <= exported.bound


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        Pipeline([("s", StandardScaler()), ("m", LogisticRegression())]),
        Pipeline([("s", StandardScaler()), ("m", MLPClassifier(5, max_iter=30, random_state=0))]),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_model_without_an_imputer_answers_complete_rows(model: Any) -> None:
    """Rows with values get their answers even beside rows with gaps, for which there is none."""
    contract = Contract("binary", (Column("a", "number"), Column("b", "number")), "y", ("n", "y"))
    rows = np.random.default_rng(7).normal(size=(200, 2))
    model.fit(rows, (rows.sum(axis=1) > 0).astype(int))
    exported = export_model(model, contract, np.zeros(2))
    asked = rows[:20].copy()
    asked[3:6, 1] = np.nan
    found = run_onnx(exported.onnx, asked)
    whole = ~np.isnan(asked).any(axis=1)
    assert np.abs(found[whole] - model.predict_proba(asked[whole])).max() <= exported.bound
    if exported.family == "linear":
        table = np.array(load_engine(exported.model_json).score_many(asked.tolist()))
        assert np.isnan(found[~whole]).all()
        assert np.array_equal(np.isnan(table), np.isnan(found))


def test_a_model_that_nothing_can_express_is_refused() -> None:
    """An estimator without converter is one clear error that names it."""
    model, contract, fresh = fit(Pipeline([("p", prepare()), ("m", Median())]), "regression")
    with pytest.raises(ExportError, match="Median can neither"):
        export(model, contract, fresh)


def test_a_changed_table_is_refused() -> None:
    """The proof fails, naming engine and size, when one threshold moves by one float."""
    model, contract, fresh = fit(CLASSIFIERS["boosting"](), "binary", 2)
    exported = export(model, contract, fresh)
    document = json.loads(exported.model_json)
    trees = document["tables"]["trees"]
    trees["value"][0] = float(np.nextafter(trees["value"][0], np.inf))
    moved = Exported(
        json.dumps(document).encode(), exported.onnx, exported.family, exported.bound, ""
    )
    with pytest.raises(ExportError, match="table engine differs from scikit-learn by"):
        prove_parity(model, moved, fresh, contract)


def test_a_class_that_training_never_saw_is_refused() -> None:
    """Outputs must be the contract's classes, all of them, in order."""
    model, _, fresh = fit(CLASSIFIERS["boosting"](), "binary", 2)
    with pytest.raises(ExportError, match="every class among the rows"):
        export(model, make_contract("multiclass", 3), fresh)


def test_a_background_of_another_width_is_refused() -> None:
    """Explanations need rows as wide as the model."""
    model, contract, fresh = fit(CLASSIFIERS["dummy"](), "binary", 2)
    with pytest.raises(ExportError, match="7 features"):
        export_model(model, contract, fresh[0, :3])


def test_adversarial_rows_stand_on_and_beside_every_threshold() -> None:
    """Each split threshold appears, with the floats on both sides, and so do the odd values."""
    model, contract, fresh = fit(CLASSIFIERS["boosting"](), "binary", 2)
    exported = export(model, contract, fresh)
    rows = adversarial_rows(exported, fresh, contract)
    trees = json.loads(exported.model_json)["tables"]["trees"]
    for feature, test, value in zip(trees["feature"], trees["test"], trees["value"], strict=True):
        if feature >= 0 and feature not in CATEGORIES:
            wanted = [np.nextafter(value, -np.inf), value, np.nextafter(value, np.inf)]
            assert np.isin(wanted, rows[:, feature]).all(), test
    assert np.isnan(rows).any(axis=0).all()
    assert (rows[:, 4] == 7.0).any(), "the unseen category"


def test_the_same_model_gives_the_same_files() -> None:
    """Exporting twice gives the same bytes."""
    model, contract, fresh = fit(CLASSIFIERS["boosting-native"](), "binary", 2)
    one, two = export(model, contract, fresh), export(model, contract, fresh)
    assert one.model_json == two.model_json
    assert one.onnx == two.onnx


def test_onnx_answers_no_rows_and_one_row() -> None:
    """Any number of rows is a batch."""
    model, contract, fresh = fit(CLASSIFIERS["dummy"](), "binary", 2)
    exported = export(model, contract, fresh)
    assert run_onnx(exported.onnx, fresh[:0]).shape == (0, 2)
    assert run_onnx(exported.onnx, fresh[:1]).tolist() == model.predict_proba(fresh[:1]).tolist()


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
