"""CodeDeploy, and what a template says about itself."""

from __future__ import annotations

from local.resources.base import Kind, Made, Order, tags


class Application(Kind):
    """AWS::CodeDeploy::Application."""

    type = "AWS::CodeDeploy::Application"
    create_only = frozenset({"ApplicationName", "ComputePlatform"})

    def create(self, order: Order) -> Made:
        """Create the application."""
        name = order.get("ApplicationName") or order.name(100)
        order.call(
            "codedeploy",
            "CreateApplication",
            applicationName=name,
            computePlatform=order.get("ComputePlatform", "Server"),
            tags=[{"Key": k, "Value": v} for k, v in tags(order.get("Tags")).items()],
        )
        return Made(name)

    def delete(self, order: Order) -> None:
        """Delete the application."""
        order.discard("codedeploy", "DeleteApplication", applicationName=order.physical_id)


class DeploymentGroup(Kind):
    """AWS::CodeDeploy::DeploymentGroup."""

    type = "AWS::CodeDeploy::DeploymentGroup"
    create_only = frozenset({"ApplicationName", "DeploymentGroupName"})

    def create(self, order: Order) -> Made:
        """Create the group."""
        name = order.physical_id or order.get("DeploymentGroupName") or order.name(100)
        order.call(
            "codedeploy",
            "CreateDeploymentGroup",
            deploymentGroupName=name,
            **order.rest("DeploymentGroupName", "Tags"),
            tags=[{"Key": k, "Value": v} for k, v in tags(order.get("Tags")).items()],
        )
        return Made(name)

    def update(self, order: Order) -> Made:
        """Make the group anew under its name: moto has no UpdateDeploymentGroup."""
        self.delete(order)
        return self.create(order)

    def delete(self, order: Order) -> None:
        """Delete the group."""
        order.discard(
            "codedeploy",
            "DeleteDeploymentGroup",
            applicationName=order["ApplicationName"],
            deploymentGroupName=order.physical_id,
        )


class Metadata(Kind):
    """AWS::CDK::Metadata: says which constructs made the template, makes nothing."""

    type = "AWS::CDK::Metadata"

    def create(self, order: Order) -> Made:
        """Take note of it."""
        return Made(order.physical_id or order.name())

    update = create

    def delete(self, order: Order) -> None:
        """Forget it."""
