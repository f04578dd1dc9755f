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

from core.bundle import GOLDEN, MANIFEST, Manifest
from core.contract.rows import RowAdapter
from core.engine import load_engine
from core.settings import load_settings
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


def answers_of(rows: list[dict[str, Any]], base: float = -1.0) -> list[float]:
    """Give the probabilities of "yes" that the shop's model has for rows, one by one."""
    engine = load_engine(json.dumps(bundles.model_document(base=base)))
    contract = bundles.CONTRACT_OF_SHOP
    accepted = RowAdapter(contract).validate_rows(rows)
    return [engine.score(contract.encode(row))[1] for row in accepted]


def shop_bundle(base: float = -1.0) -> dict[str, bytes]:
    """Return the files of a bundle whose golden answers are its own."""
    files = bundles.files(model=bundles.model_document(base=base))
    (yes,) = answers_of([bundles.ROW], base)
    golden = {"rows": [bundles.ROW], "answers": [[1.0 - yes, yes]], "tolerance": 1e-9}
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

    def promote(self, assembly: Path, run: str, base: float) -> str:
        """Make a model of the shop's the live one; return its address."""
        prefix = f"models/{run}/output/model/"
        for name, body in shop_bundle(base).items():
            self.s3.put_object(Bucket=self.deployment.bucket, Key=prefix + name, Body=body)
        uri = f"s3://{self.deployment.bucket}/{prefix}"
        stack = f"{self.deployment.name}-serving"
        self.cloud.deploy(assembly, [stack], {stack: {"ModelUri": uri}})
        return uri

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
        cloud.deploy(assembly)
        found = Scored(cloud, connect_cloud(settings, cloud))
        found.promote(assembly, bundles.RUN, -1.0)
        yield found


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
    from local.services.lambda_.workers import Worker

    original = Worker.__init__

    def remember(worker: Any, *given: Any) -> None:
        original(worker, *given)
        WORKERS.append(worker)

    monkeypatch.setattr(Worker, "__init__", remember)
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
    assert [line["probabilities"]["yes"] for line in answers] == answers_of(rows)


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


def test_a_job_that_is_left_goes_on_and_is_followed_again(
    scored: Scored, run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C stops the watching, not the work; the same command then starts no second execution."""
    rows = [make_row(index) for index in range(40_000)]
    scored.put("four/in/a.jsonl", lines_of(rows))
    command = (scored.uri("four/in/"), scored.uri("four/out/"), "--unit-mb", "0.1")

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(score.wait, "__defaults__", (interrupt,))
        assert ops_main.main(["score", *command, "--workers", "1"]) == 130
    assert "the job goes on" in capsys.readouterr().err
    assert len(executions(scored)) == 1
    status, summary = run(*command, "--workers", "1")
    assert (status, summary["scored"]) == (0, 40_000)
    assert executions(scored) == []
    machine = scored.deployment.output("serving", "ScoringMachineArn")
    listed = scored.deployment.client("stepfunctions").list_executions(stateMachineArn=machine)
    job = summary["job"]
    assert [e["status"] for e in listed["executions"] if e["name"].startswith(job)] == ["SUCCEEDED"]


def executions(scored: Scored) -> list[str]:
    """List the executions of the scoring machine that are at work."""
    machine = scored.deployment.output("serving", "ScoringMachineArn")
    listed = scored.deployment.client("stepfunctions").list_executions(
        stateMachineArn=machine, statusFilter="RUNNING"
    )
    return [str(execution["executionArn"]) for execution in listed["executions"]]


def test_a_promotion_in_the_middle_of_a_job_changes_none_of_its_answers(
    scored: Scored, run: Any, assembly: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows carry the answers of the model that was live at the start; the next job's do not."""
    from local.services.lambda_.workers import Worker

    original = Worker.run
    promoted = threading.Event()
    calls: list[bytes] = []

    def hold(worker: Any, arn: str, payload: bytes, request_id: str) -> Any:
        """Let a few units through before the promotion, and the others after it."""
        if b'"action":"score"' in payload.replace(b" ", b""):
            calls.append(payload)
            if len(calls) > 3:
                assert promoted.wait(300)
        return original(worker, arn, payload, request_id)

    monkeypatch.setattr(Worker, "run", hold)
    rows = [make_row(index) for index in range(10_000)]
    scored.put("five/in/a.jsonl", lines_of(rows))
    before = scored.deployment.model_uri
    command = (scored.uri("five/in/"), scored.uri("five/out/"), "--unit-mb", "0.1")
    try:
        status, started = run(*command, "--workers", "1", "--no-wait")
        assert status == 0
        while len(calls) < 4:
            time.sleep(0.05)
        after = scored.promote(assembly, f"{bundles.RUN}-next", 0.5)
        assert scored.deployment.model_uri == after != before
        assert executions(scored) == [started["execution"]]
    finally:
        promoted.set()
    while executions(scored):
        time.sleep(0.1)
    assert len(calls) > 6
    bucket, _, key = started["summary"].removeprefix("s3://").partition("/")
    summary = json.loads(scored.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert (summary["model_uri"], summary["scored"]) == (before, 10_000)
    found = [line["probabilities"]["yes"] for line in scored.read("five/out/")]
    assert found == answers_of(rows)
    status, summary = run(scored.uri("five/in/"), scored.uri("five/next/"))
    assert (status, summary["model_uri"]) == (0, after)
    found = [line["probabilities"]["yes"] for line in scored.read("five/next/")]
    assert found == answers_of(rows, 0.5)
