"""Dependence in time widens the tests, and only where it is there."""

from __future__ import annotations

from typing import Any

import numpy as np

from core import drift
from core.contract import Column, Contract
from tests.core.drift.traffic import (
    HOURLY,
)


def _hours(generator: np.random.Generator, hours: int, rows: int) -> tuple[Any, Any]:
    """Give rows whose level differs from hour to hour, as live traffic's does."""
    levels = np.repeat(generator.normal(0, 0.7, hours), rows)
    return levels + generator.normal(0, 1, hours * rows), np.arange(hours * rows) * (3600.0 / rows)


def test_dependence_in_time_enters_the_calibration() -> None:
    """With times the variance of hours is known and silent; without, many hours alarm."""
    contract = Contract(task="anomaly", columns=(Column("x", "number"), Column("y", "number")))
    generator = np.random.default_rng(20)
    x, times = _hours(generator, 100, 100)
    y, _ = _hours(generator, 100, 100)
    alarms = {}
    for known in (True, False):
        baseline = drift.build_baseline(contract, {"x": x, "y": y}, times=times if known else None)
        assert ("independent rows only" in baseline.calibration) is not known
        assert drift.Baseline.from_json(baseline.to_json()) == baseline
        alarms[known] = 0
        for _ in range(40):
            window = {name: _hours(generator, 1, 100)[0] for name in ("x", "y")}
            summary = drift.summarise_columns(baseline, window)
            alarms[known] += drift.judge(baseline, summary, HOURLY)[0].alarm
    assert alarms[True] == 0
    assert alarms[False] > 8


def test_a_real_shift_is_found_in_spite_of_dependence() -> None:
    contract = Contract(task="anomaly", columns=(Column("x", "number"), Column("y", "number")))
    generator = np.random.default_rng(21)
    x, times = _hours(generator, 200, 100)
    y, _ = _hours(generator, 200, 100)
    baseline = drift.build_baseline(contract, {"x": x, "y": y}, times=times)
    window = {"x": _hours(generator, 1, 100)[0] + 6.0, "y": _hours(generator, 1, 100)[0]}
    verdict, _ = drift.judge(baseline, drift.summarise_columns(baseline, window), HOURLY)
    assert verdict.alarm
