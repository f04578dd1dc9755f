"""Log events: how the local cloud writes them, and what subscription filters forward."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.firehose.exceptions import ResourceNotFoundException
from moto.firehose.models import firehose_backends
from moto.logs.models import LogStream, logs_backends

from local.host import Host
from local.parts import Part
from local.services.logs.patterns import PatternError, compile_pattern

logger = logging.getLogger(__name__)


class Logs(Part):
    """Write log lines, and forward those that a subscription filter asks for."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Filter what moto forwards unfiltered."""
        logs = self
        send: Callable[..., Any] = LogStream._send_log_events

        def send_log_events(
            stream: Any,
            service: str,
            destination_arn: str,
            filter_name: str,
            log_events: list[dict[str, Any]],
        ) -> None:
            pattern = stream.log_group.subscription_filters[filter_name].filter_pattern
            try:
                matches = compile_pattern(pattern or "")
            except PatternError:
                logger.exception("subscription filter %s forwards nothing", filter_name)
                return
            chosen = [
                {**event, "id": f"{event['id']:056d}"}
                for event in log_events
                if matches(str(event["message"]))
            ]
            if not chosen:
                return
            message = logs._message(stream, filter_name, chosen)
            if service == "firehose":
                logs._deliver(destination_arn.rsplit("/", 1)[-1], message)
            elif service == "lambda":
                data = base64.b64encode(message).decode()
                payload = json.dumps({"awslogs": {"data": data}}).encode()
                logs._cloud.functions.invoke(destination_arn, payload, asynchronous=True)
            else:
                send(stream, service, destination_arn, filter_name, chosen)

        self._seams.replace(LogStream, "_send_log_events", send_log_events)

    def write(self, group: str, stream: str, events: Iterable[tuple[int, str]]) -> None:
        """Write lines (epoch ms, text); make the group and the stream where they are missing.

        The lines go to moto's log group directly: its API refuses times after the real present.
        """
        backend = logs_backends[self._cloud.account][self._cloud.region]
        with self._lock:
            backend.ensure_log_group(group)
            backend.ensure_log_stream(group, stream)
        lines = [{"timestamp": when, "message": line} for when, line in events]
        backend.groups[group].put_log_events(stream, lines)

    def _message(self, stream: Any, filter_name: str, events: list[dict[str, Any]]) -> bytes:
        """Return what CloudWatch Logs sends a subscriber: gzipped JSON."""
        document = {
            "messageType": "DATA_MESSAGE",
            "owner": self._cloud.account,
            "logGroup": stream.log_group.name,
            "logStream": stream.log_stream_name,
            "subscriptionFilters": [filter_name],
            "logEvents": events,
        }
        return gzip.compress(json.dumps(document, separators=(",", ":")).encode(), 1)

    def _deliver(self, name: str, message: bytes) -> None:
        backend = firehose_backends[self._cloud.account][self._cloud.region]
        try:
            backend.put_record_batch(name, [{"Data": message}])
        except ResourceNotFoundException:
            logger.error("log events are lost: there is no delivery stream %s", name)
