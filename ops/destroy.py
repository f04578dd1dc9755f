"""Remove a stage completely; of a `prod` stage, keep the resources that hold data."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from botocore.exceptions import ClientError

from core.errors import OperationError
from ops.deployment import Deployment, connect
from ops.screen import console, print_json, progress_console
from ops.waiting import list_packages

STACKS = ("monitoring", "serving", "training")
# These hold data; a prod stage keeps them.
DATA_TYPES = {
    "AWS::S3::Bucket",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::Logs::LogGroup",
    "AWS::Lambda::Version",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `destroy`."""
    parser = subparsers.add_parser(
        "destroy",
        help="remove a stage; a prod stage keeps what holds data",
        description="Delete the three stacks. Outside prod the bucket is emptied and the model "
        "registry cleared first; in prod both are kept and listed.",
        epilog="example: python -m ops destroy --stage dev --yes",
    )
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def empty_bucket(deployment: Deployment, bucket: str) -> int:
    """Delete every version of every object of a bucket and return how many there were."""
    s3 = deployment.client("s3")
    deleted = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for version in page.get("Versions", []) + page.get("DeleteMarkers", [])
        ]
        if versions:
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
            if answer.get("Errors"):
                first = answer["Errors"][0]
                raise OperationError(
                    f"s3://{bucket}/{first['Key']} could not be deleted: {first['Message']}"
                )
            deleted += len(versions)
    return deleted


def _list_resources(deployment: Deployment, stack: str) -> list[dict[str, Any]]:
    pages = deployment.client("cloudformation").get_paginator("list_stack_resources")
    try:
        return [
            resource
            for page in pages.paginate(StackName=f"{deployment.name}-{stack}")
            for resource in page["StackResourceSummaries"]
            if resource["ResourceStatus"] != "DELETE_COMPLETE"
        ]
    except ClientError as error:
        if "does not exist" in str(error):
            return []
        raise


def _clear(deployment: Deployment, resources: list[dict[str, Any]]) -> None:
    """Empty the resources that CloudFormation refuses to delete while they are not empty."""
    for resource in resources:
        if resource["ResourceType"] == "AWS::S3::Bucket":
            empty_bucket(deployment, resource["PhysicalResourceId"])
        if resource["ResourceType"] == "AWS::SageMaker::ModelPackageGroup":
            for package in list_packages(deployment):
                deployment.client("sagemaker").delete_model_package(
                    ModelPackageName=package["ModelPackageArn"]
                )


def destroy(deployment: Deployment) -> dict[str, list[str]]:
    """Delete the stage's stacks; return what was removed and what was kept, by physical id.

    Raises OperationError where a stack could not be deleted, naming the stack and the reason.
    """
    cloudformation = deployment.client("cloudformation")
    retain = deployment.settings.is_production
    removed: list[str] = []
    kept: list[str] = []
    for stack in STACKS:
        resources = _list_resources(deployment, stack)
        if not resources:
            continue
        name = f"{deployment.name}-{stack}"
        if not retain:
            _clear(deployment, resources)
        described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        stack_id = described["StackId"]
        if described.get("EnableTerminationProtection"):
            # The operator has confirmed with the stage's name or with --yes.
            cloudformation.update_termination_protection(
                StackName=name, EnableTerminationProtection=False
            )
        cloudformation.delete_stack(StackName=name)
        try:
            cloudformation.get_waiter("stack_delete_complete").wait(
                StackName=stack_id, WaiterConfig={"Delay": 2, "MaxAttempts": 450}
            )
        except Exception as error:
            raise OperationError(
                f"stack {name} could not be deleted: {error}; see its events"
            ) from error
        removed.append(name)
        if retain:
            kept += [
                f"{resource['ResourceType']} {resource['PhysicalResourceId']}"
                for resource in resources
                if resource["ResourceType"] in DATA_TYPES
            ]
    return {"removed": removed, "kept": kept}


def main(args: argparse.Namespace) -> int:
    """Remove the stage, after a confirmation."""
    deployment = connect(args.stage)
    if not args.yes:
        if not sys.stdin.isatty():
            raise OperationError(
                "destroy asks for confirmation and this is no terminal: confirm with --yes"
            )
        if input(f"This deletes {deployment.name}. Type its name to confirm: ") != deployment.name:
            raise OperationError("not confirmed; nothing was deleted")
    with progress_console.status(f"deleting {deployment.name}"):
        result = destroy(deployment)
    if args.json:
        print_json(result)
        return 0
    for name in result["removed"]:
        console.print(f"removed {name}", markup=False)
    for name in result["kept"]:
        console.print(f"kept {name}", markup=False)
    if not result["removed"]:
        console.print(f"nothing to remove: {deployment.name} is not deployed", markup=False)
    return 0
