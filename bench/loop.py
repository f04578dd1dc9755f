"""Time synth, deploy, first prediction, the whole demo, and the tests."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BUILD_CACHE = Path(".build")


def _time_synth(cdk_out: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        ["node_modules/.bin/cdk", "synth", "--quiet", "-c", "stage=dev", "-o", str(cdk_out)],
        check=True,
        capture_output=True,
    )
    return round(time.perf_counter() - began, 2)


def time_synth(repeats: int) -> dict[str, float]:
    """Time `cdk synth` once with an empty asset cache, then warm; return the warm median."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "build"
        if BUILD_CACHE.exists():
            shutil.move(BUILD_CACHE, kept)
        try:
            cold = _time_synth(Path(folder) / "cold")
            warm = [_time_synth(Path(folder) / f"warm{i}") for i in range(repeats)]
        finally:
            if kept.exists():
                shutil.rmtree(BUILD_CACHE, ignore_errors=True)
                shutil.move(kept, BUILD_CACHE)
    return {"synth_cold": cold, "synth_warm": statistics.median(warm)}


def time_demo() -> dict[str, Any]:
    """Run the demo and return the seconds of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo.json"
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "local", "demo", "--json", str(out)], capture_output=True
        )
        whole = round(time.perf_counter() - began, 1)
        steps = json.loads(out.read_text())["steps"]
    deploy = steps["deploy"]["seconds"]
    return {
        "demo_ok": done.returncode == 0,
        "deploy": deploy,
        "first_prediction": round(deploy + steps["first_prediction"]["seconds"], 1),
        "demo": whole,
        "steps": {name: step["seconds"] for name, step in steps.items()},
    }


def time_tests() -> float:
    """Run the tests as `make test` does and return the seconds."""
    began = time.perf_counter()
    subprocess.run(["make", "test"], check=True, capture_output=True)
    return round(time.perf_counter() - began, 1)


def run(*, quick: bool) -> dict[str, Any]:
    """Measure the loop in seconds; `quick` skips the tests and repeats less."""
    figures = {**time_synth(1 if quick else 5), **time_demo()}
    if not quick:
        figures["tests"] = time_tests()
    return figures
