"""Leaks: columns that tell the target, and may not be known when predicting."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.contract import ColumnType, Task
from training.arrays import FloatArray

_LEAK_SAMPLE_ROWS = 100_000


def find_leak(
    coerced: NDArray[Any], kind: ColumnType, labels: FloatArray, task: Task
) -> tuple[str, bool]:
    """Say how a column tells the target, if it does, and whether it is a plain copy of it."""
    if len(labels) > _LEAK_SAMPLE_ROWS:
        step = -(-len(labels) // _LEAK_SAMPLE_ROWS)
        coerced, labels = coerced[::step], labels[::step]
    if len(labels) < 20:
        return "", False
    known = ~pd.isna(coerced) & ~np.isnan(labels)
    if known.sum() < 0.5 * len(labels):
        return _find_leak_in_gaps(coerced, labels, task)
    if kind in ("text", "timestamp"):
        return "", False
    if kind == "category":
        codes = pd.factorize(coerced[known])[0].astype(np.float64)
    else:
        codes = coerced[known].astype(np.float64)
    targets = labels[known]
    if np.isinf(codes).any() or len(np.unique(targets)) < 2:
        return "", False
    if task == "regression":
        return ("", False) if kind == "category" else _compare_numbers(codes, targets)
    classes = len(np.unique(targets))
    distinct = len(np.unique(codes))
    few = distinct <= max(2 * classes, classes + 2)
    if few and len(np.unique(codes + 1j * targets)) == distinct:
        return "tells the target in every row: a copy of it, or known only after it", True
    return "", False


def _find_leak_in_gaps(coerced: NDArray[Any], labels: FloatArray, task: Task) -> tuple[str, bool]:
    """Say whether being filled in tells the class, as a cancellation date does."""
    if task == "regression":
        return "", False
    filled = ~pd.isna(coerced)
    if not filled.any() or filled.all() or filled.sum() < 5:
        return "", False
    inside, outside = set(labels[filled]), set(labels[~filled])
    if len(inside) == 1 and not inside & outside:
        return "is filled in exactly where the target has one class: known only after it", True
    return "", False


def _compare_numbers(codes: FloatArray, targets: FloatArray) -> tuple[str, bool]:
    if np.ptp(codes) == 0 or np.ptp(targets) == 0:
        return "", False
    correlation = abs(float(np.corrcoef(codes, targets)[0, 1]))
    if correlation > 1 - 1e-9:
        return "is the target in other units: a copy of it", True
    return "", False
