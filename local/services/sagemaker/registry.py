"""The model registry: what moto's SageMaker lacks of it, its events, and the cloud's own time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import moto.sagemaker.models
from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import ConflictException, ValidationError
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from local.parts import Part
from local.services.sagemaker.job import plain


class Registry(Part):
    """Delete groups and packages, keep what an update omits, emit an event for each change."""

    def start(self) -> None:
        """Add what is lacking, and stamp by the cloud's clock."""
        registry = self
        create: Callable[..., Any] = SageMakerModelBackend.create_model_package
        update: Callable[..., Any] = SageMakerModelBackend.update_model_package

        def create_model_package(backend: Any, *args: Any, **kw: Any) -> Any:
            arn = create(backend, *args, **kw)
            registry._emit(arn, None)
            return arn

        def delete_model_package(response: Any) -> Any:
            registry._delete(str(response._get_param("ModelPackageName")))
            return ActionResult({})

        def update_model_package(backend: Any, *args: Any, **kw: Any) -> Any:
            return registry._update(backend, update, *args, **kw)

        replace, add = self._seams.replace, self._seams.add
        replace(moto.sagemaker.models, "utcnow", self._cloud.clock.naive_utc)
        replace(SageMakerModelBackend, "create_model_package", create_model_package)
        replace(SageMakerModelBackend, "update_model_package", update_model_package)
        add(SageMakerResponse, "delete_model_package", delete_model_package)
        add(SageMakerResponse, "delete_model_package_group", _delete_model_package_group)

    def _backend(self) -> Any:
        return sagemaker_backends[self._cloud.account][self._cloud.region]

    def _emit(self, arn: str, updated: list[str] | None) -> None:
        backend = self._backend()
        package = backend.model_packages[backend.model_package_name_mapping.get(arn, arn)]
        detail = {
            name: value
            for name, value in package.gen_response_object().items()
            if name != "Tags" and value is not None
        }
        detail["ModelPackageArn"] = detail.pop("Arn", package.arn)
        if updated is not None:
            detail["UpdatedModelPackageFields"] = updated
        self._cloud.events.emit(
            "aws.sagemaker", "SageMaker Model Package State Change", plain(detail), [package.arn]
        )

    def _delete(self, name: str) -> None:
        backend = self._backend()
        arn = backend.model_package_name_mapping.get(name, name)
        if arn not in backend.model_packages:
            raise ValidationError(message=f"Model Package {name} does not exist.")
        package = backend.model_packages.pop(arn)
        for known in (package.model_package_name, arn):
            backend.model_package_name_mapping.pop(known, None)

    def _update(self, backend: Any, update: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """Update what is named and keep the rest, which moto 5.2.5 forgets; then emit the event."""
        names = (
            "model_package_arn",
            "model_approval_status",
            "approval_description",
            "customer_metadata_properties",
            "customer_metadata_properties_to_remove",
            "additional_inference_specifications_to_add",
        )
        asked = {**dict(zip(names, args, strict=False)), **kw}
        arn = asked["model_package_arn"]
        package = backend.model_packages.get(backend.model_package_name_mapping.get(arn, arn))
        fields = {
            "model_approval_status": "ModelApprovalStatus",
            "approval_description": "ApprovalDescription",
            "customer_metadata_properties": "CustomerMetadataProperties",
            "customer_metadata_properties_to_remove": "CustomerMetadataProperties",
            "additional_inference_specifications_to_add": "AdditionalInferenceSpecifications",
        }
        updated = sorted({field for name, field in fields.items() if asked.get(name)})
        if package is not None:
            if not asked.get("model_approval_status"):
                asked["model_approval_status"] = package.model_approval_status
            if asked.get("approval_description") is None:
                asked["approval_description"] = package.approval_description
            asked["customer_metadata_properties"] = {
                **(package.customer_metadata_properties or {}),
                **(asked.get("customer_metadata_properties") or {}),
            }
        answer = update(backend, **asked)
        self._emit(arn, updated)
        return answer


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
