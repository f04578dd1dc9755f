"""How often the claimed interval holds the truth.

A third of an honest table plays service: the job's stages never see it. Its value has an interval
of its own, so the two are compared as two samples: the claim holds if the difference is within both
half-widths put together in quadrature, which is 95% where both intervals are. In generated worlds
the truth is known almost exactly, from many rows, and the claimed interval itself must hold it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.project import Project, silenced, write_file
from bench.judge.stages import Judged
from bench.judge.tables.sources import RealTable
from bench.judge.truth import ask_model, measure_truth
from bench.judge.worlds import draw_customers, draw_houses, draw_plants
from core.errors import DriftlessError
from core.settings import METRICS
from training.data.reading import read_table
from training.judge.intervals import Interval

MIN_ROWS = 300
MAX_ROWS = 6_000
EXACT_ROWS = 30_000
NOMINAL, PROMISED = 0.95, 0.93
WORLDS: dict[str, Callable[[int, np.random.Generator], pd.DataFrame]] = {
    "customers": draw_customers,
    "houses": draw_houses,
    "plants": draw_plants,
}
SETTINGS: dict[str, dict[str, object]] = {
    "split": {"strategy": "random"},
    "training": {"candidates": ["linear"], "time_budget_seconds": 60},
    "training.search": {"trials": 1},
}

Figures = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """One table and seed: the claim, and the value in service with its interval."""

    name: str
    metric: str
    claim: Interval
    service: Interval
    exact: bool

    @property
    def holds(self) -> bool:
        """Say whether the claim holds the truth, of which service shows a sample."""
        if self.exact:
            return self.claim.low <= self.service.value <= self.claim.high
        gap = self.service.value - self.claim.value
        mine = self.claim.high - self.claim.value if gap > 0 else self.claim.value - self.claim.low
        theirs = (
            self.service.value - self.service.low
            if gap > 0
            else self.service.high - self.service.value
        )
        return abs(gap) <= math.hypot(mine, theirs)

    @property
    def worse(self) -> bool:
        """Say whether service is worse than claimed."""
        lower = any(task.get(self.metric) == "lower" for task in METRICS.values())
        return (self.service.value > self.claim.value) == lower


class _Desk:
    """A project whose table is laid anew for each pair; `ops init` describes it once."""

    def __init__(self, folder: Path, sample: pd.DataFrame, target: str) -> None:
        self.folder = folder
        first = write_file(sample, folder / "sample.csv")
        self.project = Project.begin(folder / "project", first, target, settings=SETTINGS)

    def ask(self, name: str, table: pd.DataFrame, service: pd.DataFrame, *, exact: bool) -> Pair:
        """Train on the table; gives its claim beside what service shows."""
        laid = write_file(table, self.folder / "table.csv")
        asked = write_file(service, self.folder / "service.csv")
        self.project.deliver(laid, laid.name)
        with silenced():
            judged = Judged.of(self.project.job())
        metric = judged.job.settings.metric
        truth = measure_truth(ask_model(judged.model, asked), metric, exact=exact)
        shown = Interval(truth.value, truth.low, truth.high)
        return Pair(name, metric, judged.claim(), shown, exact)


def pair_table(table: RealTable, seeds: Sequence[int]) -> list[Pair]:
    """Train on two thirds of a table, and ask the last third; small tables give no pair."""
    frame = read_table(table.path)
    if len(frame) < MIN_ROWS:
        return []
    pairs = []
    with tempfile.TemporaryDirectory() as place:
        try:
            desk = _Desk(Path(place), frame, table.target)
            for seed in seeds:
                random = np.random.default_rng([seed, *table.title.encode()])
                rows = frame.iloc[random.permutation(len(frame))[:MAX_ROWS]].reset_index(drop=True)
                cut = (2 * len(rows)) // 3
                pairs.append(desk.ask(table.title, rows.iloc[:cut], rows.iloc[cut:], exact=False))
        except DriftlessError:
            return pairs
    return pairs


def pair_world(name: str, rows: int, seeds: Sequence[int]) -> list[Pair]:
    """Train on rows of a world, and ask so many more of it that their value is the truth."""
    draw = WORLDS[name]
    pairs = []
    with tempfile.TemporaryDirectory() as place:
        desk = _Desk(Path(place), draw(2000, np.random.default_rng(0)), "y")
        service = draw(EXACT_ROWS, np.random.default_rng(1))
        for seed in seeds:
            table = draw(rows, np.random.default_rng([seed, rows, *name.encode()]))
            pairs.append(desk.ask(f"{name}, {rows} rows", table, service, exact=True))
    return pairs


def summarise_pairs(pairs: Sequence[Pair]) -> Figures:
    """Count the claims that hold; of those that do not, how many promised too much."""
    held = sum(pair.holds for pair in pairs)
    share = held / max(1, len(pairs))
    broken = [pair for pair in pairs if not pair.holds]
    return {
        "pairs": len(pairs),
        "held": held,
        "share": round(share, 4),
        "error": round(math.sqrt(share * (1 - share) / max(1, len(pairs))), 4),
        "too_much": sum(pair.worse for pair in broken),
        "nominal": NOMINAL,
        "promised": PROMISED,
        "reached": share >= PROMISED,
    }


def group_pairs(pairs: Sequence[Pair]) -> Figures:
    """Summarise all pairs, then those of each table or world."""
    names = sorted({pair.name for pair in pairs})
    by_name = {
        name: [
            sum(pair.holds for pair in pairs if pair.name == name),
            sum(pair.name == name for pair in pairs),
        ]
        for name in names
    }
    return {**summarise_pairs(pairs), "held_of": by_name}
