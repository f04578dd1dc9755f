"""CloudWatch Logs' resource types: groups, streams, filters, policies."""

from __future__ import annotations

from typing import Any

from local.resources import Kind, Made, NamedKind, Order, PutKind, tags


class LogGroup(Kind):
    """AWS::Logs::LogGroup."""

    type = "AWS::Logs::LogGroup"
    create_only = frozenset({"LogGroupName", "LogGroupClass"})

    def create(self, order: Order) -> Made:
        """Create the group."""
        name = order.get("LogGroupName") or order.name(512)
        order.call(
            "logs",
            "CreateLogGroup",
            logGroupName=name,
            **order.given(kmsKeyId="KmsKeyId", logGroupClass="LogGroupClass"),
            tags=order.get("Tags"),
        )
        self._retain(order, name)
        return Made(name, {"Arn": order.arn("logs", f"log-group:{name}:*")})

    def update(self, order: Order) -> Made:
        """Set the retention again."""
        self._retain(order, order.physical_id)
        return Made(order.physical_id, order.attributes)

    @staticmethod
    def _retain(order: Order, name: str) -> None:
        if "RetentionInDays" in order.properties:
            order.call(
                "logs",
                "PutRetentionPolicy",
                logGroupName=name,
                retentionInDays=order["RetentionInDays"],
            )
        elif "RetentionInDays" in order.previous:
            order.discard("logs", "DeleteRetentionPolicy", logGroupName=name)

    def delete(self, order: Order) -> None:
        """Delete the group."""
        order.discard("logs", "DeleteLogGroup", logGroupName=order.physical_id)


class LogStream(NamedKind):
    """AWS::Logs::LogStream."""

    type = "AWS::Logs::LogStream"
    create_only = frozenset({"LogGroupName", "LogStreamName"})
    service, created_by, deleted_by = "logs", "CreateLogStream", "DeleteLogStream"
    name_property = "LogStreamName"

    def target(self, order: Order) -> dict[str, Any]:
        """Name the stream to delete, and its group."""
        return {**order.given("LogGroupName"), "LogStreamName": order.physical_id}


class SubscriptionFilter(PutKind):
    """AWS::Logs::SubscriptionFilter."""

    type = "AWS::Logs::SubscriptionFilter"
    create_only = frozenset({"LogGroupName", "FilterName"})
    service, created_by, deleted_by = "logs", "PutSubscriptionFilter", "DeleteSubscriptionFilter"
    name_property, name_limit = "FilterName", 512

    def target(self, order: Order) -> dict[str, Any]:
        """Name the filter to delete, and its group."""
        return {**order.given("LogGroupName"), "FilterName": order.physical_id}


class MetricFilter(SubscriptionFilter):
    """AWS::Logs::MetricFilter."""

    type = "AWS::Logs::MetricFilter"
    created_by, deleted_by = "PutMetricFilter", "DeleteMetricFilter"

    def parameters(self, order: Order) -> dict[str, Any]:
        """Return the filter, each dimension by its name."""
        transformations = [
            {
                key: tags(value) if key == "Dimensions" else value
                for key, value in transformation.items()
            }
            for transformation in order["MetricTransformations"]
        ]
        return order.rest("FilterName") | {"MetricTransformations": transformations}


class LogResourcePolicy(PutKind):
    """AWS::Logs::ResourcePolicy."""

    type = "AWS::Logs::ResourcePolicy"
    create_only = frozenset({"PolicyName"})
    service, created_by, deleted_by = "logs", "PutResourcePolicy", "DeleteResourcePolicy"
    name_property = "PolicyName"


KINDS: tuple[type[Kind], ...] = (
    LogGroup,
    LogStream,
    SubscriptionFilter,
    MetricFilter,
    LogResourcePolicy,
)
