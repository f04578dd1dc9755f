"""The deletion of a model package group, which moto's SageMaker lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.core.responses import EmptyResult
from moto.sagemaker.exceptions import ConflictException
from moto.sagemaker.responses import SageMakerResponse

if TYPE_CHECKING:
    from local.cloud import Cloud


def install(cloud: Cloud) -> None:
    """Add DeleteModelPackageGroup, for the life of the cloud."""
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
