"""The verdict: no false alarm beyond the budget, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from core import drift
from core.contract import Column, Contract
from core.errors import DriftError
from tests.core.drift.traffic import (
    HOURLY,
    MIXED,
    OFTEN,
    count,
    draw,
    judge_one,
    make_baseline,
)


def test_windows_without_drift_keep_the_budget() -> None:
    """400 windows over 20 baselines, 1 in 100 allowed: more than 10 is a 0.3% chance."""
    alarms = 0
    for seed in range(20):
        baseline = make_baseline(seed, n=600)
        generator = np.random.default_rng([seed, 1])
        state = None
        for _ in range(20):
            window = count(baseline, draw(generator, 200))
            verdict, state = drift.judge(baseline, window, OFTEN, state)
            alarms += verdict.alarm
    assert alarms <= 10


def test_one_small_baseline_under_many_large_windows_does_not_alarm_for_its_own_error() -> None:
    """A trap: the baseline's sampling error is the same in all windows and looks like a drift."""
    alarmed = 0
    for seed in range(6):
        baseline = make_baseline(seed, n=400)
        generator = np.random.default_rng([seed, 2])
        state = None
        for _ in range(8):
            window = count(baseline, draw(generator, 5000))
            verdict, state = drift.judge(baseline, window, HOURLY, state)
            alarmed += verdict.alarm
    assert alarmed == 0


def test_rare_categories_are_not_unseen_because_the_vocabulary_came_from_the_same_rows() -> None:
    """A trap: with a long tail of values every window holds some that training never saw."""
    contract = Contract(task="anomaly", columns=(Column("id", "category"),))
    generator = np.random.default_rng(0)
    baseline = drift.build_baseline(contract, {"id": generator.zipf(1.3, 2000).astype(str)})
    for _ in range(20):
        window = drift.summarise_columns(baseline, {"id": generator.zipf(1.3, 500).astype(str)})
        assert not drift.judge(baseline, window, OFTEN)[0].alarm


def test_a_huge_window_does_not_alarm_on_a_trifle() -> None:
    """Significance is not enough: half a percent of a standard deviation is below every floor."""
    baseline = make_baseline(n=200_000)
    generator = np.random.default_rng(3)
    columns = draw(generator, 200_000)
    columns["size"] = [value + 0.03 for value in columns["size"]]
    verdict = judge_one(baseline, columns)
    size = next(finding for finding in verdict.ranking if finding.column == "size")
    assert not verdict.alarm
    assert abs(size.size) < size.floor


def test_a_timestamp_moves_without_being_drift() -> None:
    baseline = make_baseline()
    columns = draw(np.random.default_rng(4), 500)
    columns["when"] = ["2031-05-05T00:00:00"] * 500
    assert not judge_one(baseline, columns).alarm


def test_what_cannot_be_judged_is_refused_with_a_reason() -> None:
    baseline, other = make_baseline(), make_baseline(1)
    window = count(baseline, draw(np.random.default_rng(0), 50))
    with pytest.raises(DriftError, match="another baseline"):
        drift.judge(other, window, HOURLY)
    with pytest.raises(DriftError, match="without rows"):
        drift.judge(baseline, drift.Summary.empty(baseline), HOURLY)
    with pytest.raises(DriftError, match="different baselines"):
        window + count(other, draw(np.random.default_rng(0), 50))
    with pytest.raises(DriftError, match="not a drift baseline"):
        drift.Baseline.from_json(b"{}")
    with pytest.raises(DriftError, match="format 9"):
        drift.Baseline.from_json(baseline.to_json().replace(b'"format":1', b'"format":9'))
    with pytest.raises(DriftError, match="not a drift summary"):
        drift.Summary.from_json(b"[1]")
    with pytest.raises(DriftError, match="not a state"):
        drift.Creep.from_json(b"{}")
    with pytest.raises(DriftError, match="lacks columns"):
        drift.build_baseline(MIXED, {"size": [1.0] * 50})
    with pytest.raises(DriftError, match="at least 20 rows"):
        drift.build_baseline(MIXED, draw(np.random.default_rng(0), 10))
    with pytest.raises(DriftError, match="times for"):
        drift.build_baseline(MIXED, draw(np.random.default_rng(0), 50), times=[1.0])
    with pytest.raises(DriftError, match="above 0"):
        drift.budget_for(0, 60)
