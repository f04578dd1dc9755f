"""Approve or reject a registered model; an approved one is promoted."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

from core.errors import OperationError
from ops.deployment import Deployment, connect
from ops.screen import console, print_json

DECISIONS = {True: "Rejected", False: "Approved"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `approve`."""
    parser = subparsers.add_parser(
        "approve",
        help="approve (or --reject) a registered model; approval promotes it",
        description="Approve or reject a registered model. Approval starts its promotion.",
        epilog='example: python -m ops approve 7 --reason "reviewed with the risk team"',
    )
    parser.add_argument(
        "version", nargs="?", type=int, help="the model version (default: the newest pending one)"
    )
    parser.add_argument("--reject", action="store_true", help="reject the model instead")
    parser.add_argument("--reason", default="", help="stored with the model package")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def list_packages(deployment: Deployment) -> list[dict[str, Any]]:
    """List the stage's model packages, the newest first."""
    pages = deployment.client("sagemaker").get_paginator("list_model_packages")
    packages = [
        package
        for page in pages.paginate(
            ModelPackageGroupName=deployment.output("training", "ModelPackageGroupName")
        )
        for package in page["ModelPackageSummaryList"]
    ]
    return sorted(packages, key=lambda package: -package["ModelPackageVersion"])


def choose_package(packages: list[dict[str, Any]], version: int | None) -> dict[str, Any]:
    """Return the named version, or the newest that waits for a decision.

    Raises OperationError where there is none.
    """
    for package in packages:
        if version == package["ModelPackageVersion"]:
            return package
        if version is None and package["ModelApprovalStatus"] == "PendingManualApproval":
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
    """Approve or reject the model that the arguments name."""
    arn = decide(connect(args.stage), args.version, reject=args.reject, reason=args.reason)
    result = {"model_package": arn, "status": DECISIONS[args.reject]}
    if args.json:
        print_json(result)
    else:
        after = (
            "" if args.reject else "; promotion starts now, follow it with `python -m ops status`"
        )
        console.print(f"{result['status'].lower()} {arn}{after}", markup=False)
    return 0
