"""Approve or reject a registered model; an approved one is promoted."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from core.errors import OperationError
from ops.deployment import Deployment, connect
from ops.screen import console, describe_age, print_json
from ops.waiting import (
    PENDING,
    describe_version,
    explain_acceptance,
    explain_version,
    list_packages,
    list_waiting,
)

DECISIONS = {True: "Rejected", False: "Approved"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `approve`."""
    parser = subparsers.add_parser(
        "approve",
        help="approve (or --reject) a registered model; approval promotes it",
        description="Approve or reject a registered model. Approval starts its promotion. What the "
        "run doubts about its own claim is shown first; on a terminal such an approval is asked "
        "for once more.",
        epilog='example: python -m ops approve 7 --reason "reviewed with the risk team"',
    )
    parser.add_argument(
        "version", nargs="?", type=int, help="the model version (default: the newest pending one)"
    )
    parser.add_argument("--list", action="store_true", help="show what waits, and decide nothing")
    parser.add_argument("--reject", action="store_true", help="reject the model instead")
    parser.add_argument("--reason", default="", help="stored with the model package")
    parser.add_argument("--yes", action="store_true", help="do not ask about doubts")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def choose_package(packages: list[dict[str, Any]], version: int | None) -> dict[str, Any]:
    """Return the named version, or the newest that waits for a decision.

    Raises OperationError where there is none.
    """
    for package in packages:
        if version == package["ModelPackageVersion"]:
            return package
        if version is None and package["ModelApprovalStatus"] == PENDING:
            return package
    known = ", ".join(str(package["ModelPackageVersion"]) for package in packages) or "none"
    wanted = "no model waits for approval" if version is None else f"there is no version {version}"
    raise OperationError(f"{wanted}; registered versions: {known}")


def decide(deployment: Deployment, version: int | None, *, reject: bool, reason: str) -> str:
    """Set the approval status of a model package and return its ARN."""
    package = choose_package(list_packages(deployment), version)
    arn = str(package["ModelPackageArn"])
    said = reason or f"{'rejected' if reject else 'approved'} by {getpass.getuser()}"
    deployment.client("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus=DECISIONS[reject], ApprovalDescription=said[:1024]
    )
    return arn


def main(args: argparse.Namespace) -> int:
    """Approve or reject the model that the arguments name, or list what waits."""
    deployment = connect(args.stage)
    packages = list_packages(deployment)
    if args.list:
        return _show_waiting(deployment, packages, as_json=args.json)
    chosen = describe_version(deployment, choose_package(packages, args.version))
    if not args.json:
        _print([f"version {chosen['version']} of {deployment.name}, run {chosen['run']}:"])
        _print(explain_version(chosen))
    if not args.reject and not args.json and not args.yes:
        _confirm(chosen)
    arn = decide(deployment, chosen["version"], reject=args.reject, reason=args.reason)
    result = {
        "model_package": arn,
        "status": DECISIONS[args.reject],
        "version": chosen["version"],
        "doubts": chosen["doubts"],
        "accept": chosen["accept"],
    }
    if args.json:
        print_json(result)
        return 0
    after = "" if args.reject else "; promotion starts now, follow it with `python -m ops status`"
    _print([f"{DECISIONS[args.reject].lower()} {arn}{after}"])
    if not args.reject:
        _print(explain_acceptance(chosen))
    return 0


def _confirm(version: dict[str, Any]) -> None:
    """Ask a person at a terminal whether they mean it; a script has said so by its call."""
    if not sys.stdin.isatty():
        return
    held = [doubt for doubt in version["doubts"] or () if not doubt["accepted"]]
    if not held and not version["unread"]:
        return
    what = f"approve version {version['version']} all the same? Type its number to confirm: "
    if input(what).strip() != str(version["version"]):
        raise OperationError("not confirmed; nothing was approved")


def _show_waiting(deployment: Deployment, packages: list[dict[str, Any]], *, as_json: bool) -> int:
    waiting = list_waiting(deployment, packages, deployment.model_uri)
    if as_json:
        print_json({"waiting": waiting})
        return 0
    if not waiting:
        _print([f"no model of {deployment.name} waits for approval"])
    now = deployment.now()
    for version in waiting:
        age = describe_age(version["created"], now)
        _print([f"version {version['version']}, run {version['run']}, waits for {age}:"])
        _print(explain_version(version))
        _print([f"approve it, once: {version['approve']}"])
        _print(explain_acceptance(version))
    return 0


def _print(lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False)
