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

from training.export.folding.model import Halves, fold_model, fold_preparation
from training.export.folding.tables import NotFoldable, Tables

__all__ = ["Halves", "NotFoldable", "Tables", "fold_model", "fold_preparation"]
