"""Fitted models of every kind, with their contract and rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from core.contract import Column, Contract
from training.export.formats import Exported, export_model

NUMBERS, CATEGORIES = [0, 1, 2, 3], [4, 5]
NUMBERS, CATEGORIES = [0, 1, 2, 3], [4, 5]
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
