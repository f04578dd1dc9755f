"""What the drift measurement counts is what the monitor would count."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import drift as bench
from bench import drift_peers
from core import drift


def test_a_drawn_summary_is_that_of_the_drawn_rows() -> None:
    """Windows are drawn from rows placed once: the counts must be those of the rows themselves."""
    source = bench.mixed(6, 500)
    generator = np.random.default_rng(0)
    baseline = source.baseline(generator, 0)
    population = bench.Population(source, baseline)
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

    found = bench.upper95(alarms, windows)
    assert found == pytest.approx(bound, rel=2e-3)
    assert binom.cdf(alarms, windows, found) == pytest.approx(0.05, rel=1e-6)


def test_false_alarms_are_counted_with_their_bound() -> None:
    found = bench.measure_false_alarms(bench.mixed(6, 500), 200, 60)
    assert found["windows"] == 60
    assert found["alarms"] <= 2
    assert found["upper95"] == round(bench.upper95(found["alarms"], 60), 6)
    assert sum(found["alarms_by"].values()) == found["alarms"]


def test_a_full_run_draws_20_000_windows_a_size_and_5_000_a_table() -> None:
    for rows in bench.SIZES:
        assert 3 * bench.FULL[rows] + bench.FULL_WIDE[rows] >= 20_000
        assert min(bench.FULL[rows], bench.FULL_WIDE[rows]) >= 5_000


def test_other_tools_see_the_very_windows_that_ours_does() -> None:
    jobs = {tuple(json.loads(job.name)): job for job in _quick_jobs()}
    job = jobs["shift", "one column by 0.25 sd", 0, 1000, 0]
    reference, windows = bench._changed("one column by 0.25 sd", 1000, 0)
    assert job.reference.equals(pd.DataFrame(reference))
    for part, window in enumerate(itertools.islice(windows, bench.PEER_LIMIT)):
        theirs = job.windows.iloc[part * 1000 : (part + 1) * 1000].reset_index(drop=True)
        assert theirs.equals(pd.DataFrame(window))
    assert {kind for kind, *_ in jobs} == {"still", "shift", "speed"}


def _quick_jobs() -> list[drift_peers.Job]:
    return list(bench._peer_jobs(True, bench._million(30_000)))


def test_answers_of_other_tools_become_shares_and_delays() -> None:
    answers = {
        json.dumps(["still", "t", 5, 200, 0]): drift_peers.Answer({"any": [True, False]}, 1.0),
        json.dumps(["still", "t", 5, 200, 1]): drift_peers.Answer({"any": [False, False]}, 1.0),
        json.dumps(["shift", "s", 0, 200, 0]): drift_peers.Answer({"any": [True, True]}, 1.0),
        json.dumps(["shift", "s", 0, 200, 1]): drift_peers.Answer({"any": [False, True]}, 1.0),
        json.dumps(["shift", "s", 0, 200, 2]): drift_peers.Answer({"any": [False, False]}, 1.0),
        json.dumps(["speed", "", 20, 1000, 0]): drift_peers.Answer({"any": [False]}, 2.5),
    }
    figures, power = bench._peer_figures("evidently", answers)
    assert [(f["windows"], f["share"]) for f in figures["false_alarms"]] == [(4, 0.25)]
    assert (figures["rows_timed"], figures["cpu_seconds"]) == (1000, 2.5)
    assert [(p["share"], p["median_windows"], p["slowest"]) for p in power] == [(0.333, 2, None)]


def test_a_tool_that_cannot_be_installed_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(drift_peers, "HOME", tmp_path)
    monkeypatch.setattr(drift_peers.sys, "executable", str(tmp_path / "no-such-python"))
    found = drift_peers.ask("evidently", [], 10.0)
    assert isinstance(found, str)
    assert found.startswith("not installed: ")


def test_a_tool_that_fails_is_said_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidently is not installed in the project's own environment."""
    monkeypatch.setattr(drift_peers, "_prepare", lambda name: drift_peers.sys.executable)
    table = pd.DataFrame({"x": [1.0, 2.0]})
    found = drift_peers.ask("evidently", [drift_peers.Job("j", table, table, 2)], 60.0)
    assert isinstance(found, str)
    assert "evidently" in found
    assert found.startswith("failed: ")


def test_a_window_is_streamed_through_the_monitor_itself() -> None:
    found = bench.stream_window(objects=2, rows=400)
    assert (found["rows"], found["windows_judged"], found["alarms"]) == (800, 1, 0)
    assert found["peak_mib"] > 0
