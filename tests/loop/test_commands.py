"""Every `python -m ops` command of the documents, typed as it is written, on a deployed stage."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.approve import decide
from ops.train import start_run
from tests.loop.conftest import Stage
from tests.test_docs import ROOT, list_commands

pytestmark = pytest.mark.xdist_group("loop-commands")

COMMANDS = [command for command in list_commands() if command.startswith("python -m ops ")]


@pytest.fixture(scope="module")
def served(stage: Stage) -> Stage:
    """Give a stage whose second model is live, so that there is one to go back to."""
    stage.put("data/table.csv", stage.table)
    stage.wait_until("a model goes live", lambda: stage.model_uri() != "none")
    stage.settle()
    first = stage.model_uri()
    start_run(stage.deployment, force=True, reason="a second version")
    stage.wait_until("a second model is registered", lambda: len(stage.packages()) == 2)
    stage.settle()
    decide(stage.deployment, 2, reject=False, reason="to have two")
    stage.wait_until("it goes live", lambda: stage.model_uri() != first)
    stage.settle()
    return stage


@pytest.fixture(scope="module")
def desk(served: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a reader's folder: project.toml set to the local stage, and the files documents name."""
    folder = tmp_path_factory.mktemp("desk")
    project = (ROOT / "project.toml").read_text().replace('stage = "dev"', 'stage = "local"')
    (folder / "project.toml").write_text(project)
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "rows.json").write_text(json.dumps(served.rows[:2]))
    lines = ["age,plan,churned", *(f"{20 + i % 50},{'ab'[i % 2]},{i % 3 // 2}" for i in range(300))]
    (folder / "customers.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(served: Stage, desk: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Type a command in the reader's folder."""
    words = shlex.split(command)
    _, answer = served.predict(served.rows[:1])
    prediction = answer["predictions"][0]["id"]
    words = [sys.executable if word == "python" else word for word in words]
    words = [prediction if word == "ID" else word for word in words]
    return subprocess.run(
        words,
        cwd=desk,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **served.cloud.environment(), "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if not c.startswith("python -m ops destroy")]
)
def test_the_command_does_what_it_says(served: Stage, desk: Path, command: str) -> None:
    """It exits with 0 and prints something."""
    folder = desk
    if command.startswith("python -m ops init"):
        folder = desk / "init"
        folder.mkdir(exist_ok=True)
        shutil.copy(desk / "customers.csv", folder)
        (folder / "project.toml").unlink(missing_ok=True)
    done = run(served, folder, command)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


def test_destroy_leaves_nothing_behind(served: Stage, desk: Path) -> None:
    """The last command: the bucket is emptied, the registry cleared, the stacks are gone."""
    done = run(served, desk, "python -m ops destroy --yes --json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)["removed"]) == 3
    cloud = served.cloud
    stacks = cloud.client("cloudformation").describe_stacks()["Stacks"]
    assert not [stack["StackName"] for stack in stacks if "breast-cancer" in stack["StackName"]]
    buckets = [bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]]
    assert not [name for name in buckets if "breast-cancer" in name]
