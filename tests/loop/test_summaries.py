"""Captures that are too many for one run, counted by the deployed map and merged."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.settings import load_settings
from lambdas.monitor.service import Monitor, Ports
from local.cloud import Cloud
from local.demo import CLOCK_RATE, connect_cloud
from local.services.lambda_.workers import Worker
from ops.deployment import Deployment
from tests.lambdas.monitor_world import (
    HOUR,
    EndlessWatch,
    MemoryStore,
    Recorder,
    capture,
    make_bundle,
    make_rows,
    pack,
)
from tests.test_docs import ROOT

pytestmark = pytest.mark.xdist_group("loop-scoring")

OBJECTS, ROWS = 60, 1000
TIMEOUT_SECONDS = 180.0


class Stage:
    """A deployed stage whose monitor hands over what is above some 2 MB."""

    def __init__(self, cloud: Cloud, deployment: Deployment) -> None:
        self.cloud, self.deployment = cloud, deployment
        self.s3 = deployment.client("s3")
        self.function = deployment.output("monitoring", "MonitorFunctionName")

    def read(self, key: str) -> bytes:
        found = self.s3.get_object(Bucket=self.deployment.bucket, Key=key)
        body: bytes = found["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.deployment.bucket, Prefix=prefix
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.read("monitor/state.json"))
        return found

    def run(self, milliseconds: int) -> dict[str, Any]:
        """Run the deployed monitor, as its schedule does."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(milliseconds / 1000))
        answer = self.deployment.client("lambda").invoke(
            FunctionName=self.function, Payload=json.dumps({"time": moment}).encode()
        )
        result: dict[str, Any] = json.loads(answer["Payload"].read())
        return result


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Deploy the local stage with a limit that a test can reach."""
    folder = tmp_path_factory.mktemp("summaries")
    project = folder / "project.toml"
    limit = "\n[stages.local.monitoring]\nparallel_above_mb = 2\n"
    project.write_text((ROOT / "project.toml").read_text() + limit)
    context = ["-c", "stage=local", "-c", f"project={project}", "-o", str(folder / "cdk.out")]
    command = ["node_modules/.bin/cdk", "synth", "--quiet", *context]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    settings = load_settings(project, "local")
    with Cloud(folder / "cloud", rate=CLOCK_RATE) as cloud:
        cloud.deploy(Path(folder / "cdk.out"))
        yield Stage(cloud, connect_cloud(settings, cloud))


@pytest.fixture
def workers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[Worker]:
    """Hear of each process that is started for a function, from now on."""
    started: list[Worker] = []
    original = Worker.__init__

    def remember(worker: Worker, *given: Any) -> None:
        original(worker, *given)
        started.append(worker)

    monkeypatch.setattr(Worker, "__init__", remember)
    for pool in list(stage.cloud.functions._pools.values()):
        pool.retire()
    stage.cloud.functions._pools.clear()
    return started


def kill_two(workers: list[Worker], killed: list[int], stop: threading.Event) -> None:
    """Kill two processes, each a moment into the counting of a batch."""
    while len(killed) < 2 and not stop.is_set():
        for worker in list(workers):
            call = worker._current
            if call is None or b'"batch"' not in call.event or not worker.alive:
                continue
            time.sleep(0.05)
            if worker._current is call and worker._process.pid not in killed:
                os.kill(worker._process.pid, signal.SIGKILL)
                killed.append(worker._process.pid)
                break
        time.sleep(0.005)


def test_workers_that_die_neither_lose_nor_double_a_row(
    stage: Stage, workers: list[Worker]
) -> None:
    """The deployed map counts 60,000 rows while processes are killed; one run concludes the same.

    Some rows are delivered twice, in objects of different batches.
    """
    alone = MemoryStore()
    make_bundle(alone, "alpha")
    now = round(stage.cloud.clock.now() * 1000)
    begin = (now // HOUR - 1) * HOUR
    folder = time.strftime("captures/%Y/%m/%d/%H/", time.gmtime(begin / 1000))
    generator = np.random.default_rng(4)
    for number in range(OBJECTS):
        rows = make_rows(generator, ROWS)
        captures = [
            capture(rows[i : i + 50], "alpha", begin + number * 1000 + i, f"r{number}-{i}")
            for i in range(0, ROWS, 50)
        ]
        alone.objects[f"{folder}{number:03d}.jsonl.gz"] = pack(captures)
    first = gzip.decompress(alone.objects[f"{folder}000.jsonl.gz"]).splitlines(keepends=True)
    alone.objects[f"{folder}059-repeat.jsonl.gz"] = gzip.compress(b"".join(first[:7]), mtime=0)
    for key, body in alone.objects.items():
        stage.s3.put_object(Bucket=stage.deployment.bucket, Key=key, Body=body)

    killed: list[int] = []
    stop = threading.Event()
    killer = threading.Thread(target=kill_two, args=(workers, killed, stop))
    killer.start()
    try:
        assert stage.run(now) == {"judged": 0, "counting": True}
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not (state := stage.state())["history"]:
            assert time.monotonic() < deadline, state
            time.sleep(0.2)
    finally:
        stop.set()
        killer.join()

    assert len(killed) == 2
    [batches] = [json.loads(stage.read(key)) for key in stage.keys("monitor/counting/")]
    assert len(batches) > 8
    out = Recorder()
    environment = stage.deployment.client("lambda").get_function_configuration(
        FunctionName=stage.function
    )["Environment"]["Variables"]
    Monitor(
        deployment=stage.deployment.name,
        stage="local",
        bucket_name=stage.deployment.bucket,
        runbook_url=environment["RUNBOOK_URL"],
        settings={**json.loads(environment["SETTINGS"]), "parallel_above_mb": 0},
        ports=Ports(alone, out, out, out, EndlessWatch()),
    ).run(state["time"])
    expected = json.loads(alone.objects["monitor/state.json"])
    assert [window["rows"] for window in state["history"]] == [OBJECTS * ROWS]
    assert state["history"] == expected["history"]
    assert state["creep"] == expected["creep"]
    name = state["history"][0]["name"]
    for key in (f"monitor/reports/{name}.json", f"monitor/reports/{name}.html"):
        assert stage.read(key) == alone.objects[key]

    # The limit is on what is new: the next hour's few rows start no map.
    later = state["time"] + 2 * HOUR
    begin = (later // HOUR - 1) * HOUR
    folder = time.strftime("captures/%Y/%m/%d/%H/", time.gmtime(begin / 1000))
    body = pack([capture(make_rows(generator, 300), "alpha", begin, "later")])
    stage.s3.put_object(Bucket=stage.deployment.bucket, Key=f"{folder}later.gz", Body=body)
    done = stage.run(later)
    assert (done["judged"], done["objects"]) == (1, 1)
    assert len(stage.keys("monitor/counting/")) == 1
