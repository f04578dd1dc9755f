"""Columns: dates as people write them, and cells that hold no value."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contract import Column
from core.errors import DataError
from tests.training.data.contracts import find
from training.data.columns import coerce_column, parse_dates
from training.data.inspection import (
    infer_contract,
)


@given(
    st.lists(
        st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), max_size=5
    )
)
def test_iso_dates_are_read_as_python_reads_them(moments: list[datetime]) -> None:
    """To the microsecond, from year 1 to 9999, with and without a zone."""
    texts = [moment.isoformat() for moment in moments]
    for suffix in ("", "+00:00"):
        parsed, bad = parse_dates([f"{text}{suffix}" for text in texts])
        assert not bad.any()
        assert parsed.tolist() == moments


@pytest.mark.parametrize(
    "texts",
    [
        ["31.01.2024"],
        ["31/01/2024"],
        ["01/31/2024"],
        ["2024/01/31"],
        ["2024-01-31"],
        ["31-01-2024"],
        ["31 Jan 2024"],
        ["31-Jan-2024"],
        ["January 31, 2024"],
        ["Jan 31, 2024"],
        ["31.01.24"],
        ["01/31/2024 12:00 AM"],
    ],
)
def test_customary_dates_are_read(texts: list[str]) -> None:
    """A column in one customary format is a column of dates."""
    parsed, bad = parse_dates(texts)

    assert not bad.any()
    assert parsed[0] == np.datetime64("2024-01-31")
    frame = pd.DataFrame({"at": texts * 20, "x": range(7, 47, 2), "y": [0.5, 1.5] * 10})
    assert find(infer_contract(frame, "y")[1].columns, "at").type == "timestamp"


def test_lists_in_cells_are_refused() -> None:
    """Nested Parquet is named, not crashed on."""
    with pytest.raises(DataError, match="lists or objects"):
        coerce_column(pd.Series([[1], [2]], name="v"), Column("v", "category"))
    _, findings = infer_contract(
        pd.DataFrame({"v": [[1], [2]] * 10, "x": range(20, 60, 2), "y": [0.5, 1.5] * 10}), "y"
    )
    assert find(findings.columns, "v").role == "left out"
