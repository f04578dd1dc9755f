"""SageMaker's resource type: the group of the model registry."""

from __future__ import annotations

from local.resources import Kind, Made, Order, ResourceError


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
            Tags=order.get("Tags"),
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
        order.discard(
            "sagemaker",
            "DeleteModelPackageGroup",
            ModelPackageGroupName=order["ModelPackageGroupName"],
        )


KINDS: tuple[type[Kind], ...] = (ModelPackageGroup,)
