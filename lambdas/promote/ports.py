"""The promote function's AWS clients: the model registry and the serving stack."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from core.errors import DeliveryError
from lambdas.promote.service import GRADUAL, Package, Stack, StackBusyError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef

MODEL_PARAMETER = "ModelUri"
SHIFT_PARAMETER = "TrafficShift"


class ModelRegistry:
    """The model package group in SageMaker."""

    def __init__(self, group: str, client: "SageMakerClient | None" = None) -> None:
        self._group = group
        self._client = client or boto3.client("sagemaker")

    def get(self, arn: str) -> Package:
        """Describe one package."""
        try:
            return _package(self._client.describe_model_package(ModelPackageName=arn))
        except ClientError as error:
            raise DeliveryError(f"cannot describe the model package {arn}: {error}") from error

    def packages(self) -> Sequence[Package]:
        """Describe all packages of the group, newest version first."""
        try:
            pages = self._client.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=self._group, SortBy="CreationTime", SortOrder="Descending"
            )
            arns = [
                summary["ModelPackageArn"]
                for page in pages
                for summary in page["ModelPackageSummaryList"]
            ]
        except ClientError as error:
            raise DeliveryError(
                f"cannot list the model packages of {self._group}: {error}"
            ) from error
        return sorted(map(self.get, arns), key=lambda package: package.version, reverse=True)

    def record(self, package: Package) -> None:
        """Write status, description and properties in one call."""
        try:
            self._client.update_model_package(
                ModelPackageArn=package.arn,
                ModelApprovalStatus=package.status,  # type: ignore[arg-type]
                ApprovalDescription=package.description,
                CustomerMetadataProperties=dict(package.properties),
            )
        except ClientError as error:
            raise DeliveryError(
                f"cannot update the model package {package.arn}: {error}"
            ) from error


class ServingStack:
    """The serving stack in CloudFormation."""

    def __init__(self, name: str, client: "CloudFormationClient | None" = None) -> None:
        self._name = name
        self._client = client or boto3.client("cloudformation")
        self._parameters: list[str] = []

    def describe(self) -> Stack:
        """Return the stack's status and what its parameters say."""
        try:
            stack = self._client.describe_stacks(StackName=self._name)["Stacks"][0]
        except ClientError as error:
            raise DeliveryError(f"cannot describe the stack {self._name}: {error}") from error
        values = {p["ParameterKey"]: p.get("ParameterValue", "") for p in stack["Parameters"]}
        self._parameters = sorted(values)
        if MODEL_PARAMETER not in values:
            raise DeliveryError(f"the stack {self._name} has no parameter {MODEL_PARAMETER}")
        return Stack(
            stack["StackStatus"], values[MODEL_PARAMETER], values.get(SHIFT_PARAMETER, GRADUAL)
        )

    def point_to(self, model_uri: str, token: str, shift: str = GRADUAL) -> None:
        """Update the stack with its previous template, the model and how traffic moves to it."""
        if not self._parameters:
            self.describe()
        changed = {MODEL_PARAMETER: model_uri, SHIFT_PARAMETER: shift}
        try:
            self._client.update_stack(
                StackName=self._name,
                UsePreviousTemplate=True,
                Parameters=[
                    {"ParameterKey": key, "ParameterValue": changed[key]}
                    if key in changed
                    else {"ParameterKey": key, "UsePreviousValue": True}
                    for key in self._parameters
                ],
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
                ClientRequestToken=token,
            )
        except ClientError as error:
            text = str(error)
            if "IN_PROGRESS" in text:
                raise StackBusyError(f"the stack {self._name} is busy: {text}") from error
            raise DeliveryError(f"the stack {self._name} refused the update: {text}") from error

    def cancel(self) -> None:
        """Cancel the update under way."""
        try:
            self._client.cancel_update_stack(StackName=self._name)
        except ClientError as error:
            raise DeliveryError(f"cannot cancel the update of {self._name}: {error}") from error

    def failure(self, token: str) -> str:
        """Return the reason of the earliest failed event of the update with this token."""
        reason = ""
        try:
            pages = self._client.get_paginator("describe_stack_events").paginate(
                StackName=self._name
            )
            for page in pages:
                for event in page["StackEvents"]:
                    ours = event.get("ClientRequestToken", "") == token
                    if not ours and reason:
                        return reason
                    if ours and event.get("ResourceStatus", "").endswith("_FAILED"):
                        why = event.get("ResourceStatusReason", "no reason given")
                        reason = f"{event.get('LogicalResourceId', 'stack')}: {why}"
        except ClientError as error:
            raise DeliveryError(f"cannot read the events of {self._name}: {error}") from error
        return reason


class FunctionVersions:
    """The published versions of one function."""

    def __init__(self, name: str, client: "LambdaClient | None" = None) -> None:
        self._name = name
        self._client = client or boto3.client("lambda")

    def published(self) -> Sequence[int]:
        """List the numbers of all versions."""
        try:
            pages = self._client.get_paginator("list_versions_by_function").paginate(
                FunctionName=self._name
            )
            found = [version["Version"] for page in pages for version in page["Versions"]]
        except ClientError as error:
            raise DeliveryError(f"cannot list the versions of {self._name}: {error}") from error
        return [int(number) for number in found if number != "$LATEST"]

    def in_use(self) -> Sequence[int]:
        """List the versions that an alias points to, in whole or in part."""
        try:
            pages = self._client.get_paginator("list_aliases").paginate(FunctionName=self._name)
            found = [
                number
                for page in pages
                for alias in page["Aliases"]
                for number in (
                    alias["FunctionVersion"],
                    *((alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}),
                )
            ]
        except ClientError as error:
            raise DeliveryError(f"cannot list the aliases of {self._name}: {error}") from error
        return [int(number) for number in found if number != "$LATEST"]

    def delete(self, number: int) -> None:
        """Delete one version; the function itself stays."""
        try:
            self._client.delete_function(FunctionName=self._name, Qualifier=str(number))
        except ClientError as error:
            raise DeliveryError(f"cannot delete {self._name}:{number}: {error}") from error


def _package(described: "DescribeModelPackageOutputTypeDef") -> Package:
    return Package(
        arn=described["ModelPackageArn"],
        version=described.get("ModelPackageVersion", 0),
        status=described.get("ModelApprovalStatus") or "PendingManualApproval",
        description=described.get("ApprovalDescription") or "",
        properties=dict(described.get("CustomerMetadataProperties") or {}),
    )
