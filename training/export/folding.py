"""Folds a fitted scikit-learn model into plain float64 tables over the encoded vector.

The tables are what `core.engine` scores and what `graphs` turns into ONNX. Folding
means that imputing, scaling and encoding disappear: a split on `(x - mean) / scale <= t`, which for
scikit-learn's forests is moreover compared in float32, becomes a split on `x <= u`. `u` is the
largest float64 for which the fitted preprocessing itself says yes, found by bisection over the
floats, so that every row takes the branch it takes in scikit-learn. Splits on one-hot and ordinal
codes become splits on sets of the contract's codes. What each value becomes is always asked of the
fitted transformers; only which column an output comes from, and the scale of a number in a model of
sums, are worked out by type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from core.engine import AMONG, AMONG_OR_MISSING, AT_MOST, AT_MOST_OR_MISSING

Matrix = npt.NDArray[np.float64]

# Values beyond this are taken to fall on the outer side of every threshold.
_FAR = 1e150
# Sign, exponent and mantissa: so many halvings separate any two floats.
_HALVINGS = 64


class NotFoldable(Exception):
    """A model that has no tables; the text says which part is in the way."""


@dataclass(frozen=True)
class Tables:
    """A family and its tables, as `model.json` holds them."""

    family: str
    content: dict[str, Any]


@dataclass(frozen=True)
class _Channel:
    """One column that an estimator is given, as a function of one feature of the encoded vector.

    A number (`codes` is None) rises with the feature: `(x - centre) * scale` if `scale` is known.
    Otherwise it has one value for each of `codes`, one for all other values, one for missing.
    """

    feature: int
    codes: tuple[float, ...] | None = None
    centre: float = 0.0
    scale: float | None = 1.0
    raw: bool = True


@dataclass(frozen=True)
class _Model:
    """The parts of a fitted model: what prepares, what estimates, what calibrates."""

    preparations: list[Any]
    estimator: Any
    calibrator: Any


@dataclass(frozen=True)
class _Preparation:
    """The fitted preprocessing: its channels, and its values for any column of numbers."""

    steps: list[Any]
    channels: list[_Channel]
    template: Matrix

    def transform(self, rows: Matrix) -> Matrix:
        """Apply the fitted transformers."""
        for step in self.steps:
            rows = step.transform(rows)
            if hasattr(rows, "toarray"):
                rows = rows.toarray()
        return np.asarray(rows, dtype=np.float64)

    def evaluate(self, queries: Sequence[Matrix]) -> list[Matrix]:
        """Give, for each channel, its values where its own feature takes the values asked."""
        longest = max((len(q) for q in queries), default=0)
        rows = np.repeat(self.template[None, :], longest, axis=0)
        # Channels of one feature may ask different things of it: one pass for each of them.
        order: dict[int, int] = {}
        passes: list[list[int]] = []
        for index, channel in enumerate(self.channels):
            turn = order.get(channel.feature, 0)
            order[channel.feature] = turn + 1
            if turn == len(passes):
                passes.append([])
            passes[turn].append(index)
        found: list[Matrix] = [np.empty(0)] * len(self.channels)
        for chosen in passes:
            wanted = [index for index in chosen if len(queries[index])]
            if not wanted:
                continue
            asked = rows.copy()
            for index in wanted:
                asked[: len(queries[index]), self.channels[index].feature] = queries[index]
            given = self.transform(asked)
            for index in wanted:
                found[index] = given[: len(queries[index]), index]
        return found


def fold_model(model: Any, template: Matrix) -> Tables:
    """Fold a fitted estimator, Pipeline or calibrated classifier into tables.

    `template` is one encoded row of ordinary values, shape (features,). Raises NotFoldable for
    anything that has no exact tables.
    """
    parts = _take_apart(model)
    channels = [_Channel(feature) for feature in range(len(template))]
    for step in parts.preparations:
        channels = _follow(step, channels)
    preparation = _Preparation(parts.preparations, channels, template)
    with np.errstate(over="ignore", invalid="ignore"):
        tables = _fold_estimator(parts.estimator, preparation, parts.calibrator is not None)
    if parts.calibrator is not None:
        calibration = _fold_calibrator(parts.calibrator)
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


def fold_preparation(model: Any, template: Matrix) -> Halves:
    """Fold all of a model but its estimator; raises NotFoldable if that is impossible too."""
    parts = _take_apart(model)
    channels = [_Channel(feature) for feature in range(len(template))]
    for step in parts.preparations:
        channels = _follow(step, channels)
    with np.errstate(over="ignore", invalid="ignore"):
        terms, order = _fold_terms(_Preparation(parts.preparations, channels, template), None)
    calibration = None if parts.calibrator is None else _fold_calibrator(parts.calibrator)
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


# Preprocessing: which feature each output comes from.


def _follow(step: Any, channels: list[_Channel]) -> list[_Channel]:
    """Give the channels that a fitted transformer makes of those that it is given."""
    from sklearn import compose, impute, pipeline, preprocessing
    from sklearn.feature_selection import SelectorMixin

    if step is None or isinstance(step, str):
        return channels if step != "drop" else []
    if isinstance(step, pipeline.Pipeline):
        for _, inner in step.steps:
            channels = _follow(inner, channels)
        return channels
    if isinstance(step, compose.ColumnTransformer):
        return _follow_columns(step, channels)
    if isinstance(step, impute.SimpleImputer):
        return _follow_imputer(step, channels)
    if isinstance(step, SelectorMixin):
        return [channels[i] for i in step.get_support(indices=True)]
    if isinstance(step, preprocessing.FunctionTransformer) and step.func is None:
        return channels
    if isinstance(
        step,
        preprocessing.OneHotEncoder | preprocessing.OrdinalEncoder | preprocessing.TargetEncoder,
    ):
        return _follow_encoder(step, channels)
    return _follow_scaler(step, channels)


def _follow_columns(step: Any, channels: list[_Channel]) -> list[_Channel]:
    found: list[_Channel | None] = [None] * sum(
        s.stop - s.start for s in step.output_indices_.values()
    )
    for name, inner, columns in step.transformers_:
        place = step.output_indices_[name]
        if place.stop == place.start:
            continue
        positions = np.arange(len(channels))[columns]
        made = _follow(inner, [channels[i] for i in np.atleast_1d(positions)])
        found[place] = made
    return [channel for channel in found if channel is not None]


def _follow_imputer(step: Any, channels: list[_Channel]) -> list[_Channel]:
    if not _is_nan(step.missing_values):
        raise NotFoldable(f"SimpleImputer(missing_values={step.missing_values!r})")
    kept = [
        channel
        for channel, value in zip(channels, step.statistics_, strict=True)
        if step.keep_empty_features or not _is_nan(value)
    ]
    if step.indicator_ is not None:
        kept += [
            replace(channels[i], codes=channels[i].codes or (), raw=False)
            for i in step.indicator_.features_
        ]
    return kept


def _follow_encoder(step: Any, channels: list[_Channel]) -> list[_Channel]:
    # The public names tell which input an output comes from, whatever was dropped or grouped.
    names = step.get_feature_names_out([f"{i}|" for i in range(len(channels))])
    found = []
    for name in names:
        index = int(str(name).split("|", 1)[0])
        channel = channels[index]
        if not channel.raw:
            raise NotFoldable(f"{type(step).__name__} after another change of the same column")
        codes = tuple(float(c) for c in step.categories_[index] if not _is_nan(c))
        found.append(replace(channel, codes=codes, raw=False))
    return found


def _follow_scaler(step: Any, channels: list[_Channel]) -> list[_Channel]:
    from sklearn import preprocessing

    count = len(channels)
    if isinstance(step, preprocessing.StandardScaler):
        centres = step.mean_ if step.with_mean else np.zeros(count)
        scales = 1.0 / step.scale_ if step.with_std else np.ones(count)
    elif isinstance(step, preprocessing.RobustScaler):
        centres = step.center_ if step.with_centering else np.zeros(count)
        scales = 1.0 / step.scale_ if step.with_scaling else np.ones(count)
    elif isinstance(step, preprocessing.MaxAbsScaler):
        centres, scales = np.zeros(count), 1.0 / step.scale_
    elif isinstance(step, preprocessing.MinMaxScaler):
        centres, scales = step.data_min_ - step.feature_range[0] / step.scale_, step.scale_
        if step.clip:
            return [replace(channel, scale=None, raw=False) for channel in channels]
    else:
        raise NotFoldable(f"the transformer {type(step).__name__}")
    return [
        replace(
            channel,
            centre=channel.centre + float(centre) / channel.scale if channel.scale else 0.0,
            scale=channel.scale * float(scale) if channel.scale else None,
            raw=False,
        )
        for channel, centre, scale in zip(channels, centres, scales, strict=True)
    ]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


# Estimators.


def _fold_estimator(estimator: Any, preparation: _Preparation, calibrated: bool) -> Tables:
    from sklearn import cluster, covariance, dummy, ensemble, mixture, tree

    if isinstance(estimator, dummy.DummyClassifier | dummy.DummyRegressor):
        return _fold_dummy(estimator, preparation, calibrated)
    if isinstance(
        estimator, ensemble.HistGradientBoostingClassifier | ensemble.HistGradientBoostingRegressor
    ):
        return _fold_histogram_boosting(estimator, preparation)
    if isinstance(
        estimator, ensemble.GradientBoostingClassifier | ensemble.GradientBoostingRegressor
    ):
        return _fold_gradient_boosting(estimator, preparation)
    if isinstance(estimator, ensemble.IsolationForest):
        return _fold_isolation_forest(estimator, preparation)
    if isinstance(
        estimator,
        ensemble.RandomForestClassifier
        | ensemble.RandomForestRegressor
        | ensemble.ExtraTreesClassifier
        | ensemble.ExtraTreesRegressor
        | tree.DecisionTreeClassifier
        | tree.DecisionTreeRegressor,
    ):
        return _fold_forest(estimator, preparation)
    if isinstance(estimator, cluster.KMeans):
        return _fold_kmeans(estimator, preparation)
    if isinstance(estimator, mixture.GaussianMixture):
        return _fold_mixture(estimator, preparation)
    if isinstance(estimator, covariance.EllipticEnvelope):
        return _fold_envelope(estimator, preparation)
    return _fold_linear(estimator, preparation, calibrated)


def _fold_dummy(estimator: Any, preparation: _Preparation, calibrated: bool) -> Tables:
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


# Linear models.


def _fold_linear(estimator: Any, preparation: _Preparation, calibrated: bool) -> Tables:
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
    terms, _ = _fold_terms(preparation, lambda index: weights[:, index])
    return Tables("linear", {"base": base.tolist(), "terms": terms, "link": link})


def _fold_terms(
    preparation: _Preparation, weigh: Callable[[int], Matrix] | None
) -> tuple[list[dict[str, Any]], list[int]]:
    """Make one term a feature out of its channels, and list the channels in the terms' order.

    With `weigh`, a term is the sum of its channels times their weights (one a margin); without, it
    is the vector of its channels.
    """
    channels = preparation.channels
    groups: dict[int, list[int]] = {}
    for index, channel in enumerate(channels):
        if channel.codes is None and channel.scale is None:
            raise NotFoldable("a column that is clipped, in a model of sums")
        groups.setdefault(channel.feature, []).append(index)
    codes = {
        feature: sorted({c for i in indices for c in channels[i].codes or ()})
        for feature, indices in groups.items()
    }
    # Every channel is asked for its feature's codes, a value that is none of them, and missing.
    asked = [np.array([*codes[c.feature], _unlisted(codes[c.feature]), math.nan]) for c in channels]
    values = preparation.evaluate(asked)
    terms, order = [], []
    for feature, indices in groups.items():
        order += indices
        if weigh is None:
            mixing = np.eye(len(indices))
        else:
            mixing = np.stack([weigh(index) for index in indices], axis=1)
        numbers = [index for index in indices if channels[index].codes is None]
        centre = channels[numbers[0]].centre if numbers else 0.0
        slopes = np.zeros(len(indices))
        level = np.zeros(len(indices))
        for place, index in enumerate(indices):
            channel = channels[index]
            if channel.codes is None:
                slopes[place] = channel.scale or 0.0
                level[place] = (centre - channel.centre) * slopes[place]
            else:
                level[place] = values[index][-2]
        listed = np.stack([values[index] for index in indices], axis=0)
        terms.append(
            {
                "feature": feature,
                "centre": centre,
                "weight": (mixing @ slopes).tolist() if numbers else None,
                "other": (mixing @ level).tolist(),
                # Without weights each channel keeps its own: 0 * NaN would spread to the others.
                "missing": (listed[:, -1] if weigh is None else mixing @ listed[:, -1]).tolist(),
                "codes": codes[feature],
                "values": (mixing @ listed[:, :-2]).T.tolist(),
            }
        )
    return terms, order


def _unlisted(codes: Sequence[float]) -> float:
    """Give a value that is none of the codes, as an unseen category is."""
    return max(codes, default=-1.0) + 1.0


# Distances.


def _fold_kmeans(estimator: Any, preparation: _Preparation) -> Tables:
    centres = np.asarray(estimator.cluster_centers_, dtype=np.float64)
    terms, order = _fold_terms(preparation, None)
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


def _fold_mixture(estimator: Any, preparation: _Preparation) -> Tables:
    from sklearn.mixture._gaussian_mixture import _compute_log_det_cholesky

    kind = estimator.covariance_type
    count, width = estimator.means_.shape
    determinants = _compute_log_det_cholesky(estimator.precisions_cholesky_, kind, width)
    base = np.log(estimator.weights_) + determinants - 0.5 * width * math.log(2.0 * math.pi)
    terms, order = _fold_terms(preparation, None)
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


def _fold_envelope(estimator: Any, preparation: _Preparation) -> Tables:
    terms, order = _fold_terms(preparation, None)
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


# Trees.


@dataclass(frozen=True)
class _Tree:
    """A fitted tree over channels, as arrays over its nodes; leaves have `left` -1.

    `members[node]` are the codes that go left at a split on categories.
    """

    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    channel: npt.NDArray[np.int64]
    threshold: Matrix
    missing_left: npt.NDArray[np.bool_]
    value: Any
    members: dict[int, frozenset[float]] = field(default_factory=dict)
    output: int = 0


def _fold_histogram_boosting(estimator: Any, preparation: _Preparation) -> Tables:
    from sklearn.base import is_classifier

    categories: dict[int, list[float]] = {}
    place = list(range(len(preparation.channels)))
    if estimator._preprocessor is not None:
        # Histogram boosting puts its categories first and numbers them by its own encoder.
        encoded = np.flatnonzero(estimator.is_categorical_)
        place = [*encoded, *np.flatnonzero(~estimator.is_categorical_)]
        encoder = estimator._preprocessor.named_transformers_["encoder"]
        for index, known in zip(encoded, encoder.categories_, strict=True):
            categories[int(index)] = [float(c) for c in known]
    known_bits, row_of = None, None
    if categories:
        known_bits, row_of = estimator._bin_mapper.make_known_categories_bitsets()
    trees = []
    for stage in estimator._predictors:
        for output, predictor in enumerate(stage):
            nodes = predictor.nodes
            members = {}
            for node in np.flatnonzero(nodes["is_categorical"] & ~nodes["is_leaf"].astype(bool)):
                feature = int(nodes["feature_idx"][node])
                left = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
                seen = known_bits[row_of[feature]]  # type: ignore[index]
                members[int(node)] = frozenset(
                    code
                    for number, code in enumerate(categories[int(place[feature])])
                    if _has_bit(left, number)
                    or (not _has_bit(seen, number) and nodes["missing_go_to_left"][node])
                )
            leaf = nodes["is_leaf"].astype(bool)
            trees.append(
                _Tree(
                    left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
                    right=nodes["right"].astype(np.int64),
                    channel=np.asarray(place)[nodes["feature_idx"]],
                    threshold=nodes["num_threshold"],
                    missing_left=nodes["missing_go_to_left"].astype(bool),
                    value=nodes["value"],
                    members=members,
                    output=output,
                )
            )
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
    if is_classifier(estimator):
        link = "logistic" if len(base) == 1 else "softmax"
    else:
        link = "exponential" if estimator.loss in ("poisson", "gamma") else "identity"
    return _fold_trees(trees, preparation, base.tolist(), 1.0, link, categories=categories)


def _has_bit(bitset: Any, number: int) -> bool:
    return bool(int(bitset[number // 32]) >> (number % 32) & 1)


def _fold_gradient_boosting(estimator: Any, preparation: _Preparation) -> Tables:
    from sklearn.base import is_classifier
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if is_classifier(estimator) and estimator.loss != "log_loss":
        raise NotFoldable(f"GradientBoostingClassifier(loss={estimator.loss!r})")
    if not isinstance(estimator.init_, DummyClassifier | DummyRegressor | str):
        raise NotFoldable("gradient boosting that starts from another model")
    row = preparation.transform(preparation.template[None, :]).astype(np.float32)
    base = [float(value) for value in estimator._raw_predict_init(np.nan_to_num(row))[0]]
    trees = [
        _read_tree(fitted.tree_, estimator.learning_rate * fitted.tree_.value[:, 0, 0], output)
        for stage in estimator.estimators_
        for output, fitted in enumerate(stage)
    ]
    link = "identity"
    if is_classifier(estimator):
        link = "logistic" if len(base) == 1 else "softmax"
    return _fold_trees(trees, preparation, base, 1.0, link, single=True)


def _fold_forest(estimator: Any, preparation: _Preparation) -> Tables:
    from sklearn.base import is_classifier

    fitted = getattr(estimator, "estimators_", None) or [estimator]
    if estimator.n_outputs_ > 1:
        raise NotFoldable("a forest with several targets")
    classifier = is_classifier(estimator)
    trees = []
    for member in fitted:
        values = member.tree_.value[:, 0, :]
        if not classifier:
            values = values[:, 0]
        elif estimator.n_classes_ == 2:
            values = values[:, 1]
        trees.append(_read_tree(member.tree_, values, 0))
    outputs = estimator.n_classes_ if classifier and estimator.n_classes_ > 2 else 1
    link = "proportion" if classifier else "identity"
    return _fold_trees(
        trees, preparation, [0.0] * int(outputs), float(len(fitted)), link, single=True
    )


def _fold_isolation_forest(estimator: Any, preparation: _Preparation) -> Tables:
    from sklearn.ensemble._iforest import _average_path_length

    trees = []
    for index, fitted in enumerate(estimator.estimators_):
        depth = estimator._decision_path_lengths[index]
        rest = estimator._average_path_length_per_tree[index]
        read = _read_tree(fitted.tree_, depth + rest - 1.0, 0)
        columns = np.asarray(estimator.estimators_features_[index])
        trees.append(replace(read, channel=columns[np.maximum(read.channel, 0)]))
    divisor = len(trees) * float(_average_path_length([estimator._max_samples])[0])
    if divisor == 0.0:
        raise NotFoldable("an isolation forest fitted on one row")
    return _fold_trees(trees, preparation, [0.0], -divisor, "isolation", single=True)


def _read_tree(tree: Any, value: Matrix, output: int) -> _Tree:
    nodes = tree.__getstate__()["nodes"]
    return _Tree(
        left=nodes["left_child"].astype(np.int64),
        right=nodes["right_child"].astype(np.int64),
        channel=nodes["feature"].astype(np.int64),
        threshold=nodes["threshold"],
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=value,
        output=output,
    )


def _fold_trees(
    trees: list[_Tree],
    preparation: _Preparation,
    base: list[float],
    divisor: float,
    link: str,
    *,
    single: bool = False,
    categories: dict[int, list[float]] | None = None,
) -> Tables:
    """Write trees over channels as trees over features; `single`: they compare in float32."""
    splits = _Splits(trees, preparation, single, categories or {})
    vectors = trees[0].value.ndim == 2
    writer = _Writer(splits, vectors)
    # One margin's trees stand together, in the order in which scikit-learn adds them.
    for tree in sorted(trees, key=lambda tree: tree.output):
        writer.write(tree)
    return Tables(
        "trees",
        {
            "base": base,
            "divisor": divisor,
            "link": link,
            "trees": {
                "feature": writer.feature,
                "test": writer.test,
                "value": writer.value,
                "right": writer.right,
                "roots": writer.roots,
                "outputs": writer.outputs,
                "sets": [list(codes) for codes in writer.sets],
                "leaves": writer.leaves if vectors else None,
            },
        },
    )


@dataclass(frozen=True)
class _Split:
    """A test of a feature: at most a threshold, or (`codes`) one of a set.

    `holds_left` says which child is taken where it holds, `missing_holds` whether it holds for
    missing values.
    """

    feature: int
    threshold: float
    codes: tuple[float, ...] | None
    holds_left: bool
    missing_holds: bool


class _Splits:
    """Turns splits on channels into splits on features."""

    def __init__(
        self,
        trees: list[_Tree],
        preparation: _Preparation,
        single: bool,
        categories: dict[int, list[float]],
    ) -> None:
        self._channels = preparation.channels
        self._single = single
        self._categories = categories
        self._codes = [
            np.array(
                categories_of
                if (categories_of := self._own_categories(index)) is not None
                else channel.codes or ()
            )
            for index, channel in enumerate(self._channels)
        ]
        asked = [np.array([*codes, _unlisted(codes.tolist()), math.nan]) for codes in self._codes]
        self._values = preparation.evaluate(asked) if preparation.channels else []
        self._thresholds = self._bisect(trees, preparation)

    def _own_categories(self, index: int) -> list[float] | None:
        known = self._categories.get(index)
        if known is None:
            return None
        channel = self._channels[index]
        if not channel.raw or channel.codes is not None:
            raise NotFoldable("categories of histogram boosting that were encoded before it")
        return [code for code in known if not math.isnan(code)]

    def _is_number(self, index: int) -> bool:
        return self._channels[index].codes is None and index not in self._categories

    def _bisect(self, trees: list[_Tree], preparation: _Preparation) -> list[dict[float, float]]:
        """Find, for each threshold on a number, the largest float of its feature on the left."""
        wanted: list[list[Matrix]] = [[] for _ in self._channels]
        for tree in trees:
            inner = tree.left >= 0
            for index in np.unique(tree.channel[inner]):
                if self._is_number(int(index)):
                    chosen = inner & (tree.channel == index)
                    wanted[index].append(tree.threshold[chosen])
        targets = [np.unique(np.concatenate(w)) if w else np.empty(0) for w in wanted]
        plain = not preparation.steps
        if plain and not self._single:
            return [dict(zip(t.tolist(), t.tolist(), strict=True)) for t in targets]
        low = [np.full(len(t), _to_key(np.array([-_FAR]))[0]) for t in targets]
        high = [np.full(len(t), _to_key(np.array([_FAR]))[0]) for t in targets]
        for _ in range(_HALVINGS + 1):
            middle = [(a >> 1) + (b >> 1) + (a & b & 1) for a, b in zip(low, high, strict=True)]
            points = [_from_key(m) for m in middle]
            given = points if plain else preparation.evaluate(points)
            for i, target in enumerate(targets):
                value = given[i].astype(np.float32) if self._single else given[i]
                at_most = value.astype(np.float64) <= target
                low[i] = np.where(at_most, middle[i], low[i])
                high[i] = np.where(at_most, high[i], middle[i])
        return [
            dict(zip(t.tolist(), _from_key(a).tolist(), strict=True))
            for t, a in zip(targets, low, strict=True)
        ]

    def _goes_left(self, value: float, tree: _Tree, node: int) -> bool:
        if math.isnan(value):
            return bool(tree.missing_left[node])
        if self._single:
            value = float(np.float32(value))
        return value <= float(tree.threshold[node])

    def read(self, tree: _Tree, node: int) -> _Split | bool:
        """Give the split of a node, or True (False) where all rows go left (right)."""
        index = int(tree.channel[node])
        feature = self._channels[index].feature
        values = self._values[index]
        if self._is_number(index):
            missing_left = self._goes_left(float(values[-1]), tree, node)
            threshold = self._thresholds[index][float(tree.threshold[node])]
            if abs(threshold) < _FAR * 0.999:
                return _Split(feature, threshold, None, True, missing_left)
            all_left = threshold > 0
            if missing_left == all_left:
                return all_left
            return _Split(feature, 0.0, (), not all_left, True)
        codes = self._codes[index].tolist()
        if index in self._categories:
            left = set(tree.members[node])
            other_left = missing_left = bool(tree.missing_left[node])
        else:
            left = {
                code
                for code, value in zip(codes, values, strict=False)
                if self._goes_left(float(value), tree, node)
            }
            other_left = self._goes_left(float(values[-2]), tree, node)
            missing_left = self._goes_left(float(values[-1]), tree, node)
        # The test lists the codes that part from all the others.
        chosen = tuple(code for code in codes if (code in left) != other_left)
        missing_holds = missing_left != other_left
        if not chosen and not missing_holds:
            return other_left
        return _Split(feature, 0.0, chosen, not other_left, missing_holds)


class _Writer:
    """Writes trees as flat lists: a split, then all of the child where it holds, then the other."""

    def __init__(self, splits: _Splits, vectors: bool) -> None:
        self._splits = splits
        self._vectors = vectors
        self.feature: list[int] = []
        self.test: list[int] = []
        self.value: list[float | int] = []
        self.right: list[int] = []
        self.roots: list[int] = []
        self.outputs: list[int] = []
        self.sets: dict[tuple[float, ...], int] = {}
        self.leaves: list[list[float]] = []

    def write(self, tree: _Tree) -> None:
        """Append one tree."""
        self.roots.append(len(self.feature))
        self.outputs.append(tree.output)
        for node, split in self._walk(tree):
            if split is None:
                self._append(-1, AT_MOST, self._leaf(tree.value[node]))
            elif split.codes is None:
                test = AT_MOST_OR_MISSING if split.missing_holds else AT_MOST
                self._append(split.feature, test, split.threshold)
            else:
                test = AMONG_OR_MISSING if split.missing_holds else AMONG
                self._append(split.feature, test, self.sets.setdefault(split.codes, len(self.sets)))

    def _append(self, feature: int, test: int, value: float) -> None:
        self.feature.append(feature)
        self.test.append(test)
        self.value.append(value)
        self.right.append(0)

    def _leaf(self, value: Any) -> float:
        if not self._vectors:
            return float(value)
        self.leaves.append([float(v) for v in value])
        return len(self.leaves) - 1

    def _walk(self, tree: _Tree) -> Iterator[tuple[int, _Split | None]]:
        """Visit what is left of a tree in the order of writing, without splits that never part."""
        # A waiting node and the split whose other child it is.
        waiting: list[tuple[int, int]] = [(0, -1)]
        while waiting:
            node, parent = waiting.pop()
            split: _Split | bool | None = None
            while tree.left[node] >= 0:
                split = self._splits.read(tree, node)
                if isinstance(split, _Split):
                    break
                node = int(tree.left[node] if split else tree.right[node])
                split = None
            here = len(self.feature)
            if parent >= 0:
                self.right[parent] = here
            if isinstance(split, _Split):
                left, right = int(tree.left[node]), int(tree.right[node])
                held, other = (left, right) if split.holds_left else (right, left)
                waiting += [(other, here), (held, -1)]
                yield node, split
            else:
                yield node, None


def _to_key(values: Matrix) -> npt.NDArray[np.int64]:
    """Give each float its number in the order of floats."""
    bits = values.view(np.int64)
    return np.where(bits >= 0, bits, np.int64(-(2**63)) - bits)


def _from_key(keys: npt.NDArray[np.int64]) -> Matrix:
    """Give the floats of their numbers."""
    return np.where(keys >= 0, keys, np.int64(-(2**63)) - keys).view(np.float64)


# Calibration.


def _fold_calibrator(calibrator: Any) -> dict[str, Any]:
    method = calibrator.method
    fitted = calibrator.calibrators
    if method == "sigmoid":
        return {
            "method": "sigmoid",
            "a": [float(c.a_) for c in fitted],
            "b": [float(c.b_) for c in fitted],
        }
    if method == "isotonic":
        return {
            "method": "isotonic",
            "x": [np.asarray(c.X_thresholds_, dtype=np.float64).tolist() for c in fitted],
            "y": [np.asarray(c.y_thresholds_, dtype=np.float64).tolist() for c in fitted],
        }
    if method == "temperature":
        return {"method": "temperature", "beta": float(fitted[0].beta_)}
    raise NotFoldable(f"calibration by {method!r}")
