"""Small generated projects: a folder with project.toml and a table, as a user would have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FEW = "[training.search]\ntrials = 2\n"
LIGHT = '[training]\ncandidates = ["dummy", "linear"]\n[training.search]\ntrials = 2\n'


def write_project(folder: Path, frame: pd.DataFrame, problem: str, extra: str = LIGHT) -> Path:
    """Write the table and its project.toml; the columns are those that are not the target."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "table.csv", index=False)
    columns = []
    for name in frame.columns:
        if f'"{name}"' in problem:
            continue
        kind = "number" if pd.api.types.is_numeric_dtype(frame[name]) else "category"
        columns.append(f'[columns."{name}"]\ntype = "{kind}"\nmissing = true\n')
    text = f'[project]\nname = "trial"\n[data]\nfile = "table.csv"\n[problem]\n{problem}\n{extra}\n'
    (folder / "project.toml").write_text(text + "\n".join(columns))
    return folder


def make_table(task: str, rows: int = 240, seed: int = 0, shift: float = 1.0) -> pd.DataFrame:
    """Make a table of numbers, a category and gaps; `shift` rescales the first column."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, 3)), columns=["size", "mean age", "Größe"])
    frame["colour"] = random.choice(["red", "green", "blue"], rows)
    signal = 2 * frame["size"] - frame["mean age"] + (frame["colour"] == "red") * 1.5
    signal += random.normal(scale=0.5, size=rows)
    frame["size"] *= shift
    frame.loc[frame.index % 9 == 0, "mean age"] = np.nan
    if task == "binary":
        frame["answer"] = np.where(signal > 0.5, "yes", "no")
    elif task == "multiclass":
        frame["answer"] = np.select([signal > 1.5, signal > -0.5], ["high", "mid"], "low")
    elif task == "regression":
        frame["answer"] = signal.round(3)
    elif task == "clustering":
        frame["size"] += 9 * (frame.index % 3)
    return frame


PROBLEMS: Mapping[str, str] = {
    "binary": 'task = "binary"\ntarget = "answer"\npositive = "yes"',
    "multiclass": 'task = "multiclass"\ntarget = "answer"',
    "regression": 'task = "regression"\ntarget = "answer"',
    "anomaly": 'task = "anomaly"',
    "clustering": 'task = "clustering"',
}


def make_project(folder: Path, task: str = "binary", **options: Any) -> Path:
    """Make a project of a task, with light candidates where the task has such."""
    extra = options.pop("extra", LIGHT if task not in ("anomaly", "clustering") else FEW)
    return write_project(folder, make_table(task, **options), PROBLEMS[task], extra)
