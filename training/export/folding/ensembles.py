"""Tree ensembles of scikit-learn: boosting, forests, single trees, isolation forests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from training.arrays import FloatArray
from training.export.folding.preparation import Preparation
from training.export.folding.tables import NotFoldable, Tables
from training.export.folding.trees import Tree, fold_trees


def fold_histogram_boosting(estimator: Any, preparation: Preparation) -> Tables:
    """Fold histogram boosting, with its own splits on sets of categories."""
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
                Tree(
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
    return fold_trees(trees, preparation, base.tolist(), 1.0, link, categories=categories)


def _has_bit(bitset: Any, number: int) -> bool:
    return bool(int(bitset[number // 32]) >> (number % 32) & 1)


def fold_gradient_boosting(estimator: Any, preparation: Preparation) -> Tables:
    """Fold gradient boosting that starts from a constant."""
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
    return fold_trees(trees, preparation, base, 1.0, link, single=True)


def fold_forest(estimator: Any, preparation: Preparation) -> Tables:
    """Fold a forest, extremely randomised trees, or a single tree."""
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
    return fold_trees(
        trees, preparation, [0.0] * int(outputs), float(len(fitted)), link, single=True
    )


def fold_isolation_forest(estimator: Any, preparation: Preparation) -> Tables:
    """Fold an isolation forest: the sum of path lengths, over their expected one."""
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
    return fold_trees(trees, preparation, [0.0], -divisor, "isolation", single=True)


def _read_tree(tree: Any, value: FloatArray, output: int) -> Tree:
    nodes = tree.__getstate__()["nodes"]
    return Tree(
        left=nodes["left_child"].astype(np.int64),
        right=nodes["right_child"].astype(np.int64),
        channel=nodes["feature"].astype(np.int64),
        threshold=nodes["threshold"],
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=value,
        output=output,
    )
