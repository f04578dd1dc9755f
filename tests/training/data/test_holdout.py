"""The holdout, end to end: by time, by group, and refused where it judges nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training.projects import LIGHT, PROBLEMS, make_table, write_project
from tests.training.runs import fail_local, run_local
from training import train


def test_time_and_group_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The split that project.toml asks for is the one that judges."""
    frame = make_table("binary")
    frame["day"] = pd.date_range("2026-01-01", periods=len(frame), freq="h").astype(str)
    frame["who"] = [f"c{i % 40}" for i in range(len(frame))]
    roles = '\ntime_column = "day"\ngroup_column = "who"'
    for strategy in ("time", "order", "group"):
        extra = f'[split]\nstrategy = "{strategy}"\n{LIGHT}'
        folder = write_project(tmp_path / strategy, frame, PROBLEMS["binary"] + roles, extra)
        champion = run_local(folder, capsys)
        split = champion.evaluation()["split"]
        assert split["strategy"] == strategy
        if strategy == "order":
            assert split["cut"] == pytest.approx(0.75 * len(frame), abs=1)
            path = folder / "models" / champion.lineage()["run"]
            again = run_local(folder, capsys, "--champion", str(path)).evaluation()
            assert again["champion"]["everything"]["rows"] == again["rows"]["holdout"]


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (["no", "yes"], ["new", "no"], "class 'new' of 'answer' are held out"),
        (["no", "yes"], ["no"], "all 60 rows held out by the split"),
        (["no"], ["no", "yes"], "class 'yes' of 'answer' are held out"),
    ],
)
def test_a_class_on_one_side_of_the_time_only_is_one_clear_error(
    first: list[str],
    last: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot be learned or judged is named, with what to do about it."""
    frame = make_table("binary")
    frame["answer"] = [*(first * 180)[:180], *(last * 60)[:60]]
    task = "binary" if "new" not in last else "multiclass"
    extra = f'[split]\nstrategy = "order"\n{LIGHT}'
    folder = write_project(tmp_path, frame, f'task = "{task}"\ntarget = "answer"', extra)
    said = fail_local(folder, capsys)
    assert words in said
    assert '[split] strategy, e.g. "random"' in said


def test_a_metric_that_the_holdout_cannot_show_is_undefined_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newest rows share one value: no R2 of them, and its gate is missed."""
    frame = make_table("regression")
    frame.loc[frame.index >= 170, "answer"] = 1.0
    extra = f'[gates]\nminimum = {{r2 = 0.0}}\n[split]\nstrategy = "order"\n{LIGHT}'
    bundle = run_local(write_project(tmp_path, frame, PROBLEMS["regression"], extra), capsys)
    assert "value" not in bundle.evaluation()["metrics"]["r2"]
    page = bundle.file("report.html").decode()
    assert ">undefined</td>" in page
    assert "R² was not measured" in page


def test_a_random_split_of_rows_in_time_order_is_doubted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A claim that goes where whole stretches of the table judge is doubted, and what to set said.

    Two columns go round once, as the hour's angle does, so a model can tell where a row stands; the
    answer stays the same for thirty rows, by chance. Shuffled, the rows show no order.
    """
    random = np.random.default_rng(3)
    angle = 2 * np.pi * np.arange(600) / 600
    spells = np.repeat(random.integers(0, 2, 20), 30)
    answer = np.where(random.random(600) < 0.1, 1 - spells, spells)
    frame = pd.DataFrame({"east": np.cos(angle).round(4), "north": np.sin(angle).round(4)})
    frame["answer"] = np.where(answer == 1, "yes", "no")
    extra = '[training]\ncandidates = ["forest"]\n[training.search]\ntrials = 1\n'
    ordered = write_project(tmp_path / "ordered", frame, PROBLEMS["binary"], extra)
    assert train.main(["--local", str(ordered)]) == 0
    assert "doubt order: neighbouring rows have like targets" in capsys.readouterr().out
    shuffled = frame.sample(frac=1.0, random_state=1)
    folder = write_project(tmp_path / "shuffled", shuffled, PROBLEMS["binary"], extra)
    assert train.main(["--local", str(folder)]) == 0
    assert "neighbouring rows" not in capsys.readouterr().out
