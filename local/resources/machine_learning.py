"""SageMaker: the model registry."""

from __future__ import annotations

from moto.sagemaker.models import sagemaker_backends

from local.resources.base import Kind, Made, Order, ResourceError, tags


class ModelPackageGroup(Kind):
    """AWS::SageMaker::ModelPackageGroup."""

    type = "AWS::SageMaker::ModelPackageGroup"
    create_only = frozenset({"ModelPackageGroupName", "ModelPackageGroupDescription"})

    def create(self, order: Order) -> Made:
        """Create the group."""
        answer = order.call(
            "sagemaker",
            "CreateModelPackageGroup",
            **order.given("ModelPackageGroupName", "ModelPackageGroupDescription"),
            Tags=[{"Key": k, "Value": v} for k, v in tags(order.get("Tags")).items()],
        )
        arn = answer["ModelPackageGroupArn"]
        return Made(arn, {"ModelPackageGroupArn": arn})

    def update(self, order: Order) -> Made:
        """Keep the group; its tags are all that can change in place."""
        if set(order.properties) - {*self.create_only, "Tags"}:
            raise ResourceError("the local cloud does not support a model package group's policy")
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the group; as on AWS, one that holds packages is refused."""
        name = order["ModelPackageGroupName"]
        client = order.cloud.client("sagemaker")
        if client.list_model_packages(ModelPackageGroupName=name)["ModelPackageSummaryList"]:
            raise ResourceError(
                f"Cannot delete Model Package Group {name}: it still has Model Packages"
            )
        # moto has no DeleteModelPackageGroup.
        backend = sagemaker_backends[order.cloud.account][order.cloud.region]
        backend.model_package_groups.pop(name, None)
