"""Other drift detectors at their defaults, on windows of the same tables and shifts.

`ask` starts this module again as a process in the peer's environment
(`python -m bench.peers.detectors NAME FOLDER`), so its top-level imports are only what every peer's
environment has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.peers import environments
from core.errors import OperationError

PACKAGES = {
    "evidently": ("evidently==0.7.23", "scikit-learn==1.9.1", "pandas==2.3.3", "pyarrow==26.0.1"),
    # nannyml imports statsmodels but does not declare it.
    "nannyml": ("nannyml==0.13.1", "statsmodels==0.15.0", "pandas==2.3.3", "pyarrow==26.0.1"),
    "alibi-detect": ("alibi-detect==0.13.0", "numpy==1.26.4", "pandas==2.3.3", "pyarrow==19.0.1"),
}
# Switches off the usage reports of evidently and nannyml.
SILENT = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}

Alarms = dict[str, list[bool]]
"""By rule: whether each window alarms, in order."""


class Job(NamedTuple):
    """A reference table, and consecutive windows of `rows` rows in one table."""

    name: str
    reference: pd.DataFrame
    windows: pd.DataFrame
    rows: int


class Answer(NamedTuple):
    """A tool's alarms for a job, and the CPU seconds it took, without reading the tables."""

    alarms: Alarms
    cpu_seconds: float


def ask(name: str, jobs: Iterable[Job], timeout_seconds: float) -> dict[str, Answer] | str:
    """Run a peer over the jobs; return its answers by job, or the reason why there are none."""
    try:
        python = environments.provide(name, PACKAGES[name])
    except OperationError as error:
        return str(error)
    with tempfile.TemporaryDirectory() as folder:
        listed = []
        for i, job in enumerate(jobs):
            paths = [f"{folder}/{i}-{part}.parquet" for part in ("reference", "windows")]
            job.reference.to_parquet(paths[0])
            job.windows.to_parquet(paths[1])
            listed.append([job.name, *paths, job.rows])
        Path(folder, "jobs.json").write_text(json.dumps(listed))
        try:
            done = subprocess.run(
                [python, "-W", "ignore", "-m", "bench.peers.detectors", name, folder],
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_seconds,
                env={**os.environ, **SILENT},
            )
        except subprocess.TimeoutExpired:
            return f"did not finish within {timeout_seconds:.0f} s"
        answers = Path(folder, "answers.json")
        if done.returncode != 0 or not answers.exists():
            return f"failed: {environments.last_line(done.stderr)}"
        return {key: Answer(*value) for key, value in json.loads(answers.read_text()).items()}


# ------------------------------------------------------------------- in the peer's environment


def _cut(windows: pd.DataFrame, rows: int) -> list[pd.DataFrame]:
    return [
        windows.iloc[start : start + rows].reset_index(drop=True)
        for start in range(0, len(windows) - rows + 1, rows)
    ]


def _ask_evidently(reference: pd.DataFrame, windows: pd.DataFrame, rows: int) -> Alarms:
    """Count drifted columns: as DataDriftPreset does, without the time that its plots take."""
    from evidently import Report  # type: ignore[import-not-found]
    from evidently.metrics import DriftedColumnsCount  # type: ignore[import-not-found]

    alarms: Alarms = {"any column": [], "half of the columns": []}
    for window in _cut(windows, rows):
        found = Report([DriftedColumnsCount()]).run(window, reference).dict()["metrics"][0]["value"]
        alarms["any column"].append(found["count"] > 0)
        alarms["half of the columns"].append(found["share"] >= 0.5)
    return alarms


def _ask_nannyml(reference: pd.DataFrame, windows: pd.DataFrame, rows: int) -> Alarms:
    """Univariate drift (Jensen-Shannon), and the error of PCA reconstruction."""
    import nannyml  # type: ignore[import-not-found]

    alarms: Alarms = {}
    for rule, make in (
        ("any column", nannyml.UnivariateDriftCalculator),
        ("reconstruction", nannyml.DataReconstructionDriftCalculator),
    ):
        calculator = make(column_names=list(reference.columns), chunk_size=rows)
        calculator.fit(reference)
        result = calculator.calculate(windows).filter(period="analysis").to_df()
        alerts = [column for column in result.columns if column[-1] == "alert"]
        flags = result[alerts].to_numpy(dtype=bool).any(axis=1)
        alarms[rule] = [bool(flag) for flag in flags[: len(windows) // rows]]
    return alarms


def _ask_alibi(reference: pd.DataFrame, windows: pd.DataFrame, rows: int) -> Alarms:
    """Kolmogorov-Smirnov or chi-square per column, Bonferroni-corrected to 0.05 over them."""
    from alibi_detect.cd import TabularDrift  # type: ignore[import-not-found]

    names = [i for i, name in enumerate(reference) if reference[name].dtype == object]
    codes: dict[int, dict[Any, int]] = {}
    for i in names:
        # TabularDrift refuses a category code that is in neither the reference nor the window.
        known = reference.iloc[:, i].unique()
        codes[i] = {value: code for code, value in enumerate(known)}

    def encode(table: pd.DataFrame) -> np.ndarray[Any, Any]:
        columns = [
            table.iloc[:, i].map(codes[i]) if i in codes else table.iloc[:, i]
            for i in range(table.shape[1])
        ]
        return np.column_stack([column.to_numpy(dtype=float) for column in columns])

    more = {"categories_per_feature": {i: len(codes[i]) for i in names}} if names else {}
    detector = TabularDrift(encode(reference), p_val=0.05, **more)
    flags = [bool(detector.predict(encode(w))["data"]["is_drift"]) for w in _cut(windows, rows)]
    return {"any column": flags}


ASK: dict[str, Callable[[pd.DataFrame, pd.DataFrame, int], Alarms]] = {
    "evidently": _ask_evidently,
    "nannyml": _ask_nannyml,
    "alibi-detect": _ask_alibi,
}


def main(name: str, folder: str) -> None:
    """Answer the jobs in the folder; a job that the tool refuses is left out."""
    warnings.filterwarnings("ignore")
    answers: dict[str, tuple[Alarms, float]] = {}
    for job, reference, windows, rows in json.loads(Path(folder, "jobs.json").read_text()):
        tables = [pd.read_parquet(path) for path in (reference, windows)]
        began = time.process_time()
        try:
            alarms = ASK[name](tables[0], tables[1], rows)
        except ValueError as error:  # alibi-detect refuses columns of about 400 categories
            print(f"{name} refuses {job}: {error}", file=sys.stderr)
            continue
        answers[job] = alarms, time.process_time() - began
    Path(folder, "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
