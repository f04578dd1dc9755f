"""A doubt about a model's claim holds it until a person has looked, and no longer.

The tests share one deployed stage and run in the order of this file, as events do in its life.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.settings import load_settings
from local.cloud import Cloud
from local.demo import CLOCK_RATE
from tests.loop.conftest import Stage, watch_project
from tests.loop.test_commands import run_cdk
from tests.test_docs import ROOT
from tests.training.projects import LIGHT, PROBLEMS, write_project

pytestmark = pytest.mark.xdist_group("loop-doubts")

NAME = "presence:closed_on"
ACCEPTED = f'[gates]\naccepted = ["{NAME}"]\n'
LOCAL = '[monitoring]\nemail = "team@example.com"\n[retraining]\ndebounce_seconds = 0\n'


def make_customers(rows: int, seed: int, driver: str) -> pd.DataFrame:
    """Make customers who leave by one column, and a date that only those who left have."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(rows, 3)).round(4), columns=["age", "visits", "spend"])
    left = frame[driver] + 0.6 * random.normal(size=rows) > 0
    dated = left & (random.random(rows) < 0.3)
    frame["closed_on"] = np.where(dated, random.integers(1, 28, rows), np.nan)
    frame["answer"] = np.where(left, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the project of a table with a column that knows the target."""
    folder = tmp_path_factory.mktemp("project")
    extra = LIGHT + LOCAL
    return write_project(folder, make_customers(700, 1, "age"), PROBLEMS["binary"], extra)


def deploy(cloud: Cloud, project: Path) -> None:
    """Deploy the project's local stage, as a person who has edited project.toml does."""
    context = ("-c", "stage=local", "-c", f"project={project / 'project.toml'}")
    folder = str(project / "cdk.out")
    run_cdk(cloud, "deploy", "--all", *context, "-o", folder, "--require-approval", "never")


@pytest.fixture(scope="module")
def stage(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Deploy the project, and bring its first table."""
    with Cloud(tmp_path_factory.mktemp("cloud"), rate=CLOCK_RATE) as cloud:
        run_cdk(cloud, "bootstrap", f"aws://{cloud.account}/{cloud.region}")
        deploy(cloud, project)
        stage = watch_project(cloud, load_settings(project / "project.toml", "local"))
        stage.put("data/first.csv", (project / "table.csv").read_text())
        yield stage


def operate(stage: Stage, project: Path, *arguments: str) -> str:
    """Type a command of `ops` in the project's folder and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "ops", *arguments, "--stage", "local"],
        cwd=project,
        env={**os.environ, **stage.cloud.environment(), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_column_that_knows_the_target_holds_the_version(stage: Stage) -> None:
    """It trains and is registered, and nothing goes live though approval is automatic."""
    assert stage.deployment.settings.gates.approval == "automatic"
    stage.wait_until("a model is registered", stage.packages)
    (execution,) = stage.settle()
    assert execution["status"] == "SUCCEEDED"
    (package,) = stage.packages()
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    assert package["ApprovalDescription"].startswith("waits for a person: 'closed_on' is filled in")
    assert package["CustomerMetadataProperties"]["doubts"] == NAME
    assert stage.model_uri() == "none"


def test_people_are_told_once_why_and_what_to_do(stage: Stage) -> None:
    """One message on the topic of the alarms: the sentence, and both ways on."""
    messages = stage.wait_until("a notification", stage.messages)
    (message,) = [m for m in messages if "waits for a person" in m["Subject"]]
    assert message["Subject"] == "trial-local: a model version waits for a person"
    text = message["Message"]
    assert f"- {NAME}: 'closed_on' is filled in" in text
    assert "python -m ops approve 1 --stage local" in text
    assert f'accepted = ["{NAME}"]' in text
    assert not [m for m in stage.messages() if "waits for a person" in m["Subject"]]


def test_status_shows_first_what_waits(stage: Stage, project: Path) -> None:
    """The person who looks sees the version, its doubt and the command."""
    shown = operate(stage, project, "status")
    assert shown.index("version 1 waits for a person") < shown.index("live model: none")
    assert f"{NAME}: 'closed_on' is filled in" in shown
    assert "python -m ops approve 1 --stage local" in shown
    (waiting,) = json.loads(operate(stage, project, "status", "--json"))["waiting"]
    assert [doubt["name"] for doubt in waiting["doubts"]] == [NAME]


def test_an_approval_makes_it_live(stage: Stage, project: Path) -> None:
    """The command shows the doubt and how to accept it, and the promotion starts."""
    shown = operate(stage, project, "approve")
    assert f"{NAME}: 'closed_on' is filled in" in shown
    assert f'accepted = ["{NAME}"]' in shown
    uri = stage.packages()[0]["CustomerMetadataProperties"]["model_uri"]
    stage.wait_until("the pointer moves", lambda: stage.model_uri() == uri)
    stage.settle()
    assert "waits for a person" not in operate(stage, project, "status")


def test_the_same_doubt_holds_the_next_version_too(stage: Stage) -> None:
    """An approval is of one version; a better one with the same doubt waits again."""
    live = stage.model_uri()
    stage.messages()
    stage.put("data/second.csv", make_customers(900, 2, "visits").to_csv(index=False))
    stage.wait_until("a second model is registered", lambda: len(stage.packages()) == 2)
    stage.settle()
    assert stage.packages()[1]["ModelApprovalStatus"] == "PendingManualApproval"
    assert stage.model_uri() == live
    messages = stage.wait_until("a notification", stage.messages)
    assert "python -m ops approve 2 --stage local" in json.dumps(messages)


def test_an_accepted_doubt_lets_the_next_version_go_live_by_itself(
    stage: Stage, project: Path
) -> None:
    """The name in project.toml, a deploy, a run: inputs are the same, and it is not skipped."""
    text = (project / "project.toml").read_text()
    (project / "project.toml").write_text(text.replace(LOCAL, LOCAL + ACCEPTED))
    deploy(stage.cloud, project)
    stage.messages()
    printed = json.loads(operate(stage, project, "train", "--json"))
    assert printed["outcome"] == "Approved", printed
    third = stage.packages()[2]
    assert third["CustomerMetadataProperties"]["doubts_accepted"] == NAME
    assert "doubts" not in third["CustomerMetadataProperties"]
    uri = third["CustomerMetadataProperties"]["model_uri"]
    stage.wait_until("it goes live by itself", lambda: stage.model_uri() == uri)
    stage.settle()
    assert not [m for m in stage.messages() if "waits for a person" in m["Subject"]]
    assert "waits for a person" not in operate(stage, project, "status")
