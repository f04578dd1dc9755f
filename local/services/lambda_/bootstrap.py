"""Run one Lambda function: load its handler, then take events from the Runtime API until killed.

Started with `python -I -S -B`, so that nothing but the deployed asset, the runtime folder (boto3,
as on AWS) and the standard library can be imported. Knows nothing of the rest of the local cloud.
"""

import http.client
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, cast

VERSION = "/2018-06-01/runtime"


class CognitoIdentity:
    """The caller's Cognito identity; there is none."""

    cognito_identity_id = None
    cognito_identity_pool_id = None


class LambdaContext:
    """What AWS hands to a handler beside the event."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = CognitoIdentity()
        self.client_context = None
        self.tenant_id = None
        self._deadline_ms = int(headers["Lambda-Runtime-Deadline-Ms"])

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the handler may still run."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def log(self, message: object) -> None:
        """Write a line to the log."""
        sys.stdout.write(str(message))


class RuntimeApi:
    """The Runtime API over one connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=None)

    def _ask(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        self._connection.request(method, VERSION + path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return dict(answer.headers), answer.read()

    def next(self) -> tuple[Mapping[str, str], bytes]:
        """Wait for an event; return its headers and its body."""
        return self._ask("GET", "/invocation/next")

    def respond(self, request_id: str, body: bytes) -> None:
        """Hand back what the handler returned."""
        self._ask("POST", "/invocation/" + request_id + "/response", body)

    def fail(self, request_id: str, error: Mapping[str, Any]) -> None:
        """Hand back what the handler raised."""
        self._ask("POST", "/invocation/" + request_id + "/error", json.dumps(error).encode())

    def fail_init(self, error: Mapping[str, Any]) -> None:
        """Say that the handler could not be loaded."""
        self._ask("POST", "/init/error", json.dumps(error).encode())


def describe(error: BaseException, request_id: str | None = None) -> dict[str, Any]:
    """Return an exception as AWS's own runtime reports it, and print it to the log."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__]
    described: dict[str, Any] = {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "stackTrace": traceback.format_list(own),
    }
    if request_id is not None:
        described["requestId"] = request_id
    lines = ["[ERROR] " + described["errorType"] + ": " + described["errorMessage"]]
    if own:
        lines.append("Traceback (most recent call last):")
        lines.extend(line.rstrip("\n") for line in described["stackTrace"])
    sys.stdout.write("\r".join("\r".join(lines).splitlines()) + "\n")
    return described


def load(handler: str) -> Callable[[Any, LambdaContext], Any]:
    """Import `module.function`; errors are worded as AWS words them."""
    module_name, _, name = handler.rpartition(".")
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = "Unable to import module '" + module_name + "': " + str(error)
        raise type("Runtime.ImportModuleError", (Exception,), {})(message) from error
    if not hasattr(module, name):
        message = "Handler '" + name + "' missing on module '" + module_name + "'"
        raise type("Runtime.HandlerNotFound", (Exception,), {})(message)
    return cast(Callable[[Any, LambdaContext], Any], getattr(module, name))


def end_of_log(request_id: str) -> None:
    """Mark in the log that all of this event's lines are written."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(1, ("\0" + request_id + "\n").encode())


def serve() -> None:
    """Load the handler, then answer events one after the other."""
    # What was printed before a timeout or a crash must not be lost with the process.
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    api = RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load(os.environ["_HANDLER"])
    except BaseException as error:
        described = describe(error)
        end_of_log("init")
        api.fail_init(described)
        sys.exit(1)
    while True:
        headers, body = api.next()
        request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        os.environ["_X_AMZN_TRACE_ID"] = headers["Lambda-Runtime-Trace-Id"]
        try:
            answer = handler(json.loads(body), LambdaContext(headers))
            answered = json.dumps(answer, ensure_ascii=False).encode()
        except Exception as error:
            described = describe(error, request_id)
            end_of_log(request_id)
            api.fail(request_id, described)
        else:
            end_of_log(request_id)
            api.respond(request_id, answered)


if __name__ == "__main__":
    sys.path[:0] = [os.environ["LAMBDA_TASK_ROOT"], os.environ["LAMBDA_RUNTIME_DIR"]]
    serve()
