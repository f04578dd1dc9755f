"""What the drift measurement counts is what the monitor would count."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from bench.drift import comparison, false_alarms, power, sources, speed, streaming
from bench.peers import detectors
from core import drift


def test_a_drawn_summary_is_that_of_the_drawn_rows() -> None:
    """Windows are drawn from rows placed once: the counts must be those of the rows themselves."""
    source = sources.mixed(6, 500)
    generator = np.random.default_rng(0)
    baseline = source.baseline(generator, 0)
    population = sources.Population(source, baseline)
    for rows in (1, 200, 3000):
        chosen = source.choose(generator, rows)
        table = {name: values[chosen] for name, values in source.table.items()}
        counted = drift.summarise_columns(baseline, table, source.outputs[chosen])
        assert population.summarise(chosen) == counted


@pytest.mark.parametrize(
    ("alarms", "windows", "bound"), [(0, 3000, 0.000998), (3, 20_000, 0.000388)]
)
def test_the_upper_bound_is_exact(alarms: int, windows: int, bound: float) -> None:
    """The bound of Clopper and Pearson: at it, so few alarms come once in twenty times."""
    from scipy.stats import binom

    found = false_alarms.upper95(alarms, windows)
    assert found == pytest.approx(bound, rel=2e-3)
    assert binom.cdf(alarms, windows, found) == pytest.approx(0.05, rel=1e-6)


def test_false_alarms_are_counted_with_their_bound() -> None:
    found = false_alarms.measure_false_alarms(sources.mixed(6, 500), 200, 60)
    assert found["windows"] == 60
    assert found["alarms"] <= 2
    assert found["upper95"] == round(false_alarms.upper95(found["alarms"], 60), 6)
    assert sum(found["alarms_by"].values()) == found["alarms"]


def test_a_full_run_draws_20_000_windows_a_size_and_5_000_a_table() -> None:
    for rows in sources.SIZES:
        assert 3 * sources.FULL[rows] + sources.FULL_WIDE[rows] >= 20_000
        assert min(sources.FULL[rows], sources.FULL_WIDE[rows]) >= 5_000


def test_other_tools_see_the_very_windows_that_ours_does() -> None:
    jobs = {tuple(json.loads(job.name)): job for job in _quick_jobs()}
    job = jobs["shift", "one column by 0.25 sd", 0, 1000, 0]
    reference, windows = power.draw_changed("one column by 0.25 sd", 1000, 0)
    assert job.reference.equals(pd.DataFrame(reference))
    for part, window in enumerate(itertools.islice(windows, power.PEER_LIMIT)):
        theirs = job.windows.iloc[part * 1000 : (part + 1) * 1000].reset_index(drop=True)
        assert theirs.equals(pd.DataFrame(window))
    assert {kind for kind, *_ in jobs} == {"still", "shift", "speed"}


def _quick_jobs() -> list[detectors.Job]:
    return list(comparison.list_jobs(True, speed.draw_speed_table(30_000)))


def test_answers_of_other_tools_become_shares_and_delays() -> None:
    answers = {
        json.dumps(["still", "t", 5, 200, 0]): detectors.Answer({"any": [True, False]}, 1.0),
        json.dumps(["still", "t", 5, 200, 1]): detectors.Answer({"any": [False, False]}, 1.0),
        json.dumps(["shift", "s", 0, 200, 0]): detectors.Answer({"any": [True, True]}, 1.0),
        json.dumps(["shift", "s", 0, 200, 1]): detectors.Answer({"any": [False, True]}, 1.0),
        json.dumps(["shift", "s", 0, 200, 2]): detectors.Answer({"any": [False, False]}, 1.0),
        json.dumps(["speed", "", 20, 1000, 0]): detectors.Answer({"any": [False]}, 2.5),
    }
    figures, power = comparison.summarise_answers("evidently", answers)
    assert [(f["windows"], f["share"]) for f in figures["false_alarms"]] == [(4, 0.25)]
    assert (figures["rows_timed"], figures["cpu_seconds"]) == (1000, 2.5)
    assert [(p["share"], p["median_windows"], p["slowest"]) for p in power] == [(0.333, 2, None)]


def test_a_window_is_streamed_through_the_monitor_itself() -> None:
    found = streaming.stream_window(objects=2, rows=400)
    assert (found["rows"], found["windows_judged"], found["alarms"]) == (800, 1, 0)
    assert found["peak_mib"] > 0
