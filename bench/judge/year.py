"""Years of daily runs: in a world that stands still, and in one where a better model appears.

Each day the new rows arrive as a file, and the job's own stages read, split, search, fit and
compare with the bundle that is live. A day that would promote runs the whole job: its bundle is the
next champion if its decision and doubts let it go live, as in the cloud.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.judge.project import Project, silenced, write_file
from bench.judge.stages import Judged
from bench.judge.truth import ask_bundle
from training.arrays import FloatArray

Figures = dict[str, Any]

FRESH = 40_000
FILES = 30  # of single days; older ones are put together, which changes no row and no order
CHECKED_EVERY = 60  # days on which the whole job says whether the stages decided as it does


@dataclass(frozen=True)
class Calendar:
    """How many rows there are at first, how many come each day, for how many days.

    `candidates` compete. On day `appears` the world or the project changes for the better: a column
    begins to tell (`turns`), or `hidden`, which told all along, is added to project.toml.
    The first promotion after that day ends the year.
    """

    name: str
    first: int = 1_500
    daily: int = 25
    days: int = 365
    candidates: tuple[str, ...] = ("linear",)
    appears: int = 0
    turns: bool = False
    hidden: str = ""

    def draw(self, rows: int, random: np.random.Generator, day: int) -> pd.DataFrame:
        """Draw the rows of a day."""
        strength = HIDDEN_EFFECT if self.hidden or (self.turns and day >= self.appears) else 0.0
        return draw_rows(rows, random, strength)


# In this world a column of this effect takes 2% off the log loss of a model that lacks it.
HIDDEN_EFFECT = 0.36

CALENDARS = {
    calendar.name: calendar
    for calendar in (
        Calendar("still"),
        Calendar("still, large", first=8_000, daily=60),
        Calendar("still, two candidates", candidates=("linear", "boosting")),
        Calendar("column added", days=150, appears=30, hidden="extra"),
        Calendar("world turns", days=240, appears=30, turns=True),
    )
}


def draw_rows(rows: int, random: np.random.Generator, strength: float) -> pd.DataFrame:
    """Draw a world of eight columns, some of no use, and an answer with much luck.

    `strength` is what the column `extra` says.
    """
    frame = pd.DataFrame(random.normal(size=(rows, 4)).round(3)).add_prefix("x")
    frame["kind"] = random.choice(["a", "b", "c", "d"], rows)
    frame["count"] = random.poisson(3.0, rows)
    frame["extra"] = random.normal(size=rows).round(3)
    signal = (
        0.5 * frame["x0"]
        + 0.35 * frame["x1"]
        + 0.4 * (frame["kind"] == "c")
        - 0.15 * (frame["count"] - 3)
        + 0.25 * frame["x0"] * frame["x1"]
        + strength * frame["extra"]
        - 0.1
    )
    frame["y"] = np.where(random.random(rows) < _odds(signal.to_numpy()), "yes", "no")
    return frame


def _odds(signal: FloatArray) -> FloatArray:
    odds: FloatArray = 1.0 / (1.0 + np.exp(-signal))
    return odds


@dataclass(frozen=True)
class _Live:
    """The model that is live, and how its answers lose on fresh rows."""

    bundle: Path
    losses: FloatArray


def live_through(calendar: Calendar, seed: int) -> Figures:
    """Run every day of one calendar; gives who went live when, and how good it truly was."""
    began = time.perf_counter()
    random = np.random.default_rng([seed, *calendar.name.encode()])
    with tempfile.TemporaryDirectory() as name:
        figures = _Year(calendar, seed, Path(name), random).run()
    return {**figures, "seconds": round(time.perf_counter() - began, 1)}


class _Year:
    """One run through a calendar."""

    def __init__(
        self, calendar: Calendar, seed: int, folder: Path, random: np.random.Generator
    ) -> None:
        self.calendar, self.seed, self.folder, self.random = calendar, seed, folder, random
        self.parts: list[pd.DataFrame] = []
        self.disagreements = self.began_on = 0
        self.doubts: list[Figures] = []
        self.stopped: list[Figures] = []

    def run(self) -> Figures:
        calendar = self.calendar
        first = self._arrive(0, calendar.first)
        self.project = Project.begin(
            self.folder / "project", first, "y", settings=self._settings(), without=calendar.hidden
        )
        self.project.deliver(first, first.name)
        at_the_end = calendar.draw(FRESH, np.random.default_rng([self.seed, 1]), calendar.days)
        self.fresh = write_file(at_the_end, self.folder / "fresh.csv")
        original: _Live | None = None
        live: _Live | None = None
        promotions: list[Figures] = []
        for day in range(calendar.days + 1):
            if day:
                self._deliver_day(day)
            promoted = self._look(day, live)
            if promoted is None:
                continue
            taken = _Live(promoted, self._losses(promoted))
            if original is None or live is None:
                self.began_on, original, live = day, taken, taken
                continue
            promotions.append({"day": day, **_compare(taken, live, original)})
            live = taken
            if calendar.appears and day >= calendar.appears:
                break
        if original is None or live is None:
            return {**self._head(), "failed": "no model went live in all these days"}
        worst = max((entry["errors_against_first"] for entry in promotions), default=0.0)
        return {
            **self._head(),
            "began_on_day": self.began_on,
            "first_log_loss": round(float(original.losses.mean()), 5),
            "last_log_loss": round(float(live.losses.mean()), 5),
            "promotions": promotions,
            "found_after_days": promotions[-1]["day"] - calendar.appears
            if calendar.appears and promotions and promotions[-1]["day"] >= calendar.appears
            else None,
            "promoted_by_luck": sum(not entry["truly_better"] for entry in promotions),
            "worst_against_first_in_errors": worst,
            "disagreements_with_whole_job": self.disagreements,
            "doubted": self.doubts,
            "stopped": self.stopped,
        }

    def _head(self) -> Figures:
        return {"calendar": self.calendar.name, "seed": self.seed, "days": self.calendar.days}

    def _settings(self) -> dict[str, dict[str, object]]:
        candidates = list(self.calendar.candidates)
        return {
            "training": {"candidates": candidates, "time_budget_seconds": 600},
            "training.search": {"trials": 1},
        }

    def _arrive(self, day: int, rows: int) -> Path:
        self.parts.append(self.calendar.draw(rows, self.random, day))
        return write_file(self.parts[-1], self.folder / "sent" / f"{day:04d}.csv")

    def _deliver_day(self, day: int) -> None:
        """Bring the day's file; put older ones together now and then, in the same order."""
        path = self._arrive(day, self.calendar.daily)
        self.project.deliver(path, path.name)
        if day % FILES == 0:
            whole = pd.concat(self.parts, ignore_index=True)
            for old in (self.project.folder / "table").iterdir():
                old.unlink()
            joined = write_file(whole, self.folder / "sent" / f"{day:04d}-all.csv")
            self.project.deliver(joined, "0000.csv")
        if self.calendar.hidden and day == self.calendar.appears:
            self.project.change(self._settings())

    def _look(self, day: int, live: _Live | None) -> Path | None:
        """Run the day; gives the bundle that goes live, if one does."""
        champion = None if live is None else live.bundle
        job = self.project.job(champion)
        with silenced():
            compared = Judged.of(job).compare()
        promote = compared.decision.promote
        if not promote and day % CHECKED_EVERY:
            return None
        run = self.project.train(champion)
        if run.bundle is None:
            self.stopped.append({"day": day, "reason": run.refused})
            return None
        self.disagreements += run.evaluation["decision"]["promote"] != promote
        if run.doubts:
            self.doubts.append({"day": day, "promote": promote, "doubts": run.doubts})
        return run.bundle if run.live else None

    def _losses(self, bundle: Path) -> FloatArray:
        return ask_bundle(bundle, self.fresh).losses()


def _compare(taken: _Live, last: _Live, first: _Live) -> Figures:
    """Compare a model that went live with the one before it, and with the first."""
    gap, step = taken.losses - first.losses, taken.losses - last.losses
    error = float(gap.std()) / math.sqrt(len(gap))
    errors = float(gap.mean()) / error if error else 0.0
    return {
        "log_loss": round(float(taken.losses.mean()), 5),
        "against_last": round(float(step.mean()), 5),
        "against_first": round(float(gap.mean()), 5),
        "errors_against_first": round(errors, 2),
        "worse_than_first": errors > 2.0,
        "truly_better": bool(step.mean() < 0),
    }


def summarise_years(years: Sequence[Figures]) -> Figures:
    """Put together the years of worlds that stand still, and the days until a gain was found."""
    whole = [year for year in years if "failed" not in year]
    still = [year for year in whole if year["calendar"].startswith("still")]
    days = sum(year["days"] for year in still)
    lucky = sum(year["promoted_by_luck"] for year in still)
    found: dict[str, list[int | None]] = {}
    for year in whole:
        if not year["calendar"].startswith("still"):
            found.setdefault(year["calendar"], []).append(year["found_after_days"])
    return {
        "still_days": days,
        "promotions": sum(len(year["promotions"]) for year in still),
        "promoted_by_luck": lucky,
        "promoted_by_luck_a_year": round(365 * lucky / days, 2) if days else None,
        "worse_than_first": sum(
            entry["worse_than_first"] for year in still for entry in year["promotions"]
        ),
        "disagreements_with_whole_job": sum(y["disagreements_with_whole_job"] for y in whole),
        "false_doubts": sum(len(year["doubted"]) for year in still),
        "found_after_days": found,
        "failed": [year["failed"] for year in years if "failed" in year],
    }
