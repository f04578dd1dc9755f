"""The whole drift measurement, in order."""

from __future__ import annotations

import json
import sys
import time

from bench.drift.comparison import measure_peers
from bench.drift.false_alarms import PROMISED, measure_false_alarms, upper95
from bench.drift.power import measure_power
from bench.drift.real_series import measure_elec2, measure_employment
from bench.drift.sources import SIZES, Figures, list_sources
from bench.drift.speed import draw_speed_table, measure_speed
from bench.drift.streaming import measure_streaming


def _say(name: str, figures: object, began: float) -> None:
    print(f"  {time.perf_counter() - began:.0f} s: {name}: {json.dumps(figures)}", file=sys.stderr)


def run(quick: bool) -> Figures:
    """Measure the drift alarm; `quick` draws fewer windows and repeats."""
    false_alarms = []
    began = time.perf_counter()
    for source, sizes in list_sources(quick):
        for rows, windows in sizes.items():
            false_alarms.append(measure_false_alarms(source, rows, windows))
            _say("no drift", false_alarms[-1], began)
    by_size = {}
    for rows in SIZES:
        same = [entry for entry in false_alarms if entry["window_rows"] == rows]
        alarms, windows = (sum(entry[key] for entry in same) for key in ("alarms", "windows"))
        bound = upper95(alarms, windows)
        by_size[str(rows)] = {
            "windows": windows,
            "alarms": alarms,
            "promised": PROMISED,
            "upper95": round(bound, 6),
            "held": bound <= PROMISED,
        }
    power = measure_power(2 if quick else 40)
    for found in power:
        _say("power", found, began)
    real = {**measure_elec2(), **measure_employment()}
    million = draw_speed_table(1_000_000)
    seconds, cpu_seconds = measure_speed(million)
    speed = {name: values[:40_000] for name, values in million.items()} if quick else million
    peers, by_peers = measure_peers(quick, speed)
    for figures in peers.values():
        if "rows_timed" in figures:
            theirs = figures["cpu_seconds"] / figures["rows_timed"]
            figures["times_ours_a_row"] = round(theirs / (cpu_seconds / 1_000_000), 1)
    for tool, figures in peers.items():
        _say(tool, figures, began)
    for found in by_peers:
        _say("power", found, began)
    streaming = measure_streaming(100_000 if quick else 10_000_000)
    return {
        "false_alarms": false_alarms,
        "false_alarms_by_window_rows": by_size,
        "power": power + by_peers,
        "seconds_1m_x_20": seconds,
        "cpu_seconds_1m_x_20": cpu_seconds,
        "streaming": streaming,
        "real": real,
        "peers": peers,
    }
