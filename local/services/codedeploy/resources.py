"""CodeDeploy's resource types: applications and their deployment groups."""

from __future__ import annotations

from typing import Any

from local.resources import Kind, NamedKind, Order


class Application(NamedKind):
    """AWS::CodeDeploy::Application."""

    type = "AWS::CodeDeploy::Application"
    create_only = frozenset({"ApplicationName", "ComputePlatform"})
    service, created_by, deleted_by = "codedeploy", "CreateApplication", "DeleteApplication"
    name_property, name_limit = "ApplicationName", 100

    def parameters(self, order: Order) -> dict[str, Any]:
        """Return the platform, the servers' where none is given, and the tags."""
        return {"ComputePlatform": "Server"} | order.given("ComputePlatform", "Tags")


class DeploymentGroup(NamedKind):
    """AWS::CodeDeploy::DeploymentGroup."""

    type = "AWS::CodeDeploy::DeploymentGroup"
    create_only = frozenset({"ApplicationName", "DeploymentGroupName"})
    service, created_by, deleted_by = "codedeploy", "CreateDeploymentGroup", "DeleteDeploymentGroup"
    name_property, name_limit = "DeploymentGroupName", 100

    update = Kind.remake  # moto has no UpdateDeploymentGroup

    def target(self, order: Order) -> dict[str, Any]:
        """Name the group to delete, and its application."""
        return {**order.given("ApplicationName"), "DeploymentGroupName": order.physical_id}


KINDS: tuple[type[Kind], ...] = (
    Application,
    DeploymentGroup,
)
