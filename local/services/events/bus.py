"""Deliver events to the deployed EventBridge rules: patterns, targets, retries, dead letters."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from moto.events.models import EventBus, EventsBackend, Rule, events_backends

from local.parts import Part
from local.services.events.shaping import EventError, shape_input

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


class Events(Part):
    """The event bus of the local cloud: deployed rules decide who receives what."""

    def start(self) -> None:
        """Put this bus in place of moto's delivery, which knows neither Lambda nor retries."""
        put_events: Callable[..., Any] = EventsBackend.put_events
        clock, events = self._cloud.clock, self

        def put_timed_events(backend: Any, entries: list[dict[str, Any]]) -> Any:
            return put_events(backend, [{"Time": clock.now(), **entry} for entry in entries])

        def send_to_targets(rule: Any, event: Any, transform_input: bool = True) -> None:
            del transform_input
            events._offer(rule, {**event, "time": _timestamp(event["time"])})

        self._seams.replace(EventsBackend, "put_events", put_timed_events)
        self._seams.replace(Rule, "send_to_targets", send_to_targets)

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
