"""Lambda polls queues: batches, partial failures, visibility, redrive; all on the clock."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from local.services.sqs.queues import Queues
from tests.local.parts import ACCOUNT, REGION, PartsHost


class Fed:
    """A queue with a dead-letter queue, mapped to a function."""

    def __init__(self, host: PartsHost) -> None:
        self.host, self.sqs = host, host.client("sqs")
        self.dead_url, self.dead_arn = host.queue("dead")
        self.url, self.arn = host.queue("work")
        self.sqs.set_queue_attributes(
            QueueUrl=self.url,
            Attributes={
                "VisibilityTimeout": "60",
                "RedrivePolicy": json.dumps(
                    {"deadLetterTargetArn": self.dead_arn, "maxReceiveCount": 2}
                ),
            },
        )
        trust = json.dumps({"Version": "2012-10-17", "Statement": []})
        role = host.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=trust)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("f.py", "")
        host.client("lambda").create_function(
            FunctionName="worker",
            Role=role["Role"]["Arn"],
            Runtime="python3.13",
            Handler="f.h",
            Code={"ZipFile": archive.getvalue()},
        )

    def map(self, **more: Any) -> str:
        mapping: str = self.host.client("lambda").create_event_source_mapping(
            EventSourceArn=self.arn, FunctionName="worker", **more
        )["UUID"]
        return mapping

    def send(self, *bodies: Any) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(body))

    def seen(self) -> list[list[Any]]:
        return [
            [json.loads(record["body"]) for record in event["Records"]]
            for name, event in self.host.functions.calls
            if name == "worker"
        ]

    def left(self) -> int:
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        counts = attributes["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) + int(
            counts["ApproximateNumberOfMessagesNotVisible"]
        )


@pytest.fixture
def fed(host: PartsHost) -> Iterator[Fed]:
    host.start(Queues(host))
    return Fed(host)


def test_moto_5_2_5_offers_the_seams() -> None:
    """Moto 5.2.5: queues tell time by two names, and push to lambda_event_source_mappings."""
    from moto.sqs import models

    assert {"unix_time", "unix_time_millis"} <= set(vars(models))
    assert "add_message" in vars(models.Queue)
    queue = models.Queue("q", REGION, ACCOUNT)
    assert queue.lambda_event_source_mappings == {}


def test_messages_reach_the_function_and_are_deleted(fed: Fed) -> None:
    fed.map(BatchSize=10)
    fed.sqs.send_message(
        QueueUrl=fed.url,
        MessageBody='{"n": 1}',
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "x"}},
    )
    assert fed.host.clock.settle(10)
    ((name, event),) = fed.host.functions.calls
    (record,) = event["Records"]
    assert name == "worker"
    assert json.loads(record["body"]) == {"n": 1}
    assert record["eventSourceARN"] == fed.arn
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["messageAttributes"]["kind"]["stringValue"] == "x"
    assert fed.left() == 0


def test_waiting_messages_are_taken_in_batches(fed: Fed) -> None:
    fed.send(*range(5))
    fed.map(BatchSize=2)
    fed.host.clock.advance(61)
    assert sorted(n for batch in fed.seen() for n in batch) == [0, 1, 2, 3, 4]
    assert max(len(batch) for batch in fed.seen()) == 2


def test_a_failed_batch_comes_again_after_its_visibility_timeout_then_dies(fed: Fed) -> None:
    def fail(event: Any) -> Any:
        raise ValueError("no")

    fed.host.functions.handlers["worker"] = fail
    fed.map()
    fed.send(1)
    assert fed.host.clock.settle(10)
    assert fed.seen() == [[1]]
    fed.host.clock.advance(50)
    assert fed.seen() == [[1]]
    fed.host.clock.advance(15)
    assert fed.seen() == [[1], [1]]
    fed.host.clock.advance(65)
    assert fed.seen() == [[1], [1]]
    assert fed.host.messages(fed.dead_url) == [1]
    assert fed.left() == 0


def test_only_what_is_reported_as_failed_comes_again(fed: Fed) -> None:
    def partly(event: Any) -> Any:
        return {
            "batchItemFailures": [
                {"itemIdentifier": record["messageId"]}
                for record in event["Records"]
                if record["body"] == '"bad"'
            ]
        }

    fed.host.functions.handlers["worker"] = partly
    fed.send("good", "bad")
    fed.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    fed.host.clock.advance(61)
    assert fed.seen() == [["good", "bad"]]
    assert fed.left() == 1
    fed.host.clock.advance(61)
    assert fed.seen()[1:] == [["bad"]]


@pytest.mark.parametrize(
    "answer", [{"batchItemFailures": [{"itemIdentifier": "unknown"}]}, {"batchItemFailures": [1]}]
)
def test_a_report_that_makes_no_sense_fails_the_batch(fed: Fed, answer: Any) -> None:
    fed.host.functions.handlers["worker"] = lambda event: answer
    fed.map(FunctionResponseTypes=["ReportBatchItemFailures"])
    fed.send(1)
    assert fed.host.clock.settle(10)
    assert fed.left() == 1


def test_a_disabled_mapping_polls_nothing(fed: Fed) -> None:
    fed.map(Enabled=False)
    fed.send(1)
    fed.host.clock.advance(120)
    assert fed.seen() == []


def test_a_filter_drops_what_it_does_not_want(fed: Fed) -> None:
    fed.map(FilterCriteria={"Filters": [{"Pattern": '{"body": {"kind": ["yes"]}}'}]})
    fed.send({"kind": "no"}, {"kind": "yes"})
    assert fed.host.clock.settle(10)
    assert fed.seen() == [[{"kind": "yes"}]]
    assert fed.left() == 0


def test_a_batching_window_gathers(fed: Fed) -> None:
    fed.map(MaximumBatchingWindowInSeconds=20)
    fed.send(1, 2, 3)
    assert fed.host.clock.settle(10)
    assert fed.seen() == []
    fed.host.clock.advance(21)
    assert fed.seen() == [[1, 2, 3]]


def test_delayed_messages_come_when_they_are_due(fed: Fed) -> None:
    fed.map()
    fed.sqs.send_message(QueueUrl=fed.url, MessageBody="1", DelaySeconds=600)
    fed.host.clock.advance(590)
    assert fed.seen() == []
    fed.host.clock.advance(15)
    assert fed.seen() == [[1]]


def test_queues_report_their_depth_and_age(fed: Fed) -> None:
    fed.send(1, 2)
    fed.host.clock.advance(180)
    now = fed.host.clock.now()
    for name, expected in (
        ("ApproximateNumberOfMessagesVisible", 2),
        ("ApproximateAgeOfOldestMessage", 150),
    ):
        value = fed.host.metrics.statistic(
            "AWS/SQS", name, {"QueueName": "work"}, "Maximum", now - 61, now + 1
        )
        assert value is not None
        assert value == pytest.approx(expected, abs=35 if "Age" in name else 0)
