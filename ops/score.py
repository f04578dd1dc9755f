"""Score tables of any size in S3 with the live model."""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from core.errors import OperationError
from core.scoring import FORMATS, LARGEST_UNIT_BYTES, UNIT_BYTES, Job, split_uri
from ops.deployment import Deployment, connect
from ops.screen import console, print_json, progress_console

POLL_SECONDS = 1.0
ENDED = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `score`."""
    parser = subparsers.add_parser(
        "score",
        help="score tables of any size in S3 with the live model",
        description="Score every CSV, JSON lines and Parquet object below SOURCE with the live "
        "model. Rows that violate the model's contract are listed, with reasons, in a manifest; "
        "the others are scored. Run the same command again to score what is left.",
        epilog="example: python -m ops score s3://BUCKET/batch/in/ s3://BUCKET/batch/out/",
    )
    parser.add_argument("source", help="s3://bucket/prefix/, or one object")
    parser.add_argument("target", help="s3://bucket/prefix/ for the predictions and the manifest")
    parser.add_argument(
        "--format", choices=FORMATS, default="jsonl", help="what to write (default: jsonl)"
    )
    parser.add_argument(
        "--ignore-unknown",
        action="store_true",
        help="ignore columns that the model does not know, instead of refusing their rows",
    )
    parser.add_argument("--force", action="store_true", help="score finished units again")
    parser.add_argument(
        "--workers",
        type=_positive,
        default=100,
        help="how many units are scored in parallel (default: 100)",
    )
    parser.add_argument(
        "--unit-mb",
        type=_unit_mb,
        default=UNIT_BYTES / 2**20,
        help="split larger objects into units of about this many MiB (default: %(default)g)",
    )
    parser.add_argument("--no-wait", action="store_true", help="start the job and return at once")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.set_defaults(func=main)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _unit_mb(text: str) -> float:
    number = float(text)
    if not 1 <= number * 2**20 <= LARGEST_UNIT_BYTES:
        raise argparse.ArgumentTypeError(
            f"must be above 0 and at most {LARGEST_UNIT_BYTES // 2**20}"
        )
    return number


def make_job(deployment: Deployment, args: argparse.Namespace) -> Job:
    """Describe the job; it uses the model that is live now until its end.

    Raises DataError for invalid addresses, OperationError where no model is live.
    """
    for uri in (args.source, args.target):
        split_uri(uri)
    model_uri = deployment.model_uri
    if not model_uri.startswith("s3://"):
        raise OperationError("no model is live yet: see `python -m ops status`")
    return Job.from_dict(
        {
            "source": args.source,
            "target": args.target,
            "model_uri": model_uri,
            "format": args.format,
            "ignore_unknown": args.ignore_unknown,
            "force": args.force,
            "unit_bytes": round(args.unit_mb * 2**20),
            "workers": args.workers,
        }
    )


def find_running(deployment: Deployment, job: Job) -> str | None:
    """Return the ARN of a running execution of the same job, if there is one."""
    machine = deployment.output("serving", "ScoringMachineArn")
    pages = deployment.client("stepfunctions").get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=machine, statusFilter="RUNNING"):
        for execution in page["executions"]:
            if execution["name"].startswith(f"{job.id}-"):
                return str(execution["executionArn"])
    return None


def start(deployment: Deployment, job: Job) -> str:
    """Start the state machine with a job; return the execution's ARN."""
    machine = deployment.output("serving", "ScoringMachineArn")
    started = deployment.client("stepfunctions").start_execution(
        stateMachineArn=machine,
        name=f"{job.id}-{uuid.uuid4().hex[:8]}",
        input=json.dumps({"job": job.to_dict()}),
    )
    return str(started["executionArn"])


class RateColumn(ProgressColumn):
    """Show the throughput and the remaining time, measured from the start of this command."""

    def render(self, task: Task) -> Text:
        """Render megabytes a second and the remaining time."""
        done, elapsed = task.completed, task.elapsed or 0.0
        if not (done and task.total and elapsed):
            return Text("")
        size = float(task.fields.get("bytes", 0)) * done / task.total
        left = (task.total - done) * elapsed / done
        return Text(f"{size / 1e6 / elapsed:.1f} MB/s, {_describe_seconds(left)} left")


def _describe_seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def wait(
    deployment: Deployment, job: Job, execution: str, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Show the progress of an execution until it ends; return its description."""
    client = deployment.client("stepfunctions")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} units"),
        RateColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=progress_console) as progress:
        task = progress.add_task("planning", total=0)
        noted: dict[str, Any] | None = None
        while True:
            described: dict[str, Any] = client.describe_execution(executionArn=execution)
            counts = _count_units(client, execution)
            if counts:
                noted = noted or _read_json(deployment, f"{job.folder}job.json") or {}
                done = counts["succeeded"] + counts["failed"]
                progress.update(
                    task,
                    description="scoring",
                    total=counts["total"],
                    completed=done,
                    bytes=noted.get("bytes", 0),
                )
            if described["status"] in ENDED:
                return described
            sleep(POLL_SECONDS)


def _count_units(client: Any, execution: str) -> dict[str, int]:
    """Return the item counts of the execution's map; empty before it has started."""
    runs = client.list_map_runs(executionArn=execution)["mapRuns"]
    if not runs:
        return {}
    found: dict[str, int] = client.describe_map_run(mapRunArn=runs[-1]["mapRunArn"])["itemCounts"]
    return found


def _read_json(deployment: Deployment, uri: str) -> dict[str, Any] | None:
    bucket, key = split_uri(uri)
    try:
        body = deployment.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "AccessDenied"):
            return None
        raise
    document: dict[str, Any] = json.loads(body)
    return document


def main(args: argparse.Namespace) -> int:
    """Score and print the summary; the exit status is 1 where units failed."""
    deployment = connect(args.stage)
    job = make_job(deployment, args)
    began = time.monotonic()
    running = None if job.force else find_running(deployment, job)
    execution = running or start(deployment, job)
    if args.no_wait:
        started = {"job": job.id, "execution": execution, "summary": f"{job.manifest}.json"}
        if args.json:
            print_json(started)
        else:
            verb = "already running:" if running else "started"
            console.print(f"{verb} {execution}; its summary is written to {job.manifest}.json")
        return 0
    try:
        described = wait(deployment, job, execution)
    except KeyboardInterrupt:
        progress_console.print(
            "the job goes on: run the same command to follow it, or stop it with "
            f"`aws stepfunctions stop-execution --execution-arn {execution}`",
            markup=False,
        )
        raise
    seconds = time.monotonic() - began
    summary = None
    if described["status"] == "SUCCEEDED" or described.get("error") == "UnitsFailed":
        summary = _read_json(deployment, f"{job.manifest}.json")
    if summary is None:
        raise OperationError(
            f"scoring {described['status'].lower()}: {_describe_failure(described)}"
        )
    summary["seconds"] = round(seconds, 1)
    if args.json:
        print_json(summary)
    else:
        _print_summary(summary)
    return 1 if summary["failed_units"] else 0


def _describe_failure(described: dict[str, Any]) -> str:
    cause = described.get("cause") or described.get("error") or "Step Functions gives no reason"
    try:
        return str(json.loads(cause)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return str(cause)


def _print_summary(summary: dict[str, Any]) -> None:
    rate = summary["rows"] / summary["seconds"] if summary["seconds"] else 0.0
    console.print(
        f"{summary['rows']:,} rows: {summary['scored']:,} scored, "
        f"{summary['refused']:,} refused, in {summary['seconds']:g} s ({rate:,.0f} rows/s)"
    )
    console.print(
        f"{summary['objects']} objects in {summary['units']} units; {summary['failed_units']} "
        f"units failed, {summary['skipped_objects']} objects skipped"
    )
    console.print(f"predictions: {summary['output']}", markup=False)
    for uri in summary["manifest"]:
        console.print(f"refused rows and failures: {uri}", markup=False)
    if summary["stray_outputs"]:
        console.print(
            f"{summary['stray_outputs']} objects below the target are from another job; "
            "the manifest lists them"
        )
    if summary["failed_units"]:
        console.print("run the same command again to score the failed units")
