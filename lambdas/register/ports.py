"""The register function's AWS clients."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from core.bundle import Bundle
from core.errors import DeliveryError, StorageError
from lambdas.register.service import Entry, Status

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

CHUNK_BYTES = 1 << 20


class BundleStore:
    """The models' folders in S3."""

    def __init__(self, client: "S3Client | None" = None) -> None:
        self._client = client or boto3.client("s3")

    def open(self, model_uri: str) -> Bundle:
        """Open the bundle at ``s3://bucket/prefix/``."""
        bucket, prefix = _split(model_uri)

        def read(name: str) -> bytes:
            try:
                return self._client.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
            except (ClientError, BotoCoreError) as error:
                raise StorageError(f"cannot read s3://{bucket}/{prefix}{name}: {error}") from error

        return Bundle(read)

    def digest(self, model_uri: str, name: str) -> str:
        """Return the SHA-256 of one file without holding it in memory."""
        bucket, prefix = _split(model_uri)
        digest = hashlib.sha256()
        try:
            body = self._client.get_object(Bucket=bucket, Key=prefix + name)["Body"]
            for chunk in body.iter_chunks(CHUNK_BYTES):
                digest.update(chunk)
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"cannot read s3://{bucket}/{prefix}{name}: {error}") from error
        return digest.hexdigest()


class ModelRegistry:
    """The model package group in SageMaker."""

    def __init__(self, group: str, client: "SageMakerClient | None" = None) -> None:
        self._group = group
        self._client = client or boto3.client("sagemaker")

    def find(self, model_uri: str) -> Entry | None:
        """Return the package of a bundle, newest first, if there is one."""
        try:
            pages = self._client.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=self._group, SortBy="CreationTime", SortOrder="Descending"
            )
            for page in pages:
                for summary in page["ModelPackageSummaryList"]:
                    package = self._client.describe_model_package(
                        ModelPackageName=summary["ModelPackageArn"]
                    )
                    properties = dict(package.get("CustomerMetadataProperties") or {})
                    if properties.get("model_uri") == model_uri:
                        status = package.get("ModelApprovalStatus") or ""
                        return Entry(summary["ModelPackageArn"], status, properties)
        except ClientError as error:
            raise DeliveryError(
                f"cannot read the model packages of {self._group}: {error}"
            ) from error
        return None

    def create(self, definition: Mapping[str, Any]) -> str:
        """Create a model package in the group."""
        try:
            return self._client.create_model_package(
                ModelPackageGroupName=self._group, **definition
            )["ModelPackageArn"]
        except ClientError as error:
            raise DeliveryError(
                f"cannot create a model package in {self._group}: {error}"
            ) from error

    def decide(self, entry: Entry, status: Status, reason: str) -> None:
        """Set status and description in one call."""
        try:
            self._client.update_model_package(
                ModelPackageArn=entry.arn,
                ModelApprovalStatus=status,
                ApprovalDescription=" ".join(reason.split())[:1024],
                CustomerMetadataProperties=dict(entry.properties),
            )
        except ClientError as error:
            raise DeliveryError(f"cannot decide on {entry.arn}: {error}") from error


def _split(model_uri: str) -> tuple[str, str]:
    bucket, _, prefix = model_uri.removeprefix("s3://").partition("/")
    return bucket, prefix
