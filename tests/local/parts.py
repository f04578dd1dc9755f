"""A cloud of moto's backends in this process, for the parts that are tested one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.clock import Clock
from local.services.cloudwatch.metrics import Metrics
from local.services.events.bus import Events
from local.services.logs.events import Logs
from local.services.s3.notifications import ObjectEvents
from local.services.sagemaker.registry import Registry

ACCOUNT, REGION = "123456789012", "eu-west-1"


@dataclass
class Answer:
    status: int = 200
    payload: bytes = b"null"
    error: str | None = None


@dataclass
class PlainFunctions:
    """Stand in for the functions: each name answers with a Python callable."""

    handlers: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        asynchronous: bool = False,
    ) -> Answer:
        name = function.split(":function:")[-1].split(":")[0]
        event = json.loads(payload)
        self.calls.append((name, event))
        handler = self.handlers.get(name)
        if handler is None:
            return Answer()
        try:
            return Answer(payload=json.dumps(handler(event)).encode())
        except Exception as error:
            document = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return Answer(payload=json.dumps(document).encode(), error="Unhandled")


class PartsHost:
    """Hold the parts as the cloud does, on moto's backends without a server."""

    def __init__(self, folder: Path) -> None:
        self.account, self.region, self.folder = ACCOUNT, REGION, folder
        self.endpoint = "http://localhost:5000"
        self.clock = Clock()
        self.functions = PlainFunctions()
        self.metrics = Metrics(self)
        self.events = Events(self)
        self._clients: dict[str, Any] = {}
        self._started: list[Any] = []

    def client(self, service: str, role_arn: str = "") -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )
        return self._clients[service]

    def environment(self, role_arn: str | None = None) -> Mapping[str, str]:
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": REGION}

    def start(self, *parts: Any) -> None:
        for part in parts:
            part.start()
            self._started.append(part)

    def stop(self) -> None:
        self.clock.close()
        for part in reversed(self._started):
            part.stop()

    # -- what most tests need -----------------------------------------------------------------

    def queue(self, name: str) -> tuple[str, str]:
        """Make a queue and return its URL and ARN."""
        url = self.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def messages(self, url: str) -> list[Any]:
        """Take what is in a queue."""
        found: list[Any] = []
        while True:
            batch = self.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            if not batch.get("Messages"):
                return found
            for message in batch["Messages"]:
                found.append(json.loads(message["Body"]))
                self.client("sqs").delete_message(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
                )

    def rule(self, name: str, pattern: Mapping[str, Any], arn: str, **target: Any) -> None:
        """Make a rule with one target."""
        self.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
        self.client("events").put_targets(Rule=name, Targets=[{"Id": "1", "Arn": arn, **target}])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PartsHost]:
    with mock_aws():
        host = PartsHost(tmp_path)
        host.start(host.metrics, host.events, Logs(host), ObjectEvents(host), Registry(host))
        yield host
        host.stop()
