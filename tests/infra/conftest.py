"""One synthesis of a plain stage, shared."""

import pytest

from tests.infra.synthesis import Templates, settings_of, synthesise


@pytest.fixture(scope="package")
def templates() -> Templates:
    """Give the templates of stage dev with every setting at its default."""
    return synthesise(settings_of())
