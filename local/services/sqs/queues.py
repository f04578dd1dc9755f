"""Queues that feed functions: event source mappings, visibility and redrive on the clock."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from moto.awslambda.models import lambda_backends
from moto.events.models import EventPattern
from moto.sqs import models as sqs_models
from moto.sqs.models import Queue, sqs_backends

from local.clock import Timer
from local.host import Host
from local.parts import Part

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
# What one ReceiveMessage returns at most; a mapping's batch may be larger.
RECEIVE_LIMIT = 10


class Queues(Part):
    """Poll queues for the functions that are mapped to them, as Lambda does."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self._lock = threading.RLock()
        self._draining: dict[str, threading.Lock] = {}
        self._next: dict[str, Timer] = {}
        self._timer: Timer | None = None

    def start(self) -> None:
        """Let queues live by the simulated clock, and take over from moto's pushing."""
        queues, clock = self, self._cloud.clock
        add_message: Callable[..., Any] = Queue.add_message
        seconds: Callable[..., Any] = sqs_models.__dict__["unix_time"]
        milliseconds: Callable[..., Any] = sqs_models.__dict__["unix_time_millis"]

        def unix_time(at: Any = None) -> float:
            return clock.now() if at is None else float(seconds(at))

        def unix_time_millis(at: Any = None) -> float:
            return clock.now() * 1000 if at is None else float(milliseconds(at))

        def add_and_announce(queue: Any, message: Any) -> None:
            add_message(queue, message)
            queues._announce(queue)

        self._seams.replace(sqs_models, "unix_time", unix_time)
        self._seams.replace(sqs_models, "unix_time_millis", unix_time_millis)
        self._seams.replace(Queue, "add_message", add_and_announce)
        # moto pushes to the functions that it finds here, without visibility timeout or batches.
        nothing = property(lambda queue: {}, lambda queue, value: None)
        self._seams.add(Queue, "lambda_event_source_mappings", nothing)
        next_minute = (clock.now() // LOOK_SECONDS + 1) * LOOK_SECONDS
        self._timer = clock.call_every(LOOK_SECONDS, self._look, first=next_minute)

    def stop(self) -> None:
        """Stop polling and put moto's parts back."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            for timer in self._next.values():
                timer.cancel()
            self._next.clear()
        super().stop()

    def _queues(self) -> list[Any]:
        return list(sqs_backends[self._cloud.account][self._cloud.region].queues.values())

    def _mappings(self, queue_arn: str) -> list[Any]:
        backend = lambda_backends[self._cloud.account][self._cloud.region]
        return [
            mapping
            for mapping in list(backend._event_source_mappings.values())
            if mapping.event_source_arn == queue_arn and mapping.enabled
        ]

    def _look(self) -> None:
        """Report every queue's metrics, and poll in case a mapping is younger than its messages."""
        for queue in self._queues():
            self._report(queue)
            if queue._messages:
                self._announce(queue)

    def _report(self, queue: Any) -> None:
        now = self._cloud.clock.now()
        messages = list(queue._messages)
        visible = [message for message in messages if message.visible and not message.delayed]
        sent = [float(message.sent_timestamp) / 1000 for message in messages]
        for name, value, unit in (
            ("ApproximateNumberOfMessagesVisible", float(len(visible)), "Count"),
            ("ApproximateNumberOfMessagesNotVisible", float(len(messages) - len(visible)), "Count"),
            ("ApproximateAgeOfOldestMessage", now - min(sent, default=now), "Seconds"),
        ):
            self._cloud.metrics.put("AWS/SQS", name, {"QueueName": queue.name}, value, unit=unit)

    # -- polling ------------------------------------------------------------------------------

    def _announce(self, queue: Any) -> None:
        for mapping in self._mappings(queue.queue_arn):
            window = float(mapping.max_batch_window or 0)
            if window:
                self._drain_at(queue, mapping, self._cloud.clock.now() + window)
            else:
                self._drain_in_background(queue, mapping)

    def _drain_at(self, queue: Any, mapping: Any, due: float) -> None:
        with self._lock:
            timer = self._next.get(mapping.uuid)
            if timer is not None and not timer.cancelled and timer.due <= due:
                return
            if timer is not None:
                timer.cancel()

            def drain() -> None:
                with self._lock:
                    self._next.pop(mapping.uuid, None)
                self._drain_in_background(queue, mapping)

            self._next[mapping.uuid] = self._cloud.clock.call_at(due, drain)

    def _drain_in_background(self, queue: Any, mapping: Any) -> None:
        self._cloud.clock.spawn(lambda: self._drain(queue, mapping), f"queue {queue.name}")

    def _drain(self, queue: Any, mapping: Any) -> None:
        """Feed the function until nothing in the queue is visible; then wait for what will be."""
        with self._lock:
            lock = self._draining.setdefault(mapping.uuid, threading.Lock())
        if not lock.acquire(blocking=False):
            return  # Whoever drains now also takes what has just come.
        try:
            while batch := self._take(queue, int(mapping.batch_size or RECEIVE_LIMIT)):
                self._feed(queue, mapping, batch)
        finally:
            lock.release()
        waiting = [max(m.visible_at, m.delayed_until) for m in list(queue._messages)]
        if waiting:
            soonest = max(min(waiting) / 1000, self._cloud.clock.now())
            self._drain_at(queue, mapping, soonest + 0.001)

    def _take(self, queue: Any, size: int) -> list[dict[str, Any]]:
        sqs = self._cloud.client("sqs")
        batch: list[dict[str, Any]] = []
        url = sqs.get_queue_url(QueueName=queue.name)["QueueUrl"]
        while len(batch) < size:
            found = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(size - len(batch), RECEIVE_LIMIT),
                WaitTimeSeconds=0,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages")
            if not found:
                break
            batch += found
        return batch

    def _feed(self, queue: Any, mapping: Any, batch: list[dict[str, Any]]) -> None:
        """Invoke the function with a batch and delete what it has done."""
        sqs = self._cloud.client("sqs")
        url = sqs.get_queue_url(QueueName=queue.name)["QueueUrl"]
        wanted = [message for message in batch if _passes(mapping.filter_criteria, message)]
        done = [message for message in batch if message not in wanted]
        if wanted:
            records = [
                record_of(message, queue.queue_arn, self._cloud.region) for message in wanted
            ]
            answer = self._cloud.functions.invoke(
                mapping.function_arn, json.dumps({"Records": records}).encode()
            )
            if answer.error is None and answer.status < 300:
                reports = "ReportBatchItemFailures" in (mapping.function_response_types or ())
                failed = _failed_ids(answer.payload, records) if reports else set()
                done += [message for message in wanted if message["MessageId"] not in failed]
        for message in done:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def record_of(message: Mapping[str, Any], queue_arn: str, region: str) -> dict[str, Any]:
    """Return a message as Lambda hands it to a function."""
    attributes = {
        name: {
            "stringValue": value.get("StringValue"),
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": value["DataType"],
        }
        for name, value in (message.get("MessageAttributes") or {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes") or {}),
        "messageAttributes": attributes,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }


def _failed_ids(payload: bytes, records: list[dict[str, Any]]) -> set[str]:
    """Return the ids that a function reports as failed; an invalid report fails all.

    Lambda Developer Guide, "Implementing partial batch responses".
    """
    ids = {str(record["messageId"]) for record in records}
    try:
        answer = json.loads(payload or b"null") or {}
        failed = {item["itemIdentifier"] for item in answer.get("batchItemFailures") or ()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return ids
    return failed if failed <= ids else ids


def _passes(criteria: Mapping[str, Any] | None, message: Mapping[str, Any]) -> bool:
    filters = (criteria or {}).get("Filters") or ()
    if not filters:
        return True
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = message["Body"]
    event: Any = {"body": body, "messageId": message["MessageId"]}
    return any(EventPattern.load(item["Pattern"]).matches_event(event) for item in filters)
