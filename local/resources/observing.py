"""CloudWatch, Logs, Firehose, Budgets: what watches."""

from __future__ import annotations

from typing import Any

from local.resources.base import Kind, Made, Order, tags


class Alarm(Kind):
    """AWS::CloudWatch::Alarm."""

    type = "AWS::CloudWatch::Alarm"
    create_only = frozenset({"AlarmName"})

    def create(self, order: Order) -> Made:
        """Put the alarm."""
        name = order.physical_id or order.get("AlarmName") or order.name(255)
        order.call(
            "cloudwatch",
            "PutMetricAlarm",
            AlarmName=name,
            **order.rest("AlarmName", "Tags"),
            Tags=[{"Key": k, "Value": v} for k, v in tags(order.get("Tags")).items()] or None,
        )
        cloud = order.cloud
        arn = f"arn:aws:cloudwatch:{cloud.region}:{cloud.account}:alarm:{name}"
        return Made(name, {"Arn": arn})

    update = create

    def delete(self, order: Order) -> None:
        """Delete the alarm."""
        order.discard("cloudwatch", "DeleteAlarms", AlarmNames=[order.physical_id])


class Dashboard(Kind):
    """AWS::CloudWatch::Dashboard."""

    type = "AWS::CloudWatch::Dashboard"
    create_only = frozenset({"DashboardName"})

    def create(self, order: Order) -> Made:
        """Put the dashboard."""
        name = order.physical_id or order.get("DashboardName") or order.name(255)
        order.call(
            "cloudwatch", "PutDashboard", DashboardName=name, DashboardBody=order["DashboardBody"]
        )
        return Made(name)

    update = create

    def delete(self, order: Order) -> None:
        """Delete the dashboard."""
        order.discard("cloudwatch", "DeleteDashboards", DashboardNames=[order.physical_id])


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
            tags=tags(order.get("Tags")),
        )
        self._retain(order, name)
        cloud = order.cloud
        arn = f"arn:aws:logs:{cloud.region}:{cloud.account}:log-group:{name}:*"
        return Made(name, {"Arn": arn})

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


class LogStream(Kind):
    """AWS::Logs::LogStream."""

    type = "AWS::Logs::LogStream"
    create_only = frozenset({"LogGroupName", "LogStreamName"})

    def create(self, order: Order) -> Made:
        """Create the stream."""
        name = order.get("LogStreamName") or order.name()
        order.call(
            "logs", "CreateLogStream", logGroupName=order["LogGroupName"], logStreamName=name
        )
        return Made(name)

    def delete(self, order: Order) -> None:
        """Delete the stream."""
        order.discard(
            "logs",
            "DeleteLogStream",
            logGroupName=order["LogGroupName"],
            logStreamName=order.physical_id,
        )


class SubscriptionFilter(Kind):
    """AWS::Logs::SubscriptionFilter."""

    type = "AWS::Logs::SubscriptionFilter"
    create_only = frozenset({"LogGroupName", "FilterName"})

    def create(self, order: Order) -> Made:
        """Put the filter."""
        name = order.physical_id or order.get("FilterName") or order.name(512)
        order.call("logs", "PutSubscriptionFilter", filterName=name, **order.rest("FilterName"))
        return Made(name)

    update = create

    def delete(self, order: Order) -> None:
        """Delete the filter."""
        order.discard(
            "logs",
            "DeleteSubscriptionFilter",
            logGroupName=order["LogGroupName"],
            filterName=order.physical_id,
        )


class MetricFilter(Kind):
    """AWS::Logs::MetricFilter."""

    type = "AWS::Logs::MetricFilter"
    create_only = frozenset({"LogGroupName", "FilterName"})

    def create(self, order: Order) -> Made:
        """Put the filter."""
        name = order.physical_id or order.get("FilterName") or order.name(512)
        transformations = [
            {
                key: tags(value) if key == "Dimensions" else value
                for key, value in transformation.items()
            }
            for transformation in order["MetricTransformations"]
        ]
        order.call(
            "logs",
            "PutMetricFilter",
            filterName=name,
            metricTransformations=transformations,
            **order.rest("FilterName", "MetricTransformations"),
        )
        return Made(name)

    update = create

    def delete(self, order: Order) -> None:
        """Delete the filter."""
        order.discard(
            "logs",
            "DeleteMetricFilter",
            logGroupName=order["LogGroupName"],
            filterName=order.physical_id,
        )


class LogResourcePolicy(Kind):
    """AWS::Logs::ResourcePolicy."""

    type = "AWS::Logs::ResourcePolicy"
    create_only = frozenset({"PolicyName"})

    def create(self, order: Order) -> Made:
        """Put the policy."""
        order.call("logs", "PutResourcePolicy", **order.properties)
        return Made(order["PolicyName"])

    update = create

    def delete(self, order: Order) -> None:
        """Delete the policy."""
        order.discard("logs", "DeleteResourcePolicy", policyName=order.physical_id)


class DeliveryStream(Kind):
    """AWS::KinesisFirehose::DeliveryStream."""

    type = "AWS::KinesisFirehose::DeliveryStream"
    create_only = frozenset(
        {"DeliveryStreamName", "DeliveryStreamType", "KinesisStreamSourceConfiguration"}
    )

    def create(self, order: Order) -> Made:
        """Create the stream."""
        name = order.get("DeliveryStreamName") or order.name()
        answer = order.call(
            "firehose",
            "CreateDeliveryStream",
            DeliveryStreamName=name,
            **order.rest("DeliveryStreamName", "Tags"),
            Tags=[{"Key": k, "Value": v} for k, v in tags(order.get("Tags")).items()] or None,
        )
        return Made(name, {"Arn": answer["DeliveryStreamARN"]})

    def update(self, order: Order) -> Made:
        """Update the destination."""
        described: dict[str, Any] = order.call(
            "firehose", "DescribeDeliveryStream", DeliveryStreamName=order.physical_id
        )["DeliveryStreamDescription"]
        order.call(
            "firehose",
            "UpdateDestination",
            DeliveryStreamName=order.physical_id,
            CurrentDeliveryStreamVersionId=described["VersionId"],
            DestinationId=described["Destinations"][0]["DestinationId"],
            ExtendedS3DestinationUpdate=order["ExtendedS3DestinationConfiguration"],
        )
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the stream."""
        order.discard("firehose", "DeleteDeliveryStream", DeliveryStreamName=order.physical_id)


class Budget(Kind):
    """AWS::Budgets::Budget."""

    type = "AWS::Budgets::Budget"

    def replaces(self, order: Order, changed: frozenset[str]) -> bool:
        """Ask for a new budget when it is renamed."""
        now, before = order.properties.get("Budget", {}), order.previous.get("Budget", {})
        return bool(now.get("BudgetName") != before.get("BudgetName"))

    def create(self, order: Order) -> Made:
        """Create the budget with its notifications."""
        budget = dict(order["Budget"])
        name = budget.setdefault("BudgetName", order.name(100))
        order.call(
            "budgets",
            "CreateBudget",
            AccountId=order.cloud.account,
            Budget=budget,
            NotificationsWithSubscribers=order.get("NotificationsWithSubscribers"),
        )
        return Made(name)

    def update(self, order: Order) -> Made:
        """Make the budget anew under its name: moto has no UpdateBudget."""
        self.delete(order)
        budget = dict(order["Budget"]) | {"BudgetName": order.physical_id}
        order.call(
            "budgets",
            "CreateBudget",
            AccountId=order.cloud.account,
            Budget=budget,
            NotificationsWithSubscribers=order.get("NotificationsWithSubscribers"),
        )
        return Made(order.physical_id)

    def delete(self, order: Order) -> None:
        """Delete the budget."""
        order.discard(
            "budgets", "DeleteBudget", AccountId=order.cloud.account, BudgetName=order.physical_id
        )
