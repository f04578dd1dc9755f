"""How data arrive on a deployed stage: what is no table, what is not read, what does not fit.

The project is made by `python -m ops init` from a first export of customers. The tests share one
stage and run in the order of this file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.settings import load_settings
from local.cloud import Cloud
from local.demo import CLOCK_RATE, connect_cloud
from ops.deployment import Deployment
from tests.loop.conftest import Stage, listen
from tests.test_docs import ROOT

pytestmark = pytest.mark.xdist_group("loop-arrival")

HELD = "98% of the ids ('customer') in data/day-2.csv are in data/day-1.csv with other values"


def export(first: int, seed: int) -> pd.DataFrame:
    """Make a full export of 400 customers, whose balance of the day decides."""
    numbers = np.arange(first, first + 400)
    random = np.random.default_rng(7)
    age = random.integers(18, 80, 5000)[numbers % 5000]
    balance = random.lognormal(7, 1, 5000)[numbers % 5000]
    balance = np.round(balance * np.exp(np.random.default_rng(seed).normal(0, 0.02, 400)), 2)
    chance = 1 / (1 + np.exp((balance - 1100) / 300))
    churned = np.where(np.random.default_rng(seed).random(400) < chance, "yes", "no")
    return pd.DataFrame({"customer": numbers, "age": age, "balance": balance, "churned": churned})


class Shop(Stage):
    """A stage of a project of its own, in a folder of its own."""

    def __init__(self, cloud: Cloud, deployment: Deployment, folder: Path) -> None:
        self.cloud = cloud
        self.deployment = deployment
        self.folder = folder
        self.seen: set[str] = set()

    def ops(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type a command in the folder."""
        return run_ops(self.folder, self.cloud.environment(), *words)

    def run_of(self, *keys: str) -> dict[str, Any]:
        """Put objects, and give the result of the execution that the last of them started."""
        for key in keys:
            self.put(key, (self.folder / key.rpartition("/")[2]).read_text())
        return self.finish(len(keys))

    def finish(self, count: int = 1) -> dict[str, Any]:
        """Wait for so many new executions to end, and give what the newest made of it."""

        def look() -> Any:
            new = [e for e in self.executions() if e["executionArn"] not in self.seen]
            done = len(new) >= count and all(e["status"] != "RUNNING" for e in new)
            return new if done else None

        ended = self.wait_until("the run ends", look)
        self.seen |= {execution["executionArn"] for execution in ended}
        newest = max(ended, key=lambda execution: execution["startDate"])
        assert newest["status"] == "SUCCEEDED", newest
        return dict(json.loads(newest["output"]))

    def jobs(self) -> int:
        """Count the training jobs."""
        found = self.deployment.client("sagemaker").list_training_jobs()
        return len(found["TrainingJobSummaries"])

    def notices(self) -> list[tuple[str, str]]:
        """Take the notices of runs: subject and message, without those of alarms."""
        told = [(m.get("Subject", ""), m.get("Message", "")) for m in self.messages()]
        return [(subject, message) for subject, message in told if subject.startswith("shop-local")]


def run_ops(
    folder: Path, environment: dict[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
    )


def deploy(cloud: Cloud, folder: Path, name: str) -> None:
    """Synthesise the folder's project with the CDK command line, and deploy it."""
    context = ("-c", "stage=local", "-c", f"project={folder / 'project.toml'}")
    out = folder / name
    done = subprocess.run(
        [str(ROOT / "node_modules/.bin/cdk"), "synth", "--quiet", *context, "-o", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cloud.deploy(out)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Init on a first export, deploy, and train on it."""
    folder = tmp_path_factory.mktemp("shop")
    export(1001, 1).to_csv(folder / "day-1.csv", index=False)
    export(1009, 2).to_csv(folder / "day-2.csv", index=False)
    done = run_ops(folder, {}, "init", "day-1.csv", "--target", "churned", "--name", "shop")
    assert done.returncode == 0, done.stderr
    project = folder / "project.toml"
    text = project.read_text()
    assert 'arrival = "append"' in text
    assert 'id_column = "customer"' in text
    project.write_text(text.replace("time_budget_seconds = 60", "time_budget_seconds = 5"))
    with Cloud(tmp_path_factory.mktemp("cloud"), rate=CLOCK_RATE) as cloud:
        deploy(cloud, folder, "first")
        deployment = connect_cloud(load_settings(project, "local"), cloud)
        listen(deployment)
        stage = Shop(cloud, deployment, folder)
        assert stage.run_of("data/day-1.csv")["plan"]["action"] == "train"
        assert stage.jobs() == 1
        stage.settle()
        stage.messages()
        yield stage


def test_what_holds_no_rows_starts_no_job(shop: Shop) -> None:
    """The run that the event starts ends as "nothing changed", and nobody is told."""
    for key in ("data/.DS_Store", "data/README.md", "data/_SUCCESS"):
        shop.put(key, "no table")
    plan = shop.finish(3)["plan"]
    assert plan["action"] == "skip"
    assert plan["reason"].startswith("nothing changed")
    assert shop.jobs() == 1
    assert shop.notices() == []


def test_a_spreadsheet_is_said(shop: Shop) -> None:
    """In the notice and in the status, with what to do; no job."""
    shop.put("data/t.xlsx", "PK")
    assert shop.finish()["plan"]["action"] == "skip"
    ((subject, message),) = shop.notices()
    assert subject == "shop-local: files under data/ are not read"
    assert "data/t.xlsx is a spreadsheet" in message
    assert "python -m ops data t.xlsx" in message
    assert "not read: data/t.xlsx is a spreadsheet" in shop.ops("status", "--stage", "local").stdout
    assert shop.jobs() == 1


def test_a_full_export_is_held(shop: Shop) -> None:
    """No job; the notice and the status have the sentence; `--force` does not overcome it."""
    result = shop.run_of("data/day-2.csv")
    assert result["plan"]["action"] == "hold"
    ((subject, message),) = shop.notices()
    assert subject == "shop-local: a training run is held"
    assert HELD in message
    assert "a full export?" in message
    status = json.loads(shop.ops("status", "--stage", "local", "--json").stdout)
    assert status["runs"][0]["outcome"] == "held"
    assert HELD in status["runs"][0]["reason"]
    forced = shop.ops("train", "--force", "--stage", "local")
    assert HELD in forced.stdout
    shop.finish()
    assert shop.jobs() == 1


def test_ops_data_says_it_before_it_sends(shop: Shop) -> None:
    """The next export stays on the desk."""
    export(1017, 3).to_csv(shop.folder / "day-3.csv", index=False)
    done = shop.ops("data", "day-3.csv", "--stage", "local")
    assert done.returncode == 1
    assert "a full export?" in done.stderr
    s3 = shop.deployment.client("s3")
    held = s3.list_objects_v2(Bucket=shop.deployment.bucket, Prefix="data/day-3")
    assert held["KeyCount"] == 0


def test_what_the_sentence_says_lets_it_go_on(shop: Shop) -> None:
    """Set, deployed, started by hand: the newest export is the table, and is trained on."""
    project = shop.folder / "project.toml"
    text = project.read_text().replace('arrival = "append"', 'arrival = "snapshot"')
    project.write_text(text)
    deploy(shop.cloud, shop.folder, "second")
    done = shop.ops("train", "--stage", "local", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["run"]
    assert shop.jobs() == 2
    s3, bucket = shop.deployment.client("s3"), shop.deployment.bucket
    body = s3.get_object(Bucket=bucket, Key=f"models/{run}/output/model/lineage.json")[
        "Body"
    ].read()
    files = {entry["key"]: entry for entry in json.loads(body)["inputs"]}
    assert files["data/day-2.csv"]["used"] == 400
    assert files["data/day-1.csv"]["used"] == 0
    assert shop.ops("data", "day-3.csv", "--stage", "local").returncode == 0
