"""A row may say whose it is: accepted as the document says, and never shown."""

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from core.contract import Contract
from core.contract.openapi import describe_api, row_schema
from core.contract.rows import RowAdapter
from core.errors import ContractError
from tests.core.contract.shop import CONTRACT, ROW

GROUPED = replace(CONTRACT, group_column="customer", id_column="order")
ADAPTER = RowAdapter(GROUPED)


@pytest.mark.parametrize(
    ("contract", "column", "member"),
    [
        (CONTRACT, None, None),
        (GROUPED, "customer", "customer"),
        (replace(CONTRACT, id_column="order"), "order", "order"),
        (replace(CONTRACT, group_column="plan"), "plan", None),
        (replace(CONTRACT, id_column="seen", time_column="seen"), "seen", None),
    ],
)
def test_the_entity_is_the_group_or_else_the_id(
    contract: Contract, column: str | None, member: str | None
) -> None:
    """It has a member of its own unless it is an input anyway."""
    assert contract.entity_column == column
    assert contract.entity_member == member
    assert RowAdapter(contract).validate_rows([ROW])
    extra = {**ROW, "customer": "C-17"}
    if member != "customer":
        with pytest.raises(ContractError, match="is not a column of this model"):
            RowAdapter(contract).validate_rows([extra])


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.lists(st.integers(), max_size=1),
        st.dictionaries(st.text(max_size=1), st.none(), max_size=1),
    )
)
@example("x" * 1000)
@example("x" * 1001)
@example(2**53 - 1)
@example(2**53)
@example(-(2**53))
@example(1e300)
def test_the_document_and_the_api_accept_the_same_entities(value: Any) -> None:
    """Text of up to 1,000 characters, numbers that float64 holds, null; nothing else."""
    row = {**ROW, "customer": value}
    try:
        jsonschema.validate(row, row_schema(GROUPED))
        described = True
    except jsonschema.ValidationError:
        described = False
    try:
        ADAPTER.validate_json(json.dumps([row]))
        accepted = True
    except ContractError:
        accepted = False
    assert accepted == described


def test_the_document_says_what_becomes_of_an_entity() -> None:
    """Optional, described, and valid OpenAPI."""
    document = describe_api(GROUPED, example=ROW)
    validate(document)
    row = document["components"]["schemas"]["Row"]
    assert "customer" not in row["required"]
    assert "order" not in row["properties"]
    assert "keyed hash" in row["properties"]["customer"]["description"]


@pytest.mark.parametrize("value", [["SECRET-17"], {"SECRET-17": 1}, "SECRET-17" * 200, True])
def test_an_error_names_the_member_and_never_the_entity(value: Any) -> None:
    """Where, what is accepted, and nothing of what was sent."""
    with pytest.raises(ContractError) as caught:
        ADAPTER.validate_json(json.dumps([ROW, {**ROW, "customer": value}]))
    (problem,) = caught.value.problems
    assert (problem.row, problem.column, problem.code) == (1, "customer", "wrong_type")
    assert problem.message == "must be text of at most 1000 characters, a number or null"
    assert "SECRET" not in repr(caught.value) + str(caught.value)


def test_a_misspelt_member_is_led_to_the_right_one() -> None:
    """As with columns."""
    with pytest.raises(ContractError, match="did you mean 'customer'"):
        ADAPTER.validate_rows([{**ROW, "Customer": "C-17"}])
