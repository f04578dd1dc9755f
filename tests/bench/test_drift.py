"""What the drift measurement counts is what the monitor would count."""

from __future__ import annotations

import numpy as np
import pytest

from bench import drift as bench
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


def test_a_window_is_streamed_through_the_monitor_itself() -> None:
    found = bench.stream_window(objects=2, rows=400)
    assert (found["rows"], found["windows_judged"], found["alarms"]) == (800, 1, 0)
    assert found["peak_mib"] > 0
