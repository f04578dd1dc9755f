"""The models that compete: the one file to edit to bring an estimator of one's own.

A candidate is a name, a function from hyperparameters to an unfitted scikit-learn estimator, and
the space that the search draws hyperparameters from. The estimator is given the encoded float64
matrix (`Contract.features` names its columns; missing is NaN) and must do all its preprocessing
itself, inside a Pipeline, so that nothing about the holdout or a validation fold leaks into it. To
add one, write a `build_...` function and list it under its task in `build_candidates`; `[training]
candidates` in project.toml picks by name. Linear models and tree ensembles are served from tables,
anything else that ONNX can express from `model.onnx`; the job refuses what neither can reproduce.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sklearn.base import BaseEstimator

from core.contract import Contract
from core.errors import TrainingError
from training.fit.spaces import Choice, Range

# Histogram boosting splits on sets of categories only up to this many of them.
MAX_NATIVE_CATEGORIES = 254
# A forest whose trees each saw a million rows is gigabytes, and no better.
FOREST_ROWS_A_TREE = 50_000

Build = Callable[[Mapping[str, Any]], BaseEstimator]


@dataclass(frozen=True)
class Candidate:
    """One kind of model: how to build it, what to try first, and what to draw from after that.

    `starts` are tried after the defaults and before anything is drawn: what is good for another
    kind of table than the defaults are.
    """

    name: str
    build: Build
    defaults: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Choice | Range] = field(default_factory=dict)
    starts: tuple[Mapping[str, Any], ...] = ()


def build_candidates(
    contract: Contract, *, seed: int, rows: int, clusters: int = 0, anomaly_share: float = 0.01
) -> dict[str, Candidate]:
    """List the candidates of the contract's task by name; `rows` is how many train them."""
    if contract.task in ("binary", "multiclass"):
        found = _classifiers(contract, seed, rows)
    elif contract.task == "regression":
        found = _regressors(contract, seed, rows)
    elif contract.task == "anomaly":
        found = _detectors(contract, seed, rows, anomaly_share)
    else:
        found = _clusterings(contract, seed, clusters)
    return {candidate.name: candidate for candidate in found}


def choose_candidates(
    known: Mapping[str, Candidate], names: tuple[str, ...]
) -> dict[str, Candidate]:
    """Keep the named candidates, in that order (all of them if none is named).

    Raises TrainingError for a name that the task does not have.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise TrainingError(
            f"[training] candidates names {', '.join(map(repr, unknown))}, which this task does "
            f"not have; it has {', '.join(known)}"
        )
    return {name: known[name] for name in names} if names else dict(known)


def _classifiers(contract: Contract, seed: int, rows: int) -> list[Candidate]:
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    def build_linear(params: Mapping[str, Any]) -> BaseEstimator:
        model = LogisticRegression(max_iter=2000, tol=1e-6, random_state=seed, **params)
        return _pipeline(prepare_linear(contract), model)

    def build_boosting(params: Mapping[str, Any]) -> BaseEstimator:
        return _pipeline(
            None,
            HistGradientBoostingClassifier(
                categorical_features=native_categories(contract) or None,
                early_stopping=False,
                random_state=seed,
                **params,
            ),
        )

    def build_forest(params: Mapping[str, Any]) -> BaseEstimator:
        return _pipeline(
            None,
            RandomForestClassifier(random_state=seed, max_samples=_forest_rows(rows), **params),
        )

    return [
        Candidate("dummy", lambda params: _pipeline(None, DummyClassifier(strategy="prior"))),
        Candidate("linear", build_linear, {"C": 1.0}, {"C": Range(1e-3, 1e2, log=True)}),
        Candidate("boosting", build_boosting, *_boosting_space(rows)),
        Candidate("forest", build_forest, *_forest_space(rows)),
    ]


def _regressors(contract: Contract, seed: int, rows: int) -> list[Candidate]:
    from sklearn.dummy import DummyRegressor
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge

    def build_linear(params: Mapping[str, Any]) -> BaseEstimator:
        return _pipeline(prepare_linear(contract), Ridge(random_state=seed, **params))

    def build_boosting(params: Mapping[str, Any]) -> BaseEstimator:
        return _pipeline(
            None,
            HistGradientBoostingRegressor(
                categorical_features=native_categories(contract) or None,
                early_stopping=False,
                random_state=seed,
                **params,
            ),
        )

    def build_forest(params: Mapping[str, Any]) -> BaseEstimator:
        return _pipeline(
            None, RandomForestRegressor(random_state=seed, max_samples=_forest_rows(rows), **params)
        )

    return [
        Candidate("dummy", lambda params: _pipeline(None, DummyRegressor(strategy="mean"))),
        Candidate("linear", build_linear, {"alpha": 1.0}, {"alpha": Range(1e-3, 1e3, log=True)}),
        Candidate("boosting", build_boosting, *_boosting_space(rows)),
        Candidate("forest", build_forest, *_forest_space(rows, regression=True)),
    ]


def _detectors(contract: Contract, seed: int, rows: int, share: float) -> list[Candidate]:
    from sklearn.covariance import EllipticEnvelope
    from sklearn.ensemble import IsolationForest

    def build_forest(params: Mapping[str, Any]) -> BaseEstimator:
        model = IsolationForest(random_state=seed, contamination=share, **params)
        return _pipeline(prepare_distances(contract), model)

    def build_envelope(params: Mapping[str, Any]) -> BaseEstimator:
        model = EllipticEnvelope(random_state=seed, contamination=share, **params)
        return _pipeline(prepare_distances(contract), model)

    # No tree may ask for more rows than a fold has.
    sizes = tuple(size for size in (32, 64, 128, 256) if size <= rows // 2) or (max(1, rows // 2),)
    found = [
        Candidate(
            "isolation_forest",
            build_forest,
            {"n_estimators": 100, "max_samples": sizes[-1]},
            {"n_estimators": Choice((100, 200)), "max_samples": Choice(sizes)},
        )
    ]
    # A robust covariance needs several rows a dimension, and no columns that are sums of others.
    is_numeric = all(feature.kind != "category" for feature in contract.features)
    if is_numeric and rows >= 5 * (len(contract.features) + 1):
        found.append(
            Candidate(
                "envelope", build_envelope, {}, {"support_fraction": Choice((0.75, 0.9, 1.0))}
            )
        )
    return found


def _clusterings(contract: Contract, seed: int, clusters: int) -> list[Candidate]:
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    sizes = (clusters,) if clusters else (2, 3, 4, 5, 6, 7, 8, 10, 12)

    def build_kmeans(params: Mapping[str, Any]) -> BaseEstimator:
        return _pipeline(prepare_distances(contract), KMeans(n_init=5, random_state=seed, **params))

    def build_mixture(params: Mapping[str, Any]) -> BaseEstimator:
        model = GaussianMixture(covariance_type="diag", reg_covar=1e-4, random_state=seed, **params)
        return _pipeline(prepare_distances(contract), model)

    return [
        Candidate("kmeans", build_kmeans, {"n_clusters": sizes[0]}, {"n_clusters": Choice(sizes)}),
        Candidate(
            "mixture", build_mixture, {"n_components": sizes[0]}, {"n_components": Choice(sizes)}
        ),
    ]


def _boosting_space(
    rows: int,
) -> tuple[dict[str, Any], dict[str, Choice | Range], tuple[dict[str, Any], ...]]:
    small = rows < 2000
    defaults = {
        "max_iter": 100 if small else 200,
        "learning_rate": 0.1,
        "max_leaf_nodes": 8 if small else 31,
        "min_samples_leaf": 10 if small else 20,
        "l2_regularization": 1.0,
    }
    space: dict[str, Choice | Range] = {
        "max_iter": Choice((50, 100, 150) if small else (100, 200, 300)),
        "learning_rate": Range(0.03 if small else 0.02, 0.2, log=True),
        "max_leaf_nodes": Choice((4, 8, 16) if small else (4, 8, 15, 31, 63)),
        "min_samples_leaf": Choice((5, 10, 20) if small else (10, 20, 50, 100)),
        "l2_regularization": Range(1e-2, 10.0, log=True),
    }
    # Where the signal is weak, many rows are no reason for large trees.
    gentle = {"max_iter": 300, "learning_rate": 0.03, "max_leaf_nodes": 8}
    return defaults, space, () if small else (gentle,)


def _forest_space(
    rows: int, *, regression: bool = False
) -> tuple[dict[str, Any], dict[str, Choice | Range]]:
    # Large tables get shallower trees: full ones would be hundreds of megabytes.
    depth = None if rows < 20_000 else 14
    leaf = 2 if rows < 2000 else max(5, rows // 20_000)
    features: tuple[Any, ...] = (0.33, 0.5, 1.0) if regression else ("sqrt", 0.33, 0.5)
    defaults = {
        "n_estimators": 100,
        "max_depth": depth,
        "min_samples_leaf": leaf,
        "max_features": features[0],
    }
    space: dict[str, Choice | Range] = {
        "n_estimators": Choice((100,) if rows < 2000 else (100, 150)),
        "max_depth": Choice((None, 6, 10) if depth is None else (10, 14)),
        "min_samples_leaf": Choice((1, 2, 4) if rows < 2000 else (leaf, 2 * leaf, 4 * leaf)),
        "max_features": Choice(features),
    }
    return defaults, space


def _forest_rows(rows: int) -> float | None:
    """Give the share of rows that each tree is grown on: all of a small table, 50,000 of more."""
    return None if rows <= FOREST_ROWS_A_TREE else FOREST_ROWS_A_TREE / rows


def native_categories(contract: Contract) -> list[int]:
    """Give the positions of category features that histogram boosting can split as sets."""
    sizes = {c.name: len(c.categories) for c in contract.columns}
    return [
        position
        for position, feature in enumerate(contract.features)
        if feature.kind == "category" and sizes[feature.column] <= MAX_NATIVE_CATEGORIES
    ]


def prepare_linear(contract: Contract) -> BaseEstimator:
    """Impute (and flag what was missing), scale, and one-hot encode, for models of sums."""
    return _prepare(contract, flag_missing=True)


def prepare_distances(contract: Contract) -> BaseEstimator:
    """Impute, scale and one-hot encode, for models of distances and densities."""
    return _prepare(contract, flag_missing=False)


def _prepare(contract: Contract, *, flag_missing: bool) -> BaseEstimator:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = [i for i, f in enumerate(contract.features) if f.kind == "category"]
    numbers = [i for i, f in enumerate(contract.features) if f.kind != "category"]
    parts: list[tuple[str, Any, list[int]]] = []
    if numbers:
        impute = SimpleImputer(
            strategy="median", add_indicator=flag_missing, keep_empty_features=True
        )
        parts.append(
            ("numbers", Pipeline([("impute", impute), ("scale", StandardScaler())]), numbers)
        )
    if categories:
        # Missing is a category of its own; rare ones and those never seen share one column.
        impute = SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True)
        encode = OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            min_frequency=5,
            max_categories=100,
            sparse_output=False,
        )
        parts.append(("categories", Pipeline([("impute", impute), ("onehot", encode)]), categories))
    return ColumnTransformer(parts)


def _pipeline(prepare: Any, model: BaseEstimator) -> BaseEstimator:
    from sklearn.pipeline import Pipeline

    steps = [("model", model)] if prepare is None else [("prepare", prepare), ("model", model)]
    return Pipeline(steps)
