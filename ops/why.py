"""Trace one prediction: its row, answer, contributions, model, data and commit."""

from __future__ import annotations

import argparse
import struct
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from core.bundle import MODEL, Bundle
from core.engine import decide, load_engine, read_header
from core.errors import EngineError, OperationError
from lambdas.monitor.captures import Capture, Row, hash_text, read_captures
from lambdas.monitor.term import LabelledTerm
from ops.deployment import Deployment, connect
from ops.screen import console, print_json, print_table

SHOWN_COLUMNS = 10


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `why`."""
    parser = subparsers.add_parser(
        "why",
        help="trace one prediction to its model, data and commit",
        description="Show a captured prediction: row, answer, contributions, model, data, commit.",
        epilog="example: python -m ops why 6c0f3a1e-0",
    )
    parser.add_argument("id", help="the prediction's id, as POST /predict returned it")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def _list(client: Any, bucket: str, prefix: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def find_prediction(deployment: Deployment, prediction: str) -> tuple[str, Capture, Row]:
    """Find a captured prediction, newest captures first.

    The monitor stores the hashed ids of each object that it has read, so only the object with the
    prediction is opened; objects that it has not read yet are searched. Raises OperationError where
    the prediction is not found.
    """
    client, bucket = deployment.client("s3"), deployment.bucket
    wanted = hash_text(prediction)
    for key in sorted(_list(client, bucket, "captures/"), reverse=True):
        try:
            names = client.get_object(Bucket=bucket, Key=f"monitor/names/{key}.u64")["Body"].read()
        except client.exceptions.NoSuchKey:
            names = None
        if names is not None and not any(
            name == wanted for _, name in struct.iter_unpack("<QQ", names)
        ):
            continue
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        for capture, row in _rows(body):
            if row.prediction == prediction:
                return key, capture, row
    raise OperationError(
        f"no captured prediction has the id {prediction!r}: captures arrive about a minute after "
        "the answer, are sampled by [capture] sample_rate, and kept for [retention] captures_days"
    )


def _rows(body: bytes) -> Iterator[tuple[Capture, Row]]:
    for capture in read_captures(iter([body])):
        for row in capture.rows if capture else ():
            yield capture, row  # type: ignore[misc]


def find_label(deployment: Deployment, prediction: str) -> str | None:
    """Find the label that was joined with a prediction; None where there is none."""
    client, bucket = deployment.client("s3"), deployment.bucket
    for key in sorted(_list(client, bucket, "monitor/quality/")):
        body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        label = LabelledTerm.from_json(body).label(prediction)
        if label is not None:
            return str(label)
    return None


def trace(deployment: Deployment, prediction: str) -> dict[str, Any]:
    """Collect everything that is known about one prediction."""
    key, capture, row = find_prediction(deployment, prediction)
    client, bucket = deployment.client("s3"), deployment.bucket
    prefix = f"models/{capture.run}/output/model/"

    def fetch(name: str) -> bytes:
        body: bytes = client.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
        return body

    try:
        bundle = Bundle(fetch)
        model = bundle.file(MODEL)
    except (ClientError, BotoCoreError) as error:
        raise OperationError(f"the model s3://{bucket}/{prefix} cannot be read: {error}") from error
    contract, lineage = bundle.contract(), bundle.lineage()
    found: dict[str, Any] = {
        "id": prediction,
        "time": capture.time,
        "request": capture.request,
        "row": row.values,
        "outputs": dict(zip(contract.outputs, row.outputs, strict=False)),
        "answer": decide(read_header(model), row.outputs),
        "label": find_label(deployment, prediction),
        "attributions": None,
        "capture": f"s3://{bucket}/{key}",
        "model": {
            "run": capture.run,
            "version": capture.version,
            "uri": f"s3://{bucket}/{prefix}",
            "manifest_sha256": bundle.manifest.digest,
        },
        "data": lineage.get("inputs"),
        "data_sha256": lineage.get("sha256"),
        "commit": lineage.get("commit"),
        "lineage": lineage,
    }
    try:
        engine = load_engine(model)
    except EngineError as error:
        found["unexplained"] = str(error)
        return found
    vector = contract.encode(row.values)
    explanation = engine.explain(vector)
    columns = {
        name: [contributions[place] for contributions in explanation.contributions]
        for place, name in enumerate(explanation.columns)
    }
    found["attributions"] = {
        "scale": explanation.scale,
        "base": list(explanation.base),
        "outputs": list(explanation.outputs),
        "columns": dict(
            sorted(columns.items(), key=lambda item: -max(abs(value) for value in item[1]))
        ),
    }
    again = engine.score(vector)
    found["reproduced"] = all(
        abs(a - b) <= 1e-9 * max(1.0, abs(b)) for a, b in zip(again, row.outputs, strict=False)
    )
    return found


def main(args: argparse.Namespace) -> int:
    """Print the trace of one prediction."""
    found = trace(connect(args.stage), args.id)
    if args.json:
        print_json(found)
        return 0
    console.print(f"{found['id']}  answered {found['answer']}", style="bold", markup=False)
    for name, value in found["outputs"].items():
        console.print(f"  {name}: {value:.6g}", markup=False)
    if found["label"] is not None:
        console.print(f"  label: {found['label']}", markup=False)
    attributions = found["attributions"]
    if attributions is None:
        print_table("Row", ("column", "value"), found["row"].items())
        console.print(f"No contributions: {found['unexplained']}", markup=False)
    else:
        columns = list(attributions["columns"].items())
        print_table(
            f"Largest contributions ({attributions['scale']})",
            ("column", "value", "contribution"),
            [
                (name, found["row"].get(name), " ".join(f"{value:+.4g}" for value in moved))
                for name, moved in columns[:SHOWN_COLUMNS]
            ],
        )
        same = "the same answer" if found["reproduced"] else "A DIFFERENT ANSWER"
        console.print(f"scoring the row again gives {same}")
    for name, value in (
        ("model", f"{found['model']['uri']} (function version {found['model']['version']})"),
        ("bundle", f"sha256 {found['model']['manifest_sha256']}"),
        ("commit", found["commit"]),
        ("captured in", found["capture"]),
    ):
        console.print(f"{name}: {value}", markup=False)
    for item in found["data"] or []:
        console.print(f"data: {_describe_input(item)}", markup=False)
    return 0


def _describe_input(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    version = item.get("version_id")
    return f"{item.get('key')}" + (f" (version {version})" if version else "")
