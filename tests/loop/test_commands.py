"""The commands of the documents, typed as they are written.

The stage is deployed by the CDK's own command line, unmodified, through `AWS_ENDPOINT_URL`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cloud import Cloud
from local.demo import CLOCK_RATE
from ops.approve import decide
from ops.train import start_run
from tests.loop.conftest import Stage, watch
from tests.test_docs import ROOT, list_commands

pytestmark = pytest.mark.xdist_group("loop-commands")

COMMANDS = [command for command in list_commands() if command.startswith("python -m ops ")]


def run_cdk(cloud: Cloud, *arguments: str) -> str:
    """Run the CDK's command line against the local cloud and return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        ["node_modules/.bin/cdk", *arguments, "--ci"],
        cwd=ROOT,
        env=kept | cloud.environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def stage(assembly: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Deploy the local stage as one deploys to an account: `cdk bootstrap`, `cdk deploy --all`."""
    with Cloud(tmp_path_factory.mktemp("cloud"), rate=CLOCK_RATE) as cloud:
        run_cdk(cloud, "bootstrap", f"aws://{cloud.account}/{cloud.region}")
        run_cdk(cloud, "deploy", "--all", "--app", str(assembly), "--require-approval", "never")
        yield watch(cloud)


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


def test_a_second_deploy_keeps_the_promoted_model(served: Stage, tmp_path: Path) -> None:
    """Code and settings change by `cdk deploy`; the model does not."""
    before = served.model_uri()
    project = tmp_path / "project.toml"
    text = (ROOT / "project.toml").read_text()
    project.write_text(text.replace("memory_mb = 512", "memory_mb = 640", 1))
    assert "memory_mb = 640" in project.read_text()
    out = str(tmp_path / "cdk.out")
    context = ("-c", "stage=local", "-c", f"project={project}", "-o", out)
    run_cdk(served.cloud, "deploy", "--all", *context, "--require-approval", "never")
    name = served.deployment.output("serving", "PredictFunctionName")
    function = served.cloud.client("lambda").get_function_configuration(FunctionName=name)
    assert function["MemorySize"] == 640
    assert served.model_uri() == before != "none"
    assert served.predict(served.rows[:1])[0] == 200


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
