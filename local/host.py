"""What the parts of the local cloud need of the cloud that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from local.clock import Clock


class Invocation(Protocol):
    """Hold the outcome of one call of a function."""

    @property
    def status(self) -> int:
        """HTTP status of the Lambda API."""

    @property
    def payload(self) -> bytes:
        """What the function returned, or the error document."""

    @property
    def error(self) -> str | None:
        """`Handled` or `Unhandled` when the function failed."""


class Functions(Protocol):
    """Invoke deployed functions."""

    def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        asynchronous: bool = False,
    ) -> Invocation:
        """Invoke a function by name or ARN."""


class EventBus(Protocol):
    """Deliver events to the deployed rules."""

    def emit(
        self,
        source: str,
        detail_type: str,
        detail: Mapping[str, Any],
        resources: Sequence[str] = (),
        time: float | None = None,
    ) -> None:
        """Emit one event."""


class MetricSink(Protocol):
    """Take metric values."""

    def put(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        value: float,
        time: float | None = None,
        unit: str = "None",
    ) -> None:
        """Record one value."""


class Host(Protocol):
    """The local cloud, as its parts see it."""

    account: str
    region: str
    folder: Path

    @property
    def endpoint(self) -> str:
        """URL at which every AWS API answers."""

    @property
    def clock(self) -> Clock:
        """Simulated time."""

    @property
    def functions(self) -> Functions:
        """Deployed functions."""

    @property
    def events(self) -> EventBus:
        """The event bus."""

    @property
    def metrics(self) -> MetricSink:
        """Where metric values go."""

    def client(self, service: str, role_arn: str = "") -> Any:
        """Return a boto3 client of the service, on the endpoint, as the operator or a role."""

    def environment(self, role_arn: str | None = None) -> Mapping[str, str]:
        """Return the AWS variables of a process that runs as the role."""
