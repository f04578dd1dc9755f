"""EventBridge as deployed: patterns choose, inputs are shaped, targets receive, failures retry."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.events.models import EventPattern
from moto.events.models import Rule as MotoRule

from local.services.events.shaping import EventError, fill_template, select, shape_input
from tests.local.parts import ACCOUNT, REGION, PartsHost

PATTERNS: list[tuple[dict[str, Any], bool]] = [
    ({"source": ["aws.s3"]}, True),
    ({"source": ["aws.ec2", "aws.s3"]}, True),
    ({"source": ["aws.ec2"]}, False),
    ({"source": ["aws.s3"], "detail": {"bucket": {"name": ["b"]}}}, True),
    ({"detail": {"object": {"key": [{"prefix": "data/"}]}}}, True),
    ({"detail": {"object": {"key": [{"prefix": "labels/"}]}}}, False),
    ({"detail": {"object": {"key": [{"suffix": ".csv"}]}}}, True),
    ({"detail": {"object": {"key": [{"wildcard": "data/*.csv"}]}}}, True),
    ({"detail": {"object": {"key": [{"anything-but": {"prefix": "data/"}}]}}}, False),
    ({"detail": {"reason": [{"anything-but": ["CopyObject"]}]}}, True),
    ({"detail": {"object": {"size": [{"numeric": [">", 10, "<=", 20]}]}}}, True),
    ({"detail": {"object": {"size": [{"numeric": [">", 20]}]}}}, False),
    ({"detail": {"object": {"absent": [{"exists": False}]}}}, True),
    ({"detail": {"object": {"key": [{"exists": False}]}}}, False),
    ({"detail": {"tags": ["two"]}}, True),
    ({"$or": [{"source": ["x"]}, {"detail-type": ["Object Created"]}]}, True),
    ({"$or": [{"source": ["x"]}, {"detail-type": ["y"]}]}, False),
]
EVENT = {
    "source": "aws.s3",
    "detail-type": "Object Created",
    "detail": {
        "bucket": {"name": "b"},
        "object": {"key": "data/a.csv", "size": 20},
        "reason": "PutObject",
        "tags": ["one", "two"],
    },
}


@pytest.mark.parametrize(("pattern", "matches"), PATTERNS)
def test_patterns_match_as_eventbridge_documents(pattern: dict[str, Any], matches: bool) -> None:
    """Moto 5.2.5: EventPattern is used as it is; these are the forms our templates may use."""
    assert EventPattern.load(json.dumps(pattern)).matches_event(EVENT) is matches  # type: ignore[arg-type]


def test_moto_5_2_5_offers_the_seams() -> None:
    """Moto 5.2.5: put_events calls Rule.send_to_targets; S3 calls _send_event_bridge_message."""
    from moto.events.models import EventsBackend
    from moto.s3 import notifications

    assert "put_events" in vars(EventsBackend)
    assert "send_to_targets" in vars(MotoRule)
    assert callable(notifications._send_event_bridge_message)


def test_an_event_reaches_the_queue_that_its_rule_names(host: PartsHost) -> None:
    url, arn = host.queue("q")
    host.rule("yes", {"source": ["driftless"]}, arn)
    host.rule("no", {"source": ["other"]}, arn)
    host.events.emit("driftless", "Labels Ready", {"new_labels": 5}, ["r"])
    assert host.clock.settle(10)
    (event,) = host.messages(url)
    assert event["detail"] == {"new_labels": 5}
    assert event["detail-type"] == "Labels Ready"
    assert event["resources"] == ["r"]
    assert (event["account"], event["region"], event["version"]) == (ACCOUNT, REGION, "0")
    assert event["time"].endswith("Z")
    assert len(event["time"]) == 20


def test_put_events_takes_the_same_way_and_carries_simulated_time(host: PartsHost) -> None:
    url, arn = host.queue("q")
    host.rule("r", {"detail-type": ["t"]}, arn)
    host.clock.advance(86400 * 3)
    host.client("events").put_events(Entries=[{"Source": "s", "DetailType": "t", "Detail": "{}"}])
    assert host.clock.settle(10)
    (event,) = host.messages(url)
    assert event["time"][:10] == host.clock.utc().strftime("%Y-%m-%d")


def test_disabled_and_scheduled_rules_receive_no_events(host: PartsHost) -> None:
    url, arn = host.queue("q")
    host.rule("r", {"source": ["driftless"]}, arn)
    host.client("events").disable_rule(Name="r")
    host.client("events").put_rule(Name="s", ScheduleExpression="rate(1 hour)")
    host.client("events").put_targets(Rule="s", Targets=[{"Id": "1", "Arn": arn}])
    host.events.emit("driftless", "t", {})
    assert host.clock.settle(10)
    assert host.messages(url) == []


def test_input_is_shaped_by_constant_path_or_template(host: PartsHost) -> None:
    url, arn = host.queue("q")
    host.rule("constant", {"source": ["s"]}, arn, Input='{"trigger": "data"}')
    host.rule("path", {"source": ["s"]}, arn, InputPath="$.detail.object")
    host.rule(
        "template",
        {"source": ["s"]},
        arn,
        InputTransformer={
            "InputPathsMap": {"key": "$.detail.object.key", "size": "$.detail.object.size"},
            "InputTemplate": '{"key": <key>, "said": "got <key> of <size>", "id": <size>}',
        },
    )
    host.events.emit("s", "t", {"object": {"key": 'a "b"', "size": 3}})
    assert host.clock.settle(10)
    got = sorted(host.messages(url), key=json.dumps)
    assert got == sorted(
        [
            {"trigger": "data"},
            {"key": 'a "b"', "size": 3},
            {"key": 'a "b"', "said": 'got a "b" of 3', "id": 3},
        ],
        key=json.dumps,
    )


def test_templates_know_the_reserved_variables() -> None:
    event = {"time": "2026-01-01T00:00:00Z", "detail": {"a": 1}, "id": "i"}

    class R:
        arn, name = "arn:rule", "rule"

    target = {
        "InputTransformer": {
            "InputTemplate": '{"r": <aws.events.rule-name>, "e": <aws.events.event.json>}'
        }
    }
    assert json.loads(shape_input(target, event, R())) == {"r": "rule", "e": event}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("$", {"a": [{"b c": 1}]}), ("$.a[0]['b c']", 1), ("$.a[0]", {"b c": 1})],
)
def test_json_paths_select(path: str, expected: Any) -> None:
    assert select(path, {"a": [{"b c": 1}]}) == expected


def test_mistakes_in_rules_are_named() -> None:
    with pytest.raises(EventError, match="must start with"):
        select("a.b", {})
    with pytest.raises(EventError, match="cannot read the JSON path"):
        select("$.a[?(@.b)]", {"a": 1})
    with pytest.raises(EventError, match="<nothing>"):
        fill_template("<nothing>", {})


def test_functions_topics_and_state_machines_are_targets(host: PartsHost) -> None:
    url, queue = host.queue("q")
    topic = host.client("sns").create_topic(Name="t")["TopicArn"]
    host.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    host.rule("f", {"source": ["s"]}, f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:fn")
    host.rule("t", {"source": ["s"]}, topic)
    machine = host.client("stepfunctions").create_state_machine(
        name="m",
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/r",
    )["stateMachineArn"]
    host.rule("m", {"source": ["s"]}, machine, Input='{"trigger": "data"}')
    host.events.emit("s", "t", {"n": 1})
    assert host.clock.settle(10)
    ((name, event),) = host.functions.calls
    assert (name, event["detail"]) == ("fn", {"n": 1})
    (published,) = host.messages(url)
    assert json.loads(published["Message"])["detail"] == {"n": 1}
    (run,) = host.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    described = host.client("stepfunctions").describe_execution(executionArn=run["executionArn"])
    assert json.loads(described["input"]) == {"trigger": "data"}


def test_a_target_that_is_gone_goes_to_the_dead_letter_queue(host: PartsHost) -> None:
    url, dead = host.queue("dead")
    gone = f"arn:aws:sqs:{REGION}:{ACCOUNT}:gone"
    host.rule("r", {"source": ["s"]}, gone, DeadLetterConfig={"Arn": dead})
    host.events.emit("s", "t", {"n": 1})
    assert host.clock.settle(10)
    (event,) = host.messages(url)
    assert event["detail"] == {"n": 1}
    now = host.clock.now()
    failed = host.metrics.statistic(
        "AWS/Events", "FailedInvocations", {"RuleName": "r"}, "Sum", now - 60, now + 1
    )
    assert failed == 1


def test_a_throttled_target_is_tried_again_on_the_clock(host: PartsHost) -> None:
    url, arn = host.queue("q")
    host.rule("r", {"source": ["s"]}, arn)
    sqs = host.client("sqs")
    real, failures = sqs.send_message, iter(range(2))

    def flaky(**request: Any) -> Any:
        if next(failures, None) is not None:
            from botocore.exceptions import ClientError

            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "SendMessage")
        return real(**request)

    sqs.send_message = flaky
    host.events.emit("s", "t", {})
    assert host.clock.settle(10)
    assert host.messages(url) == []
    host.clock.advance(10)
    assert len(host.messages(url)) == 1
