"""The canary function's AWS clients."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from core.bundle import Bundle
from core.errors import DeliveryError, StorageError
from lambdas.canary.service import Version, read_target

if TYPE_CHECKING:
    from mypy_boto3_codedeploy import CodeDeployClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client


class PredictFunction:
    """The published versions of the predict function."""

    def __init__(self, name: str, client: "LambdaClient | None" = None) -> None:
        self._name = name
        self._client = client or boto3.client("lambda")

    def version(self, number: str | None) -> Version:
        """Return one version, by default that with the largest number."""
        try:
            pages = self._client.get_paginator("list_versions_by_function").paginate(
                FunctionName=self._name
            )
            versions = [
                version
                for page in pages
                for version in page["Versions"]
                if version["Version"] != "$LATEST" and number in (None, version["Version"])
            ]
        except ClientError as error:
            raise DeliveryError(f"cannot list the versions of {self._name}: {error}") from error
        if not versions:
            raise DeliveryError(f"{self._name} has no published version {number or ''}".rstrip())
        newest = max(versions, key=lambda version: int(version["Version"]))
        return Version(
            newest["Version"], dict((newest.get("Environment") or {}).get("Variables") or {})
        )

    def invoke(self, version: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Invoke one version and wait for its response."""
        try:
            answer = self._client.invoke(
                FunctionName=self._name, Qualifier=version, Payload=json.dumps(event).encode()
            )
            payload = answer["Payload"].read()
        except (ClientError, BotoCoreError) as error:
            raise DeliveryError(f"cannot invoke {self._name}:{version}: {error}") from error
        if answer.get("FunctionError"):
            raise DeliveryError(
                f"{self._name}:{version} failed: {payload[:500].decode('utf-8', 'replace')}"
            )
        response = json.loads(payload)
        if not isinstance(response, dict):
            raise DeliveryError(f"{self._name}:{version} answered {str(response)[:200]}")
        return response


class BundleStore:
    """The models' folders in S3."""

    def __init__(self, client: "S3Client | None" = None) -> None:
        self._client = client or boto3.client("s3")

    def open(self, model_uri: str) -> Bundle:
        """Open the bundle at ``s3://bucket/prefix/``."""
        bucket, _, prefix = model_uri.removeprefix("s3://").partition("/")

        def read(name: str) -> bytes:
            try:
                return self._client.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
            except (ClientError, BotoCoreError) as error:
                raise StorageError(f"cannot read s3://{bucket}/{prefix}{name}: {error}") from error

        return Bundle(read)


class Deployment:
    """The CodeDeploy deployment that waits for the verdict."""

    def __init__(self, client: "CodeDeployClient | None" = None) -> None:
        self._client = client or boto3.client("codedeploy")

    def target(self, deployment_id: str) -> str | None:
        """Return the version that traffic moves to; nothing where CodeDeploy does not tell."""
        try:
            information = self._client.get_deployment(deploymentId=deployment_id)["deploymentInfo"]
        except ClientError as error:
            raise DeliveryError(f"cannot read the deployment {deployment_id}: {error}") from error
        revision = information.get("revision") or {}
        contents = (revision.get("appSpecContent") or {}, revision.get("string") or {})
        for content in contents:
            if "content" in content:
                return read_target(content["content"])
        return None

    def report(
        self, deployment_id: str, execution_id: str, status: Literal["Succeeded", "Failed"]
    ) -> None:
        """Tell CodeDeploy to go on or to roll back."""
        self._client.put_lifecycle_event_hook_execution_status(
            deploymentId=deployment_id,
            lifecycleEventHookExecutionId=execution_id,
            status=status,
        )
