"""The HTTP server of one API."""

from __future__ import annotations

import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.services.apigateway.api import Api
from local.services.apigateway.messages import MAX_BODY_BYTES, Request

logger = logging.getLogger(__name__)


class Listener:
    """The HTTP server of one API."""

    def __init__(self, api: Api, port: int) -> None:
        handler = type("Handler", (_Handler,), {"api": api})
        self._server = _Server(("127.0.0.1", port), handler)
        self.port: int = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name=f"api {api.id}", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


class _Handler(BaseHTTPRequestHandler):
    """Read one HTTP request after the other and let the API answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        started = self.api.clock.now()
        if length > MAX_BODY_BYTES:
            # Read and drop the body: it is refused for its size alone.
            left = length
            while left > 0 and (chunk := self.rfile.read(min(left, 1 << 20))):
                left -= len(chunk)
            body = b"\0" * (MAX_BODY_BYTES + 1)
        else:
            body = self.rfile.read(length)
        request = Request(
            method=self.command,
            target=self.path,
            headers=[(name, value) for name, value in self.headers.items()],
            body=body,
            source_ip=self.client_address[0],
            started=started,
        )
        answer = self.api.answer(request)
        lines = [f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('',))[0]}"]
        own = {"content-length", "connection", "transfer-encoding"}
        lines += [
            f"{name}: {value}".replace("\r", " ").replace("\n", " ")
            for name, value in answer.headers
            if name.lower() not in own
        ]
        lines += [
            f"Date: {self.date_time_string()}",
            f"x-amzn-RequestId: {request.id}",
            f"x-amz-apigw-id: {request.extended_id}",
            f"Content-Length: {len(answer.body)}",
            "",
            "",
        ]
        body = b"" if self.command == "HEAD" else answer.body
        self.wfile.write("\r\n".join(lines).encode("latin-1", "replace") + body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _answer

    def _refuse(self) -> None:
        """Refuse what an API cannot define, as RFC 9110 asks; AWS does not document its answer."""
        self.send_response(405)
        self.send_header("Allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    do_CONNECT = do_QUERY = do_TRACE = _refuse

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the access log to the stage's settings."""
        logger.debug(format, *args)
