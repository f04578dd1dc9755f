"""Serve the benchmark's pipeline with MLflow or BentoML.

`bench.serving` starts this module as a process in the peer's environment. The application is the
one that the peer's own server runs. It is called in process, by ASGI messages without a socket, as
the predict function is called with events: JSON in, JSON out.

    python -m bench.peers.servers mlflow prepare FOLDER    save the pipeline in the peer's format
    python -m bench.peers.servers mlflow once FOLDER       load it and answer one request
    python -m bench.peers.servers mlflow time FOLDER       answer all requests and time them
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PIPELINE, REQUESTS, FRAME, SAVED = "pipeline.joblib", "requests.json", "frame.joblib", "mlflow"
NUMBERS = "number"
Message = MutableMapping[str, Any]


class Application:
    """An ASGI application that runs for the length of an `async with` block."""

    def __init__(self, app: Any, path: str) -> None:
        self._app = app
        self._path = path
        self._orders: asyncio.Queue[Message] = asyncio.Queue()

    async def __aenter__(self) -> Application:
        """Start the application and wait until it reports that it is ready."""
        started = asyncio.Event()

        async def send(message: Message) -> None:
            if message["type"].endswith(".failed"):
                raise RuntimeError(message.get("message", "the application did not start"))
            started.set()

        await self._orders.put({"type": "lifespan.startup"})
        self._life = asyncio.ensure_future(
            self._app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._orders.get, send)
        )
        waiting = asyncio.ensure_future(started.wait())
        await asyncio.wait({self._life, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop the application."""
        await self._orders.put({"type": "lifespan.shutdown"})
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._life, 5)

    async def ask(self, body: bytes) -> Any:
        """Send one request and return its parsed answer.

        Raises RuntimeError for any status but 200.
        """
        over = asyncio.Event()
        parts: list[bytes] = []
        status = 0
        inbox: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if inbox:
                return inbox.pop()
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    over.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self._app(scope, receive, send)
        if status != 200:
            raise RuntimeError(f"status {status}: {b''.join(parts)[:500]!r}")
        return json.loads(b"".join(parts))


# MLflow.


def save_mlflow(folder: Path) -> None:
    """Save the pipeline as an MLflow model with a signature, as MLflow advises."""
    import joblib

    mlflow = importlib.import_module("mlflow")
    importlib.import_module("mlflow.sklearn")
    mlflow.sklearn.save_model(
        joblib.load(folder / PIPELINE),
        folder / SAVED,
        signature=mlflow.models.infer_signature(joblib.load(folder / FRAME)),
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",
        pip_requirements=[],
    )


def open_mlflow(folder: Path) -> Application:
    """Return the application of `mlflow models serve`."""
    server = importlib.import_module("mlflow.pyfunc.scoring_server")
    pyfunc = importlib.import_module("mlflow.pyfunc")
    return Application(server.init(pyfunc.load_model(str(folder / SAVED))), "/invocations")


# BentoML.


def open_bentoml(folder: Path) -> Application:
    """Return the application of `bentoml serve` for a typical service."""
    import joblib
    import pandas

    bentoml = importlib.import_module("bentoml")

    class Predictor:
        def __init__(self) -> None:
            self.pipeline = joblib.load(folder / PIPELINE)

        def predict(self, instances: list[dict[str, Any]]) -> list[list[float]]:
            frame = pandas.DataFrame(instances)
            numbers = [name for name in frame if str(name).startswith(NUMBERS)]
            frame[numbers] = frame[numbers].astype("float64")
            found: list[list[float]] = self.pipeline.predict_proba(frame).tolist()
            return found

    # BentoML reads the types at run time; postponed annotations of a local class are strings.
    Predictor.predict.__annotations__ = {
        "instances": list[dict[str, Any]],
        "return": list[list[float]],
    }
    Predictor.predict = bentoml.api(Predictor.predict)  # type: ignore[method-assign]
    return Application(bentoml.service(Predictor).to_asgi(), "/predict")


OPENERS: dict[str, Callable[[Path], Application]] = {
    "mlflow": open_mlflow,
    "bentoml": open_bentoml,
}
# The key of a request's body that holds the rows.
ROWS = {"mlflow": "dataframe_records", "bentoml": "instances"}


def _answers(response: Any) -> Any:
    return response["predictions"] if isinstance(response, dict) else response


async def answer(name: str, folder: Path, *, count: int) -> dict[str, Any]:
    """Answer requests one by one; return the microseconds of each, and the answers."""
    rows = json.loads((folder / REQUESTS).read_text())
    bodies = [json.dumps({ROWS[name]: [row]}).encode() for row in rows]
    async with OPENERS[name](folder) as app:
        first = [_answers(await app.ask(body))[0] for body in (bodies if count else bodies[:1])]
        times, cpu = [], []
        for body in itertools.islice(itertools.cycle(bodies), count):
            spent, began = time.process_time_ns(), time.perf_counter_ns()
            await app.ask(body)
            times.append((time.perf_counter_ns() - began) / 1e3)
            cpu.append((time.process_time_ns() - spent) / 1e3)
    return {"times_us": times, "cpu_us": cpu, "answers": first}


def main(name: str, action: str, folder: Path) -> None:
    """Run one action; the last line of its output is JSON."""
    if action == "prepare":
        if name == "mlflow":
            save_mlflow(folder)
        return
    count = int(os.environ.get("COUNT", "0")) if action == "time" else 0
    print(json.dumps(asyncio.run(answer(name, folder, count=count))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
