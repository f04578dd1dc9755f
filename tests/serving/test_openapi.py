"""The served OpenAPI document says what the API does: schemathesis, with all its checks."""

from typing import Any

import hypothesis
import pytest
import schemathesis

from tests.serving.conftest import Served

pytestmark = pytest.mark.xdist_group("serving")


@pytest.fixture(scope="module")
def document(served: Served) -> Any:
    """Load the document as the API serves it."""
    response = served.session().get(f"{served.url}/openapi.json")
    assert response.status_code == 200, response.text
    schema = schemathesis.openapi.from_dict(response.json())
    schema.config.update(base_url=served.url)
    # Not a session: a check must be able to leave the signature out, or to break it.
    schema.auth.set_from_requests(served.signature())
    return schema


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@hypothesis.settings(max_examples=20, deadline=None)
def test_every_operation_keeps_to_the_document(case: Any) -> None:
    case.call_and_validate()
