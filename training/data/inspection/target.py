"""The target: which task it makes, its classes, and its labels as numbers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from core.contract import Column, Task
from core.contract.cells import TRUE_WORDS
from core.errors import DataError
from training.arrays import FloatArray
from training.data.columns import coerce_column, is_blank, spell_value
from training.data.inspection.categories import sort_labels

MAX_CLASSES = 100
# A whole-number target with at most this many values is read as classes.
MAX_WHOLE_NUMBER_CLASSES = 10
_POSITIVE_WORDS = {
    *TRUE_WORDS,
    *("positive", "pos", "malignant", "fraud", "churn", "churned", "default", "bad", "failed"),
    *("failure", "anomaly", "outlier", "spam", "sick", "ill", "dead", "died", "win", "won"),
    *("up", "high"),
}


def infer_task(frame: pd.DataFrame, target: str | None) -> Task:
    """Infer the task from the target's values; raises DataError without a target."""
    if target is None:
        raise DataError(
            "there is no target: name the column to predict, or say task anomaly or clustering"
        )
    values = frame[target][~is_blank(frame[target])]
    distinct = values.nunique()
    if distinct == 2:
        return "binary"
    if pd.api.types.is_bool_dtype(values.dtype):
        return "binary"
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy(dtype=np.float64)
        whole = bool(np.all(numbers == np.floor(numbers)))
        return "multiclass" if whole and distinct <= MAX_WHOLE_NUMBER_CLASSES else "regression"
    return "multiclass"


def infer_classes(
    frame: pd.DataFrame, target: str | None, task: Task, positive: str | None
) -> tuple[tuple[str, ...], dict[str, int], str | None]:
    """Give the classes in order, how many rows each has, and the positive one."""
    if target is None or task in ("regression", "clustering"):
        return (), {}, None
    values = frame[target][~is_blank(frame[target])]
    counted = values.value_counts()
    counts: dict[str, int] = {}
    for value, rows in counted.items():
        name = spell_value(value)
        counts[name] = counts.get(name, 0) + int(rows)
    if task == "anomaly" and len(counts) != 2:
        raise DataError(
            f"the target {target!r} of an anomaly task marks rows as normal or not; it has "
            f"{len(counts)} values: leave the target out, or name a column with two"
        )
    if not counts:
        raise DataError(f"no row has a value of the target {target!r}")
    if len(counts) < 2:
        only = next(iter(counts))
        raise DataError(
            f"the target {target!r} has one class only, {only!r}: there is nothing to tell apart"
        )
    if task == "binary" and len(counts) != 2:
        shown = ", ".join(repr(name) for name in list(counts)[:5])
        raise DataError(
            f"the target {target!r} has {len(counts)} values ({shown}, ...), a binary task has 2; "
            "use task multiclass"
        )
    if len(counts) > MAX_CLASSES:
        raise DataError(
            f"the target {target!r} has {len(counts)} classes, more than {MAX_CLASSES}; "
            "if it is a quantity, use task regression; otherwise name another column"
        )
    names = sort_labels(list(counts))
    if len(names) == 2 and task in ("binary", "anomaly"):
        chosen = positive or _guess_positive(names, counts)
        if chosen not in names:
            raise DataError(
                f"the positive class {chosen!r} is none of {', '.join(map(repr, names))}"
            )
        names = [*(name for name in names if name != chosen), chosen]
        return tuple(names), {name: counts[name] for name in names}, chosen
    return tuple(names), {name: counts[name] for name in names}, None


def _guess_positive(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """Choose the class whose name means yes, else the rarer one."""
    for name in names:
        if name.lower() in _POSITIVE_WORDS:
            return name
    return min(reversed(names), key=lambda name: counts[name])


def label_codes(frame: pd.DataFrame, target: str | None, task: Task) -> FloatArray | None:
    """Give labels as numbers, to look for copies of them; None without labels."""
    if target is None or task in ("anomaly", "clustering"):
        return None
    values = frame[target]
    if task == "regression":
        return coerce_column(values, Column(target, "number", missing=True)).astype(np.float64)
    codes, _ = pd.factorize(values.map(spell_value))
    return codes.astype(np.float64)
