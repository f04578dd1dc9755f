"""The local cloud as one object: moto's state, its endpoint, and the parts that make it live."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from xml.sax.saxutils import escape

import boto3
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.core.config import default_user_config
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from local import cloudformation, codedeploy, functions, gateway, identity, registry
from local.clock import Clock
from local.needs import read_call
from local.seams import Seams
from local.syntax import build_alone

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

    from local.codedeploy import CodeDeploy
    from local.functions import Functions
    from local.gateway import Gateway
    from local.identity import Identity
    from local.stacks import Stacks

logger = logging.getLogger(__name__)
ACCOUNT = "123456789012"
REGION = "eu-west-1"
OWN = "/_driftless/"

StartResponse = Callable[..., Any]


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
        self.seams = Seams()
        self.identity: Identity
        self.stacks: Stacks
        self.functions: Functions
        self.gateway: Gateway
        self.codedeploy: CodeDeploy
        self.parts: dict[str, Any] = {}
        self._server: BaseWSGIServer | None = None
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    # -- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Start with an empty cloud."""
        self.folder.mkdir(parents=True, exist_ok=True)
        moto_api_backend.reset()
        BackendDict.reset()
        # Templates attach AWS's own managed policies; moto loads them only if told to.
        default_user_config["iam"] = {"load_aws_managed_policies": True}
        try:
            self.identity = identity.install(self)
            self.stacks = cloudformation.install(self)
            self.functions = functions.install(self)
            self.codedeploy = codedeploy.install(self)
            registry.install(self)
            self._serve()
            self.gateway = gateway.Gateway(self)
            self._start_parts()
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

    def _serve(self) -> None:
        moto_app = DomainDispatcherApplication(
            lambda service: build_alone(lambda: create_backend_app(service))
        )
        self._server = make_server(
            "127.0.0.1",
            self.port,
            _Door(self, moto_app),
            threaded=True,
            request_handler=_QuietHandler,
        )
        self.port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, name="endpoint", daemon=True, args=(0.05,)
        ).start()

    def _start_parts(self) -> None:
        from local import parts

        for name, make in parts.PARTS.items():
            part = make(self)
            self.parts[name] = part
            part.start()

    def __getattr__(self, name: str) -> Any:
        """Return a part (events, jobs, machines, streams, metrics, queues, schedules) by name."""
        parts = self.__dict__.get("parts", {})
        if name in parts:
            return parts[name]
        raise AttributeError(name)

    def close(self) -> None:
        """Stop the parts, the functions' processes and the listeners; put moto back."""
        for part in reversed(self.parts.values()):
            part.stop()
        for owner in ("gateway", "functions"):
            if owner in self.__dict__:
                self.__dict__[owner].close()
        self.clock.close()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        default_user_config["iam"] = {"load_aws_managed_policies": False}
        self.seams.close()

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
        from local.deploy import Deployment

        return Deployment(self, assembly).run(tuple(stacks), parameters or {})

    def api_url(self, api_id: str) -> str:
        """Return the URL at which a REST API of this cloud answers, stage included."""
        return self.gateway.url(api_id)

    @property
    def apis(self) -> dict[str, str]:
        """Return the URL of each REST API by its id, stage included."""
        return self.gateway.urls()

    def emit(
        self, source: str, detail_type: str, detail: Mapping[str, Any], resources: Iterable[str]
    ) -> None:
        """Put an AWS service's event on the default bus."""
        if "events" in self.parts:
            self.parts["events"].emit(source, detail_type, dict(detail), list(resources))

    def measure(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        value: float,
        unit: str = "None",
    ) -> None:
        """Record one value of an AWS service's metric, now."""
        if "metrics" in self.parts:
            self.parts["metrics"].put(
                namespace, name, dict(dimensions), value, self.clock.now(), unit
            )

    def state(self) -> dict[str, Any]:
        """Describe what is running, for `ops` and for the curious."""
        return {
            "endpoint": self.endpoint,
            "apis": self.apis,
            "clock": self.clock.now(),
            "rate": self.clock.rate,
            "stacks": {stack.name: stack.status for stack in self.stacks.all()},
        }


class _QuietHandler(MotoRequestHandler):
    """Serve without a line on the terminal for each call."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the access log to the debug level."""
        logger.debug("%s %s", self.requestline, code)


class _Door:
    """What every call passes first: our own few paths, then who is calling, then moto."""

    def __init__(self, cloud: Cloud, moto_app: DomainDispatcherApplication) -> None:
        self._cloud = cloud
        self._moto = moto_app

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        path = environ.get("PATH_INFO", "")
        if path.startswith(OWN):
            return self._own(environ, start_response)
        caller = environ.get("HTTP_AUTHORIZATION", "")
        if "Credential=" in caller:
            key, *scope = caller.split("Credential=", 1)[1].split(",", 1)[0].split("/")
            known = self._cloud.identity.find(key)
            if known is not None and known.role:
                service = scope[2] if len(scope) > 2 else ""
                call = read_call(service, environ, self._cloud.account, self._cloud.region)
                try:
                    self._cloud.identity.authorise_call(known.role, call)
                except identity.AccessDenied as denied:
                    return _refuse(str(denied), service, environ, start_response)
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def _own(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        name, method = environ["PATH_INFO"][len(OWN) :], environ["REQUEST_METHOD"]
        status, answer = "200 OK", {}
        if name == "state" and method == "GET":
            answer = self._cloud.state()
        elif name == "clock" and method == "POST":
            length = int(environ.get("CONTENT_LENGTH") or 0)
            wanted = json.loads(environ["wsgi.input"].read(length) or b"{}")
            self._cloud.clock.advance(float(wanted.get("advance", 0)))
            answer = {"clock": self._cloud.clock.now()}
        else:
            status, answer = "404 Not Found", {"message": f"no {method} {environ['PATH_INFO']}"}
        body = json.dumps(answer).encode()
        start_response(
            status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        )
        return [body]


def _refuse(
    message: str, service: str, environ: dict[str, Any], start_response: StartResponse
) -> list[bytes]:
    """Answer that a call is not allowed, in the service's own way of saying so."""
    form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    if service == "s3" or form:
        error = f"<Error><Code>AccessDenied</Code><Message>{escape(message)}</Message></Error>"
        body = error if service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        status, kind = "403 Forbidden", "application/xml"
    else:
        body = json.dumps({"__type": "AccessDeniedException", "message": message})
        status = "400 Bad Request" if "HTTP_X_AMZ_TARGET" in environ else "403 Forbidden"
        kind = "application/json"
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body.encode()))),
        ("x-amzn-ErrorType", "AccessDeniedException"),
    ]
    start_response(status, headers)
    return [body.encode()]
