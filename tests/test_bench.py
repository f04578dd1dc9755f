"""The measurements can be started, and write what they measured."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import __main__ as bench


@pytest.mark.parametrize("name", bench.NAMES)
def test_each_name_is_a_measurement(name: str) -> None:
    """Every name that the command line offers has a `run` that can be quick."""
    run = importlib.import_module(f"bench.{name}").run
    assert "quick" in inspect.signature(run).parameters


def test_figures_are_written_with_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The JSON holds the figures, what they were measured on, and how long it took."""
    measured = SimpleNamespace(run=lambda *, quick: {"figure": 1.5 if quick else 2.5})
    monkeypatch.setattr(bench.importlib, "import_module", lambda _: measured)
    out = tmp_path / "folder" / "drift.json"
    assert bench.main(["drift", "--quick", "--json", str(out)]) == 0
    written = json.loads(out.read_text())
    assert written == json.loads(capsys.readouterr().out)
    assert written["figure"] == 1.5
    assert written["machine"]["cores"] >= 1
    assert written["seconds"] >= 0


def test_one_file_for_all_is_refused() -> None:
    """`all` writes a file each; naming one is wrong usage."""
    with pytest.raises(SystemExit) as exit_info:
        bench.main(["all", "--json", "x.json"])
    assert exit_info.value.code == 2
