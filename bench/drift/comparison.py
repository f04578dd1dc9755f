"""Run other drift tools on the same tables and shifts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np

from bench.drift.power import PEER_LIMIT, draw_changed, list_shifts, summarise_delays
from bench.drift.sources import SIZES, Figures, Table, breast_cancer, list_sources
from bench.drift.speed import SPEED_REFERENCE
from bench.peers import detectors


def list_jobs(quick: bool, speed: Table) -> Iterator[detectors.Job]:
    """Yield the windows for the other tools, named as `summarise_answers` reads them."""
    import pandas as pd

    for source in [breast_cancer()] if quick else [source for source, _ in list_sources(quick)]:
        for rows in (200,) if quick else SIZES:
            for part in range(1 if quick else 2 if rows < 10_000 else 1):
                generator = np.random.default_rng([part, rows])
                reference, _ = source.draw(generator, source.baseline_rows)
                windows, _ = source.draw(generator, rows * (5 if len(source.table) > 50 else 10))
                name = json.dumps(["still", source.name, len(source.table), rows, part])
                yield detectors.Job(name, pd.DataFrame(reference), pd.DataFrame(windows), rows)
    for shift, rows, _ in [("one column by 0.25 sd", 1000, 1)] if quick else list_shifts():
        for repeat in range(1 if quick else 5):
            reference, changed = draw_changed(shift, rows, repeat)
            tables = [pd.DataFrame(table) for table in itertools.islice(changed, PEER_LIMIT)]
            name = json.dumps(["shift", shift, 0, rows, repeat])
            yield detectors.Job(name, pd.DataFrame(reference), pd.concat(tables), rows)
    frame = pd.DataFrame(speed)
    name = json.dumps(["speed", "", 20, len(frame), 0])
    yield detectors.Job(name, frame.iloc[:SPEED_REFERENCE], frame, len(frame))


def summarise_answers(
    tool: str, answers: dict[str, detectors.Answer]
) -> tuple[Figures, list[Figures]]:
    """Summarise a tool's answers by rule: false alarms and CPU seconds; detection delays."""
    still: dict[tuple[str, int, int, str], list[bool]] = {}
    delays: dict[tuple[str, str, int], list[int]] = {}
    figures: Figures = {"packages": detectors.PACKAGES[tool]}
    for key, answer in answers.items():
        kind, name, columns, rows, _ = json.loads(key)
        if kind == "speed":
            figures["cpu_seconds"] = round(answer.cpu_seconds, 2)
            figures["rows_timed"] = rows
            continue
        for rule, alarms in answer.alarms.items():
            if kind == "still":
                still.setdefault((name, columns, rows, rule), []).extend(alarms)
            else:
                first = alarms.index(True) + 1 if True in alarms else PEER_LIMIT + 1
                delays.setdefault((rule, name, rows), []).append(first)
    figures["false_alarms"] = [
        {
            "table": table, "columns": columns, "window_rows": rows, "rule": rule,
            "windows": len(alarms), "share": round(sum(alarms) / len(alarms), 4),
        }
        for (table, columns, rows, rule), alarms in still.items()
    ]  # fmt: skip
    power = [
        summarise_delays(f"{tool}, {rule}", shift, rows, found, PEER_LIMIT)
        for (rule, shift, rows), found in delays.items()
    ]
    return figures, power


def measure_peers(quick: bool, speed: Table) -> tuple[Figures, list[Figures]]:
    """Run the other tools; return their figures by tool, and their detection delays."""
    peers: Figures = {}
    power: list[Figures] = []
    for tool in detectors.PACKAGES:
        answers = detectors.ask(tool, list_jobs(quick, speed), 120.0 if quick else 1500.0)
        if isinstance(answers, str):
            peers[tool] = {"absent": answers}
            continue
        peers[tool], found = summarise_answers(tool, answers)
        power += found
    return peers, power
