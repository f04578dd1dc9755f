"""Run a packaged function under AWS's own Lambda runtime, without Docker, and time it.

The runtime interface client (`awslambdaric`) is what a managed runtime runs. The emulator is the
binary that ships with the SAM command line. Both are pinned and come from the Python package index.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from core.errors import OperationError
from infra.assets import Packager, host_target

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "bench" / "requirements-runtime.txt"
INVOCATIONS = "/2015-03-31/functions/function/invocations"
HANDLER = "lambdas.predict.handler.handler"
START_SECONDS = 30.0
INVOKE_SECONDS = 30.0

_EMULATORS = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
_INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
_HELLO = 'def handler(event, context):\n    return {"statusCode": 200, "body": "{}"}\n'


def why_not() -> str:
    """Return the reason why the runtime cannot run on this machine; empty if it can."""
    if sys.platform != "linux" or platform.machine() not in _EMULATORS:
        return (
            "AWS's runtime emulator is a binary for Linux on x86_64 or aarch64;"
            f" this is {sys.platform} on {platform.machine()}"
        )
    return ""


def provide_runtime(build: Path | None = None) -> Path:
    """Install the pinned packages into `.build/runtime` once; return the folder.

    Raises OperationError with the installer's message where that fails.
    """
    pins = REQUIREMENTS.read_bytes()
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(pins + minor.encode()).hexdigest()[:16]
    parent = (build or ROOT / ".build") / "runtime"
    folder = parent / key
    if folder.is_dir():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as scratch:
        made = Path(scratch) / key
        done = subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"),
                *("--python", sys.executable, "--target", made, "--requirement", REQUIREMENTS),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise OperationError(f"cannot install {REQUIREMENTS.name}: {done.stderr.strip()}")
        (made / "samcli/local/rapid" / _EMULATORS[platform.machine()]).chmod(0o755)
        try:
            made.rename(folder)
        except OSError:
            # Another process installed the same packages first.
            if not folder.is_dir():
                raise
    return folder


class Runtime:
    """One instance of a function: the emulator, the interface client in it, and the handler.

    The first invocation starts the handler's process (Lambda's init). Invocations run one at a
    time, as in one instance on AWS.
    """

    def __init__(self, task: Path, handler: str, environment: Mapping[str, str]) -> None:
        """Describe the instance: the unpacked asset, its handler, its environment."""
        self.log = ""
        self._task = task
        self._handler = handler
        self._environment = environment
        self._lines = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the instance stops)

    def __enter__(self) -> Self:
        """Start the emulator and wait until it listens."""
        folder = provide_runtime()
        api, front = _free_port(), _free_port()
        self._port = front
        self._process = subprocess.Popen(
            [
                folder / "samcli/local/rapid" / _EMULATORS[platform.machine()],
                *("--runtime-api-address", f"127.0.0.1:{api}"),
                *("--runtime-interface-emulator-address", f"127.0.0.1:{front}"),
                # Without site: only the asset and the interface client can be imported.
                *(sys.executable, "-S", "-m", "awslambdaric", self._handler),
            ],
            cwd=self._task,
            env={
                "PATH": os.environ.get("PATH", ""),
                # Use the bytecode that the asset ships; write none.
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": f"{self._task}{os.pathsep}{folder}",
                "AWS_LAMBDA_FUNCTION_NAME": "predict",
                "AWS_LAMBDA_FUNCTION_VERSION": "1",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                "AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(INVOKE_SECONDS)),
                "AWS_REGION": "eu-west-1",
                "AWS_ACCESS_KEY_ID": "none",
                "AWS_SECRET_ACCESS_KEY": "none",
                **self._environment,
            },
            stdout=self._lines,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", front, timeout=INVOKE_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", front), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self._stop()
                    raise OperationError(f"the emulator did not start: {self.log}") from None
                time.sleep(0.02)
            else:
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the instance; keep its log."""
        self._connection.close()
        self._stop()

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Invoke the function and return its result."""
        self._connection.request("POST", INVOCATIONS, body=json.dumps(event).encode())
        return json.loads(self._connection.getresponse().read())

    def read_log(self) -> str:
        """Return the output so far, of the emulator and the function."""
        self._lines.flush()
        size = os.fstat(self._lines.fileno()).st_size
        return os.pread(self._lines.fileno(), size, 0).decode("utf-8", "replace")

    @property
    def init_ms(self) -> float:
        """Return the init time that the emulator reports; valid after the first invocation."""
        deadline = time.monotonic() + START_SECONDS
        while (found := _INIT.search(self.read_log())) is None:
            if time.monotonic() > deadline:
                raise OperationError(f"the emulator reported no init: {self.read_log()}")
            time.sleep(0.01)
        return float(found[1])

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.log = self.read_log()
        self._lines.close()


class BundleServer:
    """Serve a bundle's folder as S3 would: `GET /bucket/key`, any bucket, any prefix."""

    def __init__(self, folder: Path) -> None:
        """Describe the server."""

        class Objects(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                file = folder / self.path.rsplit("/", 1)[-1]
                content = file.read_bytes() if file.is_file() else b""
                self.send_response(200 if file.is_file() else 404)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Objects)
        self._server.daemon_threads = True

    def __enter__(self) -> str:
        """Start the server and return its URL."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()


def unpack_predict(folder: Path, engine: str) -> Path:
    """Package the predict function for this machine and unpack it, as Lambda does."""
    requirements = "requirements-onnx.txt" if engine == "onnx" else "requirements.txt"
    packager = Packager(ROOT, report=lambda line: None)
    asset = packager.package_function("predict", host_target(), requirements)
    with zipfile.ZipFile(asset.path) as archive:
        archive.extractall(folder)
    return folder


def predict_environment(endpoint: str, engine: str) -> dict[str, str]:
    """Return the environment variables that the serving stack sets."""
    return {
        "DEPLOYMENT": "bench",
        "MODEL_URI": "s3://bucket/models/bench/output/model/",
        "LABELS_URI": "s3://bucket/labels/",
        "MAX_ROWS": "1000",
        "CAPTURE_SAMPLE_RATE": "1",
        "CORS_ORIGINS": "",
        "ENGINE": engine,
        "AWS_ENDPOINT_URL": endpoint,
    }


def measure_runtime(
    bundle: Path, requests: Sequence[Mapping[str, Any]], quick: bool
) -> dict[str, Any]:
    """Measure init and warm invocations of hello-world and of the predict asset, in milliseconds.

    Warm times include the emulator's HTTP; the difference from hello-world is what the function
    adds. Where the runtime cannot run, the result holds only the reason.
    """
    reason = why_not()
    if reason:
        return {"absent": reason}
    starts, count = (3, 100) if quick else (7, 500)
    init: dict[str, list[float]] = {}
    warm: dict[str, list[float]] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        endpoint = stack.enter_context(BundleServer(bundle))
        hello = scratch / "hello"
        hello.mkdir()
        (hello / "hello.py").write_text(_HELLO)
        instances: dict[str, tuple[Path, str, dict[str, str]]] = {
            "hello": (hello, "hello.handler", {})
        }
        for engine in ("table", "onnx"):
            task = unpack_predict(scratch / engine, engine)
            instances[engine] = (task, HANDLER, predict_environment(endpoint, engine))
        # Rounds alternate, so that other load on the machine affects all variants alike.
        for turn in range(starts):
            for name, instance in instances.items():
                with Runtime(*instance) as runtime:
                    if runtime.invoke(requests[0])["statusCode"] != 200:
                        raise OperationError(f"{name} failed: {runtime.read_log()}")
                    init.setdefault(name, []).append(runtime.init_ms)
                    if turn == starts - 1:
                        warm[name] = _time_invocations(runtime, requests, count)
    return {
        "init_ms": {name: round(sorted(times)[len(times) // 2], 1) for name, times in init.items()},
        "warm_p50_ms": {
            name: round(sorted(times)[len(times) // 2], 3) for name, times in warm.items()
        },
        "starts": starts,
    }


def _time_invocations(
    runtime: Runtime, requests: Sequence[Mapping[str, Any]], count: int
) -> list[float]:
    times = []
    for turn in range(count):
        began = time.perf_counter()
        runtime.invoke(requests[turn % len(requests)])
        times.append(1e3 * (time.perf_counter() - began))
    return times


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
