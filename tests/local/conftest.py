"""A local cloud with the small assembly deployed, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cloud import Cloud
from tests.local.parts import host

__all__ = ["cloud", "host"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Run one cloud; a simulated minute passes in a second."""
    folder: Path = tmp_path_factory.mktemp("cloud")
    with Cloud(folder, rate=60.0, processes=4) as running:
        yield running
