"""Start a training run by hand and wait for its outcome."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from core.errors import OperationError
from ops.deployment import Deployment, connect
from ops.screen import console, print_json, progress_console

POLL_SECONDS = 2.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `train`."""
    parser = subparsers.add_parser(
        "train",
        help="start a training run and wait for its outcome",
        description="Start a training run and wait for its outcome. A run whose inputs did not "
        "change is skipped; one whose tables do not fit [data] arrival is held, also with --force: "
        "the training job would refuse them.",
        epilog='example: python -m ops train --force --reason "new candidates"',
    )
    parser.add_argument("--force", action="store_true", help="train even if no input changed")
    parser.add_argument("--reason", default="by hand", help="recorded in the model's lineage")
    parser.add_argument("--no-wait", action="store_true", help="start the run and return at once")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def start_run(deployment: Deployment, *, force: bool, reason: str) -> str:
    """Start the state machine and return the execution's ARN."""
    started = deployment.client("stepfunctions").start_execution(
        stateMachineArn=deployment.output("training", "StateMachineArn"),
        input=json.dumps({"trigger": "manual", "force": force, "reason": reason}),
    )
    return str(started["executionArn"])


def wait_for_run(deployment: Deployment, execution: str) -> dict[str, Any]:
    """Wait until an execution ends and return its output.

    Raises OperationError with the cause where it failed.
    """
    client = deployment.client("stepfunctions")
    while True:
        described = client.describe_execution(executionArn=execution)
        if described["status"] == "SUCCEEDED":
            return dict(json.loads(described.get("output") or "{}"))
        if described["status"] != "RUNNING":
            cause = described.get("cause") or described.get("error") or described["status"]
            raise OperationError(f"the run failed: {cause}")
        time.sleep(POLL_SECONDS)


def summarise_run(output: dict[str, Any]) -> dict[str, Any]:
    """Reduce an execution's output to the run, its outcome and the reason."""
    plan = output.get("plan", {})
    registration = output.get("registration", {})
    return {
        "run": plan.get("run"),
        "outcome": registration.get("status") or plan.get("action"),
        "reason": registration.get("reason") or plan.get("reason"),
        "model_package": registration.get("package_arn"),
    }


def main(args: argparse.Namespace) -> int:
    """Start a run and, without --no-wait, wait for its outcome."""
    deployment = connect(args.stage)
    execution = start_run(deployment, force=args.force, reason=args.reason)
    if args.no_wait:
        result: dict[str, Any] = {"execution": execution}
    else:
        with progress_console.status("training (Ctrl-C does not stop the run)"):
            result = summarise_run(wait_for_run(deployment, execution))
    if args.json:
        print_json(result)
    else:
        for key, value in result.items():
            if value is not None:
                console.print(f"{key.replace('_', ' ')}: {value}", markup=False)
    return 0
