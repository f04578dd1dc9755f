"""Lambda: the deployed asset, in processes of its own that speak the Lambda Runtime API.

moto keeps the functions, versions and aliases; what it would do with Docker is replaced here, at
`LambdaBackend.invoke` and `LambdaFunction.invoke`.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import logging
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from moto.awslambda import models
from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.responses import LambdaResponse
from moto.logs.models import logs_backends

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaFunction

    from local.cloud import Cloud

logger = logging.getLogger(__name__)
BOOTSTRAP = Path(__file__).parent / "runtime" / "bootstrap.py"
# What AWS's Python runtime carries beside the standard library.
RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")
INIT_SECONDS = 10.0  # AWS allows an initialisation 10 s; what it takes longer, the call's time pays
MAX_SYNC_BYTES = 6_291_556
MAX_ASYNC_BYTES = 1_048_576
RETRY_SECONDS = (60.0, 120.0)  # AWS's waits before the two retries of an asynchronous event
IDLE_SECONDS = 600.0
# Settings of a function that moto does not keep.
KEPT = ("DeadLetterConfig", "LoggingConfig", "SnapStart")


@dataclass(frozen=True)
class Invocation:
    """What became of one event."""

    status: int
    payload: bytes
    error: str | None
    version: str
    request_id: str
    log_tail: bytes = b""


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


class Throttled(Exception):
    """A function's reserved concurrency is used up."""


def install(cloud: Cloud) -> Functions:
    """Put this in the place of moto's Docker runner, for the life of the cloud."""
    functions = Functions(cloud)
    seams = cloud.seams

    def invoke(
        backend: Any,
        function_name: str,
        qualifier: str | None,
        body: Any,
        headers: Mapping[str, str],
        response_headers: dict[str, Any],
    ) -> bytes:
        kind = _header(headers, "X-Amz-Invocation-Type") or "RequestResponse"
        if kind == "DryRun":
            functions.resolve(function_name, qualifier)
            return b""
        event = body.encode() if isinstance(body, str) else bytes(body or b"")
        answer = functions.invoke(
            function_name, event, qualifier=qualifier, asynchronous=kind == "Event"
        )
        response_headers["x-amzn-requestid"] = answer.request_id
        response_headers["Content-Length"] = str(len(answer.payload))
        if kind != "Event":
            response_headers["x-amz-executed-version"] = answer.version
            if _header(headers, "X-Amz-Log-Type") == "Tail":
                response_headers["x-amz-log-result"] = base64.b64encode(answer.log_tail).decode()
            if answer.error:
                response_headers["x-amz-function-error"] = answer.error
        return answer.payload

    def invoke_function(
        function: LambdaFunction, body: str, headers: Any, response_headers: Any
    ) -> bytes:
        """Take what moto's own services push: SNS messages, log events, stream records."""
        arn = function.function_arn
        answer = functions.invoke(arn, body.encode(), asynchronous=True)
        response_headers["x-amzn-requestid"] = answer.request_id
        return answer.payload

    def create_function(backend: Any, spec: dict[str, Any]) -> Any:
        publish = spec.pop("Publish", False)
        function = original_create(backend, spec)
        function.kept = {name: spec[name] for name in KEPT if name in spec}
        if publish:
            return backend.publish_version(function.function_name)
        return function

    def update_configuration(function: LambdaFunction, updates: dict[str, Any]) -> Any:
        kept = {name: updates[name] for name in KEPT if name in updates}
        vars(function)["kept"] = getattr(function, "kept", {}) | kept
        for name, attribute in (("TracingConfig", "tracing_config"), ("KMSKeyArn", "kms_key_arn")):
            if name in updates:
                setattr(function, attribute, updates[name])
        return original_update(function, updates)

    def get_configuration(function: LambdaFunction, on_create: bool = False) -> dict[str, Any]:
        kept = getattr(function, "kept", {})
        configuration: dict[str, Any] = original_get(function, on_create)
        group = f"/aws/lambda/{function.function_name}"
        configuration["LoggingConfig"] = {"LogFormat": "Text", "LogGroup": group}
        configuration["LoggingConfig"] |= kept.get("LoggingConfig", {})
        return configuration | {name: kept[name] for name in ("DeadLetterConfig",) if name in kept}

    def publish_version(storage: Any, name: str, description: str = "") -> Any:
        """Publish under a number that no deleted version had, as AWS does."""
        function = storage.get_function_by_name_or_arn_forbid_qualifier(name)
        highest = functions.highest.get(function.function_name, 0)
        before = list(storage.list_versions_by_function(name))
        published = original_publish(storage, name, description)
        new = all(published is not version for version in before)
        if new and int(published.version) <= highest:
            # moto counts the versions that are left, and so may give a number for the second time.
            del storage._arns[published.function_arn]
            storage._arns |= {v.function_arn: v for v in before if v.version == published.version}
            published.set_version(highest + 1)
            storage._arns[published.function_arn] = published
        functions.number(function.function_name, int(published.version))
        return published

    def send_nothing(backend: Any, function_arn: str, messages: Any, queue_arn: str) -> bool:
        """Leave messages in the queue: event source mappings poll it (`local.queues`)."""
        return False

    seams.replace(models.LambdaBackend, "invoke", invoke)
    seams.replace(models.LambdaFunction, "invoke", invoke_function)
    seams.replace(models.LambdaBackend, "send_sqs_batch", send_nothing)
    original_create = seams.replace(models.LambdaBackend, "create_function", create_function)
    original_update = seams.replace(
        models.LambdaFunction, "update_configuration", update_configuration
    )
    original_get = seams.replace(models.LambdaFunction, "get_configuration", get_configuration)
    original_publish = seams.replace(models.LambdaStorage, "publish_version", publish_version)
    seams.replace(LambdaResponse, "invoke", _answer_invoke)
    return functions


def _answer_invoke(response: LambdaResponse) -> tuple[int, dict[str, Any], Any]:
    """Answer Invoke over HTTP with AWS's status codes and headers."""
    headers: dict[str, Any] = {"content-type": "application/json"}
    name = re.sub(r"^.*/functions/([^/]+)/invocations.*$", r"\1", response.path)
    kind = _header(response.headers, "X-Amz-Invocation-Type")
    try:
        payload = response.backend.invoke(
            unquote(name),
            response._get_param("Qualifier"),
            response.body,
            response.headers,
            headers,
        )
    except Throttled as error:
        body = {
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            "Type": "User",
            "message": str(error),
        }
        headers["x-amzn-errortype"] = "TooManyRequestsException"
        headers["status"] = 429
        return 429, headers, json.dumps(body).encode()
    status = {"Event": 202, "DryRun": 204}.get(kind or "", 200)
    headers["status"] = status
    return status, headers, payload


def _header(headers: Mapping[str, str], name: str) -> str | None:
    for key, value in dict(headers).items():
        if key.lower() == name.lower():
            return value
    return None


class Functions:
    """Every function's processes, and the way to call them."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.highest: dict[str, int] = {}
        self._versions: dict[str, set[int]] = {}
        self._lock = threading.Lock()
        self._log_lock = threading.Lock()
        self._pools: dict[tuple[str, ...], Pool] = {}
        self._in_flight: dict[str, int] = {}
        self._runtime = self._make_runtime()

    def _make_runtime(self) -> Path:
        """Make the folder of packages that AWS's runtime itself provides."""
        folder = self.cloud.folder / "runtime"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for package in RUNTIME_PACKAGES:
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                continue
            origin = Path(spec.origin)
            source = origin.parent if origin.name == "__init__.py" else origin
            (folder / source.name).symlink_to(source)
        return folder

    # -- versions -----------------------------------------------------------------------------

    def number(self, name: str, version: int) -> None:
        """Remember that a version's number is taken."""
        self._versions.setdefault(name, set()).add(version)
        self.highest[name] = max(version, self.highest.get(name, 0))

    def _backend(self) -> Any:
        return models.lambda_backends[self.cloud.account][self.cloud.region]

    def resolve(self, name: str, qualifier: str | None = None) -> tuple[LambdaFunction, str]:
        """Return the function version that a name or ARN means now, and the ARN called by.

        An alias with weights is decided by lot, as AWS decides each call.
        """
        backend = self._backend()
        bare, _, inner = _split(name)
        qualifier = inner or qualifier
        arn = f"arn:aws:lambda:{self.cloud.region}:{self.cloud.account}:function:{bare}"
        if qualifier:
            arn = f"{arn}:{qualifier}"
        if qualifier and qualifier != "$LATEST" and not qualifier.isdigit():
            alias = backend.get_alias(qualifier, bare)
            version = alias.function_version
            weights = (alias.routing_config or {}).get("AdditionalVersionWeights") or {}
            drawn = random.random()
            for other, weight in weights.items():
                if drawn < float(weight):
                    version = other
                    break
                drawn -= float(weight)
            return backend.get_function(bare, version), arn
        return backend.get_function(bare, qualifier), arn

    def provision(self, arn: str, count: int) -> None:
        """Start processes ahead of the calls, as provisioned concurrency does."""
        if count <= 0:
            return
        pool = self._pool(self.resolve(arn)[0])
        workers = [pool.take() for _ in range(min(count, self.cloud.processes))]
        for worker in workers:
            pool.give(worker)

    # -- calling ------------------------------------------------------------------------------

    def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        qualifier: str | None = None,
        asynchronous: bool = False,
    ) -> Invocation:
        """Call a function; asynchronously, answer 202 at once and retry as AWS does."""
        payload = payload or b"{}"
        limit = MAX_ASYNC_BYTES if asynchronous else MAX_SYNC_BYTES
        if len(payload) > limit:
            raise LambdaClientError(
                "RequestTooLargeException",
                f"{len(payload)} byte payload is too large for the "
                f"{'Event' if asynchronous else 'RequestResponse'} invocation type "
                f"(limit {limit} bytes)",
            )
        try:
            json.loads(payload)
        except ValueError as error:
            raise LambdaClientError(
                "InvalidRequestContentException", f"Could not parse request body into json: {error}"
            ) from error
        version, arn = self.resolve(function, qualifier)
        request_id = str(uuid.uuid4())
        if not asynchronous:
            return self._run(version, arn, payload, request_id)
        self.cloud.clock.spawn(
            lambda: self._run_later(function, qualifier, payload, request_id),
            f"event {request_id}",
        )
        return Invocation(202, b"", None, str(version.version), request_id)

    def _run_later(self, name: str, qualifier: str | None, payload: bytes, request_id: str) -> None:
        settings: dict[str, Any] = {}
        latest = self._backend().get_function(_split(name)[0])
        if latest.event_invoke_config:
            settings = latest.event_invoke_config[-1].config
        attempts = 1 + int(settings.get("MaximumRetryAttempts", 2))
        answer: Invocation | None = None
        for attempt in range(attempts):
            if attempt:
                self.cloud.clock.sleep(RETRY_SECONDS[min(attempt, 2) - 1])
            function, arn = self.resolve(name, qualifier)
            try:
                answer = self._run(function, arn, payload, request_id)
            except Throttled:
                continue
            if answer.error is None:
                self._report(settings, "OnSuccess", arn, payload, answer, attempt + 1)
                return
        dead_letters = getattr(latest, "kept", {}).get("DeadLetterConfig", {}).get("TargetArn")
        if dead_letters:
            self._send(dead_letters, payload.decode())
        if answer is not None:
            self._report(settings, "OnFailure", arn, payload, answer, attempts)

    def _report(
        self,
        settings: Mapping[str, Any],
        name: str,
        arn: str,
        payload: bytes,
        answer: Invocation,
        attempts: int,
    ) -> None:
        """Tell a destination what became of an asynchronous event."""
        target = settings.get("DestinationConfig", {}).get(name, {}).get("Destination")
        if not target:
            return
        condition = "Success" if name == "OnSuccess" else "RetriesExhausted"
        record = {
            "version": "1.0",
            "timestamp": datetime.fromtimestamp(self.cloud.clock.now(), UTC).isoformat(),
            "requestContext": {
                "requestId": answer.request_id,
                "functionArn": arn,
                "condition": condition,
                "approximateInvokeCount": attempts,
            },
            "requestPayload": json.loads(payload),
            "responseContext": {"statusCode": 200, "executedVersion": answer.version},
            "responsePayload": json.loads(answer.payload or b"null"),
        }
        self._send(target, json.dumps(record))

    def _send(self, target: str, message: str) -> None:
        service = target.split(":")[2]
        if service == "sqs":
            queue_name = target.rsplit(":", 1)[-1]
            sqs = self.cloud.client("sqs")
            url = sqs.get_queue_url(QueueName=queue_name)["QueueUrl"]
            sqs.send_message(QueueUrl=url, MessageBody=message)
        elif service == "sns":
            self.cloud.client("sns").publish(TopicArn=target, Message=message)
        elif service == "lambda":
            self.invoke(target, message.encode(), asynchronous=True)
        elif service == "events":
            self.cloud.client("events").put_events(
                Entries=[
                    {
                        "Source": "lambda",
                        "DetailType": "Lambda Function Invocation Result",
                        "Detail": message,
                        "EventBusName": target.rsplit("/", 1)[-1],
                    }
                ]
            )

    @contextlib.contextmanager
    def _admitted(self, function: LambdaFunction) -> Iterator[None]:
        """Hold one of the function's reserved places while it runs."""
        name = function.function_name
        latest = self._backend().get_function(name)
        reserved = latest.reserved_concurrency
        with self._lock:
            running = self._in_flight.get(name, 0)
            if reserved is not None and running >= int(reserved):
                raise Throttled("Rate Exceeded.")
            self._in_flight[name] = running + 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight[name] -= 1

    def _run(
        self, function: LambdaFunction, arn: str, payload: bytes, request_id: str
    ) -> Invocation:
        """Run one event in a worker; log it and measure it as Lambda does."""
        try:
            with self.cloud.clock.work(), self._admitted(function):
                pool = self._pool(function)
                worker = pool.take()
                try:
                    answer, seconds = worker.run(arn, payload, request_id)
                finally:
                    pool.give(worker)
        except Throttled:
            self._measure(function, arn, {"Throttles": 1.0, "Invocations": 0.0})
            raise
        errors = 0.0 if answer.error is None else 1.0
        self._measure(
            function,
            arn,
            {"Invocations": 1.0, "Errors": errors, "Duration": seconds * 1000, "Throttles": 0.0},
        )
        return answer

    def _measure(self, function: LambdaFunction, arn: str, values: Mapping[str, float]) -> None:
        name, version = function.function_name, str(function.version)
        sets: list[dict[str, str]] = [{"FunctionName": name}]
        _, _, qualifier = _split(arn)
        if qualifier:
            sets.append({"FunctionName": name, "Resource": f"{name}:{qualifier}"})
            if version != qualifier:
                sets.append(
                    {
                        "FunctionName": name,
                        "Resource": f"{name}:{qualifier}",
                        "ExecutedVersion": version,
                    }
                )
        for dimensions in sets:
            for metric, value in values.items():
                if metric == "Invocations" and value == 0:
                    continue
                unit = "Milliseconds" if metric == "Duration" else "Count"
                self.cloud.measure("AWS/Lambda", metric, dimensions, value, unit)

    # -- workers ------------------------------------------------------------------------------

    def _pool(self, function: LambdaFunction) -> Pool:
        """Return the pool of exactly this code and configuration."""
        key = (
            function.function_name,
            str(function.version),
            function.code_digest,
            json.dumps(function.environment_vars, sort_keys=True),
            f"{function.handler}|{function.role}|{function.timeout}|{function.memory_size}",
        )
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                for other in [k for k in self._pools if k[:2] == key[:2]]:
                    self._pools.pop(other).retire()
                pool = self._pools[key] = Pool(self, function)
        return pool

    def code(self, function: LambdaFunction) -> Path:
        """Return the folder with the deployed zip, unpacked once."""
        folder = self.cloud.folder / "code" / function.code_digest
        with self._lock:
            if not folder.exists():
                partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
                with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
                    archive.extractall(partial)
                    for entry in archive.infolist():
                        if entry.external_attr >> 16 & 0o111 and not entry.is_dir():
                            (partial / entry.filename).chmod(0o755)
                partial.rename(folder)
        return folder

    @property
    def runtime(self) -> Path:
        """Return the folder of packages that AWS's runtime itself provides."""
        return self._runtime

    def log(self, group: str, stream: str, events: list[tuple[int, str]]) -> None:
        """Write lines (epoch ms, text) to CloudWatch Logs.

        The group is asked directly: moto's API refuses what its own clock takes for the future.
        """
        backend = logs_backends[self.cloud.account][self.cloud.region]
        with self._log_lock:
            backend.ensure_log_group(group)
            backend.ensure_log_stream(group, stream)
        lines = [{"timestamp": when, "message": line} for when, line in events]
        backend.groups[group].put_log_events(stream, lines)

    def close(self) -> None:
        """End every process."""
        with self._lock:
            pools = list(self._pools.values())
            self._pools.clear()
        for pool in pools:
            pool.retire()


class Pool:
    """The warm processes of one function version."""

    def __init__(self, functions: Functions, function: LambdaFunction) -> None:
        self._functions = functions
        self._function = function
        self._free: deque[tuple[float, Worker]] = deque()
        self._count = 0
        self._retired = False
        self._changed = threading.Condition()

    def take(self) -> Worker:
        """Return a warm worker, or a new one, or wait for one when the machine is full."""
        limit = self._functions.cloud.processes
        with self._changed:
            while True:
                while self._free:
                    _, worker = self._free.pop()
                    if worker.alive:
                        return worker
                    self._count -= 1
                if self._count < limit:
                    self._count += 1
                    break
                self._changed.wait()
        try:
            return Worker(self._functions, self._function)
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise

    def give(self, worker: Worker) -> None:
        """Take a worker back; let go of it if it died or is not needed any more."""
        stale: list[Worker] = []
        with self._changed:
            if self._retired or not worker.alive:
                stale.append(worker)
                self._count -= 1
            else:
                now = time.monotonic()
                self._free.append((now, worker))
                while self._free and now - self._free[0][0] > IDLE_SECONDS:
                    stale.append(self._free.popleft()[1])
                    self._count -= 1
            self._changed.notify()
        for old in stale:
            old.close()

    def retire(self) -> None:
        """End the free workers now and the busy ones when they come back."""
        with self._changed:
            self._retired = True
            free, self._free = self._free, deque()
            self._count -= len(free)
        for _, worker in free:
            worker.close()


class Worker:
    """One process of one function version, with the Runtime API that it asks for events."""

    def __init__(self, functions: Functions, function: LambdaFunction) -> None:
        self._functions = functions
        self._clock = functions.cloud.clock
        self._function = function
        self._calls: queue.Queue[Call | None] = queue.Queue()
        self._current: Call | None = None
        self._ready = threading.Event()
        self._init_error: bytes | None = None
        self._lines: list[tuple[int, str]] = []
        self._drained: dict[str, threading.Event] = {}
        self._ended = threading.Event()
        self._fresh = True
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        self.stream = f"{now:%Y/%m/%d}/[{function.version}]{uuid.uuid4().hex}"
        kept = getattr(function, "kept", {})
        self.group = kept.get("LoggingConfig", {}).get(
            "LogGroup", f"/aws/lambda/{function.function_name}"
        )
        self._server = _RuntimeServer(self)
        self._started = time.monotonic()
        self._say(f"INIT_START Runtime Version: {function.run_time} (local)")
        task_root = functions.code(function)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(BOOTSTRAP)],
            cwd=task_root,
            env=self._environment(task_root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._read_output, name="function output", daemon=True).start()

    def _environment(self, task_root: Path) -> dict[str, str]:
        function, cloud = self._function, self._functions.cloud
        session = function.function_name
        variables = {
            "_HANDLER": function.handler or "",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": self.group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.stream,
            "AWS_LAMBDA_RUNTIME_API": self._server.address,
            "LAMBDA_TASK_ROOT": str(task_root),
            "LAMBDA_RUNTIME_DIR": str(self._functions.runtime),
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONUTF8": "1",
            "TZ": ":UTC",
        }
        variables |= cloud.environment(function.role, session)
        variables |= {key: str(value) for key, value in function.environment_vars.items()}
        return variables

    @property
    def alive(self) -> bool:
        """Tell whether the process can take another event."""
        return not self._ended.is_set() and self._process.poll() is None

    # -- the process's output -----------------------------------------------------------------

    def _say(self, line: str) -> None:
        self._lines.append((int(self._clock.now() * 1000), line))

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            if b"\0" in raw:
                before, _, mark = raw.partition(b"\0")
                if before:
                    self._say(before.decode("utf-8", "replace").rstrip("\n"))
                self._drained.setdefault(mark.strip().decode(), threading.Event()).set()
                continue
            self._say(raw.decode("utf-8", "replace").rstrip("\n"))
        self._process.wait()
        self._ended.set()
        self._ready.set()
        if self._current is not None:
            self._current.done.set()

    # -- the Runtime API ----------------------------------------------------------------------

    def next_call(self) -> Call | None:
        """Wait for the next event; None when the worker is closing."""
        self._ready.set()
        return self._calls.get()

    def answered(self, request_id: str, payload: bytes, *, failed: bool) -> bool:
        """Take the handler's answer; False for an event that is not under way."""
        call = self._current
        if call is None or call.request_id != request_id:
            return False
        call.payload, call.failed = payload, failed
        call.done.set()
        return True

    def init_failed(self, payload: bytes) -> None:
        """Take the reason why the handler could not be loaded."""
        self._init_error = payload
        self._ready.set()

    # -- running ------------------------------------------------------------------------------

    def run(self, arn: str, payload: bytes, request_id: str) -> tuple[Invocation, float]:
        """Run one event to its end; return its outcome and its duration in seconds."""
        function = self._function
        timeout = float(function.timeout)
        fresh, self._fresh = self._fresh, False
        if fresh:
            self._ready.wait(INIT_SECONDS + timeout)
        init_ms = (time.monotonic() - self._started) * 1000 if fresh else 0.0
        self._say(f"START RequestId: {request_id} Version: {function.version}")
        began = time.monotonic()
        error: str | None = None
        if self._init_error is not None:
            answer, error = self._init_error, "Unhandled"
            self._drain("init")
        elif not self._ready.is_set():
            answer, error = self._timed_out(request_id, timeout), "Unhandled"
        else:
            call = Call(
                request_id,
                payload,
                arn,
                int((time.time() + timeout) * 1000),
                f"Root=1-{int(self._clock.now()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
            )
            self._current = call
            self._calls.put(call)
            call.done.wait(timeout)
            answer, error = self._outcome(call, timeout)
            self._current = None
        seconds = time.monotonic() - began
        if len(answer) > MAX_SYNC_BYTES:
            error = "Unhandled"
            answer = json.dumps(
                {
                    "errorMessage": "Response payload size exceeded maximum allowed payload size "
                    "(6291556 bytes).",
                    "errorType": "Function.ResponseSizeTooLarge",
                }
            ).encode()
        self._report(request_id, seconds, init_ms if fresh else None)
        lines, self._lines = self._lines, []
        tail = "\n".join(line for _, line in lines).encode()[-4096:]
        self._functions.log(self.group, self.stream, lines)
        return Invocation(200, answer, error, str(function.version), request_id, tail), seconds

    def _outcome(self, call: Call, timeout: float) -> tuple[bytes, str | None]:
        if not call.done.is_set():
            return self._timed_out(call.request_id, timeout), "Unhandled"
        if call.payload or call.failed:
            self._drain(call.request_id)
            return call.payload, "Unhandled" if call.failed else None
        code = self._process.returncode
        how = f"signal: {-code}" if code and code < 0 else f"exit status {code}"
        reason = f"RequestId: {call.request_id} Error: Runtime exited with error: {how}"
        self._say(reason)
        return (
            json.dumps({"errorType": "Runtime.ExitError", "errorMessage": reason}).encode(),
            "Unhandled",
        )

    def _timed_out(self, request_id: str, timeout: float) -> bytes:
        self._kill()
        when = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        reason = f"{when}Z {request_id} Task timed out after {timeout:.2f} seconds"
        self._say(reason)
        return json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": reason}).encode()

    def _drain(self, mark: str) -> None:
        """Wait until all that the handler wrote has been read."""
        self._drained.setdefault(mark, threading.Event()).wait(2.0)
        self._drained.pop(mark, None)

    def _report(self, request_id: str, seconds: float, init_ms: float | None) -> None:
        milliseconds = seconds * 1000
        billed = milliseconds + (init_ms or 0.0)
        parts = [
            f"REPORT RequestId: {request_id}",
            f"Duration: {milliseconds:.2f} ms",
            f"Billed Duration: {int(-(-billed // 1))} ms",
            f"Memory Size: {self._function.memory_size} MB",
            f"Max Memory Used: {self._peak_mib()} MB",
        ]
        if init_ms is not None:
            parts.append(f"Init Duration: {init_ms:.2f} ms")
        self._say(f"END RequestId: {request_id}")
        self._say("\t".join(parts) + "\t")

    def _peak_mib(self) -> int:
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) // 1024 if found else 0

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, 9)
        self._ended.set()

    def close(self) -> None:
        """End the process and its Runtime API."""
        self._kill()
        self._calls.put(None)
        self._process.wait(5)
        self._server.stop()


class _RuntimeServer:
    """The Runtime API's HTTP server of one worker."""

    def __init__(self, worker: Worker) -> None:
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
    worker: Worker

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


def _split(name: str) -> tuple[str, str, str | None]:
    """Split a function's name or ARN into name, ARN prefix and qualifier."""
    prefix = ""
    if ":function:" in name:
        prefix, _, name = name.rpartition(":function:")
    bare, _, qualifier = name.partition(":")
    return bare, prefix, qualifier or None
