"""The creep rule: small shifts over many windows, and its state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from core import drift
from tests.core.drift.traffic import (
    HOURLY,
    count,
    draw,
    make_baseline,
    shift,
)


def _delay(change: Any, rows: int, limit: int) -> int:
    baseline = make_baseline(n=10_000)
    generator = np.random.default_rng(14)
    state = None
    for window in range(1, limit + 1):
        columns = draw(generator, rows)
        change(columns)
        verdict, state = drift.judge(baseline, count(baseline, columns), HOURLY, state)
        if verdict.alarm:
            return window
    return limit + 1


def test_a_small_shift_is_found_by_creep_within_few_windows() -> None:
    """A quarter of a standard deviation in one column is found in a few windows of 200 rows."""

    def change(columns: dict[str, list[Any]]) -> None:
        columns["note"] = [text + "xxx" for text in columns["note"]]

    assert _delay(change, 200, 6) <= 4
    assert _delay(change, 1000, 3) == 1


def test_missing_values_that_double_are_found_within_twelve_windows() -> None:
    generator = np.random.default_rng(15)

    def change(columns: dict[str, list[Any]]) -> None:
        columns["weight"] = [
            math.nan if generator.random() < 0.053 else value for value in columns["weight"]
        ]

    assert _delay(change, 200, 14) <= 12


def test_creep_says_since_how_many_windows() -> None:
    baseline = make_baseline(n=10_000)
    generator = np.random.default_rng(16)
    state = None
    verdict = None
    for window in range(40):
        columns = draw(generator, 200)
        if window >= 10:
            columns["size"] = [value + 0.25 for value in columns["size"]]
            columns["weight"] = [value + 0.75 for value in columns["weight"]]
        verdict, state = drift.judge(baseline, count(baseline, columns), HOURLY, state)
        if verdict.alarm:
            break
    assert verdict is not None
    assert verdict.alarm
    first = verdict.findings[0]
    assert first.rule == "creep"
    assert first.column in ("size", "weight", "prediction")
    assert first.windows <= window - 10 + 6
    assert "over the last" in first.describe()


def test_one_bad_batch_does_not_keep_the_alarm_up() -> None:
    """A window that alarms on its own leaves the creep rule's history alone."""
    baseline = make_baseline()
    generator = np.random.default_rng(17)
    bad = draw(generator, 300)
    shift(bad)
    verdict, state = drift.judge(baseline, count(baseline, bad), HOURLY)
    assert verdict.alarm
    for _ in range(5):
        verdict, state = drift.judge(baseline, count(baseline, draw(generator, 300)), HOURLY, state)
        assert not verdict.alarm


def test_the_creep_state_survives_json_and_folds_old_windows() -> None:
    baseline = make_baseline(n=300)
    window = count(baseline, draw(np.random.default_rng(18), 40))
    state = drift.Creep(baseline.digest)
    for _ in range(260):
        state = state.add(baseline, window)
    assert len(state.sums) == 250
    assert max(state.before[1]) == 400
    assert drift.Creep.from_json(state.to_json()) == state


def test_a_creep_state_of_another_baseline_is_dropped() -> None:
    baseline, other = make_baseline(), make_baseline(1)
    window = count(baseline, draw(np.random.default_rng(0), 50))
    foreign = drift.Creep(other.digest).add(other, count(other, draw(np.random.default_rng(1), 50)))
    _, state = drift.judge(baseline, window, HOURLY, foreign)
    assert state.baseline == baseline.digest
    assert len(state.sums) == 1
