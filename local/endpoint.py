"""The HTTP endpoint that answers for every AWS service: who is calling, then moto."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol
from xml.sax.saxutils import escape

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from local.host import AccessDenied, Host, Identity
from local.syntax import build_alone

logger = logging.getLogger(__name__)
OWN = "/_driftless/"

StartResponse = Callable[..., Any]


class Judge(Identity, Protocol):
    """Recognise callers, and judge their requests."""

    def authorise_request(self, role_arn: str, service: str, environ: dict[str, Any]) -> None:
        """Let a role's call to a service pass, or raise AccessDenied."""


class EndpointHost(Host, Protocol):
    """A cloud that describes itself."""

    @property
    def identity(self) -> Judge:
        """Who is calling, and what they may do."""

    def state(self) -> dict[str, Any]:
        """Describe what is running."""


class Endpoint:
    """Serve every AWS API on one port of this machine."""

    def __init__(self, cloud: EndpointHost, port: int) -> None:
        moto_app = DomainDispatcherApplication(
            lambda service: build_alone(lambda: create_backend_app(service))
        )
        self._server = make_server(
            "127.0.0.1",
            port,
            _Door(cloud, moto_app),
            threaded=True,
            request_handler=_QuietHandler,
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="endpoint", daemon=True, args=(0.05,)
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Return the port that it listens on."""
        return int(self._server.server_port)

    @property
    def server_address(self) -> Any:
        """Return host and port that it listens on."""
        return self._server.server_address

    def close(self) -> None:
        """Stop listening; the port is free when this returns."""
        self._server.shutdown()
        # werkzeug closes the socket in this thread.
        self._thread.join()
        self._server.server_close()


class _QuietHandler(MotoRequestHandler):
    """Serve without a line on the terminal for each call."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Leave the access log to the debug level."""
        logger.debug("%s %s", self.requestline, code)


class _Door:
    """Answer the local cloud's own paths; check the caller of every other request; call moto."""

    def __init__(self, cloud: EndpointHost, moto_app: DomainDispatcherApplication) -> None:
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
                try:
                    self._cloud.identity.authorise_request(known.role, service, environ)
                except AccessDenied as denied:
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
    """Refuse a call in the format of its service's errors."""
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
