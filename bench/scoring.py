"""Measure batch scoring against scikit-learn with pandas: rows a second on one core, JSON to JSON.

The table and the model are those of `bench.workload`. For Driftless, everything that scoring one
unit does is timed, except the network: reading lines, validating, encoding, scoring, listing
refused rows, and writing. The reference reads the same lines with pandas, calls the fitted
pipeline's `predict_proba` once on all of them, and writes JSON lines, without validation. Times are
CPU time of one thread: the best of the same number of turns for each. Turns alternate, so that
other load on the machine affects all contenders alike.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from bench.workload import (
    NUMBERS,
    TRAINING_ROWS,
    decode_row,
    draw_rows,
    fit_model,
    make_contract,
    write_bundle,
)
from core.bundle import Bundle
from core.contract import Contract
from core.scoring import Job, Unit
from lambdas.score.model import Model
from lambdas.score.onnx import open_onnx
from lambdas.score.service import score
from lambdas.score.storage import Found

KEY = "batch/in/rows.jsonl"


def run(quick: bool) -> dict[str, Any]:
    """Measure on one thread; `quick` takes fewer rows and repetitions."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        return _measure(20_000 if quick else 60_000, 5 if quick else 9)


def _measure(rows: int, repetitions: int) -> dict[str, Any]:
    from training.export.formats import export_model

    contract = make_contract()
    drawn, target = draw_rows(TRAINING_ROWS, seed=0)
    model, pipeline = fit_model(contract, drawn, target)
    exported = export_model(model, contract, drawn[0], threshold=0.5)
    fresh, _ = draw_rows(rows, seed=1)
    lines = b"".join(orjson.dumps(decode_row(contract, row)) + b"\n" for row in fresh)
    outputs: dict[str, bytes] = {}
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        write_bundle(folder, contract, exported.model_json, exported.onnx)
        bundle = Bundle.from_folder(folder)
        models = {"table": Model(bundle), "onnx": Model(bundle, open_onnx)}
        for _ in range(repetitions):
            seconds: dict[str, float] = {}
            for name, opened in models.items():
                seconds[name], outputs[name] = _time_unit(opened, lines)
            began = time.process_time()
            outputs["sklearn_pandas"] = _score_reference(pipeline, contract, lines)
            seconds["sklearn_pandas"] = time.process_time() - began
            began = time.process_time()
            model.predict_proba(fresh)
            seconds["sklearn_predict_alone"] = time.process_time() - began
            best = {name: min(taken, best.get(name, taken)) for name, taken in seconds.items()}
    reference = best["sklearn_pandas"]
    return {
        "rows": rows,
        "rows_per_s": {name: round(rows / taken) for name, taken in best.items()},
        "against_sklearn_pandas": {
            name: round(reference / taken, 2) for name, taken in best.items()
        },
        "max_abs_diff": _compare(outputs),
        "bytes_in_per_row": round(len(lines) / rows),
        "bytes_out_per_row": round(len(outputs["onnx"]) / rows),
    }


class _Memory:
    """A store that holds one input object and keeps what is written."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.output = b""

    def list(self, uri: str, after: str) -> Iterator[Found]:
        return iter(())

    def read(self, bucket: str, key: str, etag: str, start: int, end: int) -> bytes:
        return self.content[start:end]

    def get(self, uri: str) -> bytes:
        return b""

    def find(self, uri: str) -> bytes | None:
        return None

    def metadata(self, uri: str) -> Mapping[str, str] | None:
        return None

    def put(self, uri: str, body: bytes, metadata: Mapping[str, str] | None = None) -> None:
        self.output = body


def _time_unit(model: Model, lines: bytes) -> tuple[float, bytes]:
    store = _Memory(lines)
    job = Job("s3://bench/batch/in/", "s3://bench/batch/out/", "s3://bench/models/run/")
    unit = Unit(KEY, "rows.jsonl", "etag", len(lines), "jsonl", False, 0, len(lines), 0, 1)
    began = time.process_time()
    counts = score(job, unit, store, lambda: model)
    seconds = time.process_time() - began
    if counts["refused"] or counts["rows"] != lines.count(b"\n"):
        raise AssertionError(f"rows were refused or lost: {counts}")
    return seconds, store.output


def _score_reference(pipeline: Any, contract: Contract, lines: bytes) -> bytes:
    """Score the lines as a typical batch script does."""
    import pandas

    table = pandas.read_json(io.BytesIO(lines), lines=True, dtype=False)
    names = [column.name for column in contract.columns]
    table[names[:NUMBERS]] = table[names[:NUMBERS]].astype("float64")
    found = pipeline.predict_proba(table[names])
    answer = pandas.DataFrame(found, columns=list(contract.classes))
    answer["label"] = answer[contract.classes[1]].ge(0.5).map({True: "yes", False: "no"})
    return str(answer.to_json(orient="records", lines=True, double_precision=15)).encode()


def _compare(outputs: Mapping[str, bytes]) -> float:
    """Return the largest difference between any two outputs' probabilities of "yes"."""
    columns = [
        [
            float(line["yes"] if "yes" in line else line["probabilities"]["yes"])
            for line in map(orjson.loads, body.splitlines())
        ]
        for body in outputs.values()
    ]
    return float(max(max(row) - min(row) for row in zip(*columns, strict=True)))
