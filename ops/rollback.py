"""Restore an earlier model version through the serving stack's parameter."""

from __future__ import annotations

import argparse
import getpass
import json
import time
from datetime import UTC, datetime
from typing import Any

from core.errors import OperationError
from ops.deployment import Deployment, connect
from ops.screen import console, print_json

BUSY_PAUSE_SECONDS = 5.0
WATCH_PAUSE_SECONDS = 2.0
# Longer than the longest traffic shift (10 steps of 10 minutes).
WATCH_LIMIT_SECONDS = 7200.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `rollback`."""
    parser = subparsers.add_parser(
        "rollback",
        help="restore the previous model, or a version of your choice",
        description="Restore an earlier model. The replaced model loses its approval. A promotion "
        "whose traffic is still moving is cancelled instead.",
        epilog="example: python -m ops rollback --to 3",
    )
    parser.add_argument(
        "--to",
        type=int,
        metavar="VERSION",
        help="the version to restore (default: the one that was live before)",
    )
    parser.add_argument("--watch", action="store_true", help="wait until the traffic has moved")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def roll_back(deployment: Deployment, to: int | None, *, patience_seconds: float = 45.0) -> Any:
    """Ask the promote function for a rollback and return what it did.

    Waits up to `patience_seconds` for another update of the stack to end. Raises OperationError
    with the reason where the rollback is refused.
    """
    request = {
        "action": "rollback",
        "to": to,
        "by": getpass.getuser(),
        "now": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    function = deployment.output("serving", "PromoteFunctionName")
    deadline = time.monotonic() + patience_seconds
    while True:
        answer = deployment.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps(request).encode()
        )
        outcome = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise OperationError(f"{function} failed: {outcome.get('errorMessage', outcome)}")
        if outcome["status"] == "refused":
            raise OperationError(f"no rollback: {outcome['reason']}")
        if outcome["status"] != "busy":
            return outcome
        if time.monotonic() > deadline:
            raise OperationError(f"no rollback: {outcome['reason']}")
        time.sleep(BUSY_PAUSE_SECONDS)


def watch(deployment: Deployment, limit_seconds: float = WATCH_LIMIT_SECONDS) -> str:
    """Wait until no update of the serving stack is in progress and return its status."""
    deadline = time.monotonic() + limit_seconds
    client = deployment.client("cloudformation")
    while True:
        stack = client.describe_stacks(StackName=f"{deployment.name}-serving")["Stacks"][0]
        status = str(stack["StackStatus"])
        if not status.endswith("_IN_PROGRESS"):
            return status
        if time.monotonic() > deadline:
            raise OperationError(f"the serving stack is still {status}: see `python -m ops status`")
        time.sleep(WATCH_PAUSE_SECONDS)


def describe(outcome: dict[str, Any]) -> str:
    """Describe the outcome of a rollback in one sentence."""
    match outcome["status"]:
        case "unchanged":
            return f"nothing to do: {outcome['reason']}"
        case "cancelled":
            return (
                f"the promotion of version {outcome['from']} is being cancelled: traffic returns"
                " to the version before it"
            )
        case _:
            before = outcome["from"] if outcome["from"] is not None else "none"
            return (
                f"version {outcome['to']} takes over from version {before}"
                f" ({outcome['model_uri']}): all traffic moves at once after its golden rows pass;"
                " the replaced version is no longer approved"
            )


def main(args: argparse.Namespace) -> int:
    """Roll back and, with --watch, wait until the traffic has moved."""
    deployment = connect(args.stage)
    outcome = roll_back(deployment, args.to)
    if args.watch and outcome["status"] != "unchanged":
        outcome["stack"] = watch(deployment)
    if args.json:
        print_json(outcome)
    else:
        console.print(describe(outcome), markup=False)
        if "stack" in outcome:
            console.print(f"the serving stack is {outcome['stack']}", markup=False)
        elif outcome["status"] != "unchanged":
            console.print("follow it with `python -m ops status`", markup=False)
    failed = outcome.get("stack", "").endswith("FAILED")
    rolled = outcome.get("stack") == "UPDATE_ROLLBACK_COMPLETE"
    return 1 if failed or (rolled and outcome["status"] == "started") else 0
