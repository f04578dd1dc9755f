"""The Lambda Runtime API, over which a function's process asks for its events."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


@dataclass
class Call:
    """One event on its way through a worker."""

    request_id: str
    event: bytes
    arn: str
    deadline_ms: int
    trace_id: str
    done: threading.Event = field(default_factory=threading.Event)
    payload: bytes = b""
    failed: bool = False


class Served(Protocol):
    """Hand out events and take their answers: the process behind a Runtime API."""

    def next_call(self) -> Call | None:
        """Wait for the next event; None when the process is to end."""

    def answered(self, request_id: str, payload: bytes, *, failed: bool) -> bool:
        """Take the handler's answer; False for an event that is not under way."""

    def init_failed(self, payload: bytes) -> None:
        """Take the reason why the handler could not be loaded."""


class RuntimeServer:
    """The HTTP server of one worker."""

    def __init__(self, worker: Served) -> None:
        handler = type("Handler", (_RuntimeHandler,), {"worker": worker})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.5,), name="runtime api", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, without waiting for the poll to notice."""
        threading.Thread(target=self._stop, name="runtime api end", daemon=True).start()

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _RuntimeHandler(BaseHTTPRequestHandler):
    """Answer the calls of the Lambda Runtime API."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    worker: Served

    def do_GET(self) -> None:
        """Hand out the next event (`/runtime/invocation/next`)."""
        call = self.worker.next_call()
        if call is None:
            self.close_connection = True
            return
        self._answer(
            200,
            call.event,
            {
                "Lambda-Runtime-Aws-Request-Id": call.request_id,
                "Lambda-Runtime-Deadline-Ms": str(call.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": call.arn,
                "Lambda-Runtime-Trace-Id": call.trace_id,
            },
        )

    def do_POST(self) -> None:
        """Take an answer or an error."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/init/error"):
            self.worker.init_failed(body)
            self._answer(202, b'{"status":"OK"}', {})
            return
        found = re.search(r"/invocation/([^/]+)/(response|error)$", self.path)
        known = found is not None and self.worker.answered(
            found[1], body or b"null", failed=found[2] == "error"
        )
        if known:
            self._answer(202, b'{"status":"OK"}', {})
        else:
            self._answer(400, b'{"errorType":"InvalidRequestID"}', {})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} OK", "Content-Type: application/json"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        self.wfile.write("\r\n".join(lines).encode() + body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""
