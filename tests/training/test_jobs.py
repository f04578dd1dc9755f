"""Where a job finds things: SageMaker's variables and folders, or a folder on this machine."""

import json
from pathlib import Path

import pytest

from core.errors import SettingsError, TrainingError
from core.settings import load_settings
from tests.training.projects import make_project
from training.jobs import failure_file, read_container, read_folder


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Lay out a container with a table and nothing else; its code is in code/."""
    project = make_project(tmp_path / "project", rows=20)
    (tmp_path / "code").mkdir()
    settings = load_settings(project / "project.toml")
    (tmp_path / "code" / "project.json").write_text(settings.to_json())
    data = tmp_path / "ml" / "input" / "data" / "training" / "data"
    data.mkdir(parents=True)
    (data / "table.csv").write_bytes((project / "table.csv").read_bytes())
    return {"SM_BASE_DIR": str(tmp_path / "ml")}


def test_the_paths_under_opt_ml_are_the_defaults() -> None:
    """Without the toolkit's variables the documented folders are meant."""
    assert failure_file({}) == Path("/opt/ml/output/failure")


def test_channels_that_are_not_there_are_none(tmp_path: Path, environ: dict[str, str]) -> None:
    """A first run has no champion, no labelled rows, no plan and no checkpoints."""
    job = read_container(environ, tmp_path / "code")
    assert (job.champion, job.labelled, job.checkpoints, dict(job.plan)) == (None, None, None, {})
    assert job.trigger == "manual"
    assert job.output == tmp_path / "ml" / "model"


def test_plan_champion_and_labelled_rows_are_found(tmp_path: Path, environ: dict[str, str]) -> None:
    """The plan names the run and its trigger; a champion is found by its manifest."""
    inputs = tmp_path / "ml" / "input" / "data"
    for folder in ("plan", "champion/output/model", "training/labelled"):
        (inputs / folder).mkdir(parents=True)
    (inputs / "plan" / "plan.json").write_text(json.dumps({"run": "r1", "trigger": "drift"}))
    (inputs / "champion" / "output" / "model" / "manifest.json").write_text("{}")
    (inputs / "training" / "labelled" / "part-1.csv.gz").write_bytes(b"")
    job = read_container(environ, tmp_path / "code")
    assert (job.run, job.trigger) == ("r1", "drift")
    assert job.champion == inputs / "champion" / "output" / "model"
    assert job.labelled == inputs / "training" / "labelled"


def test_a_tuning_job_passes_candidate_and_seed(tmp_path: Path, environ: dict[str, str]) -> None:
    """Hyperparameters arrive as text, quoted or not, in the variable or in the file."""
    environ["SM_HPS"] = json.dumps({"candidate": '"forest"', "search_seed": "12"})
    job = read_container(environ, tmp_path / "code")
    assert (job.candidate, job.search_seed) == ("forest", 12)
    del environ["SM_HPS"]
    config = tmp_path / "ml" / "input" / "config"
    config.mkdir()
    (config / "hyperparameters.json").write_text(json.dumps({"search_seed": "3.0"}))
    assert read_container(environ, tmp_path / "code").search_seed == 3
    (config / "hyperparameters.json").write_text(json.dumps({"search_seed": "many"}))
    with pytest.raises(TrainingError, match="search_seed"):
        read_container(environ, tmp_path / "code")


def test_an_empty_channel_says_what_to_do(tmp_path: Path, environ: dict[str, str]) -> None:
    """No table, no training; the message says where a table goes."""
    environ["SM_CHANNEL_TRAINING"] = str(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match="data/"):
        read_container(environ, tmp_path / "code")


def test_a_source_without_settings_says_so(tmp_path: Path, environ: dict[str, str]) -> None:
    """A source archive that was built wrongly is named, not guessed around."""
    (tmp_path / "code" / "project.json").unlink()
    with pytest.raises(SettingsError, match=r"project\.json"):
        read_container(environ, tmp_path / "code")


def test_a_folder_needs_the_table_that_it_names(tmp_path: Path) -> None:
    """The message names the key and the path."""
    folder = make_project(tmp_path, rows=20)
    (folder / "table.csv").unlink()
    with pytest.raises(SettingsError, match=r"table\.csv"):
        read_folder(folder, champion=None, trigger="manual", stage=None)


def test_two_runs_have_two_names(tmp_path: Path) -> None:
    """Runs that start within the same second do not meet in one folder."""
    folder = make_project(tmp_path, rows=20)
    names = {
        read_folder(folder, champion=None, trigger="manual", stage=None).run for _ in range(20)
    }
    assert len(names) == 20
    assert all(len(name) <= 63 for name in names)
