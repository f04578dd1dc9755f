"""The monitor's clients and handler against moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from core.errors import StorageError
from lambdas.monitor import handler as handler_module
from lambdas.monitor.env import Environment
from lambdas.monitor.ports import Bucket, EventBus, Stopwatch, Topic
from tests.lambdas.monitor_world import HOUR, START, World

NAME = "driftless-test"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        boto3.client("s3").create_bucket(
            Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        yield


@pytest.mark.usefixtures("aws")
def test_the_bucket_lists_reads_and_writes() -> None:
    bucket = Bucket(NAME)
    for key in ("a/1", "a/2", "a/sub/3", "b/4"):
        bucket.write(key, key.encode())
    assert [entry.key for entry in bucket.list("a/")] == ["a/1", "a/2", "a/sub/3"]
    assert [entry.key for entry in bucket.list("a/", "a/1")] == ["a/2", "a/sub/3"]
    assert [entry.key for entry in bucket.list_folder("a/")] == ["a/1", "a/2"]
    assert b"".join(bucket.stream("a/1")) == b"a/1"
    assert bucket.read("none") is None
    with pytest.raises(StorageError, match="cannot read"):
        list(bucket.stream("none"))
    with pytest.raises(StorageError, match="cannot list"):
        Bucket("no-such-bucket").list("")


@pytest.mark.usefixtures("aws")
def test_a_conditional_write_fails_when_another_was_first() -> None:
    bucket = Bucket(NAME)
    tag = bucket.write_over("state", b"1", "")
    with pytest.raises(StorageError, match="another run"):
        bucket.write_over("state", b"2", "")
    newer = bucket.write_over("state", b"2", tag)
    with pytest.raises(StorageError, match="another run"):
        bucket.write_over("state", b"3", tag)
    assert bucket.read_tagged("state") == (b"2", newer)


@pytest.mark.usefixtures("aws")
def test_messages_and_events_go_out_and_refusals_come_back() -> None:
    arn = boto3.client("sns").create_topic(Name="people")["TopicArn"]
    Topic(arn).publish("Drift: größe " + "x" * 200, "text")
    with pytest.raises(StorageError, match="cannot publish"):
        Topic(arn + "-none").publish("a", "b")
    EventBus().put("Labels Ready", {"deployment": "d", "new_labels": 1})


def test_a_stopwatch_runs_out() -> None:
    assert Stopwatch(0.0).is_up()
    assert not Stopwatch(60.0).is_up()


@pytest.mark.usefixtures("aws")
def test_the_handler_runs_a_scheduled_event_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real S3 calls, metrics in the log, the state in the bucket, the message on the topic."""
    world = World()
    world.serve(0, age=47)
    for key, body in world.store.objects.items():
        boto3.client("s3").put_object(Bucket=NAME, Key=key, Body=body)
    arn = boto3.client("sns").create_topic(Name="people")["TopicArn"]
    environment = {
        "DEPLOYMENT": "shop-dev",
        "BUCKET": NAME,
        "STAGE": "dev",
        "SETTINGS": json.dumps(world.settings),
        "TOPIC_ARN": arn,
        "RUNBOOK_URL": "docs/runbook",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    handler_module._environment.cache_clear()
    handler_module._clients.cache_clear()
    event: dict[str, Any] = {"time": "2026-01-01T01:06:00Z"}
    result = handler_module.handler(event, None)
    assert (result["judged"], result["alarms"]) == (1, 1)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    metrics = {name: value for line in lines for name, value in line.items() if "_aws" in line}
    assert metrics["DriftDetected"] == 1
    assert metrics["MonitorRuns"] == 1
    assert metrics["Deployment"] == "shop-dev"
    emf = lines[0]["_aws"]
    assert emf["Timestamp"] == START + round(1.1 * HOUR)
    assert emf["CloudWatchMetrics"][0]["Namespace"] == "Driftless"
    assert emf["CloudWatchMetrics"][0]["Dimensions"] == [["Deployment"]]
    assert handler_module.handler(event, None)["repeated"]
    boto3.client("s3").put_object(Bucket=NAME, Key="monitor/state.json", Body=b"{")
    with pytest.raises(StorageError):
        handler_module.handler(event, None)
    assert '"level": "error"' in capsys.readouterr().out
    handler_module._environment.cache_clear()
    handler_module._clients.cache_clear()


def test_the_environment_is_typed() -> None:
    with pytest.raises(ValueError, match="SETTINGS"):
        Environment.read(
            {
                "DEPLOYMENT": "d",
                "BUCKET": "bucket",
                "STAGE": "d",
                "SETTINGS": '{"schedule_minutes": -1}',
                "TOPIC_ARN": "arn:aws:sns:eu-west-1:1:t",
                "RUNBOOK_URL": "docs/runbook",
            }
        )
