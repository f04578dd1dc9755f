"""Time the counting and judging of a million rows."""

from __future__ import annotations

import time

import numpy as np

from bench.drift.sources import Table, make_contract
from core import drift

SPEED_REFERENCE = 20_000


def draw_speed_table(rows: int) -> Table:
    """Generate a table of 20 columns: 15 numbers, 5 categories."""
    generator = np.random.default_rng(0)
    table: Table = {f"n{i}": generator.normal(size=rows) for i in range(15)}
    names = np.array([f"v{i}" for i in range(30)], dtype=object)
    for i in range(5):
        table[f"c{i}"] = names[generator.integers(0, 30, rows)]
    return table


def measure_speed(table: Table) -> tuple[float, float]:
    """Count and judge a table against its first rows; return seconds and CPU seconds, best of 3."""
    rows = len(table["n0"])
    first = {name: values[:SPEED_REFERENCE] for name, values in table.items()}
    baseline = drift.build_baseline(make_contract(table), first)
    hourly = drift.budget_for(1.0, 60)
    took, spent = [], []
    for _ in range(3):
        began, used = time.perf_counter(), time.process_time()
        total = drift.Summary.empty(baseline)
        for start in range(0, rows, 100_000):
            part = {name: values[start : start + 100_000] for name, values in table.items()}
            total = total + drift.summarise_columns(baseline, part)
        drift.judge(baseline, total, hourly)
        took.append(time.perf_counter() - began)
        spent.append(time.process_time() - used)
    return round(min(took), 3), round(min(spent), 3)
