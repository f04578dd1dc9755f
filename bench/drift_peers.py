"""Other drift detectors at their defaults, on windows of the same tables and shifts.

Each is installed into an environment of its own and asked there: this module is its process too
(`python -m bench.drift_peers NAME FOLDER`, in the peer's environment), so that what is imported at
the top is what all environments have.
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

HOME = Path(".build/bench/peers")
PACKAGES = {
    "evidently": ("evidently==0.7.23", "scikit-learn==1.9.1", "pandas==2.3.3", "pyarrow==26.0.1"),
    # statsmodels: nannyml imports it and does not ask for it.
    "nannyml": ("nannyml==0.13.1", "statsmodels==0.15.0", "pandas==2.3.3", "pyarrow==26.0.1"),
    "alibi-detect": ("alibi-detect==0.13.0", "numpy==1.26.4", "pandas==2.3.3", "pyarrow==19.0.1"),
}
# Neither evidently nor nannyml is to report its use while it is measured.
SILENT = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}

Alarms = dict[str, list[bool]]
"""By rule: whether each window in turn alarms."""


class Job(NamedTuple):
    """A reference, and windows of `rows` rows one after the other."""

    name: str
    reference: pd.DataFrame
    windows: pd.DataFrame
    rows: int


class Answer(NamedTuple):
    """What a tool said to a job, and the CPU seconds it took (reading the tables left out)."""

    alarms: Alarms
    cpu_seconds: float


def ask(name: str, jobs: Iterable[Job], timeout_seconds: float) -> dict[str, Answer] | str:
    """Run a peer over the jobs; gives its answers by job, or why there are none."""
    python = _prepare(name)
    if python.startswith("not installed"):
        return python
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
                [python, "-W", "ignore", "-m", "bench.drift_peers", name, folder],
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
            return f"failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1][:200]}"
        return {key: Answer(*value) for key, value in json.loads(answers.read_text()).items()}


def _prepare(name: str) -> str:
    """Install a peer, once; gives its interpreter, or `not installed: reason`."""
    place = HOME / name
    python = place / "bin" / "python"
    stamp = place / "installed.json"
    packages = list(PACKAGES[name])
    if not stamp.exists() or json.loads(stamp.read_text()) != packages:
        uv = [sys.executable, "-m", "uv"]
        for command in (
            [*uv, "venv", "-q", "--clear", "--python", sys.executable, str(place)],
            [*uv, "pip", "install", "-q", "--python", str(python), *packages],
        ):
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, check=False, timeout=900
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return f"not installed: {error!r}"[:200]
            if done.returncode != 0:
                words = done.stderr.strip().splitlines() or ["no reason given"]
                return f"not installed: {words[-1][:200]}"
        stamp.write_text(json.dumps(packages))
    return str(python)


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
    """Univariate drift (Jensen-Shannon), and the error of reconstruction by principal parts."""
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
    """Kolmogorov-Smirnov and chi-square a column, Bonferroni at 0.05 over the columns."""
    from alibi_detect.cd import TabularDrift  # type: ignore[import-not-found]

    names = [i for i, name in enumerate(reference) if reference[name].dtype == object]
    codes: dict[int, dict[Any, int]] = {}
    for i in names:
        # Its test refuses a category that neither the reference nor the window has.
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
    """Answer every job of the folder that the tool takes; a refused one is left out."""
    warnings.filterwarnings("ignore")
    answers: dict[str, tuple[Alarms, float]] = {}
    for job, reference, windows, rows in json.loads(Path(folder, "jobs.json").read_text()):
        tables = [pd.read_parquet(path) for path in (reference, windows)]
        began = time.process_time()
        try:
            alarms = ASK[name](tables[0], tables[1], rows)
        except ValueError as error:  # alibi-detect, of columns of some 400 categories
            print(f"{name} refuses {job}: {error}", file=sys.stderr)
            continue
        answers[job] = alarms, time.process_time() - began
    Path(folder, "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
