"""The plan function's AWS clients."""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import DeliveryError, StorageError
from lambdas.plan.objects import ObjectVersion
from lambdas.plan.service import NO_MODEL, Execution

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_stepfunctions import SFNClient

MODEL_PARAMETER = "ModelUri"


class StateMachine:
    """The state machine's executions."""

    def __init__(self, client: "SFNClient | None" = None) -> None:
        self._client = client or boto3.client("stepfunctions")

    def running(self, machine: str) -> Sequence[Execution]:
        """Return all running executions."""
        pages = self._client.get_paginator("list_executions").paginate(
            stateMachineArn=machine, statusFilter="RUNNING"
        )
        return [
            Execution(entry["executionArn"], entry["startDate"])
            for page in pages
            for entry in page["executions"]
        ]

    def trigger(self, execution: str) -> str:
        """Return the trigger in an execution's input."""
        given = self._client.describe_execution(executionArn=execution).get("input") or "{}"
        return str(json.loads(given).get("trigger", "manual"))


class Bucket:
    """The project's bucket."""

    def __init__(self, name: str, client: "S3Client | None" = None) -> None:
        self._name = name
        self._client = client or boto3.client("s3")

    def current_versions(self, prefix: str) -> Sequence[ObjectVersion]:
        """Return the newest version of each object that is not deleted."""
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self._name, Prefix=prefix
        )
        return [
            ObjectVersion(
                entry["Key"],
                entry["VersionId"],
                entry["ETag"].strip('"'),
                entry["Size"],
                entry["LastModified"].astimezone(UTC).isoformat(timespec="milliseconds"),
            )
            for page in pages
            for entry in page.get("Versions", [])
            if entry["IsLatest"]
        ]

    def copy(self, source: ObjectVersion, key: str) -> None:
        """Copy one version, in parts where it is larger than one request may copy (5 GB)."""
        try:
            self._client.copy(
                {"Bucket": self._name, "Key": source.key, "VersionId": source.version_id},
                self._name,
                key,
            )
        except ClientError as error:
            raise StorageError(f"cannot copy {source.key} to {key}: {error}") from error

    def read_start(self, version: ObjectVersion, limit: int) -> bytes:
        """Return at most so many bytes of one version, from its first."""
        try:
            return self._client.get_object(
                Bucket=self._name,
                Key=version.key,
                VersionId=version.version_id,
                Range=f"bytes=0-{limit - 1}",
            )["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"cannot read {version.key}: {error}") from error

    def read(self, key: str) -> bytes | None:
        """Return an object, or nothing when there is none."""
        try:
            return self._client.get_object(Bucket=self._name, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        except ClientError as error:
            raise StorageError(f"cannot read s3://{self._name}/{key}: {error}") from error

    def write(self, key: str, body: bytes) -> None:
        """Write an object."""
        try:
            self._client.put_object(Bucket=self._name, Key=key, Body=body)
        except ClientError as error:
            raise StorageError(f"cannot write s3://{self._name}/{key}: {error}") from error

    def count_rows(self, version: ObjectVersion) -> int:
        """Count the lines after the header of a gzipped CSV, read as a stream."""
        try:
            body = self._client.get_object(
                Bucket=self._name, Key=version.key, VersionId=version.version_id
            )["Body"]
            with gzip.open(body, "rb") as lines:
                return max(0, sum(1 for line in lines if line.strip()) - 1)
        except (ClientError, OSError, EOFError) as error:
            raise StorageError(f"cannot count the rows of {version.key}: {error}") from error


class ModelRegistry:
    """The model package group in SageMaker."""

    def __init__(self, group: str, client: "SageMakerClient | None" = None) -> None:
        self._group = group
        self._client = client or boto3.client("sagemaker")

    def newest_fingerprint(self) -> str:
        """Return the fingerprint in the newest package's customer metadata, or nothing."""
        try:
            packages = self._client.list_model_packages(
                ModelPackageGroupName=self._group,
                SortBy="CreationTime",
                SortOrder="Descending",
                MaxResults=1,
            )["ModelPackageSummaryList"]
            if not packages:
                return ""
            package = self._client.describe_model_package(
                ModelPackageName=packages[0]["ModelPackageArn"]
            )
        except ClientError as error:
            raise DeliveryError(f"cannot read the model packages of {self._group}: {error}") from (
                error
            )
        return (package.get("CustomerMetadataProperties") or {}).get("fingerprint", "")


class ServingStack:
    """The serving stack in CloudFormation."""

    def __init__(self, name: str, client: "CloudFormationClient | None" = None) -> None:
        self._name = name
        self._client = client or boto3.client("cloudformation")

    def model_uri(self) -> str:
        """Return the stack's ``ModelUri``; ``none`` also while the stack is not deployed yet."""
        try:
            stack = self._client.describe_stacks(StackName=self._name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in str(error):
                return NO_MODEL
            raise DeliveryError(f"cannot describe the stack {self._name}: {error}") from error
        for parameter in stack.get("Parameters", []):
            if parameter["ParameterKey"] == MODEL_PARAMETER:
                return parameter["ParameterValue"]
        raise DeliveryError(f"the stack {self._name} has no parameter {MODEL_PARAMETER}")
