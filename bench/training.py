"""Measure training against a plain pipeline and FLAML, in one run: model quality, time, memory.

Every contender gets the same training rows and predicts the same held-out rows, in a process of
its own. Driftless runs its whole job (check, search, calibration, evaluation, proof of export,
baseline, report); the others only fit a model.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.peers import environments
from core.errors import OperationError

DATA = Path("../shared/data")
EXAMPLE = Path("examples/breast_cancer/breast_cancer.csv")
BUDGET_SECONDS = 60
QUICK_BUDGET_SECONDS = 10
MILLION_COLUMNS = 30
PEER_PACKAGES = ("flaml[automl]==2.7.0", "pandas<3", "scikit-learn==1.9.0")


def run(quick: bool = False) -> dict[str, Any]:
    """Measure each table with each contender, and the cost per row up to a million rows."""
    budget = QUICK_BUDGET_SECONDS if quick else BUDGET_SECONDS
    figures: dict[str, Any] = {"budget_seconds": budget, "tables": {}, "absent": []}
    interpreters = {"ours": sys.executable, "plain": sys.executable}
    try:
        interpreters["flaml"] = str(environments.provide("flaml", PEER_PACKAGES))
    except OperationError as error:
        figures["absent"].append(f"flaml: {error}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for table, problem in _tables(folder).items():
            figures["tables"][table] = {
                contender: _measure(contender, python, problem, budget)
                for contender, python in interpreters.items()
            }
        failed = {
            f"{contender}: {found['absent']}"
            for measured in figures["tables"].values()
            for contender, found in measured.items()
            if "absent" in found
        }
        figures["absent"] += sorted(failed)
        sizes = (10_000, 50_000) if quick else (10_000, 100_000, 1_000_000)
        figures["million_rows"] = [_measure_size(rows, folder) for rows in sizes]
    return figures


def _tables(folder: Path) -> dict[str, dict[str, Any]]:
    """Split each available table into a training and a held-out CSV; return where they are."""
    found: dict[str, tuple[pd.DataFrame, str, str]] = {}
    if EXAMPLE.is_file():
        frame = pd.read_csv(EXAMPLE)
        found["breast_cancer"] = (frame, str(frame.columns[-1]), "random")
    if (DATA / "telco_churn.csv").is_file():
        frame = pd.read_csv(DATA / "telco_churn.csv")
        frame["TotalCharges"] = pd.to_numeric(frame["TotalCharges"], errors="coerce")
        found["telco_churn"] = (frame.drop(columns="customerID"), "Churn", "random")
    if (DATA / "elec2.csv.gz").is_file():
        found["elec2"] = (pd.read_csv(DATA / "elec2.csv.gz"), "class", "time")
    problems = {}
    for name, (frame, target, order) in found.items():
        shuffled = frame if order == "time" else frame.sample(frac=1.0, random_state=7)
        cut = int(0.75 * len(shuffled))
        place = folder / name
        place.mkdir()
        shuffled.iloc[:cut].to_csv(place / "train.csv", index=False)
        shuffled.iloc[cut:].to_csv(place / "held.csv", index=False)
        problems[name] = {"folder": str(place), "target": target}
    return problems


def _measure(contender: str, python: str, problem: dict[str, Any], budget: int) -> dict[str, Any]:
    """Run one contender in a process of its own; its last line of output is JSON."""
    order = json.dumps({"contender": contender, "budget": budget, **problem})
    began, spent = time.perf_counter(), _child_cpu_seconds()
    done = subprocess.run(
        [python, "-W", "ignore", "-m", "bench.training", order],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        return {"absent": environments.last_line(done.stderr)}
    return {
        **json.loads(done.stdout.splitlines()[-1]),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(_child_cpu_seconds() - spent, 1),
    }


def _measure_size(rows: int, folder: Path) -> dict[str, Any]:
    """Train end to end on a generated table of numbers, missing values and categories."""
    place = folder / f"rows{rows}"
    place.mkdir()
    _make_table(rows).to_parquet(place / "table.parquet", index=False)
    (place / "project.toml").write_text(
        '[project]\nname = "size"\n[data]\nfile = "table.parquet"\n'
        '[problem]\ntask = "binary"\ntarget = "y"\npositive = "yes"\n[training.search]\ntrials = '
        "2\n"
    )
    order = json.dumps({"contender": "size", "folder": str(place), "budget": 0, "target": "y"})
    began, spent = time.perf_counter(), _child_cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.training", order],
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        return {"rows": rows, "failed": environments.last_line(done.stderr)}
    return {
        "rows": rows,
        "columns": MILLION_COLUMNS,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(_child_cpu_seconds() - spent, 1),
        "microseconds_a_row": round(1e6 * seconds / rows, 1),
        **json.loads(done.stdout.splitlines()[-1]),
    }


def _make_table(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(7)
    numbers = random.normal(size=(rows, MILLION_COLUMNS - 3)).round(4)
    frame = pd.DataFrame(numbers, columns=[f"x{i}" for i in range(MILLION_COLUMNS - 3)])
    for name, count in (("c0", 5), ("c1", 20), ("c2", 100)):
        frame[name] = pd.Series(random.integers(0, count, rows)).map("v{}".format)
    signal = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + (frame["c0"] == "v1")
    frame["y"] = np.where(signal + random.normal(size=rows) > 0.3, "yes", "no")
    frame.loc[frame.index % 11 == 0, "x5"] = np.nan
    return frame


def _child_cpu_seconds() -> float:
    """Return the CPU seconds of child processes that have ended; other load does not count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _contend(order: dict[str, Any]) -> dict[str, Any]:
    """Run as one contender: train, predict the held-out rows, and return the scores."""
    if order["contender"] == "size":
        bundle = _train_ours(Path(order["folder"]))
        evaluation = json.loads((bundle / "evaluation.json").read_text())
        return {
            "score": round(evaluation["metrics"]["roc_auc"]["value"], 4),
            "chosen": evaluation["chosen"]["candidate"],
            "peak_mib": _peak_mib(),
        }
    contend: dict[str, Callable[[dict[str, Any]], np.ndarray[Any, Any]]]
    contend = {"ours": _contend_ours, "plain": _contend_plain, "flaml": _contend_flaml}
    truth, _ = _read(order, "held.csv")
    probabilities = contend[order["contender"]](order)
    from sklearn.metrics import log_loss, roc_auc_score

    return {
        "score": round(float(roc_auc_score(truth, probabilities)), 4),
        "log_loss": round(float(log_loss(truth, probabilities)), 4),
        "peak_mib": _peak_mib(),
    }


def _read(order: dict[str, Any], name: str) -> tuple[np.ndarray[Any, Any], pd.DataFrame]:
    frame = pd.read_csv(Path(order["folder"]) / name)
    labels = frame.pop(order["target"]).astype(str)
    return (labels == sorted(labels.unique())[-1]).to_numpy(), frame


def _train_ours(folder: Path) -> Path:
    from training.train import main

    if main(["--local", str(folder)]):
        raise SystemExit("our own training job failed")
    return max((folder / "models").iterdir(), key=lambda path: path.stat().st_mtime)


def _contend_ours(order: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Let `ops init` write project.toml, run the whole job, predict with the exported tables."""
    from core.bundle import MODEL, Bundle
    from core.engine import load_engine
    from ops.__main__ import main as operate
    from training.data.tables import encode_table

    folder = Path(order["folder"])
    project = folder / "project.toml"
    options = ["--target", order["target"], "--output", str(project), "--force", "--json"]
    if operate(["init", str(folder / "train.csv"), *options]):
        raise SystemExit("ops init refused the table")
    search = f"[training]\ntime_budget_seconds = {order['budget']}\n"
    project.write_text(
        re.sub(r"\[training\]\ntime_budget_seconds = .*\n", search, project.read_text())
    )
    bundle = Bundle.from_folder(_train_ours(folder))
    contract, engine = bundle.contract(), load_engine(bundle.file(MODEL))
    matrix = encode_table(_read(order, "held.csv")[1], contract)
    return np.asarray(engine.score_many(matrix.tolist()))[:, -1]


def _contend_plain(order: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Fit scikit-learn's histogram boosting with default settings behind an ordinal encoder."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    labels, frame = _read(order, "train.csv")
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    prepare = make_column_transformer(
        (encode, make_column_selector(dtype_include=object)), remainder="passthrough"
    )
    model = make_pipeline(prepare, HistGradientBoostingClassifier(random_state=7))
    model.fit(frame, labels)
    return np.asarray(model.predict_proba(_read(order, "held.csv")[1]))[:, 1]


def _contend_flaml(order: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Let FLAML search for the same number of seconds, minimising log loss."""
    from flaml import AutoML  # type: ignore[import-not-found]

    labels, frame = _read(order, "train.csv")
    automl = AutoML()
    automl.fit(
        frame,
        labels,
        task="classification",
        metric="log_loss",
        time_budget=order["budget"],
        seed=7,
        verbose=0,
    )
    return np.asarray(automl.predict_proba(_read(order, "held.csv")[1]))[:, 1]


if __name__ == "__main__":
    print(json.dumps(_contend(json.loads(sys.argv[1]))))
