"""The local cloud as one object: moto's state, its endpoint, and the parts that make it live."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.moto_api._internal.models import moto_api_backend

from local.catalogue import KINDS, RIGHTS, SERVICES
from local.clock import Clock
from local.deploy import Deployment
from local.endpoint import Endpoint
from local.host import Found
from local.parts import Part
from local.services.cloudformation.stacks import Stacks
from local.services.iam.identity import Identity

if TYPE_CHECKING:
    from local.services.apigateway.gateway import Gateway
    from local.services.cloudwatch.metrics import Metrics
    from local.services.codedeploy.deployments import CodeDeploy
    from local.services.events.bus import Events
    from local.services.lambda_.functions import Functions
    from local.services.logs.events import Logs
    from local.services.sagemaker.jobs import Jobs

ACCOUNT = "123456789012"
REGION = "eu-west-1"


class Cloud:
    """A cloud on this machine, from `with` until its end; one at a time in a process.

    `rate` is how many simulated seconds pass in a real one.
    """

    account = ACCOUNT
    region = REGION

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        rate: float = 1.0,
        *,
        api_port: int = 0,
        processes: int | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        self.port = port
        self.api_port = api_port
        self.processes = processes or max(4, os.cpu_count() or 1)
        self.clock = Clock(rate)
        self.parts: dict[str, Part] = {}
        self._server: Endpoint | None = None
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    # The parts of the services, set at the start under the names that the services declare.
    identity: Identity
    stacks: Stacks
    functions: Functions
    gateway: Gateway
    codedeploy: CodeDeploy
    metrics: Metrics
    logs: Logs
    events: Events
    jobs: Jobs

    # -- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start with an empty cloud."""
        self.folder.mkdir(parents=True, exist_ok=True)
        moto_api_backend.reset()
        BackendDict.reset()
        try:
            for part in self._make_parts():
                part.start()
            self._server = Endpoint(self, self.port)
            self.port = self._server.port
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything that was started."""
        self.close()

    def _make_parts(self) -> list[Part]:
        """Make the parts of each service; CloudFormation and IAM get what all services declare."""
        self._hold("identity", Identity(self, RIGHTS))
        self._hold("stacks", Stacks(self, KINDS))
        for service in SERVICES:
            for name, make in service.parts.items():
                self._hold(name, make(self))
        return list(self.parts.values())

    def _hold(self, name: str, part: Part) -> None:
        self.parts[name] = part
        setattr(self, name, part)

    def part(self, kind: type[Found]) -> Found:
        """Return the running part of a class."""
        return next(part for part in self.parts.values() if isinstance(part, kind))

    def close(self) -> None:
        """Stop the parts, the last one first; then the clock and the endpoint."""
        for part in reversed(self.parts.values()):
            part.stop()
        self.clock.close()
        if self._server is not None:
            self._server.close()

    # -- what others use ----------------------------------------------------------------------

    @property
    def endpoint(self) -> str:
        """Return the URL that answers for every AWS service (AWS_ENDPOINT_URL)."""
        return f"http://localhost:{self.port}"

    def environment(self, role_arn: str | None = None, session: str = "") -> dict[str, str]:
        """Return the AWS_* variables for a child process: the operator's, or a role's."""
        known = self.identity
        caller = known.issue(role_arn, session) if role_arn else known.operator
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": caller.key,
            "AWS_SECRET_ACCESS_KEY": caller.secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }
        if caller.token:
            variables["AWS_SESSION_TOKEN"] = caller.token
        return variables

    @cached_property
    def session(self) -> boto3.Session:
        """Return a boto3 session with the operator's credentials."""
        operator = self.identity.operator
        return boto3.Session(
            aws_access_key_id=operator.key,
            aws_secret_access_key=operator.secret,
            region_name=self.region,
        )

    def client(self, service: str, role_arn: str = "") -> Any:
        """Return a boto3 client of this cloud (kept; clients may be used from any thread).

        It calls as the operator, or as a role: what AWS's own services do on a stack's behalf.
        """
        with self._lock:
            name = f"{service} {role_arn}"
            if name not in self._clients:
                self._clients[name] = self._session(role_arn).client(
                    service,  # type: ignore[call-overload]
                    endpoint_url=self.endpoint,
                    config=Config(
                        retries={"total_max_attempts": 1},
                        max_pool_connections=32,
                        read_timeout=930,
                        parameter_validation=True,
                    ),
                )
            return self._clients[name]

    def _session(self, role_arn: str) -> boto3.Session:
        if not role_arn:
            return self.session
        caller = self.identity.issue(role_arn)
        return boto3.Session(
            aws_access_key_id=caller.key,
            aws_secret_access_key=caller.secret,
            aws_session_token=caller.token,
            region_name=self.region,
        )

    def deploy(
        self,
        assembly: Path,
        stacks: Iterable[str] = (),
        parameters: Mapping[str, Mapping[str, str]] | None = None,
    ) -> dict[str, dict[str, str]]:
        """Deploy a cloud assembly (`cdk.out`); return each stack's outputs by stack name."""
        return Deployment(self, assembly).run(tuple(stacks), parameters or {})

    def api_url(self, api_id: str) -> str:
        """Return the URL at which a REST API of this cloud answers, stage included."""
        return self.gateway.url(api_id)

    @property
    def apis(self) -> dict[str, str]:
        """Return the URL of each REST API by its id, stage included."""
        return self.gateway.urls()

    def state(self) -> dict[str, Any]:
        """Describe what is running."""
        return {
            "endpoint": self.endpoint,
            "apis": self.apis,
            "clock": self.clock.now(),
            "rate": self.clock.rate,
            "stacks": {stack.name: stack.status for stack in self.stacks.all()},
        }
