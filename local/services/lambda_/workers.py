"""The processes that run functions: warm ones in pools, each with a Runtime API of its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from local.host import Host
from local.services.lambda_.invocation import MAX_SYNC_BYTES, Invocation
from local.services.lambda_.packages import Packages
from local.services.lambda_.runtime_api import Call, RuntimeServer

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaFunction

BOOTSTRAP = Path(__file__).parent / "bootstrap.py"
INIT_SECONDS = 10.0  # AWS allows an initialisation 10 s; what it takes longer, the call's time pays
IDLE_SECONDS = 600.0


class Pool:
    """The warm processes of one function version."""

    def __init__(self, cloud: Host, packages: Packages, function: LambdaFunction) -> None:
        self._cloud = cloud
        self._packages = packages
        self._function = function
        self._free: deque[tuple[float, Worker]] = deque()
        self._count = 0
        self._retired = False
        self._changed = threading.Condition()

    def take(self) -> Worker:
        """Return a warm worker, or a new one, or wait for one when the machine is full."""
        limit = self._cloud.processes
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
            return Worker(self._cloud, self._packages, self._function)
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

    def __init__(self, cloud: Host, packages: Packages, function: LambdaFunction) -> None:
        self._cloud = cloud
        self._packages = packages
        self._clock = cloud.clock
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
        self._server = RuntimeServer(self)
        self._started = time.monotonic()
        self._say(f"INIT_START Runtime Version: {function.run_time} (local)")
        task_root = packages.code(function)
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
        function = self._function
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
            "LAMBDA_RUNTIME_DIR": str(self._packages.runtime),
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONUTF8": "1",
            "TZ": ":UTC",
        }
        variables |= self._cloud.environment(function.role, function.function_name)
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
        self._cloud.logs.write(self.group, self.stream, lines)
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
