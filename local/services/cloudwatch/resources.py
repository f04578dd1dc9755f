"""CloudWatch's resource types: alarms and dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.resources import Kind, Order, PutKind


class Alarm(PutKind):
    """AWS::CloudWatch::Alarm."""

    type = "AWS::CloudWatch::Alarm"
    create_only = frozenset({"AlarmName"})
    service, created_by, deleted_by = "cloudwatch", "PutMetricAlarm", "DeleteAlarms"
    name_property, name_limit = "AlarmName", 255

    def attributes(self, order: Order, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ARN."""
        return {"Arn": order.arn("cloudwatch", f"alarm:{name}")}

    def target(self, order: Order) -> dict[str, Any]:
        """Name the alarm to delete."""
        return {"AlarmNames": [order.physical_id]}


class Dashboard(PutKind):
    """AWS::CloudWatch::Dashboard."""

    type = "AWS::CloudWatch::Dashboard"
    create_only = frozenset({"DashboardName"})
    service, created_by, deleted_by = "cloudwatch", "PutDashboard", "DeleteDashboards"
    name_property, name_limit = "DashboardName", 255

    def target(self, order: Order) -> dict[str, Any]:
        """Name the dashboard to delete."""
        return {"DashboardNames": [order.physical_id]}


KINDS: tuple[type[Kind], ...] = (
    Alarm,
    Dashboard,
)
