"""Where a training job finds its inputs and leaves its results: a container or a folder.

The container's folders are told by the environment variables that the SageMaker training toolkit
sets (`SM_CHANNEL_...`, `SM_MODEL_DIR`, `SM_OUTPUT_DIR`, `SM_HPS`; see "Environment variables" in
its documentation); the defaults are the paths under /opt/ml that they stand for.
"""

import json
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import SettingsError, TrainingError
from core.settings import Settings, load_settings

PROJECT = "project.json"
DATA = "data"
LABELLED = "labelled"
TRIGGERS = ("data", "schedule", "drift", "manual")


@dataclass(frozen=True)
class Job:
    """One run of the training job.

    `data` and `labelled` are the files or folders of the tables (None where there is nothing),
    `root` is what their names in the lineage are relative to.
    """

    run: str
    settings: Settings
    root: Path
    data: Path
    labelled: Path | None
    champion: Path | None
    output: Path
    failure: Path | None = None
    checkpoints: Path | None = None
    trigger: str = "manual"
    reason: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    candidate: str | None = None
    search_seed: int | None = None


def read_container(environ: Mapping[str, str], code_root: Path) -> Job:
    """Read the job that SageMaker (or the local cloud) started; `code_root` holds project.json.

    Raises TrainingError if a channel is missing or holds nothing.
    """
    base = Path(environ.get("SM_BASE_DIR", "/opt/ml"))
    inputs = Path(environ.get("SM_INPUT_DIR", str(base / "input")))

    def channel(name: str) -> Path | None:
        folder = Path(environ.get(f"SM_CHANNEL_{name.upper()}", str(inputs / "data" / name)))
        return folder if folder.is_dir() and any(folder.iterdir()) else None

    try:
        settings = Settings.from_json((code_root / PROJECT).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{PROJECT} is missing from the training source: deploy again"
        ) from error
    training = channel("training")
    if training is None:
        raise TrainingError(
            'the channel "training" holds no files: put a table under data/ in the bucket'
        )
    data = training / DATA if (training / DATA).is_dir() else training
    labelled = training / LABELLED if (training / LABELLED).is_dir() else None
    plan = _read_plan(channel("plan"))
    options = _read_hyperparameters(environ, inputs)
    run = str(plan.get("run") or environ.get("TRAINING_JOB_NAME") or settings.deployment)
    checkpoints = Path(environ.get("SM_CHECKPOINT_DIR", str(base / "checkpoints")))
    return Job(
        run=environ.get("TRAINING_JOB_NAME", run),
        settings=settings,
        root=training,
        data=data,
        labelled=labelled,
        champion=_find_bundle(channel("champion")),
        output=Path(environ.get("SM_MODEL_DIR", str(base / "model"))),
        failure=failure_file(environ),
        checkpoints=checkpoints if checkpoints.is_dir() else None,
        trigger=str(plan.get("trigger", "manual")),
        reason=str(plan.get("reason", "")),
        plan=plan,
        candidate=options.get("candidate"),
        search_seed=_as_seed(options.get("search_seed")),
    )


def read_folder(
    folder: Path,
    *,
    champion: Path | None,
    trigger: str,
    stage: str | None,
    now: datetime | None = None,
) -> Job:
    """Make the job of a folder on this machine, which holds project.toml and the data it names."""
    settings = load_settings(folder / "project.toml", stage)
    if not settings.data.file:
        raise SettingsError("project.toml: [data] file: name the table to train on")
    data = folder / settings.data.file
    if not data.exists():
        raise SettingsError(f"project.toml: [data] file: there is no {data}")
    moment = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    unique = secrets.token_hex(3)
    run = f"{settings.deployment}-{moment}-{unique}"
    labelled = folder / LABELLED
    return Job(
        run=run,
        settings=settings,
        root=folder,
        data=data,
        labelled=labelled if labelled.is_dir() and any(labelled.iterdir()) else None,
        champion=champion,
        output=folder / "models" / run,
        trigger=trigger,
        plan={"commit": _read_commit(folder)},
    )


def failure_file(environ: Mapping[str, str]) -> Path:
    """Say where SageMaker looks for the reason of a failure."""
    base = Path(environ.get("SM_BASE_DIR", "/opt/ml"))
    return Path(environ.get("SM_OUTPUT_DIR", str(base / "output"))) / "failure"


def _read_plan(folder: Path | None) -> dict[str, Any]:
    if folder is None:
        return {}
    found = sorted(folder.rglob("plan.json"))
    if not found:
        return {}
    try:
        plan = json.loads(found[0].read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"plan.json of this run cannot be read: {error}") from error
    if not isinstance(plan, dict):
        raise TrainingError("plan.json of this run is not an object")
    return plan


def _read_hyperparameters(environ: Mapping[str, str], inputs: Path) -> dict[str, str]:
    """Read the job's hyperparameters; values that the toolkit quoted as JSON are unquoted."""
    text = environ.get("SM_HPS", "")
    file = inputs / "config" / "hyperparameters.json"
    if not text and file.is_file():
        text = file.read_text(encoding="utf-8")
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise TrainingError(f"the hyperparameters are not JSON: {error}") from error
    return {str(key): str(value).strip('"') for key, value in dict(found).items()}


def _as_seed(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(float(text))
    except ValueError as error:
        raise TrainingError(
            f"hyperparameter search_seed is a whole number, not {text!r}"
        ) from error


def _find_bundle(folder: Path | None) -> Path | None:
    """Find the folder with the manifest; a channel may keep the last part of its prefix."""
    if folder is None:
        return None
    found = sorted(folder.rglob("manifest.json"))
    return found[0].parent if found else None


def _read_commit(folder: Path) -> str | None:
    """Ask git for the commit and whether files differ from it; None outside a repository."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changed else commit
