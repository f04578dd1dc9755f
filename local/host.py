"""What a service of the local cloud may use of the cloud around it and of the other services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from local.clock import Clock

Found = TypeVar("Found")


class AccessDenied(Exception):
    """No policy of a role allows a call; the text names the role, the action and the resource."""


class Throttled(Exception):
    """A function's reserved concurrency is used up."""


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
    """Invoke deployed functions (Lambda)."""

    def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        asynchronous: bool = False,
    ) -> Invocation:
        """Invoke a function by name or ARN; raise Throttled where its concurrency is used up."""

    def resolve(self, name: str, qualifier: str | None = None) -> tuple[Any, str]:
        """Return moto's record of the version that a name or ARN means, and the ARN called by."""


class EventBus(Protocol):
    """Deliver events to the deployed rules (EventBridge)."""

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
    """Take metric values (CloudWatch)."""

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


class LogSink(Protocol):
    """Take log lines (CloudWatch Logs)."""

    def write(self, group: str, stream: str, events: Iterable[tuple[int, str]]) -> None:
        """Write lines (epoch ms, text); make the group and the stream where they are missing."""


class Caller(Protocol):
    """One set of AWS credentials, and the principal that they speak for."""

    @property
    def key(self) -> str:
        """The access key id."""

    @property
    def secret(self) -> str:
        """The secret access key."""

    @property
    def token(self) -> str:
        """The session token, or an empty text."""

    @property
    def role(self) -> str:
        """The role's ARN, or an empty text for the operator."""

    @property
    def arn(self) -> str:
        """The caller's ARN as AWS reports it."""


class Identity(Protocol):
    """Recognise callers and judge what they may do (IAM, STS)."""

    def find(self, key: str) -> Caller | None:
        """Recognise an access key."""

    def authorise(
        self,
        role_arn: str,
        action: str,
        resource: str = "",
        context: Mapping[str, str] | None = None,
    ) -> None:
        """Let a role's call pass, or raise AccessDenied."""


class TrafficShifts(Protocol):
    """Move aliases from one function version to another (CodeDeploy)."""

    def shift(
        self,
        *,
        application: str,
        group: str,
        before_hook: str,
        after_hook: str,
        function: str,
        alias: str,
        version: str,
    ) -> None:
        """Move an alias to a version, or put it back and raise ResourceError."""


class Jobs(Protocol):
    """Run training and tuning jobs (SageMaker)."""

    def wait(self, name: str, timeout_seconds: float | None = None) -> bool:
        """Wait (real seconds) until a job has ended; tell whether it has."""


class Host(Protocol):
    """The local cloud, as its services see it."""

    account: str
    region: str
    folder: Path

    @property
    def endpoint(self) -> str:
        """URL at which every AWS API answers."""

    @property
    def api_port(self) -> int:
        """Preferred port of the first REST API, 0 for any."""

    @property
    def processes(self) -> int:
        """How many processes one function version may have at a time."""

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

    @property
    def logs(self) -> LogSink:
        """Where log lines go."""

    @property
    def identity(self) -> Identity:
        """Who is calling, and what they may do."""

    @property
    def codedeploy(self) -> TrafficShifts:
        """Traffic shifts between function versions."""

    @property
    def jobs(self) -> Jobs:
        """Training and tuning jobs."""

    def client(self, service: str, role_arn: str = "") -> Any:
        """Return a boto3 client of the service, on the endpoint, as the operator or a role."""

    def environment(self, role_arn: str | None = None, session: str = "") -> Mapping[str, str]:
        """Return the AWS variables of a process that runs as the role."""

    def part(self, kind: type[Found]) -> Found:
        """Return the running part of a class, for the resource types of the part's own service."""
