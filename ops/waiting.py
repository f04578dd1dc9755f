"""Model versions that wait for a person: why, and the ways on."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from core.bundle import REPORT, Bundle
from core.doubts import read_doubts, write_accepted
from core.errors import DriftlessError
from ops.deployment import Deployment

PENDING = "PendingManualApproval"


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


def list_waiting(
    deployment: Deployment, packages: list[dict[str, Any]], live: str
) -> list[dict[str, Any]]:
    """Describe the versions that wait for a decision, the newest first.

    What is older than the live version waits for nothing: approved, it would not be promoted.
    `packages` are the newest first; `live` is the address of the live model's bundle.
    """
    waiting = []
    for package in packages:
        if package["ModelApprovalStatus"] == PENDING:
            waiting.append(describe_version(deployment, package))
        elif package["ModelApprovalStatus"] == "Approved":
            found = _describe(deployment, package)
            if found.get("CustomerMetadataProperties", {}).get("model_uri") == live:
                break
    return waiting


def describe_version(deployment: Deployment, package: dict[str, Any]) -> dict[str, Any]:
    """Describe a version with the doubts about it, as its bundle has them.

    `doubts` is None, and `unread` says why, where the bundle cannot be read.
    """
    found = _describe(deployment, package)
    metadata = found.get("CustomerMetadataProperties", {})
    uri = metadata.get("model_uri", "")
    version = package["ModelPackageVersion"]
    doubts, unread = _read_doubts(deployment, uri)
    listed = [doubt["name"] for doubt in doubts or ()]
    accepted = deployment.settings.gates.accepted
    return {
        "version": version,
        "approval": package["ModelApprovalStatus"],
        "run": metadata.get("run"),
        "uri": uri,
        "report": f"{uri}{REPORT}",
        "created": package["CreationTime"],
        "reason": found.get("ApprovalDescription"),
        "doubts": doubts,
        "unread": unread,
        "approve": f"python -m ops approve {version} --stage {deployment.settings.stage}",
        "accept": write_accepted([*accepted, *listed]) if listed else None,
    }


def explain_version(version: dict[str, Any]) -> list[str]:
    """Write a version's doubts for a screen, each with its name and its sentence."""
    lines = []
    if version["unread"]:
        lines.append(f"  {version['reason']}")
        lines.append(f"  its doubts cannot be read: {version['unread']}")
    elif not version["doubts"]:
        lines.append(f"  {version['reason'] or 'no reason is registered'}")
    for doubt in version["doubts"] or ():
        mark = " (accepted)" if doubt["accepted"] else ""
        lines.append(f"  {' '.join(doubt['name'].split())}{mark}: {doubt['sentence']}")
    lines.append(f"  report: {version['report']}")
    return lines


def explain_acceptance(version: dict[str, Any]) -> list[str]:
    """Write how the doubts of a version are accepted for later runs; nothing without any."""
    if not version["accept"]:
        return []
    return [
        "to accept its doubts in every later run, set in project.toml, under [gates],",
        f"  {version['accept']}",
        "and deploy; the next run goes live by itself. What each looks for: docs/judge.md",
    ]


def _describe(deployment: Deployment, package: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = deployment.client("sagemaker").describe_model_package(
        ModelPackageName=package["ModelPackageArn"]
    )
    return found


def _read_doubts(deployment: Deployment, uri: str) -> tuple[list[dict[str, Any]] | None, str]:
    """Read a bundle's doubts, or say why that is not possible."""
    if not uri.startswith("s3://"):
        return None, "the registry does not say where its bundle is"
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    client = deployment.client("s3")

    def fetch(name: str) -> bytes:
        body: bytes = client.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
        return body

    try:
        doubts = read_doubts(Bundle(fetch).evaluation())
    except (ClientError, BotoCoreError, DriftlessError) as error:
        return None, str(error)
    return [
        {"name": doubt.name, "sentence": doubt.sentence, "accepted": doubt.accepted}
        for doubt in doubts
    ], ""
