"""The contract: contradictions, encoding, outputs, JSON."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contract import TEXT_BUCKETS, Column, Contract, count_words
from core.errors import ContractError
from tests.core.contract.shop import ADAPTER, COLUMNS, CONTRACT, ROW, send


def test_a_row_becomes_the_documented_vector() -> None:
    """Numbers as they are, categories by their place, moments in parts, words counted."""
    vector = CONTRACT.encode(ADAPTER.validate_request(json.dumps(send()))["instances"][0])

    assert len(vector) == len(CONTRACT.features) == 6 + 5 + TEXT_BUCKETS
    assert vector[:5] == [1.5, 180.0, 1.0, 1.0, 0.0]
    assert vector[5:10] == [2024.0, 2.0, 29.0, 3.0, 13.5]
    assert vector[10:-1] == count_words("Hello, hello world")
    assert sorted(vector[10:-1])[-2:] == [1.0, 2.0]
    assert vector[-1] == 1000.0
    assert [f.name for f in CONTRACT.features][5:7] == ["seen.year", "seen.month"]


@pytest.mark.parametrize("absent", [None, math.nan, "leave out"])
def test_a_missing_value_is_nan_in_every_feature(absent: Any) -> None:
    """None, NaN and an absent column encode alike."""
    row = {k: v for k, v in ROW.items() if k not in ("größe", "plan", "seen", "note")}
    if absent != "leave out":
        row |= dict.fromkeys(("größe", "plan", "seen", "note"), absent)
    vector = CONTRACT.encode(row)

    missing = [f.column for f, v in zip(CONTRACT.features, vector, strict=True) if math.isnan(v)]
    assert set(missing) == {"größe", "plan", "seen", "note"}
    assert len(missing) == 2 + 5 + TEXT_BUCKETS


def test_an_unseen_category_has_a_code_of_its_own() -> None:
    """It is neither missing nor one of the known ones."""
    assert CONTRACT.encode({**ROW, "plan": "gold"})[3] == 2.0


@given(st.datetimes(), st.integers(-14 * 60, 14 * 60))
def test_a_moment_means_the_same_in_every_offset(moment: datetime, minutes: int) -> None:
    """Encoding works in UTC, for text and datetime, up to the ends of the calendar."""
    contract = Contract("anomaly", (Column("t", "timestamp"),))
    local = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    vector = contract.encode({"t": local})
    assert contract.encode({"t": local.isoformat()}) == vector
    try:
        utc = local.astimezone(UTC)
    except OverflowError:
        utc = moment.replace(tzinfo=UTC)
    assert contract.encode({"t": utc}) == vector
    assert contract.encode({"t": utc.replace(tzinfo=None)}) == vector


def test_a_contract_survives_json_and_is_named_by_its_content() -> None:
    """The bundle's contract is the one that was trained with, to the byte."""
    again = Contract.from_json(CONTRACT.to_json())

    assert again == CONTRACT
    assert again.digest == CONTRACT.digest
    assert Contract("binary", COLUMNS[1:], target="y", classes=("no", "yes")).digest != again.digest
    for text in (b"", b"[]", b"{}", b'{"columns": [{"x": 1}], "classes": []}', b"null"):
        with pytest.raises(ContractError, match=r"not a contract|contradicts"):
            Contract.from_json(text)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"columns": ()}, "no columns"),
        ({"columns": (COLUMNS[0], COLUMNS[0])}, "listed twice"),
        ({"target": "smoker"}, "also listed"),
        ({"target": None}, "needs a target"),
        ({"classes": ("a",)}, "has 2 classes"),
        ({"classes": ("a", "a")}, "listed twice"),
        ({"positive": "perhaps"}, "none of"),
        ({"task": "guess"}, "none of"),
        ({"columns": (Column("x", "number", min=math.nan),)}, "finite"),
        ({"columns": (Column(" ", "number"),)}, "needs a name"),
        ({"columns": (Column("x", "category", unseen="refuse"),)}, "needs the categories"),
        ({"columns": (Column("x", "category", categories=("a", "a")),)}, "listed twice"),
        ({"columns": (Column("x", "text", max=3),)}, "have limits"),
        ({"columns": (Column("x", "date"),)}, "none of"),  # type: ignore[arg-type]
        ({"format": 2}, "format 2"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(
    members: Mapping[str, Any], words: str
) -> None:
    """It cannot even be made."""
    whole: dict[str, Any] = {
        "task": "binary", "columns": COLUMNS, "target": "y", "classes": ("no", "yes"), **members
    }  # fmt: skip
    with pytest.raises(ContractError, match=words):
        Contract(**whole)


def test_outputs_are_named_for_each_task() -> None:
    """Captures, engines and the monitor agree on what each number is."""
    assert Contract("regression", COLUMNS, target="y").outputs == ("value",)
    assert Contract("anomaly", COLUMNS).outputs == ("score",)
    assert Contract("clustering", COLUMNS, classes=("0", "1")).outputs == (
        "cluster", "score 0", "score 1",
    )  # fmt: skip
    assert CONTRACT.outputs == CONTRACT.label_names == ("no", "yes")
    assert CONTRACT.positive_index == 1
    assert (
        Contract("binary", COLUMNS, target="y", classes=("b", "m"), positive="b").positive_index
        == 0
    )


def test_answering_imports_neither_numpy_nor_pydantic_nor_openapi() -> None:
    """A cold start pays only for what a prediction needs."""
    code = (
        "import sys; from core.contract import Contract; import core.contract.rows;"
        "print([m for m in ('numpy', 'pydantic', 'core.contract.openapi', 'core.settings',"
        " 'inspect_')"
        " if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip

    assert found.stdout.strip() == "[]"


def test_features_are_laid_out_in_the_order_of_the_columns() -> None:
    """Position i of the vector is feature i, for every reader."""
    order = [CONTRACT.column_names.index(f.column) for f in CONTRACT.features]

    assert all(a <= b for a, b in pairwise(order))
    assert {f.column: f.kind for f in CONTRACT.features} == {c.name: c.type for c in COLUMNS}
