"""The contract: encoding, checking and describing rows."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from core.contract import LARGEST_INTEGER, TEXT_BUCKETS, Column, Contract, count_words
from core.errors import ContractError

COLUMNS = (
    Column("mean radius", "number", unit="mm", min=0),
    Column("größe", "integer", missing=True, max=300),
    Column("smoker", "boolean"),
    Column("plan", "category", categories=("basic", "plus"), missing=True),
    Column("region", "category", categories=("n", "s"), unseen="refuse"),
    Column("seen", "timestamp", missing=True),
    Column("note", "text", missing=True),
    Column("salary", "number", sensitive=True, max=1e6),
)
CONTRACT = Contract("binary", COLUMNS, target="y", classes=("no", "yes"), positive="yes")
ROW: dict[str, Any] = {
    "mean radius": 1.5,
    "größe": 180,
    "smoker": True,
    "plan": "plus",
    "region": "n",
    "seen": "2024-02-29T13:30:00Z",
    "note": "Hello, hello world",
    "salary": 1000.0,
}
ADAPTER = CONTRACT.row_adapter(max_rows=3)


def refuse(body: object) -> list[tuple[int | None, str | None, str]]:
    """Send a body that must be refused; give where and why, without the words."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ContractError) as caught:
        ADAPTER.validate_request(text)
    assert caught.value.problems
    return [(p.row, p.column, p.code) for p in caught.value.problems]


def send(**changes: Any) -> dict[str, Any]:
    """Make a request of one row that differs from the good one."""
    return {"instances": [{**ROW, **changes}]}


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


def test_every_problem_of_every_row_is_named_at_once() -> None:
    """A caller mends a request in one go."""
    rows = [
        {**ROW, "mean radius": -1, "smoker": 7, "colour": "red"},
        "text",
        {key: value for key, value in ROW.items() if key != "region"},
    ]

    assert sorted(refuse({"instances": rows}), key=str) == sorted(
        [
            (0, "mean radius", "too_small"),
            (0, "smoker", "wrong_type"),
            (0, "colour", "unknown_column"),
            (1, None, "not_an_object"),
            (2, "region", "missing"),
        ],
        key=str,
    )


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("mean radius", "1.5", "wrong_type"),
        ("mean radius", True, "wrong_type"),
        ("mean radius", None, "missing"),
        ("mean radius", [1], "wrong_type"),
        ("mean radius", {"a": 1}, "wrong_type"),
        ("größe", 1.5, "wrong_type"),
        ("größe", 301, "too_large"),
        ("größe", "180", "wrong_type"),
        ("größe", -LARGEST_INTEGER - 1, "too_small"),
        ("größe", 10**30, "too_large"),
        ("smoker", 2, "wrong_type"),
        ("smoker", "maybe", "wrong_type"),
        ("plan", 3, "wrong_type"),
        ("plan", "x" * 1001, "too_long"),
        ("region", "west", "unseen_category"),
        ("region", 1, "wrong_type"),
        ("region", None, "missing"),
        ("seen", 1700000000, "wrong_type"),
        ("seen", "1700000000", "wrong_type"),
        ("seen", "31.01.2024", "wrong_type"),
        ("seen", "2024-02-30", "wrong_type"),
        ("note", 5, "wrong_type"),
        ("salary", 1e7, "too_large"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(column: str, value: Any, code: str) -> None:
    """Each wrong value has its one code."""
    assert refuse(send(**{column: value})) == [(0, column, code)]


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_are_finite(token: str) -> None:
    """NaN and infinities, which JSON does not have, are refused also where they slip in."""
    body = json.dumps(send(**{"mean radius": "TOKEN"})).replace('"TOKEN"', token).encode()

    assert refuse(body) == [(0, "mean radius", "not_finite")]


@pytest.mark.parametrize(
    ("column", "value", "encoded"),
    [
        ("größe", 3.0, 3.0),
        ("mean radius", 5, 5.0),
        ("smoker", "Yes", 1.0),
        ("smoker", "no", 0.0),
        ("smoker", 1, 1.0),
        ("smoker", False, 0.0),
        ("seen", "2024-02-29", 2024.0),
        ("seen", "2024-03-01T00:30:00+14:00", 2024.0),
    ],
)
def test_a_value_may_be_written_in_its_usual_ways(column: str, value: Any, encoded: float) -> None:
    """A whole number as 3.0, a flag as "Yes", a moment as a date."""
    row = ADAPTER.validate_request(json.dumps(send(**{column: value})))["instances"][0]
    first = [f.column for f in CONTRACT.features].index(column)

    assert CONTRACT.encode(row)[first] == encoded


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", (None, None, "invalid_json")),
        (b"{", (None, None, "invalid_json")),
        (b"\xff\xfe", (None, None, "invalid_json")),
        (b'{"instances": [{"note": "\xff"}]}', (None, None, "invalid_json")),
        (b"[" * 100_000, (None, None, "invalid_json")),
        (b'{"a":' * 100_000, (None, None, "invalid_json")),
        (b"[]", (None, None, "wrong_type")),
        (b"null", (None, None, "wrong_type")),
        (b"{}", (None, "instances", "missing")),
        (b'{"instances": {}}', (None, None, "wrong_type")),
        (b'{"instances": []}', (None, None, "no_rows")),
        ({"instances": [ROW] * 4}, (None, None, "too_many_rows")),
        ({**send(), "rows": 1}, (None, "rows", "unknown_member")),
        ({**send(), "ids": ["a", "b"]}, (None, "ids", "ids_do_not_match")),
        ({"instances": [ROW, ROW], "ids": ["a", "a"]}, (1, "ids", "duplicate_id")),
        ({**send(), "ids": ["a b"]}, (0, "ids", "wrong_type")),
        ({**send(), "ids": [7]}, (0, "ids", "wrong_type")),
        ({**send(), "ids": "a"}, (None, "ids", "wrong_type")),
    ],
)
def test_a_body_that_is_no_request_has_one_answer(body: object, problem: object) -> None:
    """Broken, empty, deep or oversized: each has its defined problem."""
    assert refuse(body) == [problem]


def test_a_sensitive_value_is_never_echoed() -> None:
    """Neither the message, nor a logged traceback, holds what a sensitive column held."""
    import traceback

    for value in ("top-secret", 1234567.89):
        with pytest.raises(ContractError) as caught:
            ADAPTER.validate_request(json.dumps(send(salary=value)))
        shown = "".join(traceback.format_exception(caught.value))
        assert str(value) not in shown
    with pytest.raises(ContractError, match="not 'wide'"):
        ADAPTER.validate_request(json.dumps(send(**{"mean radius": "wide"})))


def test_a_misspelt_column_is_recognised() -> None:
    """What differs only in case or punctuation is suggested."""
    with pytest.raises(ContractError, match="did you mean 'mean radius'"):
        ADAPTER.validate_request(json.dumps(send(Mean_Radius=1)))


def test_python_rows_are_checked_alike() -> None:
    """Batches and golden rows, with datetime objects or text, pass the same checks."""
    given_rows = [{**ROW, "seen": datetime(2024, 2, 29, 13, 30, tzinfo=UTC)}, ROW]
    first, second = ADAPTER.validate_rows(given_rows)

    assert CONTRACT.encode(first) == CONTRACT.encode(second) == CONTRACT.encode(ROW)
    assert CONTRACT.parse(ROW) == second
    assert ADAPTER.validate_json(json.dumps([ROW])) == [second]
    with pytest.raises(ContractError):
        CONTRACT.parse({**ROW, "mean radius": math.inf})


def test_the_values_that_were_accepted_can_be_written_as_json() -> None:
    """Captured rows are accepted rows; they encode to the same vector when they are read back."""
    row = ADAPTER.validate_request(json.dumps(send()))["instances"][0]
    again = orjson.loads(orjson.dumps(row))

    assert CONTRACT.encode(again) == CONTRACT.encode(row)


@pytest.mark.parametrize(
    ("contract", "value", "label"),
    [
        (CONTRACT, "yes", "yes"),
        (CONTRACT, " yes ", "yes"),
        (Contract("binary", COLUMNS, target="y", classes=("0", "1")), 1, "1"),
        (Contract("binary", COLUMNS, target="y", classes=("0", "1")), 0.0, "0"),
        (Contract("binary", COLUMNS, target="y", classes=("0", "1")), True, "1"),
        (Contract("binary", COLUMNS, target="y", classes=("false", "true")), False, "false"),
        (Contract("regression", COLUMNS, target="y"), 3, 3.0),
        (Contract("anomaly", COLUMNS), True, "anomaly"),
        (Contract("anomaly", COLUMNS), "normal", "normal"),
    ],
)
def test_a_label_is_understood_as_tables_and_callers_write_it(
    contract: Contract, value: Any, label: object
) -> None:
    """1, 1.0, "1" and true are one class."""
    assert contract.parse_label(value) == label
    body = json.dumps({"labels": [{"id": "a", "value": value}]})
    assert contract.row_adapter().validate_labels(body) == [{"id": "a", "value": label}]


def test_labels_are_checked_all_at_once() -> None:
    """An unknown class, a missing id and a stray member are each named with their row."""
    labels = [
        {"id": "a", "value": "maybe"},
        {"value": "yes"},
        {"id": "c", "value": "yes", "x": 1},
        {"id": "d", "value": None},
    ]
    with pytest.raises(ContractError) as caught:
        CONTRACT.row_adapter().validate_labels(json.dumps({"labels": labels}))
    assert {(p.row, p.column) for p in caught.value.problems} == {(1, "id"), (2, "x"), (3, "value")}
    with pytest.raises(ContractError) as caught:
        ADAPTER.validate_labels(json.dumps({"labels": labels[:1]}))
    assert [(p.row, p.code) for p in caught.value.problems] == [(0, "unknown_label")]
    for wrong in ("no", True, math.inf, 10**400):
        with pytest.raises(ContractError):
            Contract("regression", COLUMNS, target="y").parse_label(wrong)


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


@pytest.mark.parametrize(
    "contract",
    [
        CONTRACT,
        Contract("multiclass", COLUMNS, target="y", classes=("1", "2", "x")),
        Contract("regression", COLUMNS, target="y"),
        Contract("anomaly", COLUMNS),
        Contract("clustering", COLUMNS, classes=("0", "1")),
    ],
    ids=lambda contract: contract.task,
)
@pytest.mark.parametrize("auth", ["iam", "api_key", "open"])
def test_the_api_document_is_valid_openapi(contract: Contract, auth: Any) -> None:
    """Generators and fuzzers read it; every route and its problems are in it."""
    document = contract.openapi(auth=auth, example=ROW, public_docs=True)

    validate(document)
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/predict", "/feedback", "/model", "/health", "/openapi.json", "/docs",
    }  # fmt: skip
    assert json.loads(json.dumps(document)) == document
    assert bool(document["security"]) == (auth != "open")
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    name = answer["$ref"].rsplit("/", 1)[1]
                    content = document["components"]["responses"][name]["content"]
                    assert set(content) == {"application/problem+json"}


def json_values() -> st.SearchStrategy[Any]:
    """Draw what a caller may write for one value."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-400, 400),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["yes", "NO", "n", "s", "basic", "on", "0", "2024-01-01T00:00:00Z"]),
        st.text(max_size=5),
        st.lists(st.integers(), max_size=1),
    )


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([c for c in COLUMNS if c.type != "timestamp"]), json_values())
def test_the_document_says_exactly_what_is_accepted(column: Column, value: Any) -> None:
    """A value that the JSON Schema allows is accepted, and no other (dates apart)."""
    row = CONTRACT.openapi()["components"]["schemas"]["Row"]
    body = send(**{column.name: value})
    allowed = jsonschema.Draft202012Validator(row).is_valid(body["instances"][0])
    try:
        ADAPTER.validate_request(json.dumps(body))
        accepted = True
    except ContractError:
        accepted = False

    assert accepted == allowed


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
        cwd=Path(__file__).parents[2],
    )  # fmt: skip

    assert found.stdout.strip() == "[]"


def test_features_are_laid_out_in_the_order_of_the_columns() -> None:
    """Position i of the vector is feature i, for every reader."""
    order = [CONTRACT.column_names.index(f.column) for f in CONTRACT.features]

    assert all(a <= b for a, b in pairwise(order))
    assert {f.column: f.kind for f in CONTRACT.features} == {c.name: c.type for c in COLUMNS}
