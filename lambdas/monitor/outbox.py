"""What a run has to tell: warnings in its log at once; metrics, messages and events at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from lambdas.monitor.storage import Record

NAMESPACE = "Driftless"


class People(Protocol):
    """Whom messages go to."""

    def publish(self, subject: str, message: str) -> None:
        """Send a message."""


class Events(Protocol):
    """Where events go to."""

    def put(self, detail_type: str, detail: Record) -> None:
        """Send an event."""


class Lines(Protocol):
    """The log, which metrics are read from."""

    def write(self, record: Record) -> None:
        """Write one line."""


class Notes:
    """The problems that a run came upon, each of them logged once."""

    def __init__(self, log: Lines) -> None:
        """Write to a log."""
        self._log = log
        self.problems: list[str] = []

    def add(self, text: str) -> None:
        """Note a problem, unless it has been noted."""
        if text not in self.problems:
            self.problems.append(text)
            self._log.write({"level": "warning", "message": text})


class Outbox:
    """What one run is to send once its state is saved; `items` are part of that state."""

    def __init__(self, deployment: str, now: int) -> None:
        """Begin empty."""
        self._deployment = deployment
        self._now = now
        self.items: list[Record] = []

    def add_metrics(
        self, values: dict[str, float], properties: Mapping[str, str] | None = None
    ) -> None:
        """Add a line of metrics in CloudWatch's embedded metric format.

        Properties stand in the line beside the metrics, and are none.
        """
        usable = {name: value for name, value in values.items() if math.isfinite(value)}
        record = {
            "_aws": {
                "Timestamp": self._now,
                "CloudWatchMetrics": [
                    {
                        "Namespace": NAMESPACE,
                        "Dimensions": [["Deployment"]],
                        "Metrics": [{"Name": name} for name in usable],
                    }
                ],
            },
            "Deployment": self._deployment,
            **(properties or {}),
            **usable,
        }
        self.items.append({"kind": "metrics", "record": record})

    def add_message(self, subject: str, message: str) -> None:
        """Add a message to people."""
        self.items.append({"kind": "message", "subject": subject, "message": message})

    def add_event(self, detail_type: str, detail: Record) -> None:
        """Add an event; its detail also names the deployment."""
        detail = {"deployment": self._deployment, **detail}
        self.items.append({"kind": "event", "type": detail_type, "detail": detail})


def send(items: Sequence[Record], people: People, events: Events, log: Lines) -> None:
    """Send what an outbox holds, in order."""
    for item in items:
        if item["kind"] == "metrics":
            log.write(item["record"])
        elif item["kind"] == "message":
            people.publish(item["subject"], item["message"])
        else:
            events.put(item["type"], item["detail"])
