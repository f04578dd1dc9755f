"""Rows and requests are checked against a contract, and every problem is named."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from core.contract import LARGEST_INTEGER, Contract
from core.contract.rows import RowAdapter
from core.errors import ContractError
from tests.core.contract.shop import ADAPTER, COLUMNS, CONTRACT, ROW, send


def refuse(body: object) -> list[tuple[int | None, str | None, str]]:
    """Send a body that must be refused; give where and why, without the words."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ContractError) as caught:
        ADAPTER.validate_request(text)
    assert caught.value.problems
    return [(p.row, p.column, p.code) for p in caught.value.problems]


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
    assert ADAPTER.validate_rows([ROW])[0] == second
    assert ADAPTER.validate_json(json.dumps([ROW])) == [second]
    with pytest.raises(ContractError):
        ADAPTER.validate_rows([{**ROW, "mean radius": math.inf}])


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
    assert RowAdapter(contract).validate_labels(body) == [{"id": "a", "value": label}]


def test_labels_are_checked_all_at_once() -> None:
    """An unknown class, a missing id and a stray member are each named with their row."""
    labels = [
        {"id": "a", "value": "maybe"},
        {"value": "yes"},
        {"id": "c", "value": "yes", "x": 1},
        {"id": "d", "value": None},
    ]
    with pytest.raises(ContractError) as caught:
        RowAdapter(CONTRACT).validate_labels(json.dumps({"labels": labels}))
    assert {(p.row, p.column) for p in caught.value.problems} == {(1, "id"), (2, "x"), (3, "value")}
    with pytest.raises(ContractError) as caught:
        ADAPTER.validate_labels(json.dumps({"labels": labels[:1]}))
    assert [(p.row, p.code) for p in caught.value.problems] == [(0, "unknown_label")]
    for wrong in ("no", True, math.inf, 10**400):
        with pytest.raises(ContractError):
            Contract("regression", COLUMNS, target="y").parse_label(wrong)
