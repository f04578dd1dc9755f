"""Cells of a table mean to batch scoring what they mean to training."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from core.contract import Column
from core.contract.cells import BLANKS, FALSE_WORDS, MISSING_AMONG_NUMBERS, TRUE_WORDS, read_cell
from core.errors import DataError
from training.data.columns import coerce_column

WORDS = [*MISSING_AMONG_NUMBERS, *TRUE_WORDS, *FALSE_WORDS, "NaN", "1.0", " 7 ", "1_000", "x"]


def plain(value: Any) -> Any:
    """Write a missing value as None and truth as a number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return float(value) if isinstance(value, bool) else value


@pytest.mark.parametrize("kind", ["number", "boolean", "category", "text"])
@pytest.mark.parametrize("text", [*WORDS, *(f"{BLANKS}{word.upper()}" for word in WORDS)])
def test_a_cell_is_read_as_training_reads_it(kind: Any, text: str) -> None:
    """What training reads as a value or as none, scoring does; what it refuses stays text."""
    column = Column("c", kind, missing=True)
    read = read_cell(column, text)
    cells = pd.Series([text], dtype=object, name="c")
    try:
        (value,) = coerce_column(cells, column)
    except DataError:
        assert isinstance(read, str)
        assert kind in ("number", "boolean")
    else:
        assert plain(read) == plain(value)
