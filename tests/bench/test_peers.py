"""A peer that is absent or fails is reported, and does not stop the measurement."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from bench.peers import detectors, environments


def test_a_tool_that_cannot_be_installed_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environments, "HOME", tmp_path)
    monkeypatch.setattr(environments.sys, "executable", str(tmp_path / "no-such-python"))
    found = detectors.ask("evidently", [], 10.0)
    assert isinstance(found, str)
    assert found.startswith("not installed: ")


def test_a_tool_that_fails_is_said_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidently is not installed in the project's own environment."""
    monkeypatch.setattr(environments, "provide", lambda name, packages: Path(sys.executable))
    table = pd.DataFrame({"x": [1.0, 2.0]})
    found = detectors.ask("evidently", [detectors.Job("j", table, table, 2)], 60.0)
    assert isinstance(found, str)
    assert "evidently" in found
    assert found.startswith("failed: ")
