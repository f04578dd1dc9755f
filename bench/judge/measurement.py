"""The whole measurement: long parts first, two processes at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.judge.coverage import MIN_ROWS, WORLDS, Pair, group_pairs, pair_table, pair_world
from bench.judge.tables.doubting import judge_table, summarise_honest, summarise_leaks
from bench.judge.tables.sources import RealTable, list_bundled, list_honest, list_leaks
from bench.judge.traps import TRAPS
from bench.judge.traps.measurement import SECONDS, TRIALS, spring, summarise_traps
from bench.judge.year import CALENDARS, live_through, summarise_years

Figures = dict[str, Any]

WORKERS = 2
QUICK_TRAPS = (
    "honest",
    "copied-rows",
    "exports",
    "presence",
    "encoded-left-out",
    "sum",
    "repeated",
    "by-maker",
)
QUICK_DAYS = 40
YEARS = (
    ("still, large", (0,)),
    ("still, two candidates", (0,)),
    ("still", (0, 1, 2, 3)),
    ("world turns", (0, 1)),
    ("column added", (0, 1, 2, 3)),
)
QUICK_YEARS = (("still", (0,)), ("column added", (0,)))
TABLE_SEEDS = range(4)
WORLD_ROWS, WORLD_SEEDS, QUICK_WORLD_SEEDS = (400, 1_600), range(60), range(4)


def run(quick: bool = False) -> Figures:
    """Spring the traps, judge honest tables and known leaks, check claims, live through years."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if quick:
            honest, leaks, absent = list_bundled(folder), list[RealTable](), ["R's packages: quick"]
        else:
            honest, no_honest = list_honest(folder)
            leaks, no_leaks = list_leaks(folder)
            absent = [*no_honest, *no_leaks]
        with _Bench() as bench:
            years = [
                bench.ask(f"{name} {seed}", _live, name, seed, QUICK_DAYS if quick else 0)
                for name, seeds in (QUICK_YEARS if quick else YEARS)
                for seed in seeds
            ]
            names = QUICK_TRAPS if quick else tuple(trap.name for trap in TRAPS)
            traps = [bench.ask(name, _spring, name, quick) for name in names]
            judged = [bench.ask(table.title, judge_table, table) for table in honest]
            leaked = [bench.ask(table.title, judge_table, table) for table in leaks]
            seeds = QUICK_WORLD_SEEDS if quick else WORLD_SEEDS
            worlds = [
                bench.ask(f"{world} {rows}", pair_world, world, rows, seeds)
                for world in WORLDS
                for rows in WORLD_ROWS
            ]
            tables = [
                bench.ask(table.title, pair_table, table, TABLE_SEEDS)
                for table in (honest[:1] if quick else honest)
            ]
            return {
                "traps": summarise_traps(bench.gather(traps)),
                "honest": summarise_honest(bench.gather(judged)),
                "known_leaks": summarise_leaks(leaks, bench.gather(leaked)),
                "coverage": {
                    "worlds": group_pairs(_join(bench.gather(worlds))),
                    "tables": group_pairs(_join(bench.gather(tables))),
                    "least_rows": MIN_ROWS,
                },
                "years": summarise_years(bench.gather(years)),
                "absent": absent,
            }


class _Bench:
    """Two processes, each on one thread: tables are small, and two at a time fill two cores."""

    def __enter__(self) -> _Bench:
        self._began = time.perf_counter()
        self._kept = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        self._pool = ProcessPoolExecutor(
            WORKERS, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        for name, value in self._kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    def ask(self, title: str, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Start work when a process is free, and say so once it is done."""
        future = self._pool.submit(work, *arguments)
        future.add_done_callback(lambda done: self._say(title, done))
        return future

    def _say(self, title: str, done: Future[Any]) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        shown = done.result()
        text = json.dumps(shown, default=str) if isinstance(shown, dict) else f"{len(shown)} pairs"
        passed = time.perf_counter() - self._began
        print(f"  {passed:.0f} s: {title}: {text[:400]}", file=sys.stderr, flush=True)

    def gather(self, futures: Sequence[Future[Any]]) -> list[Any]:
        """Wait for all of them."""
        return [future.result() for future in futures]


_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def _begin_worker() -> None:
    warnings.filterwarnings("ignore")


def _spring(name: str, quick: bool) -> Figures:
    trap = next(trap for trap in TRAPS if trap.name == name)
    return spring(trap, seconds=3 if quick else SECONDS, trials=1 if quick else TRIALS)


def _live(name: str, seed: int, days: int) -> Figures:
    calendar = CALENDARS[name]
    return live_through(replace(calendar, days=days or calendar.days), seed)


def _join(parts: Sequence[Sequence[Pair]]) -> list[Pair]:
    return [pair for part in parts for pair in part]
