"""Measure how many windows it takes to detect known shifts."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bench.drift.psi import psi_alarms
from bench.drift.sources import Figures, Table, make_contract
from core import drift

HOURLY = drift.budget_for(1.0, 60)
PEER_LIMIT = 3

Change = Callable[[np.random.Generator, Table], None]


def _shift(generator: np.random.Generator, table: Table) -> None:
    table["x3"] = table["x3"] + 0.25


def _unit(generator: np.random.Generator, table: Table) -> None:
    hit = generator.random(len(table["x4"])) < 0.10
    table["x4"] = np.where(hit, table["x4"] * 1000.0, table["x4"])


def _inches(generator: np.random.Generator, table: Table) -> None:
    hit = generator.random(len(table["x4"])) < 0.10
    table["x4"] = np.where(hit, table["x4"] * 2.54, table["x4"])


def _lose(generator: np.random.Generator, table: Table) -> None:
    hit = generator.random(len(table["x5"])) < 0.05 / 0.95
    table["x5"] = np.where(hit, np.nan, table["x5"])


def _decouple(generator: np.random.Generator, table: Table) -> None:
    table["x6"] = generator.permutation(table["x6"])


CHANGES: dict[str, Change] = {
    "one column by 0.25 sd": _shift,
    "a unit error in 10% of rows": _unit,
    "inches for centimetres in 10% of rows": _inches,
    "missing 5% to 10%": _lose,
    "correlations of one column": _decouple,
}


def _correlated(generator: np.random.Generator, rows: int) -> Table:
    mixing = np.random.default_rng(5).normal(size=(30, 30)) * 0.3 + np.eye(30)
    values = generator.normal(size=(rows, 30)) @ mixing / np.sqrt((mixing**2).sum(axis=0))
    table: Table = {f"x{i}": values[:, i] for i in range(30)}
    table["x4"] = np.exp(table["x4"]) * 100.0
    table["x5"] = np.where(generator.random(rows) < 0.05, np.nan, table["x5"])
    return table


def draw_changed(name: str, rows: int, repeat: int) -> tuple[Table, Iterator[Table]]:
    """Return a reference, and an endless iterator of windows with the shift."""
    generator = np.random.default_rng([repeat, rows])
    reference = _correlated(generator, 10_000)

    def windows() -> Iterator[Table]:
        while True:
            table = _correlated(generator, rows)
            CHANGES[name](generator, table)
            yield table

    return reference, windows()


def measure_power(repeats: int) -> list[Figures]:
    """Measure the delay in windows of known shifts, at one false alarm a year with hourly windows.

    PSI keeps no state between windows; it gets only the first three.
    """
    found = []
    for name, rows, limit in list_shifts():
        delays, psi = [], []
        for repeat in range(repeats):
            reference, windows = draw_changed(name, rows, repeat)
            baseline = drift.build_baseline(make_contract(reference), reference, seed=repeat)
            state = None
            delay = by_psi = limit + 1
            for number, table in enumerate(itertools.islice(windows, limit), 1):
                if delay > limit:
                    counted = drift.summarise_columns(baseline, table)
                    verdict, state = drift.judge(baseline, counted, HOURLY, state)
                    delay = number if verdict.alarm else delay
                if by_psi > limit and number <= PEER_LIMIT and psi_alarms(reference, table):
                    by_psi = number
                if delay <= limit and (by_psi <= limit or number >= PEER_LIMIT):
                    break
            delays.append(delay)
            psi.append(by_psi)
        found.append(summarise_delays("driftless", name, rows, delays, limit))
        found.append(summarise_delays("psi > 0.2", name, rows, psi, PEER_LIMIT))
    return found


def list_shifts() -> Iterator[tuple[str, int, int]]:
    """Yield each shift, rows per window, and the limit of windows to detect it in."""
    for name in CHANGES:
        yield name, 200, 48 if CHANGES[name] is _inches else 24
        yield name, 1000, 12 if CHANGES[name] is _inches else 8


def summarise_delays(
    tool: str, shift: str, rows: int, delays: Sequence[int], limit: int
) -> Figures:
    """Summarise delays in windows; a delay beyond `limit` means not detected."""
    median = statistics.median(delays)
    return {
        "tool": tool,
        "shift": shift,
        "window_rows": rows,
        "repeats": len(delays),
        "share": round(sum(delay == 1 for delay in delays) / len(delays), 3),
        "median_windows": None if median > limit else median,
        "slowest": max(delays) if max(delays) <= limit else None,
        "limit": limit,
    }
