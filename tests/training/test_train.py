"""The training job, end to end: as a command, and as the job that SageMaker starts."""

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from core.bundle import Bundle
from core.contract.rows import RowAdapter
from core.drift import Baseline
from core.engine import decide, load_engine
from core.settings import METRICS, load_settings
from tests.training.projects import LIGHT, PROBLEMS, make_project, make_table, write_project
from training import stages, train
from training.data import tables
from training.export.proof import reference_outputs, run_onnx
from training.jobs import read_folder
from training.stages import GOLDEN_TOLERANCE

ROOT = Path(__file__).resolve().parents[2]
TASKS = list(PROBLEMS)
FILES = {
    "model.json",
    "model.onnx",
    "model.joblib",
    "contract.json",
    "baseline.json",
    "evaluation.json",
    "golden.json",
    "lineage.json",
    "report.html",
}


def run_local(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Bundle:
    """Train and open the bundle whose folder is the last line printed."""
    assert train.main(["--local", str(folder), *more]) == 0
    return Bundle.from_folder(capsys.readouterr().out.splitlines()[-1])


def fail_local(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Train in vain; gives what was said, and checks that nothing was left behind."""
    assert train.main(["--local", str(folder), *more]) == 1
    models = folder / "models"
    assert not models.exists() or not list(models.iterdir())
    said = capsys.readouterr().err
    assert said.startswith("training failed: ")
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("task", TASKS)
def test_every_task_ends_in_a_whole_bundle(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All files are there and intact, and golden rows get the golden answers from each engine."""
    bundle = run_local(make_project(tmp_path, task), capsys)
    bundle.verify()
    assert set(bundle.names) == FILES
    contract, golden, evaluation = bundle.contract(), bundle.golden(), bundle.evaluation()
    accepted = RowAdapter(contract).validate_rows(golden["rows"])
    vectors = [contract.encode(row) for row in accepted]
    expected = np.asarray(golden["answers"])
    assert len(vectors) >= 10
    found = np.asarray(load_engine(bundle.file("model.json")).score_many(vectors))
    assert np.abs(found - expected).max() <= GOLDEN_TOLERANCE
    onnx = run_onnx(bundle.file("model.onnx"), np.asarray(vectors))
    assert np.abs(onnx - expected).max() <= GOLDEN_TOLERANCE
    assert evaluation["metric"] == next(iter(METRICS[task]))
    needs_target = {"roc_auc", "pr_auc"} if task == "anomaly" else set()
    assert set(evaluation["metrics"]) == set(METRICS[task]) - needs_target
    assert evaluation["decision"]["promote"] is True
    assert evaluation["export"]["flips"] == 0
    assert Baseline.from_json(bundle.file("baseline.json")).contract == contract.digest
    assert bundle.lineage()["sha256"]["table.csv"]


def test_the_bundle_answers_what_scikit_learn_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Raw rows through the contract and the tables equal the pipeline on the encoded table."""
    bundle = run_local(make_project(tmp_path, "binary"), capsys)
    contract = bundle.contract()
    fresh = make_table("binary", rows=100, seed=5)
    rows = tables.table_rows(fresh, contract)
    rows[0]["colour"] = "violet"
    fresh.loc[0, "colour"] = "violet"
    engine = load_engine(bundle.file("model.json"))
    accepted = RowAdapter(contract).validate_rows(rows)
    found = np.asarray([engine.score(contract.encode(row)) for row in accepted])
    with (
        (Path(str(tmp_path)) / "models")
        .joinpath(bundle.lineage()["run"], "model.joblib")
        .open("rb") as file
    ):
        model = joblib.load(file)
    expected = reference_outputs(model, tables.encode_table(fresh, contract), contract)
    assert np.abs(found - expected).max() < 1e-12
    said = [decide(engine.header, row) for row in found.tolist()]
    assert np.mean(np.asarray(said) == fresh["answer"]) > 0.85


@pytest.mark.parametrize("task", ["binary", "clustering"])
def test_same_data_same_model(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs give the same bytes in every file but those that name the run."""
    extra = '[training]\ncandidates = ["boosting", "forest"]\n[training.search]\ntrials = 1\n'
    options = {"extra": extra} if task == "binary" else {}
    make_project(tmp_path / "a", task, rows=120, **options)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, second = (run_local(tmp_path / name, capsys) for name in ("a", "b"))
    for name in FILES - {"lineage.json", "report.html"}:
        assert first.file(name) == second.file(name), name


def container(folder: Path, project: Path, **plan: Any) -> dict[str, str]:
    """Lay out /opt/ml as SageMaker does for a network-isolated job, with the code unpacked."""
    code, base = folder / "code", folder / "ml"
    for name in ("core", "training"):
        shutil.copytree(ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    (code / "vendor").mkdir()
    (code / "project.json").write_text(load_settings(project / "project.toml").to_json())
    data = base / "input" / "data" / "training" / "data"
    data.mkdir(parents=True)
    shutil.copy(project / "table.csv", data / "table.csv")
    (base / "input" / "data" / "plan").mkdir()
    document = {"run": "trial-dev-1", "trigger": "data", "fingerprint": "f" * 64, **plan}
    (base / "input" / "data" / "plan" / "plan.json").write_text(json.dumps(document))
    (base / "model").mkdir()
    (base / "checkpoints").mkdir()
    keep = {name: value for name, value in os.environ.items() if not name.startswith("SM_")}
    return {
        **keep,
        "SM_BASE_DIR": str(base),
        "SM_MODEL_DIR": str(base / "model"),
        "SM_OUTPUT_DIR": str(base / "output"),
        "SM_CHANNEL_TRAINING": str(base / "input" / "data" / "training"),
        "SM_CHANNEL_PLAN": str(base / "input" / "data" / "plan"),
        "SM_HPS": "{}",
        "TRAINING_JOB_NAME": "trial-dev-1",
        "PYTHONPATH": "",
    }


def start(folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start the entry point as the toolkit does: the script, in the folder of the code."""
    return subprocess.run(
        [sys.executable, "training/train.py"],
        cwd=folder / "code",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_the_job_in_sagemakers_container(tmp_path: Path) -> None:
    """Channels in, bundle out, metric lines for the template, versions in the lineage."""
    project = make_project(tmp_path / "project")
    pinned = {"key": "data/table.csv", "version_id": "v7", "etag": "e", "size": 1}
    environ = container(tmp_path, project, inputs=[pinned], commit="abc123", champion=None)
    done = start(tmp_path, environ)
    assert done.returncode == 0, done.stderr
    bundle = Bundle.from_folder(tmp_path / "ml" / "model")
    bundle.verify()
    lineage = bundle.lineage()
    assert (lineage["run"], lineage["trigger"], lineage["commit"]) == (
        "trial-dev-1",
        "data",
        "abc123",
    )
    assert lineage["fingerprint"] == "f" * 64
    assert lineage["inputs"][0]["version_id"] == "v7"
    lines = done.stdout.splitlines()
    assert sum(line.startswith("metric:log_loss=") for line in lines) == 1
    assert sum(line.startswith("metric:objective=") for line in lines) == 1
    assert not (tmp_path / "ml" / "output" / "failure").exists()
    assert (tmp_path / "ml" / "checkpoints" / "search.jsonl").is_file()


def test_a_failed_job_says_why_where_sagemaker_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One clear message in `failure` and on the last line of the log, exit code 1, no bundle."""
    frame = make_table("binary")
    frame.loc[5:9, "answer"] = "perhaps"
    problem = PROBLEMS["binary"] + '\nclasses = ["no", "yes"]'
    environ = container(tmp_path, write_project(tmp_path / "project", frame, problem))
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(train, "ROOT", tmp_path / "code")
    assert train.main([]) == 1
    failure = (tmp_path / "ml" / "output" / "failure").read_text()
    assert "answer" in failure
    assert "perhaps" in failure
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.rstrip().endswith(failure.rstrip())
    assert list((tmp_path / "ml" / "model").iterdir()) == []


def test_vendored_packages_come_first(tmp_path: Path) -> None:
    """What the asset vendors shadows the container's own."""
    environ = container(tmp_path, make_project(tmp_path / "project"))
    shadow = tmp_path / "code" / "vendor" / "numpy"
    shadow.mkdir()
    (shadow / "__init__.py").write_text("raise ImportError('the vendored numpy was asked')\n")
    assert "the vendored numpy was asked" in start(tmp_path, environ).stderr


def drifted(folder: Path, rows: int = 160) -> Path:
    """Put labelled captures beside the table, in which the size is in new units."""
    frame = make_table("binary", rows=rows, seed=8, shift=6.0)
    frame["prediction_id"] = [f"p{i}" for i in range(rows)]
    frame["prediction_time"] = 1_790_000_000_000 + np.arange(rows) * 60_000
    (folder / "labelled").mkdir()
    text = frame.to_csv(index=False).encode()
    (folder / "labelled" / "part-0001.csv.gz").write_bytes(gzip.compress(text))
    return folder


def test_drift_is_answered_by_a_model_that_is_better_on_the_new_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Champion and challenger meet on held-out rows that neither saw; the new rows decide."""
    folder = make_project(
        tmp_path, extra='[training]\ncandidates = ["forest"]\n[training.search]\ntrials = 1\n'
    )
    champion = run_local(folder, capsys)
    path = folder / "models" / champion.lineage()["run"]
    bundle = run_local(drifted(folder), capsys, "--champion", str(path), "--trigger", "drift")
    evaluation = bundle.evaluation()
    assert evaluation["rows"]["fresh"] == 160
    assert 25 <= evaluation["champion"]["fresh"]["rows"] <= evaluation["rows"]["fresh_holdout"]
    assert evaluation["champion"]["run"] == champion.lineage()["run"]
    assert evaluation["decision"]["promote"] is True
    assert "after drift" in evaluation["decision"]["reason"]
    again = run_local(folder, capsys, "--champion", str(path), "--trigger", "data").evaluation()
    assert again["champion"]["everything"]["rows"] >= again["champion"]["fresh"]["rows"]


def test_a_prediction_is_learned_from_once_by_its_newest_label(tmp_path: Path) -> None:
    """A label that was corrected comes again in a later file; the row counts once, with that."""
    folder = drifted(make_project(tmp_path))
    first = pd.read_csv(folder / "labelled" / "part-0001.csv.gz")
    corrected = first.head(20).assign(
        answer=np.where(first.head(20)["answer"] == "no", "yes", "no")
    )
    corrected.to_csv(folder / "labelled" / "part-0002.csv.gz", index=False)
    job = read_folder(folder, champion=None, trigger="drift", stage=None)
    data = stages.read_data(job, stages.Log(0.0))
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
    data = stages.read_data(job, stages.Log(0.0))
    fresh = data.frame[data.fresh]
    assert len(fresh) == 30
    assert set(fresh["prediction_id"]) == {1.0}
    assert set(fresh["prediction_time"]) == {8.0}
    assert data.times is not None
    assert data.times[data.fresh].min() == 1_790_000_000 + 10 * 60


def test_a_crippled_challenger_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that learned nothing does not replace one that did, and the report says so."""
    champion = run_local(make_project(tmp_path / "good"), capsys)
    path = tmp_path / "good" / "models" / champion.lineage()["run"]
    dummy = '[training]\ncandidates = ["dummy"]\n'
    folder = make_project(tmp_path / "bad", extra=dummy)
    bundle = run_local(folder, capsys, "--champion", str(path), "--trigger", "data")
    decision = bundle.evaluation()["decision"]
    assert decision["promote"] is False
    assert "not better than the champion" in decision["reason"]
    assert "Not to be promoted" in bundle.file("report.html").decode()


def test_retraining_on_the_same_data_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same model again is within noise of the champion: it is not promoted."""
    folder = make_project(tmp_path)
    champion = run_local(folder, capsys)
    path = folder / "models" / champion.lineage()["run"]
    decision = run_local(folder, capsys, "--champion", str(path)).evaluation()["decision"]
    assert decision["promote"] is False


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


def test_a_full_disk_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A write that fails half-way leaves no bundle, and the message says where it failed.

    The process is not allowed files of more than 20,000 bytes, which the operating system enforces
    as it does a full disk.
    """
    folder = make_project(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        said = fail_local(folder, capsys)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot write the bundle" in said


def test_a_killed_job_leaves_no_half_bundle(tmp_path: Path) -> None:
    """Killed between two files: nothing stands under the run's name, and nothing has a manifest."""
    folder = make_project(tmp_path, extra='[training]\ncandidates = ["dummy"]\n')
    script = (
        "import os, signal, sys\n"
        "from core import bundle\n"
        "from training import train\n"
        "write, written = bundle._write_flushed, []\n"
        "def write_then_die(path, content):\n"
        "    write(path, content)\n"
        "    written.append(path)\n"
        "    if len(written) == 4:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "bundle._write_flushed = write_then_die\n"
        f"train.main(['--local', {str(folder)!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not [path for path in (folder / "models").iterdir() if not path.name.startswith(".")]
    assert not list(folder.rglob("manifest.json"))
    assert [path.suffix for path in (folder / "models").iterdir()] == [".partial"]

    assert train.main(["--local", str(folder)]) == 0
    (bundle,) = (folder / "models").iterdir()  # what the killed job left is gone
    Bundle.from_folder(bundle).verify()


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


def test_a_random_split_of_rows_in_time_order_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where neighbours have like targets the log says which split judges honestly."""
    frame = make_table("binary").sort_values("size", ignore_index=True)
    assert train.main(["--local", str(write_project(tmp_path, frame, PROBLEMS["binary"]))]) == 0
    assert 'strategy = "order" judges as service will' in capsys.readouterr().out
    shuffled = write_project(tmp_path, frame.sample(frac=1.0, random_state=1), PROBLEMS["binary"])
    assert train.main(["--local", str(shuffled)]) == 0
    assert "neighbouring rows" not in capsys.readouterr().out


def test_settings_change_what_they_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The metric, the holdout, the candidates and the seed each leave their mark."""
    extra = (
        '[training]\nmetric = "f1"\ncandidates = ["linear"]\n[split]\nholdout = 0.4\nseed = 11\n'
    )
    assert train.main(["--local", str(make_project(tmp_path, extra=extra))]) == 0
    lines = capsys.readouterr().out.splitlines()
    evaluation = Bundle.from_folder(lines[-1]).evaluation()
    assert evaluation["metric"] == "f1"
    published = next(line for line in lines if line.startswith("metric:f1="))
    assert float(published.partition("=")[2]) == pytest.approx(evaluation["chosen"]["score"])
    assert {trial["candidate"] for trial in evaluation["candidates"]} == {"linear"}
    assert len(evaluation["candidates"]) == 8
    assert evaluation["rows"]["holdout"] == pytest.approx(96, abs=2)
    assert evaluation["split"]["seed"] == 11


def test_known_anomalies_can_be_competed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a target, an anomaly task is searched, measured and duelled by what it says."""
    frame = make_table("anomaly", rows=300)
    frame["fraud"] = np.where(frame.index % 15 == 0, "yes", "no")
    frame.loc[frame["fraud"] == "yes", "size"] += 6.0
    frame.loc[frame.index % 7 == 1, "fraud"] = None
    problem = 'task = "anomaly"\ntarget = "fraud"\npositive = "yes"'
    forest = 'candidates = ["isolation_forest"]\n'
    extra = f'[training]\nmetric = "pr_auc"\n{forest}[training.search]\ntrials = 2\n'
    folder = write_project(tmp_path, frame, problem, extra)
    assert train.main(["--local", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("metric:pr_auc=") for line in lines) == 1
    evaluation = Bundle.from_folder(lines[-1]).evaluation()
    assert evaluation["metric"] == "pr_auc"
    assert set(evaluation["metrics"]) == set(METRICS["anomaly"])
    assert evaluation["metrics"]["pr_auc"]["value"] > 0.5
    again = run_local(folder, capsys, "--champion", lines[-1]).evaluation()
    assert again["champion"]["everything"]["metric"] == "pr_auc"
    assert again["decision"]["promote"] is False
    frame["fraud"] = np.where(frame.index == 15, "yes", "no")
    frame.to_csv(folder / "table.csv", index=False)
    assert train.main(["--local", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "pr_auc" in said
    assert "separation_auc" in said


def test_unknown_candidates_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt candidate is an error that lists those there are."""
    folder = make_project(tmp_path, extra='[training]\ncandidates = ["booosting"]\n')
    assert "it has dummy, linear, boosting, forest" in fail_local(folder, capsys)


def test_sensitive_values_of_one_person_do_not_reach_the_golden_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A golden row's sensitive value is another row's, so the row is nobody's."""
    folder = make_project(tmp_path)
    text = (folder / "project.toml").read_text()
    head, tail = text.split('[columns."Größe"]\n')
    (folder / "project.toml").write_text(f'{head}[columns."Größe"]\nsensitive = true\n{tail}')
    rows = run_local(folder, capsys).golden()["rows"]
    table = pd.read_csv(folder / "table.csv")
    kept = sum(
        bool(((table["size"] == row["size"]) & (table["Größe"] == row["Größe"])).any())
        for row in rows
    )
    assert kept <= 4


def test_a_folder_without_settings_is_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first thing that a new user may get wrong."""
    assert "project.toml" in fail_local(tmp_path, capsys)


def test_an_altered_champion_is_not_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A champion whose files do not match their hashes stops the run: nothing is decided on it."""
    folder = make_project(tmp_path)
    champion = run_local(folder, capsys)
    path = folder / "models" / champion.lineage()["run"]
    (path / "model.json").write_bytes(champion.file("model.json") + b" ")
    assert train.main(["--local", str(folder), "--champion", str(path)]) == 1
    assert "altered" in capsys.readouterr().err
