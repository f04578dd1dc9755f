"""Odd tables end in a model or in one clear error."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.bundle import Bundle
from tests.training.projects import PROBLEMS, make_project, make_table, write_project
from tests.training.runs import fail_local, run_local
from training import train

TASKS = list(PROBLEMS)


def broken(name: str) -> pd.DataFrame:
    frame = make_table("binary", rows=60)
    if name == "one class":
        frame["answer"] = "yes"
    elif name == "rare class":
        frame["answer"] = ["yes"] + ["no"] * 59
    elif name == "nine rows":
        frame = frame.head(9)
    elif name == "no target":
        frame["answer"] = None
    elif name == "header only":
        frame = frame.head(0)
    elif name == "infinite":
        frame.loc[[4, 5], "size"] = [np.inf, -np.inf]
    elif name == "no values":
        frame[[name for name in frame if name != "answer"]] = None
    elif name == "no column":
        frame = frame.drop(columns="size")
    elif name == "words":
        frame["size"] = frame["size"].astype(object)
        frame.loc[3, "size"] = "tall"
    return frame


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one class", "answer"),
        ("rare class", "'yes'"),
        ("nine rows", "rows"),
        ("no target", "answer"),
        ("header only", "rows"),
        ("no column", "size"),
        ("words", "tall"),
        ("infinite", "infinite"),
    ],
)
def test_bad_tables_end_in_one_clear_error(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names what is wrong; there is no bundle, not even half of one."""
    problem = PROBLEMS["binary"] + '\nclasses = ["no", "yes"]'
    folder = write_project(tmp_path, make_table("binary", rows=60), problem)
    broken(name).to_csv(folder / "table.csv", index=False)
    assert words in fail_local(folder, capsys)


def test_odd_tables_end_in_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels missing in some rows, a column without values, a constant one, repeated rows."""
    frame = make_table("binary", rows=120)
    frame["nothing"], frame["same"] = np.nan, 3.0
    frame.loc[frame.index % 10 == 3, "answer"] = None
    frame = pd.concat([frame, frame.head(30)], ignore_index=True)
    extra = "[training.search]\ntrials = 1\n"
    bundle = run_local(write_project(tmp_path, frame, PROBLEMS["binary"], extra), capsys)
    evaluation = bundle.evaluation()
    assert evaluation["rows"]["without_target"] == 15
    assert evaluation["metrics"]["roc_auc"]["value"] > 0.6
    assert {trial["candidate"] for trial in evaluation["candidates"] if trial["complete"]} == {
        "dummy",
        "linear",
        "boosting",
        "forest",
    }


@pytest.mark.parametrize("text", ["", "\n\n", "size,answer\n"])
def test_a_file_without_rows_is_one_clear_error(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing, blank lines, a header alone: the message names the file or the rows it lacks."""
    folder = make_project(tmp_path, rows=20)
    (folder / "table.csv").write_text(text)
    said = fail_local(folder, capsys)
    assert "table.csv" in said or "rows" in said


@pytest.mark.parametrize("task", TASKS)
def test_ten_rows_end_in_a_model_or_one_clear_error(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So small a table is trained on, or refused with the number that it lacks."""
    folder = make_project(tmp_path, task, rows=10)
    if train.main(["--local", str(folder)]) == 0:
        Bundle.from_folder(capsys.readouterr().out.splitlines()[-1]).verify()
        return
    capsys.readouterr()
    assert "rows" in fail_local(folder, capsys)


def test_a_table_of_gaps_ends_in_a_model_that_learned_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels without a single value beside them: every candidate falls back to the shares."""
    extra = "[training.search]\ntrials = 1\n"
    folder = write_project(tmp_path, make_table("binary", rows=60), PROBLEMS["binary"], extra)
    broken("no values").to_csv(folder / "table.csv", index=False)
    evaluation = run_local(folder, capsys).evaluation()
    assert evaluation["metrics"]["roc_auc"]["value"] == pytest.approx(0.5)


def test_two_thousand_columns_end_in_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Far more columns than rows: a model, a report and a baseline of them all."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        random.normal(size=(28, 2000)).round(3), columns=[f"x{i}" for i in range(2000)]
    )
    frame["answer"] = np.where(frame["x7"] > 0, "yes", "no")
    extra = '[training]\ncandidates = ["linear"]\n[training.search]\ntrials = 1\n'
    bundle = run_local(write_project(tmp_path, frame, PROBLEMS["binary"], extra), capsys)
    assert len(bundle.contract().columns) == 2000
    assert len(bundle.file("report.html")) < 5_000_000
