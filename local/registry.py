"""What moto's SageMaker lacks: the deletion of a model package group, and the cloud's own time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import moto.sagemaker.models
from moto.core.responses import EmptyResult
from moto.sagemaker.exceptions import ConflictException
from moto.sagemaker.responses import SageMakerResponse

if TYPE_CHECKING:
    from local.cloud import Cloud


def install(cloud: Cloud) -> None:
    """Add DeleteModelPackageGroup and stamp by the cloud's clock, for the life of the cloud."""

    def utcnow() -> datetime:
        return datetime.fromtimestamp(cloud.clock.now(), UTC).replace(tzinfo=None)

    cloud.seams.replace(moto.sagemaker.models, "utcnow", utcnow)
    cloud.seams.add(SageMakerResponse, "delete_model_package_group", _delete_model_package_group)


def _delete_model_package_group(response: SageMakerResponse) -> EmptyResult:
    backend = response.sagemaker_backend
    name = response._get_param("ModelPackageGroupName").rsplit("/", 1)[-1]
    group = backend.describe_model_package_group(name)
    held = backend.model_packages.values()
    if any(package.model_package_group_name == name for package in held):
        raise ConflictException(
            f"Cannot delete Model Package Group {group.arn}: it still has Model Packages."
        )
    del backend.model_package_groups[name]
    return EmptyResult()
