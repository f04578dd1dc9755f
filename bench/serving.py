"""Measure the predict function against its peers: warm, cold, batch, size, parity.

The table and the model are those of `bench.workload`. Each request is an API Gateway event, on one
core. The reference handler is the usual one: JSON to a DataFrame to the fitted pipeline to JSON.
All work of a handler is timed: parsing, scoring, the response and, for Driftless only, validation
and the metric and capture lines. MLflow and BentoML serve the same pipeline, each in an environment
of its own (`bench.peers.servers`).
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.cold import open_predict
from bench.peers import environments, servers
from bench.runtime import measure_runtime
from bench.workload import (
    TRAINING_ROWS,
    Matrix,
    add_unseen,
    decode_row,
    draw_rows,
    fit_model,
    make_contract,
    make_frame,
    write_bundle,
)
from core.contract import Contract
from core.engine import ONNX_INPUT, ONNX_OUTPUT, TableEngine, load_engine
from core.errors import DriftlessError, OperationError

ROOT = Path(__file__).resolve().parent.parent
BATCH_ROWS = 1_000
PARITY_ROWS = 100_000
PEERS = {"mlflow": "mlflow==3.17.2", "bentoml": "bentoml==1.4.39"}
# Versions that the pipeline was fitted with, so that it can be unpickled.
SHARED = ("scikit-learn", "pandas", "numpy", "scipy", "joblib")

Handler = Callable[[dict[str, Any]], dict[str, Any]]


def run(quick: bool) -> dict[str, Any]:
    """Measure everything once; `quick` takes fewer repetitions of the same model."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        return _measure(quick)


def _measure(quick: bool) -> dict[str, Any]:
    import joblib

    from training.export.formats import export_model
    from training.export.proof import prove_parity

    contract = make_contract()
    rows, target = draw_rows(TRAINING_ROWS, seed=0)
    model, pipeline = fit_model(contract, rows, target)
    exported = export_model(model, contract, rows[0], threshold=0.5)
    fresh, _ = draw_rows(PARITY_ROWS, seed=1)
    # All adversarial rows: every split threshold, and the float on either side of it.
    proof = prove_parity(
        model, exported, add_unseen(fresh), contract, most_adversarial_rows=sys.maxsize
    )
    engine = load_engine(exported.model_json)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        write_bundle(folder, contract, exported.model_json, exported.onnx)
        joblib.dump(pipeline, Path(scratch) / servers.PIPELINE)
        handlers: dict[str, Handler] = {
            "table": open_predict(folder, "table"),
            "onnx": open_predict(folder, "onnx"),
            "sklearn_pandas": _open_reference(pipeline, contract),
        }
        requests = [_request(contract, fresh[i : i + 1]) for i in range(500)]
        batch = _request(contract, fresh[:BATCH_ROWS])
        _check_agreement(handlers, requests[:20])
        warm = {
            name: _time_requests(handler, requests, 40 if name == "sklearn_pandas" else 500, quick)
            for name, handler in handlers.items()
        }
        figures = {
            "warm_p50_us": {name: _quantile(times.wall, 0.5) for name, times in warm.items()},
            "warm_p99_us": {name: _quantile(times.wall, 0.99) for name, times in warm.items()},
            "warm_cpu_p50_us": {name: _quantile(times.cpu, 0.5) for name, times in warm.items()},
            "engine_p50_us": _time_engines(engine, exported.onnx, fresh, quick),
            "batch_rows_per_s": {
                name: round(BATCH_ROWS / _best(lambda h=handler: h(batch), 3 if quick else 10))  # type: ignore[misc]
                for name, handler in handlers.items()
            },
            "cold_ms": _measure_cold(Path(scratch), folder, requests[0], 3 if quick else 9),
            "peers": _measure_peers(Path(scratch), contract, pipeline, rows, fresh, quick),
            "runtime": measure_runtime(folder, requests[:100], quick),
            "table_load_ms": round(
                1e3 * _best(lambda: load_engine(exported.model_json), 3 if quick else 10), 1
            ),
        }
    sizes, absent = _measure_assets()
    return {
        **figures,
        "asset_zip_mb": sizes,
        "model_kb": {
            "table": round(len(exported.model_json) / 1024),
            "onnx": round(len(exported.onnx) / 1024),
        },
        "parity": proof.to_dict(),
        **_measure_explanations(engine, fresh, quick),
        "absent": absent,
    }


# The handlers.


def _open_reference(pipeline: Any, contract: Contract) -> Handler:
    """Return the usual handler: JSON to DataFrame to predict_proba to JSON."""

    def handle(event: dict[str, Any]) -> dict[str, Any]:
        frame = make_frame(contract, json.loads(event["body"])["instances"])
        found = pipeline.predict_proba(frame)
        answers = [
            {"label": "yes" if yes >= 0.5 else "no", "probabilities": {"no": no, "yes": yes}}
            for no, yes in found.tolist()
        ]
        return {"statusCode": 200, "body": json.dumps({"predictions": answers})}

    return handle


def _request(contract: Contract, rows: Matrix) -> dict[str, Any]:
    return {
        "resource": "/predict",
        "path": "/predict",
        "httpMethod": "POST",
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {"Content-Type": ["application/json"]},
        "queryStringParameters": None,
        "requestContext": {
            "requestId": "4f7a2c1e-0b3d-4c55-9a53-2f3d6c1b9f10",
            "requestTimeEpoch": 1_767_225_600_000,
            "apiId": "bench",
        },
        "body": json.dumps({"instances": [decode_row(contract, row) for row in rows]}),
        "isBase64Encoded": False,
    }


def _check_agreement(handlers: dict[str, Handler], requests: Sequence[dict[str, Any]]) -> None:
    """Check that all handlers answer, with the same probabilities."""
    for request in requests:
        answers = {}
        for name, handler in handlers.items():
            response = handler(request)
            if response["statusCode"] != 200:
                raise RuntimeError(f"{name} answered {response['statusCode']}: {response['body']}")
            answers[name] = json.loads(response["body"])["predictions"][0]["probabilities"]["yes"]
        low, high = min(answers.values()), max(answers.values())
        if high - low > 1e-12:
            raise RuntimeError(f"the handlers disagree: {answers}")


# Timing.


class Times(NamedTuple):
    """Microseconds of single calls: wall time and CPU time."""

    wall: list[float]
    cpu: list[float]


def _time_requests(
    handler: Handler, requests: Sequence[dict[str, Any]], count: int, quick: bool
) -> Times:
    """Time single requests one by one, after a warm-up."""
    for request in itertools.islice(itertools.cycle(requests), min(count, 100)):
        handler(request)
    times = Times([], [])
    for request in itertools.islice(itertools.cycle(requests), count if quick else 4 * count):
        spent, began = time.process_time_ns(), time.perf_counter_ns()
        handler(request)
        times.wall.append((time.perf_counter_ns() - began) / 1e3)
        times.cpu.append((time.process_time_ns() - spent) / 1e3)
    return times


def _time_engines(engine: TableEngine, onnx: bytes, rows: Matrix, quick: bool) -> dict[str, float]:
    """Time the engines alone, from the encoded vector to the outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    vectors = rows[:500].tolist()

    def score(vector: list[float]) -> Any:
        return session.run([ONNX_OUTPUT], {ONNX_INPUT: np.array([vector])})

    repeat = 1 if quick else 4
    return {
        "table": _quantile(_time_calls(engine.score, vectors * repeat), 0.5),
        "onnx": _quantile(_time_calls(score, vectors * repeat), 0.5),
    }


def _time_calls(call: Callable[[Any], Any], arguments: Sequence[Any]) -> list[float]:
    times = []
    for argument in arguments:
        began = time.perf_counter()
        call(argument)
        times.append(1e6 * (time.perf_counter() - began))
    return times


def _quantile(times: Sequence[float], share: float) -> float:
    ordered = sorted(times)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def _best(call: Callable[[], Any], repeat: int) -> float:
    """Return the seconds of the fastest call, the one least disturbed by other load."""
    found = math.inf
    for _ in range(repeat):
        began = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - began)
    return found


# Cold starts.

_COLD = {
    "hello": "import json\njson.dumps({'hello': 'world'})\n",
    "table": """
import json, sys
from bench.cold import open_predict
open_predict(sys.argv[1], "table")(json.load(open(sys.argv[3])))
""",
    "onnx": """
import json, sys
from bench.cold import open_predict
open_predict(sys.argv[1], "onnx")(json.load(open(sys.argv[3])))
""",
    "sklearn_pandas": """
import json, sys
import joblib, pandas
pipeline = joblib.load(sys.argv[2])
event = json.load(open(sys.argv[3]))
frame = pandas.DataFrame(json.loads(event["body"])["instances"])
numbers = [name for name in frame if name.startswith("number")]
frame[numbers] = frame[numbers].astype("float64")
json.dumps(pipeline.predict_proba(frame).tolist())
""",
}


def _measure_cold(
    scratch: Path, folder: Path, request: dict[str, Any], repeat: int
) -> dict[str, float]:
    """Time a fresh process from its start to its first answer, in milliseconds."""
    event = scratch / "event.json"
    event.write_text(json.dumps(request))
    arguments = [str(folder), str(scratch / "pipeline.joblib"), str(event)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    times: dict[str, list[float]] = {name: [] for name in _COLD}
    # The first round fills the file cache and writes bytecode; it is not counted. Rounds alternate,
    # so that other load on the machine affects all variants alike.
    for turn in range(repeat + 1):
        for name, code in _COLD.items():
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", code, *arguments],
                check=True,
                cwd=scratch,
                env=environment,
                stdout=subprocess.DEVNULL,
            )
            if turn:
                times[name].append(1e3 * (time.perf_counter() - began))
    return {name: round(statistics.median(found), 1) for name, found in times.items()}


# Sizes.


def _measure_assets() -> tuple[dict[str, float], dict[str, str]]:
    """Package the function for Lambda, per engine; return megabytes, and why one is absent."""
    from infra.assets import Packager, lambda_target

    sizes, absent = {}, {}
    packager = Packager(ROOT, report=lambda line: None)
    target = lambda_target("arm64", local=False)
    for engine, requirements in (
        ("table", "requirements.txt"),
        ("onnx", "requirements-onnx.txt"),
    ):
        try:
            asset = packager.package_function("predict", target, requirements)
        except DriftlessError as error:
            absent[f"asset_zip_mb.{engine}"] = str(error)
        else:
            sizes[engine] = round(asset.packed_bytes / 2**20, 2)
    return sizes, absent


# Explanations.


def _measure_explanations(engine: TableEngine, rows: Matrix, quick: bool) -> dict[str, float]:
    """Time explanations, and compare some with brute force over all 2^15 coalitions."""
    vectors = rows[:200].tolist()
    times = _time_calls(engine.explain, vectors if quick else vectors * 3)
    error = max(_explanation_error(engine, vector) for vector in vectors[: 1 if quick else 5])
    return {
        "explain_p50_ms": round(_quantile(times, 0.5) / 1e3, 3),
        "explain_max_error": error,
    }


def _explanation_error(engine: TableEngine, vector: list[float]) -> float:
    baseline = list(engine.header.baseline[0])
    count = len(vector)
    worth = [
        engine.margins([vector[i] if members >> i & 1 else baseline[i] for i in range(count)])[0]
        for members in range(1 << count)
    ]
    weights = [
        math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
        for size in range(count)
    ]
    found = engine.explain(vector)
    worst = abs(found.base[0] + math.fsum(found.contributions[0]) - worth[-1])
    for player in range(count):
        bit = 1 << player
        value = math.fsum(
            weights[members.bit_count()] * (worth[members | bit] - worth[members])
            for members in range(1 << count)
            if not members & bit
        )
        worst = max(worst, abs(value - found.contributions[0][player]))
    return worst


# Peers.


def _measure_peers(
    scratch: Path, contract: Contract, pipeline: Any, rows: Matrix, fresh: Matrix, quick: bool
) -> dict[str, Any]:
    """Measure each peer in its own environment and processes, or record why it is absent."""
    import joblib

    asked = [decode_row(contract, row) for row in fresh[:100]]
    (scratch / servers.REQUESTS).write_text(json.dumps(asked))
    joblib.dump(
        make_frame(contract, [decode_row(contract, row) for row in rows[:500]]),
        scratch / servers.FRAME,
    )
    expected = pipeline.predict_proba(make_frame(contract, asked))
    shared = [f"{package}=={metadata.version(package)}" for package in SHARED]
    found = {}
    for name in PEERS:
        try:
            python = environments.provide(name, [PEERS[name], *shared])
            found[name] = _measure_peer(name, python, scratch, expected, quick)
        except OperationError as error:
            found[name] = {"absent": str(error)}
        except subprocess.CalledProcessError as error:
            found[name] = {"absent": f"failed: {environments.last_line(error.stderr)}"}
    return found


def _measure_peer(
    name: str, python: Path, scratch: Path, expected: Matrix, quick: bool
) -> dict[str, Any]:
    def run(action: str, count: int = 0) -> Any:
        done = subprocess.run(
            [python, "-W", "ignore", "-m", "bench.peers.servers", name, action, scratch],
            check=True,
            cwd=ROOT,
            env={**os.environ, "COUNT": str(count), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        return json.loads(done.stdout.splitlines()[-1]) if action != "prepare" else None

    run("prepare")
    cold = []
    for turn in range(4 if quick else 6):
        began = time.perf_counter()
        run("once")
        if turn:  # the first run fills the file cache and writes bytecode
            cold.append(1e3 * (time.perf_counter() - began))
    warm = run("time", 200 if quick else 1_000)
    return {
        "version": PEERS[name],
        "warm_p50_us": _quantile(warm["times_us"], 0.5),
        "warm_p99_us": _quantile(warm["times_us"], 0.99),
        "warm_cpu_p50_us": _quantile(warm["cpu_us"], 0.5),
        "cold_ms": round(statistics.median(cold), 1),
        "environment_mb": round(_size(python.parent.parent) / 2**20),
        "max_abs_diff": float(np.abs(np.array(warm["answers"]) - expected).max()),
    }


def _size(folder: Path) -> int:
    """Sum the bytes of an environment's files, without compiled bytecode."""
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink() and file.suffix != ".pyc"
    )
