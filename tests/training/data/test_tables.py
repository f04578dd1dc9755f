"""Tables: checked against the contract, and encoded as the Lambda encodes rows."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contract import LARGEST_INTEGER, Column, Contract
from core.contract.rows import RowAdapter
from core.errors import ContractError, DataError
from tests.training.data.contracts import COLUMNS, CONTRACT
from training.data.inspection import (
    infer_contract,
)
from training.data.reading import read_table
from training.data.tables import check_table, encode_table, encode_target, table_rows


@pytest.mark.parametrize(
    ("column", "values", "code", "words"),
    [
        (
            Column("v", "number"),
            [1.0, "x", "y"],
            "wrong_type",
            "2 of 3 rows hold no number, e.g. 'x'",
        ),
        (Column("v", "number"), [1.0, None, 2.0], "missing", "1 of 3 rows have no value"),
        (
            Column("v", "number"),
            [1.0, np.inf, -np.inf],
            "not_finite",
            "2 of 3 rows hold an infinite",
        ),
        (Column("v", "number", min=0), [1.0, -3.5, 2.0], "too_small", "below the minimum of 0"),
        (Column("v", "number", max=9), [1.0, 10.0, 2.0], "too_large", "above the maximum of 9"),
        (Column("v", "integer"), [1, 2.5, 3], "wrong_type", "hold a fraction"),
        (Column("v", "integer"), [1, 2.0**60, 3], "too_large", "too large to be exact"),
        (Column("v", "boolean"), [0, 1, 2], "wrong_type", "neither true nor false, e.g. 2"),
        (Column("v", "boolean"), ["yes", "no", "so"], "wrong_type", "neither true nor false"),
        (Column("v", "timestamp"), ["2024-01-01", "soon", "2024-01-02"], "wrong_type", "no date"),
        (Column("v", "timestamp"), [1, 2, 3], "wrong_type", "3 of 3 rows hold no date"),
        (
            Column("v", "category", categories=("a",), unseen="refuse"),
            ["a", "b", "a"],
            "unseen_category",
            "not listed, e.g. 'b'",
        ),
        (Column("v", "category"), ["a", "x" * 1001, "a"], "wrong_type", "at most 1000 characters"),
    ],
)
def test_a_table_that_breaks_its_contract_is_refused_with_examples(
    column: Column, values: list[Any], code: str, words: str
) -> None:
    """Column, how many rows, which, and what they hold."""
    with pytest.raises(DataError) as caught:
        check_table(pd.DataFrame({"v": values}), Contract("anomaly", (column,)))

    assert [(p.column, p.code) for p in caught.value.problems] == [("v", code)]
    assert words in str(caught.value)
    assert "row" in caught.value.problems[0].message


def test_all_columns_are_judged_before_refusing() -> None:
    """One run tells everything; sensitive values are not shown; unreadable is not also missing."""
    contract = Contract(
        "binary",
        (
            Column("age", "integer", sensitive=True),
            Column("size", "number"),
            Column("gone", "text"),
        ),
        target="y",
        classes=("n", "y"),
    )
    frame = pd.DataFrame({"age": ["secret", "5"], "Size": [1, 2], "y": ["n", "other"]})

    with pytest.raises(DataError) as caught:
        check_table(frame, contract)
    assert {(p.column, p.code) for p in caught.value.problems} == {
        ("age", "wrong_type"), ("size", "no_column"), ("gone", "no_column"), ("y", "unknown_label"),
    }  # fmt: skip
    assert "secret" not in str(caught.value)
    assert "the table has 'Size'" in str(caught.value)


def test_a_checked_table_is_typed_and_described() -> None:
    """Rows without a target are left out and counted; extra columns are ignored and listed."""
    contract = Contract(
        "binary", COLUMNS[:4], target="y", classes=("no", "yes"), time_column="t", group_column="g"
    )
    frame = pd.DataFrame(
        {
            "a": ["1.5", " ", "3"],
            "b": [1, 2, 3],
            "c": ["Yes", "no", None],
            "d": [2.0, "x", "other"],
            "y": ["no", None, "yes"],
            "t": ["2024-01-02", "2024-01-01", "2024-01-03"],
            "g": [7, 7, 8],
            "extra": 0,
        }
    )
    checked = check_table(frame, contract)

    assert checked.frame["a"].tolist() == [1.5, 3.0]
    assert checked.frame["d"].tolist() == ["2", "other"]
    assert checked.frame["t"].dtype == "datetime64[us]"
    assert checked.frame["g"].tolist() == [7, 8]
    assert encode_target(checked.frame, contract).tolist() == [0, 1]
    assert checked.quality["rows_without_target"] == 1
    assert checked.quality["ignored_columns"] == ["extra"]
    assert checked.quality["classes"] == {"no": 1, "yes": 1}
    assert checked.quality["columns"]["d"]["unseen"] == 1
    assert any("no target" in warning for warning in checked.warnings)
    assert np.array_equal(
        encode_table(checked.frame, contract), encode_table(frame, contract)[[0, 2]], equal_nan=True
    )


def test_a_target_without_values_or_beside_its_classes_is_refused() -> None:
    """Labels are checked as strictly as columns."""
    contract = Contract("regression", COLUMNS[:1], target="y")

    with pytest.raises(DataError, match="no row has a value"):
        check_table(pd.DataFrame({"a": [1.0], "y": [None]}), contract)
    with pytest.raises(DataError, match="infinite"):
        check_table(pd.DataFrame({"a": [1.0], "y": [np.inf]}), contract)
    with pytest.raises(DataError, match="no target column"):
        encode_target(pd.DataFrame({"a": [1.0]}), contract)


def test_two_thousand_columns_are_no_obstacle() -> None:
    """A wide table is inspected, checked and encoded in seconds."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2000)), columns=[f"c{i}" for i in range(2000)])
    frame["y"] = [0, 1] * 30
    contract, findings = infer_contract(frame, "y")

    assert encode_table(check_table(frame, contract).frame, contract).shape == (60, 2000)
    assert any("more features" in warning for warning in findings.warnings)


cells = st.fixed_dictionaries(
    {
        "a": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.none() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER),
        "c": st.none() | st.booleans(),
        "d": st.none() | st.sampled_from(["x", "ü", "2", "unseen", "X", "0"]),
        "e": st.none() | st.datetimes() | st.datetimes(timezones=st.just(UTC)),
        "f": st.none() | st.text(max_size=20),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(cells, min_size=1, max_size=6))
def test_the_matrix_equals_the_lambdas_vectors_bit_for_bit(rows: list[dict[str, Any]]) -> None:
    """What training fits on is what the Lambda will compute, for any values."""
    sent = [
        {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()} for row in rows
    ]
    frame = pd.DataFrame(sent, columns=list(CONTRACT.column_names), dtype=object)

    matrix = encode_table(frame, CONTRACT)
    as_sent = table_rows(frame, CONTRACT)
    accepted = RowAdapter(CONTRACT).validate_rows(as_sent)
    vectors = np.array([CONTRACT.encode(row) for row in accepted])

    assert matrix.tobytes() == vectors.tobytes() or np.array_equal(matrix, vectors, equal_nan=True)
    for name in ("a", "b", "c", "d"):
        assert [row[name] for row in as_sent] == [row[name] for row in sent]


@pytest.mark.parametrize(
    "dtype", ["float32", "Int64", "boolean", "category", "datetime64[ns, UTC]"]
)
def test_the_dtypes_of_parquet_are_encoded_alike(tmp_path: Path, dtype: str) -> None:
    """Nullable, categorical, single precision and zoned columns give the values of their rows."""
    values: dict[str, tuple[str, list[Any]]] = {
        "float32": ("a", [0.1, None]),
        "Int64": ("b", [3, None]),
        "boolean": ("c", [True, None]),
        "category": ("d", ["x", None]),
        "datetime64[ns, UTC]": ("e", [pd.Timestamp("2024-02-29 13:30", tz="UTC"), None]),
    }
    name, data = values[dtype]
    column = next(c for c in COLUMNS if c.name == name)
    contract = Contract("anomaly", (column,))
    pd.DataFrame({name: pd.Series(data, dtype=dtype)}).to_parquet(tmp_path / "t.parquet")
    frame = read_table(tmp_path / "t.parquet")

    vectors = [contract.encode(row) for row in table_rows(frame, contract)]
    assert np.array_equal(encode_table(frame, contract), np.array(vectors), equal_nan=True)
    assert np.isnan(vectors[1]).all()
    if name == "e":
        assert vectors[0] == [2024.0, 2.0, 29.0, 3.0, 13.5]


def test_encoding_costs_the_same_per_row_from_small_to_large() -> None:
    """A hundred thousand mixed rows are checked and encoded in about a second."""
    rng = np.random.default_rng(0)
    rows = 100_000
    data: dict[str, Any] = {f"n{i}": rng.normal(size=rows) for i in range(20)}
    data |= {f"c{i}": rng.choice(np.array(["a", "b", "c"], dtype=object), rows) for i in range(10)}
    columns = tuple(Column(n, "number" if n[0] == "n" else "category", categories=()) for n in data)
    frame = pd.DataFrame(data)
    contract = Contract("anomaly", columns)

    started = time.process_time()
    matrix = encode_table(frame, contract)
    assert time.process_time() - started < 10
    assert matrix.shape == (rows, 30)


def test_a_contract_of_the_wrong_task_refuses_labels() -> None:
    """A label that is none of the classes never becomes a silent index."""
    contract = Contract("binary", COLUMNS[:1], target="y", classes=("a", "b"))

    with pytest.raises(DataError, match="other than a, b"):
        encode_target(pd.DataFrame({"y": ["a", "c"]}), contract)
    with pytest.raises(DataError, match="no value"):
        encode_target(pd.DataFrame({"y": ["a", None]}), contract)
    with pytest.raises(ContractError):
        contract.parse_label("c")


def test_rows_without_a_target_are_not_held_to_the_contract() -> None:
    """They are not learned from: a gap or an odd value in them stops nothing, as in `ops init`."""
    contract = Contract("regression", (Column("x", "number"), Column("c", "category")), target="y")
    frame = pd.DataFrame(
        {"x": [1.0, None, 3.0, 4.0], "c": ["a", None, "b", "a"], "y": [1.0, None, 2.0, 5.0]}
    )
    checked = check_table(frame, contract)
    assert checked.frame["x"].tolist() == [1.0, 3.0, 4.0]
    assert checked.positions.tolist() == [0, 2, 3]
    with pytest.raises(DataError, match="x"):
        check_table(frame.assign(y=[1.0, 2.0, 3.0, 4.0]), contract)
