"""Labelled rows that came back join the table once, under the names that it has."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.training.projects import PROBLEMS, make_project, make_table, write_project
from tests.training.runs import drifted
from training.data.dataset import read_data
from training.jobs import read_folder
from training.log import Log


def test_a_prediction_is_learned_from_once_by_its_newest_label(tmp_path: Path) -> None:
    """A label that was corrected comes again in a later file; the row counts once, with that."""
    folder = drifted(make_project(tmp_path))
    first = pd.read_csv(folder / "labelled" / "part-0001.csv.gz")
    corrected = first.head(20).assign(
        answer=np.where(first.head(20)["answer"] == "no", "yes", "no")
    )
    corrected.to_csv(folder / "labelled" / "part-0002.csv.gz", index=False)
    job = read_folder(folder, champion=None, trigger="drift", stage=None)
    data = read_data(job, Log(0.0))
    fresh = data.frame[data.fresh]
    assert len(fresh) == len(first)
    found = fresh.sort_values("size")["answer"].tolist()
    latest = pd.concat([first.iloc[20:], corrected]).sort_values("size")["answer"].tolist()
    assert found == latest


def test_columns_of_the_tables_own_are_not_taken_for_the_monitors(tmp_path: Path) -> None:
    """A table may have `prediction_id`, `prediction_time` and `time` itself."""
    frame = make_table("binary", rows=120)
    frame["time"] = pd.date_range("2026-01-01", periods=120, freq="h").strftime("%Y-%m-%d %H:%M")
    frame["prediction_id"] = np.arange(120.0) % 4
    frame["prediction_time"] = 7.0
    problem = PROBLEMS["binary"] + '\ntime_column = "time"'
    folder = write_project(tmp_path, frame, problem)
    captured = make_table("binary", rows=40, seed=8).assign(prediction_id=1.0, prediction_time=8.0)
    captured["prediction_id_"] = [f"p{i % 30}" for i in range(40)]
    captured["prediction_time_"] = 1_790_000_000_000 + np.arange(40) * 60_000
    (folder / "labelled").mkdir()
    captured.to_csv(folder / "labelled" / "part-1.csv.gz", index=False)
    job = read_folder(folder, champion=None, trigger="drift", stage=None)
    data = read_data(job, Log(0.0))
    fresh = data.frame[data.fresh]
    assert len(fresh) == 30
    assert set(fresh["prediction_id"]) == {1.0}
    assert set(fresh["prediction_time"]) == {8.0}
    assert data.times is not None
    assert data.times[data.fresh].min() == 1_790_000_000 + 10 * 60
