"""The type of a column: the one that fits every value."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from core.contract import LARGEST_INTEGER, ColumnType
from core.contract.cells import FALSE_WORDS, TRUE_WORDS
from training.data.columns import Series, parse_dates, spell_value

# Text with more distinct values than this is called high-cardinality.
MANY_CATEGORIES = 50
_DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}[- ][A-Z][a-z]+[- ]\d{4}$|[A-Z][a-z]+ \d{1,2}, \d{4}$"
)
_BOOLEAN_PAIRS = tuple(frozenset(pair) for pair in zip(TRUE_WORDS, FALSE_WORDS, strict=True))


def infer_type(present: Series, distinct: int) -> tuple[ColumnType, list[str]]:
    """Give the type that fits every value, and what to say about it."""
    if isinstance(present.dtype, pd.CategoricalDtype):
        return "category", []
    if pd.api.types.is_bool_dtype(present.dtype):
        return "boolean", []
    if pd.api.types.is_datetime64_any_dtype(present.dtype):
        return "timestamp", []
    if pd.api.types.is_numeric_dtype(present.dtype):
        numbers = present.to_numpy(dtype=np.float64)
        if distinct == 2 and set(np.unique(numbers)) == {0.0, 1.0}:
            return "boolean", []
        whole_type = pd.api.types.is_integer_dtype(present.dtype)
        if whole_type and np.abs(numbers).max() > LARGEST_INTEGER:
            return "category", ["holds whole numbers too long to be exact: taken for codes"]
        return ("integer" if whole_type else "number"), []
    texts = [spell_value(value) for value in pd.unique(present)]
    words = {text.lower() for text in texts}
    if len(words) == 2 and frozenset(words) in _BOOLEAN_PAIRS:
        return "boolean", []
    numbers_found = _count_numbers(texts)
    if numbers_found == len(texts) and not any(_is_code(text) for text in texts):
        return "number", ["holds numbers as text"]
    dates = _infer_dates(texts)
    if dates is not None:
        return "timestamp", dates
    notes = []
    if numbers_found >= 0.5 * len(texts) and numbers_found >= 10 and numbers_found < len(texts):
        odd = [text for text in texts if not _is_number(text)][:3]
        notes.append(
            f"holds numbers in most rows, and {', '.join(map(repr, odd))}; clean it to use numbers"
        )
    if distinct > MANY_CATEGORIES and np.mean([len(text.split()) for text in texts[:1000]]) >= 3:
        return "text", notes
    return "category", notes


def _count_numbers(texts: Sequence[str]) -> int:
    if not any(map(_is_number, texts[:1000])):
        return 0
    return sum(map(_is_number, texts))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _is_code(text: str) -> bool:
    return bool(re.match(r"[+-]?0\d", text)) or bool(re.fullmatch(r"[+-]?\d{16,}", text))


def _infer_dates(texts: Sequence[str]) -> list[str] | None:
    """Say, where all texts are dates, what to know about them; None where they are not."""
    sample = texts[:50]
    if not all(map(_DATE.match, sample)):
        return None
    if parse_dates(sample)[1].any() or parse_dates(texts)[1].any():
        return None
    if re.match(r"\d{1,2}/\d{1,2}/\d{2}", texts[0]) and all(
        int(part) <= 12 for text in texts for part in text.split("/")[:2]
    ):
        return ["day and month could be either; read as day first. Write dates as 2026-01-31"]
    return []
