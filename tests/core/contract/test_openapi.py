"""The OpenAPI document says what is accepted."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from core.contract import Column, Contract
from core.contract.openapi import describe_api
from core.errors import ContractError
from tests.core.contract.shop import ADAPTER, COLUMNS, CONTRACT, ROW, send


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
    document = describe_api(contract, auth=auth, example=ROW, public_docs=True)

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
    row = describe_api(CONTRACT)["components"]["schemas"]["Row"]
    body = send(**{column.name: value})
    allowed = jsonschema.Draft202012Validator(row).is_valid(body["instances"][0])
    try:
        ADAPTER.validate_request(json.dumps(body))
        accepted = True
    except ContractError:
        accepted = False

    assert accepted == allowed
