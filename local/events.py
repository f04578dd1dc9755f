"""Deliver events to the deployed EventBridge rules: patterns, input shaping, targets, retries."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from moto.events.models import EventBus, EventsBackend, Rule, events_backends
from moto.s3 import notifications

from local.host import Host
from local.seams import Seams

logger = logging.getLogger(__name__)

# EventBridge's own defaults (User Guide, "How EventBridge retries delivering events").
RETRY_ATTEMPTS = 185
EVENT_AGE_SECONDS = 24 * 3600
# The target is gone or refuses: EventBridge sends such events to the dead-letter queue at once.
PERMANENT_ERRORS = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
        "StateMachineDoesNotExist",
    }
)
# S3 User Guide, "EventBridge event message structure": what `reason` says, by the API's event.
CREATED_REASONS = {
    "s3:ObjectCreated:Put": "PutObject",
    "s3:ObjectCreated:Post": "POST Object",
    "s3:ObjectCreated:Copy": "CopyObject",
    "s3:ObjectCreated:CompleteMultipartUpload": "CompleteMultipartUpload",
}
DELETED_TYPES = {
    "s3:ObjectRemoved:Delete": "Permanently Deleted",
    "s3:ObjectRemoved:DeleteMarkerCreated": "Delete Marker Created",
}

_MISSING = object()
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\['([^']+)'\]|\[(\d+)\]")
_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.-]+)>")


class EventError(RuntimeError):
    """Say that an event cannot be shaped or delivered as its rule asks."""


class Events:
    """The event bus of the local cloud: deployed rules decide who receives what."""

    def __init__(self, cloud: Host) -> None:
        self._cloud = cloud
        self._seams = Seams()

    def start(self) -> None:
        """Put this bus in place of moto's delivery, which knows neither Lambda nor retries."""
        put_events: Callable[..., Any] = EventsBackend.put_events
        clock, events = self._cloud.clock, self

        def put_timed_events(backend: Any, entries: list[dict[str, Any]]) -> Any:
            return put_events(backend, [{"Time": clock.now(), **entry} for entry in entries])

        def send_to_targets(rule: Any, event: Any, transform_input: bool = True) -> None:
            del transform_input
            events._offer(rule, {**event, "time": _timestamp(event["time"])})

        def send_event_bridge_message(account: str, bucket: Any, name: str, key: Any) -> None:
            del account
            events._emit_object(bucket, str(getattr(name, "value", name)), key)

        self._seams.replace(EventsBackend, "put_events", put_timed_events)
        self._seams.replace(Rule, "send_to_targets", send_to_targets)
        self._seams.replace(notifications, "_send_event_bridge_message", send_event_bridge_message)

    def stop(self) -> None:
        """Put moto's delivery back."""
        self._seams.close()

    def emit(
        self,
        source: str,
        detail_type: str,
        detail: Mapping[str, Any],
        resources: Sequence[str] = (),
        time: float | None = None,
    ) -> None:
        """Emit one event on the default bus; delivery happens in the background.

        `time` is in epoch seconds of the simulated clock, now if left out.
        """
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": self._cloud.account,
            "time": _timestamp(self._cloud.clock.now() if time is None else time),
            "region": self._cloud.region,
            "resources": list(resources),
            "detail": json.loads(json.dumps(detail, default=_plain)),
        }
        for rule in self.rules():
            self._offer(rule, event)

    def rules(self) -> list[Any]:
        """Return the rules of the default bus."""
        buses: Mapping[str, EventBus] = events_backends[self._cloud.account][
            self._cloud.region
        ].event_buses
        return list(buses["default"].rules.values())

    def send(self, rule: Any, event: Mapping[str, Any]) -> None:
        """Send an event to every target of a rule without asking its pattern (schedules)."""
        for target in list(rule.targets):
            self._count("Invocations", rule)
            self._cloud.clock.spawn(
                lambda target=target: self._deliver(rule, target, event),  # type: ignore[misc]
                f"event {event['detail-type']}",
            )

    def _offer(self, rule: Any, event: Mapping[str, Any]) -> None:
        if rule.state != "ENABLED" or not rule.event_pattern.get_pattern():
            return
        ordered = {
            name: event[name]
            for name in (
                "version",
                "id",
                "detail-type",
                "source",
                "account",
                "time",
                "region",
                "resources",
                "detail",
            )
            if name in event
        }
        if not rule.event_pattern.matches_event(ordered):
            return
        self._count("MatchedEvents", rule)
        self._count("TriggeredRules", rule)
        self.send(rule, ordered)

    def _count(self, name: str, rule: Any) -> None:
        self._cloud.metrics.put("AWS/Events", name, {"RuleName": rule.name}, 1.0, unit="Count")

    # -- delivery -----------------------------------------------------------------------------

    def _deliver(self, rule: Any, target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        policy = target.get("RetryPolicy") or {}
        attempts = int(policy.get("MaximumRetryAttempts", RETRY_ATTEMPTS))
        deadline = self._cloud.clock.now() + int(
            policy.get("MaximumEventAgeInSeconds", EVENT_AGE_SECONDS)
        )
        wait = 1.0
        for attempt in range(attempts + 1):
            code, message = "EventError", ""
            try:
                self._call(target, shape_input(target, event, rule), event)
            except EventError as error:
                code, message, retry = "INVALID_INPUT", str(error), False
            except ClientError as error:
                code, message = error.response["Error"]["Code"], str(error)
                retry = code not in PERMANENT_ERRORS
            else:
                return
            late = self._cloud.clock.now() + wait > deadline
            if not retry or late or attempt == attempts:
                self._give_up(rule, target, event, code, message, attempt)
                return
            self._cloud.clock.sleep(wait)
            wait = min(wait * 2, 600.0)

    def _call(self, target: Mapping[str, Any], text: str, event: Mapping[str, Any]) -> None:
        arn = str(target["Arn"])
        service, name = arn.split(":")[2], arn.rsplit(":", 1)[-1]
        client = partial(self._cloud.client, role_arn=target.get("RoleArn") or "")
        if service == "lambda":
            self._cloud.functions.invoke(arn, text.encode(), asynchronous=True)
        elif service == "sqs":
            url = client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
            group = (target.get("SqsParameters") or {}).get("MessageGroupId")
            more = {"MessageGroupId": group} if group else {}
            client("sqs").send_message(QueueUrl=url, MessageBody=text, **more)
        elif service == "sns":
            client("sns").publish(TopicArn=arn, Message=text)
        elif service == "states":
            run = f"{event['id']}_{uuid.uuid4()}"
            client("stepfunctions").start_execution(stateMachineArn=arn, name=run, input=text)
        elif service == "logs":
            group = arn.split(":log-group:", 1)[1].removesuffix(":*")
            stream = str(uuid.uuid4())
            client("logs").create_log_stream(logGroupName=group, logStreamName=stream)
            now = int(self._cloud.clock.now() * 1000)
            client("logs").put_log_events(
                logGroupName=group,
                logStreamName=stream,
                logEvents=[{"timestamp": now, "message": text}],
            )
        else:
            raise EventError(f"a rule's target {arn} is of a service that is not modelled here")

    def _give_up(
        self,
        rule: Any,
        target: Mapping[str, Any],
        event: Mapping[str, Any],
        code: str,
        message: str,
        attempts: int,
    ) -> None:
        logger.error("rule %s could not reach %s: %s", rule.name, target["Arn"], message)
        self._count("FailedInvocations", rule)
        queue = (target.get("DeadLetterConfig") or {}).get("Arn")
        if not queue:
            return
        sqs = self._cloud.client("sqs")
        attributes = {
            "RULE_ARN": rule.arn,
            "TARGET_ARN": str(target["Arn"]),
            "ERROR_CODE": code,
            "ERROR_MESSAGE": message or code,
            "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
            "RETRY_ATTEMPTS": str(attempts),
        }
        sqs.send_message(
            QueueUrl=sqs.get_queue_url(QueueName=queue.rsplit(":", 1)[-1])["QueueUrl"],
            MessageBody=json.dumps(event),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
            },
        )
        self._count("InvocationsSentToDlq", rule)

    # -- S3 -----------------------------------------------------------------------------------

    def _emit_object(self, bucket: Any, name: str, key: Any) -> None:
        """Emit S3's event about an object (S3 User Guide, "EventBridge event structure")."""
        thing = {"key": key.name}
        more: dict[str, Any]
        if name in CREATED_REASONS:
            kind, more = "Object Created", {"reason": CREATED_REASONS[name]}
            thing |= {"size": key.size, "etag": key.etag.strip('"')}
        elif name in DELETED_TYPES:
            kind = "Object Deleted"
            more = {"reason": "DeleteObject", "deletion-type": DELETED_TYPES[name]}
        else:
            return
        version = getattr(key, "version_id", None)
        if version and bucket.is_versioned:
            thing["version-id"] = version
        thing["sequencer"] = f"{int(self._cloud.clock.now() * 1e6):016X}"
        detail = {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": thing,
            "request-id": uuid.uuid4().hex[:16].upper(),
            "requester": self._cloud.account,
            "source-ip-address": "127.0.0.1",
            **more,
        }
        self.emit("aws.s3", kind, detail, [bucket.arn])


# -- shaping ----------------------------------------------------------------------------------


def shape_input(target: Mapping[str, Any], event: Mapping[str, Any], rule: Any = None) -> str:
    """Return the text that a target receives: constant, part of the event, template, or event."""
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath"):
        value = select(str(target["InputPath"]), event)
        return json.dumps(None if value is _MISSING else value)
    transformer = target.get("InputTransformer")
    if not transformer:
        return json.dumps(event)
    values: dict[str, Any] = {
        "aws.events.event": {name: event[name] for name in event if name != "detail"},
        "aws.events.event.json": event,
        "aws.events.event.ingestion-time": event["time"],
        "aws.events.rule-arn": getattr(rule, "arn", ""),
        "aws.events.rule-name": getattr(rule, "name", ""),
    }
    for name, path in (transformer.get("InputPathsMap") or {}).items():
        values[name] = select(path, event)
    return fill_template(str(transformer["InputTemplate"]), values)


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """Fill an input template: JSON where a placeholder stands alone, text inside a JSON string."""
    parts: list[str] = []
    inside, position = False, 0
    for match in _PLACEHOLDER.finditer(template):
        before = template[position : match.start()]
        inside = _ends_in_string(before, inside)
        parts.append(before)
        position = match.end()
        if match[1] not in values:
            raise EventError(
                f"an input template names <{match[1]}>, which its InputPathsMap does not define"
            )
        value = values[match[1]]
        if value is _MISSING:
            continue
        if inside:
            text = value if isinstance(value, str) else json.dumps(value)
            parts.append(json.dumps(text)[1:-1])
        else:
            parts.append(json.dumps(value))
    parts.append(template[position:])
    return "".join(parts)


def _ends_in_string(text: str, inside: bool) -> bool:
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = inside
        elif character == '"':
            inside = not inside
    return inside


def select(path: str, document: Any) -> Any:
    """Return what a JSON path of plain steps (`$.a['b'][0]`) selects in a document."""
    if not path.startswith("$"):
        raise EventError(f"a JSON path must start with '$', got {path!r}")
    position, value = 1, document
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise EventError(f"cannot read the JSON path {path!r} at {path[position:]!r}")
        position = step.end()
        if step[3] is not None:
            index = int(step[3])
            if not isinstance(value, list) or index >= len(value):
                return _MISSING
            value = value[index]
        else:
            name = step[1] or step[2]
            if not isinstance(value, Mapping) or name not in value:
                return _MISSING
            value = value[name]
    return value


def _timestamp(time: Any) -> str:
    """Write a time as events carry it: UTC, to the second."""
    if isinstance(time, int | float):
        time = datetime.fromtimestamp(time, UTC)
    if isinstance(time, datetime):
        return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(time)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return int(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1000)
    raise TypeError(f"an event's detail cannot hold a {type(value).__name__}")
