"""EventBridge's resource types: rules, and the scheduler's schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.resources import Kind, Made, NamedKind, Order, ResourceError


class Rule(Kind):
    """AWS::Events::Rule."""

    type = "AWS::Events::Rule"
    create_only = frozenset({"Name", "EventBusName"})

    def create(self, order: Order) -> Made:
        """Create the rule with its targets."""
        return self._put(order, order.get("Name") or order.name())

    def update(self, order: Order) -> Made:
        """Put the rule again and drop targets that are gone."""
        gone = {target["Id"] for target in order.previous.get("Targets") or []} - {
            target["Id"] for target in order.get("Targets") or []
        }
        name = order.attributes["Name"]
        if gone:
            order.call("events", "RemoveTargets", Rule=name, Ids=sorted(gone))
        return self._put(order, name)

    @staticmethod
    def _put(order: Order, name: str) -> Made:
        answer = order.call("events", "PutRule", Name=name, **order.rest("Name", "Targets"))
        targets = order.get("Targets") or []
        if targets:
            failed = order.call(
                "events",
                "PutTargets",
                Rule=name,
                Targets=targets,
                **order.given("EventBusName"),
            )
            if failed.get("FailedEntryCount"):
                raise ResourceError(f"targets were refused: {failed['FailedEntries']}")
        return Made(name, {"Arn": answer["RuleArn"], "Name": name})

    def delete(self, order: Order) -> None:
        """Delete the rule with its targets."""
        name = order.attributes["Name"]
        ids = [target["Id"] for target in order.get("Targets") or []]
        if ids:
            order.discard("events", "RemoveTargets", Rule=name, Ids=ids)
        order.discard("events", "DeleteRule", Name=name)


class Schedule(NamedKind):
    """AWS::Scheduler::Schedule."""

    type = "AWS::Scheduler::Schedule"
    create_only = frozenset({"Name", "GroupName"})

    service, created_by, deleted_by = "scheduler", "CreateSchedule", "DeleteSchedule"
    name_property = "Name"

    def attributes(self, order: Order, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ARN."""
        return {"Arn": answer["ScheduleArn"]}

    def update(self, order: Order) -> Made:
        """Update the schedule."""
        order.call("scheduler", "UpdateSchedule", Name=order.physical_id, **order.rest("Name"))
        return Made(order.physical_id, order.attributes)

    def target(self, order: Order) -> dict[str, Any]:
        """Name the schedule to delete, and its group."""
        return {"Name": order.physical_id, **order.given("GroupName")}


KINDS: tuple[type[Kind], ...] = (
    Rule,
    Schedule,
)
