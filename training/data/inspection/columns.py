"""One column: its type, range, values, and whether it is an identifier or a leak."""

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.contract import Column, ColumnType, Task
from core.contract.rows import MAX_CATEGORY_CHARACTERS, MAX_TEXT_CHARACTERS
from training.arrays import FloatArray
from training.data.columns import Series, coerce_column, is_blank, spell_value
from training.data.inspection.categories import learn_categories
from training.data.inspection.findings import ColumnFinding, Role
from training.data.inspection.leaks import find_leak
from training.data.inspection.types import MANY_CATEGORIES, infer_type

IDENTIFIER_NOTE = "names the row: it would be learned by heart"
ID_NAME = re.compile(
    r"(^|[_\s.-])(id|uuid|guid|key|index|idx|rowid|row[_ ]?(number|no|num)|serial)$|^unnamed: ?\d+$"
    r"|[a-z](ID|Id|UUID|Uuid|Key)$|^id[_\s.-]",
)

_ANSWER_NAME = re.compile(r"(^|[_\s.-])(prediction|predicted|predicted_probability|y_pred|y_prob)$")


def inspect_column(
    values: Series,
    name: str,
    role: Role | None,
    labels: FloatArray | None,
    task: Task,
) -> ColumnFinding:
    """Say what one column holds; a `role` that was named is kept."""
    blank = is_blank(values)
    present = values[~blank]
    missing = int(blank.sum())
    try:
        distinct = int(present.nunique())
    except TypeError:
        note = "holds lists or objects, which no model here reads"
        return ColumnFinding(name, role or "left out", None, missing, 0, warnings=(note,))
    examples = tuple(show_value(value) for value in present.head(1000).drop_duplicates().head(3))
    if not len(present):
        return ColumnFinding(
            name, role or "left out", None, missing, 0, warnings=("has no values",)
        )
    kind, notes = infer_type(present, distinct)
    if kind == "category" and role is None:
        longest = max(len(spell_value(value)) for value in pd.unique(present))
        if longest > MAX_CATEGORY_CHARACTERS:
            kind = "text"
        if longest > MAX_TEXT_CHARACTERS:
            note = f"holds texts of up to {longest} characters, a request may hold "
            notes = [f"{note}{MAX_TEXT_CHARACTERS}; shorten it to use it"]
            return ColumnFinding(name, "left out", None, missing, distinct, warnings=tuple(notes))
    categories: tuple[str, ...] = ()
    if kind == "category" and not _is_identifier(present, name, kind, distinct, len(values)):
        categories = learn_categories(present)
    coerced = coerce_column(values, Column(name, kind, missing=True))
    missing = int(pd.isna(coerced).sum())
    column = Column(name, kind, missing=missing > 0, categories=categories)
    low, high = _range(coerced, kind)
    if role is None and distinct == 1 and not missing:
        role, note = "left out", "has the same value in every row"
        notes.insert(0, note)
    if role is None and _is_identifier(present, name, kind, distinct, len(values)):
        role = "id"
        notes.insert(0, IDENTIFIER_NOTE)
    if role is None and labels is not None:
        evidence, copied = find_leak(coerced, kind, labels, task)
        if evidence:
            notes.insert(0, evidence)
            role = "left out" if copied else None
    if role is None and kind == "category" and distinct > MANY_CATEGORIES:
        rest = distinct - len(categories)
        kept = f"; the rarest {rest} count as one" if rest else ""
        notes.append(f"has {distinct} distinct values{kept}")
    if role is None and _ANSWER_NAME.search(name.lower()):
        notes.append("looks like another model's answer: is it known when predicting?")
    if role is None and missing > 0.95 * len(values):
        notes.append(f"is missing in {missing / len(values):.1%} of the rows")
    return ColumnFinding(
        name, role or "input", column, missing, distinct, low, high, examples, tuple(notes)
    )


def _is_identifier(present: Series, name: str, kind: ColumnType, distinct: int, rows: int) -> bool:
    """Say whether a column names rows rather than describing them."""
    if distinct < len(present) or rows < 10:
        likely = kind in ("category", "integer") and bool(ID_NAME.search(name))
        return likely and distinct > 0.9 * rows and rows >= 10
    if kind == "integer":
        numbers = present.to_numpy(dtype=np.float64)
        consecutive = numbers.max() - numbers.min() == len(numbers) - 1
        return bool(ID_NAME.search(name)) or bool(consecutive)
    if kind == "category":
        return True
    return kind in ("number", "text") and bool(ID_NAME.search(name))


def _range(coerced: NDArray[Any], kind: ColumnType) -> tuple[str, str]:
    present = coerced[~pd.isna(coerced)]
    if not len(present) or kind in ("category", "text", "boolean"):
        return "", ""
    return show_value(present.min()), show_value(present.max())


def show_value(value: Any) -> str:
    """Write a value for people, in at most 40 characters."""
    if isinstance(value, np.datetime64 | pd.Timestamp):
        text = pd.Timestamp(value).isoformat()
        return text.removesuffix("T00:00:00")
    if isinstance(value, float | np.floating):
        return f"{float(value):.6g}"
    text = spell_value(value)
    return text if len(text) <= 40 else text[:37] + "..."
