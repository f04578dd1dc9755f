"""The training job, end to end: as a command, and as the job that SageMaker starts."""

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
import pytest

from core.bundle import Bundle
from core.contract.rows import RowAdapter
from core.drift import Baseline
from core.engine import decide, load_engine
from core.settings import METRICS, load_settings
from tests.training.projects import PROBLEMS, make_project, make_table, write_project
from tests.training.runs import fail_local, run_local
from training import train
from training.data import tables
from training.export.sessions import run_onnx
from training.fit.estimators import reference_outputs
from training.judge.references import GOLDEN_TOLERANCE

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
    "seen.bin",
}


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


def test_a_folder_without_settings_is_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first thing that a new user may get wrong."""
    assert "project.toml" in fail_local(tmp_path, capsys)
