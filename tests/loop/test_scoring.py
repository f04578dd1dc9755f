"""Batch scoring on the local cloud, as deployed: the state machine, its grants, its workers."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.bundle import GOLDEN, MANIFEST, Bundle, Manifest
from core.settings import load_settings
from lambdas.score.model import Model
from local.cloud import Cloud
from local.demo import CLOCK_RATE, connect_cloud
from ops import __main__ as ops_main
from ops import score
from ops.deployment import Deployment
from tests.lambdas import bundles

pytestmark = pytest.mark.xdist_group("loop-scoring")


def make_row(index: int) -> dict[str, Any]:
    return {
        "age": index % 100,
        "basket total": index * 0.25,
        "colour": ("red", "green", "blue")[index % 3],
        "size": ("s", "m", "l")[index % 3],
        "salary": None,
    }


def shop_bundle() -> dict[str, bytes]:
    """Return the files of a bundle whose golden answers are its own."""
    files = bundles.files()
    model = Model(Bundle(files.__getitem__))
    answer = model.score(["0"], [bundles.ROW]).answers[0]
    golden = {
        "rows": [bundles.ROW],
        "answers": [list(answer["probabilities"].values())],
        "tolerance": 1e-9,
    }
    files[GOLDEN] = json.dumps(golden).encode()
    content = {name: body for name, body in files.items() if name != MANIFEST}
    return {**content, MANIFEST: Manifest.of(content).to_json()}


class Scored:
    """A deployed stage with a live model, and where a test puts its tables."""

    def __init__(self, cloud: Cloud, deployment: Deployment) -> None:
        self.cloud, self.deployment = cloud, deployment
        self.s3 = deployment.client("s3")

    def put(self, key: str, body: bytes) -> str:
        self.s3.put_object(Bucket=self.deployment.bucket, Key=f"batch/{key}", Body=body)
        return f"s3://{self.deployment.bucket}/batch/{key}"

    def read(self, prefix: str) -> list[dict[str, Any]]:
        """Read the JSON lines below a prefix, the job's own notes left out."""
        found = self.s3.list_objects_v2(Bucket=self.deployment.bucket, Prefix=f"batch/{prefix}")
        lines: list[dict[str, Any]] = []
        for entry in found.get("Contents", []):
            if "/_" in entry["Key"] or not entry["Key"].endswith(".jsonl"):
                continue
            body = self.s3.get_object(Bucket=self.deployment.bucket, Key=entry["Key"])["Body"]
            lines += [json.loads(line) for line in body.read().splitlines()]
        return lines

    def uri(self, prefix: str) -> str:
        return f"s3://{self.deployment.bucket}/batch/{prefix}"

    def workers(self) -> list[tuple[int, bytes]]:
        """Return the process and event of each busy worker of the score function."""
        busy = []
        for key, pool in list(self.cloud.functions._pools.items()):
            if "Score" in key[0]:
                for worker in list(pool_workers(pool)):
                    call = worker._current
                    if call is not None and worker.alive:
                        busy.append((worker._process.pid, bytes(call.event)))
        return busy


WORKERS: list[Any] = []


def pool_workers(pool: Any) -> list[Any]:
    return [worker for worker in WORKERS if worker._function is pool._function]


@pytest.fixture(scope="module")
def scored(assembly: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scored]:
    """Deploy the local stage, and make a bundle that was written by hand its live model."""
    settings = load_settings("project.toml", "local")
    with Cloud(tmp_path_factory.mktemp("cloud"), rate=CLOCK_RATE) as cloud:
        outputs = cloud.deploy(assembly)
        bucket = outputs[f"{settings.deployment}-training"]["BucketName"]
        prefix = f"models/{bundles.RUN}/output/model/"
        for name, body in shop_bundle().items():
            cloud.client("s3").put_object(Bucket=bucket, Key=prefix + name, Body=body)
        stack = f"{settings.deployment}-serving"
        cloud.deploy(assembly, [stack], {stack: {"ModelUri": f"s3://{bucket}/{prefix}"}})
        yield Scored(cloud, connect_cloud(settings, cloud))


@pytest.fixture
def run(scored: Scored, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run `python -m ops score` against the stage; return its exit status and its summary."""
    monkeypatch.setattr(score, "connect", lambda stage: scored.deployment)
    monkeypatch.setattr(score, "POLL_SECONDS", 0.1)

    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        status = ops_main.main(["score", *arguments, "--json"])
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else {"error": printed.err}

    return call


def lines_of(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_tables_are_scored_and_refusals_are_named(scored: Scored, run: Any) -> None:
    """Many units of two objects: counts add up, the manifest names the bad row."""
    rows = [make_row(index) for index in range(3000)]
    rows[1234]["age"] = 999
    scored.put("one/in/a.jsonl", lines_of(rows))
    scored.put("one/in/b.csv", b"age,basket total,colour,size\n30,12.5,red,m\n")
    status, summary = run(
        scored.uri("one/in/"), scored.uri("one/out/"), "--unit-mb", "0.01", "--workers", "2"
    )
    assert status == 0
    assert (summary["rows"], summary["scored"], summary["refused"]) == (3001, 3000, 1)
    assert summary["units"] > 20
    assert len({line["id"] for line in scored.read("one/out/")}) == 3000
    bucket, _, key = summary["manifest"][0].removeprefix("s3://").partition("/")
    (refused,) = scored.s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()
    assert json.loads(refused)["row"] == 1235
    assert json.loads(refused)["column"] == "age"
    again = run(
        scored.uri("one/in/"), scored.uri("one/out/"), "--unit-mb", "0.01", "--workers", "2"
    )
    assert {**again[1], "seconds": 0} == {**summary, "seconds": 0}


def test_no_row_is_lost_or_doubled_when_workers_die(
    scored: Scored, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes killed in the middle of a unit: the units are scored again, once."""
    from local import functions

    original = functions.Worker.__init__

    def remember(worker: Any, *given: Any) -> None:
        original(worker, *given)
        WORKERS.append(worker)

    monkeypatch.setattr(functions.Worker, "__init__", remember)
    for pool in list(scored.cloud.functions._pools.values()):
        pool.retire()
    scored.cloud.functions._pools.clear()
    rows = [make_row(index) for index in range(60_000)]
    scored.put("two/in/a.jsonl", lines_of(rows))
    killed: list[int] = []
    stop = threading.Event()

    def kill() -> None:
        """Kill two processes, each a moment into the scoring of a unit."""
        while len(killed) < 2 and not stop.is_set():
            for pid, event in scored.workers():
                if b'"action":"score"' in event.replace(b" ", b"") and pid not in killed:
                    time.sleep(0.1)
                    if any(busy == pid for busy, _ in scored.workers()):
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)
                        break
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        status, summary = run(
            scored.uri("two/in/"), scored.uri("two/out/"), "--unit-mb", "2", "--workers", "2"
        )
    finally:
        stop.set()
        killer.join()
    assert len(killed) == 2
    assert status == 0
    assert (summary["rows"], summary["scored"]) == (60_000, 60_000)
    answers = scored.read("two/out/")
    assert len(answers) == len({line["id"] for line in answers}) == 60_000
    expected = Model(Bundle(shop_bundle().__getitem__)).score(["0"] * 60_000, rows).answers
    assert [line["probabilities"]["yes"] for line in answers] == [
        expected[index]["probabilities"]["yes"] for index in range(60_000)
    ]


def test_a_unit_that_cannot_be_read_fails_alone(scored: Scored, run: Any) -> None:
    """Exit status 1, the reason in the manifest, the other objects scored; then it is repaired."""
    scored.put("three/in/a.csv", b'age,colour,size\n1,"red,m\n')
    scored.put("three/in/b.jsonl", lines_of([make_row(1)]))
    status, summary = run(scored.uri("three/in/"), scored.uri("three/out/"))
    assert (status, summary["failed_units"], summary["scored"]) == (1, 1, 1)
    bucket, _, key = summary["manifest"][0].removeprefix("s3://").partition("/")
    (entry,) = scored.s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()
    assert "quotes do not match" in json.loads(entry)["message"]
    scored.put("three/in/a.csv", b'age,basket total,colour,size\n1,2,"red",m\n')
    status, summary = run(scored.uri("three/in/"), scored.uri("three/out/"))
    assert (status, summary["failed_units"], summary["scored"]) == (0, 0, 2)


def test_what_cannot_be_begun_is_said(scored: Scored, run: Any) -> None:
    """An empty address, one that is none and one that is no table give one clear line each."""
    status, answer = run(scored.uri("nothing/"), scored.uri("out/"))
    assert status == 1
    assert "nothing to score" in answer["error"]
    status, answer = run("s3-bucket/in", scored.uri("out/"))
    assert status == 1
    assert "no S3 address" in answer["error"]
    bucket = scored.deployment.bucket
    scored.s3.put_object(Bucket=bucket, Key="captures/a.parquet", Body=b"PAR1")
    status, answer = run(f"s3://{bucket}/captures/", scored.uri("out/"))
    assert status == 1
    assert "captures/a.parquet" in answer["error"]
