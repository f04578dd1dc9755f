"""`make demo` is the proof of the loop, so it is run as a newcomer runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.demo import STEPS, recalibrate, split_table

pytestmark = pytest.mark.xdist_group("loop-demo")


def test_the_demo_runs_every_step_and_writes_what_it_saw(tmp_path: Path) -> None:
    """Each arrow of the loop happens, in order, and the last screen says so."""
    out = tmp_path / "demo.json"
    done = subprocess.run(
        [sys.executable, "-m", "local", "demo", "--json", str(out)],
        capture_output=True,
        text=True,
        timeout=480,
        env={**os.environ, "NO_COLOR": "1"},
    )
    outcome = json.loads(out.read_text())
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert list(outcome["steps"]) == list(STEPS)
    assert all(step["ok"] and step["seconds"] > 0 for step in outcome["steps"].values())
    assert outcome["url"].startswith("http://localhost:")
    assert "Three things to try next" in done.stdout
    assert "\x1b[" not in done.stdout, "colour only on a terminal"


def test_recalibrating_scales_lengths_and_areas_and_leaves_ratios() -> None:
    """Lengths grow by the factor, areas by its square, everything else stays."""
    row = {"mean radius": 10.0, "worst area": 100.0, "mean texture": 3.0, "area error": 2.0}
    assert recalibrate(row, 2.0) == {
        "mean radius": 20.0,
        "worst area": 400.0,
        "mean texture": 3.0,
        "area error": 8.0,
    }


def test_splitting_keeps_every_row_once(tmp_path: Path) -> None:
    """The training part and the held-out part are the table, in its order."""
    table = tmp_path / "table.csv"
    table.write_text("a,y\n1,n\n2,y\n3,n\n")
    training, held_out = split_table(table, "y", 1)
    assert training == "a,y\n1,n\n2,y\n"
    assert held_out == [{"a": 3.0, "y": "n"}]
