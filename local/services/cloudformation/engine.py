"""Bring stacks to their plans: each resource in turn, and back again where one fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from local.host import Host
from local.resources import Kind, Made, Order, ResourceError
from local.services.cloudformation.intrinsics import TemplateError, references, resolve, text
from local.services.cloudformation.model import Event, Plan, Resource, Stack
from local.services.cloudformation.walk import Exports, Walk

logger = logging.getLogger(__name__)


class Engine:
    """Carry out the operations on stacks, with the resource types that it is handed."""

    def __init__(
        self,
        cloud: Host,
        kinds: Mapping[str, Kind],
        exports: Callable[[], Exports],
        lock: threading.RLock,
    ) -> None:
        self._cloud = cloud
        self._kinds = kinds
        self._exports = exports
        self._lock = lock

    def mark(self, stack: Stack, status: str, reason: str = "") -> None:
        """Set a stack's status, record it and emit its event."""
        stack.status, stack.reason = status, reason
        self._record(stack, stack.name, stack.id, "AWS::CloudFormation::Stack", status, reason)
        detail = {
            "stack-id": stack.id,
            "status-details": {"status": status, "status-reason": reason},
            "client-request-token": stack.token,
        }
        self._cloud.events.emit(
            "aws.cloudformation", "CloudFormation Stack Status Change", detail, [stack.id]
        )

    def _record(
        self, stack: Stack, logical_id: str, physical_id: str, kind: str, status: str, reason: str
    ) -> None:
        stack.events.append(
            Event(
                stack_id=stack.id,
                stack_name=stack.name,
                logical_id=logical_id,
                physical_id=physical_id,
                type=kind,
                status=status,
                reason=reason,
                time=self._cloud.clock.utc(),
                token=stack.token,
            )
        )

    def _touch(self, stack: Stack, resource: Resource, status: str, reason: str = "") -> None:
        resource.status, resource.reason, resource.updated = status, reason, self._cloud.clock.utc()
        self._record(
            stack, resource.logical_id, resource.physical_id, resource.type, status, reason
        )

    def _values(self, plan: Plan) -> dict[str, Any]:
        """Return the parameters' values, typed, with SSM parameters looked up."""
        values: dict[str, Any] = {}
        for key, declared in (plan.template.get("Parameters") or {}).items():
            value: Any = plan.parameters.get(key, text(declared.get("Default", "")))
            kind = declared.get("Type", "String")
            if kind.startswith("AWS::SSM::Parameter::Value"):
                answer = self._cloud.client("ssm").get_parameter(Name=value)
                value = answer["Parameter"]["Value"]
            if kind.startswith("List<") or kind == "CommaDelimitedList" or "Value<List" in kind:
                value = [item.strip() for item in value.split(",")] if value else []
            values[key] = value
        return values

    def apply(self, stack: Stack, plan: Plan, verb: str) -> None:
        """Bring the stack to the plan; undo everything if that fails."""
        journal: list[tuple[str, Resource | None, Resource | None]] = []
        leftovers: list[Resource] = []
        try:
            walk = Walk(self._cloud, self._exports, stack, plan, self._values(plan))
            order = walk.active()
            for name in order:
                self._bring(stack, walk, name, journal, leftovers)
            outputs = self._outputs(walk)
        except Exception as error:
            if not isinstance(error, ResourceError | TemplateError):
                logger.exception("stack %s", stack.name)
            self._undo(stack, verb, journal, str(error))
            return
        leftovers += [
            resource for name, resource in stack.resources.items() if name not in walk.resources
        ]
        with self._lock:
            stack.resources = walk.resources
            stack.outputs, stack.plan, stack.values = outputs, plan, dict(walk.values)
        if verb == "UPDATE" and leftovers:
            self.mark(stack, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        for resource in reversed(leftovers):
            self._remove(stack, resource)
        self.mark(stack, f"{verb}_COMPLETE")

    def _bring(
        self,
        stack: Stack,
        walk: Walk,
        name: str,
        journal: list[tuple[str, Resource | None, Resource | None]],
        leftovers: list[Resource],
    ) -> None:
        """Create, update, replace or leave one resource."""
        body = walk.plan.template["Resources"][name]
        resource = Resource(
            logical_id=name,
            type=body["Type"],
            properties=resolve(body.get("Properties") or {}, walk),
            deletion_policy=body.get("DeletionPolicy", "Delete"),
            replace_policy=body.get("UpdateReplacePolicy", "Delete"),
        )
        current = stack.resources.get(name)
        kind = self._kinds[resource.type]
        policy = resolve(body.get("UpdatePolicy") or {}, walk)
        order = self._order(stack, resource, current, policy)
        if current is not None and current.type == resource.type:
            changed = frozenset(
                key
                for key in resource.properties.keys() | current.properties.keys()
                if resource.properties.get(key) != current.properties.get(key)
            )
            if not changed:
                current.deletion_policy = resource.deletion_policy
                current.replace_policy = resource.replace_policy
                walk.resources[name] = current
                return
            resource.physical_id, resource.attributes = current.physical_id, current.attributes
            if not kind.replaces(order, changed):
                journal.append(("updated", current, resource))
                self._touch(stack, resource, "UPDATE_IN_PROGRESS")
                self._make(stack, resource, lambda: kind.update(order), "UPDATE")
                walk.resources[name] = resource
                return
            self._touch(
                stack,
                resource,
                "UPDATE_IN_PROGRESS",
                "Requested update requires the creation of a new physical resource; hence creating"
                " one.",
            )
            resource.physical_id, resource.attributes = "", {}
            order = self._order(stack, resource, None, policy)
        verb = "CREATE" if current is None else "UPDATE"
        if current is None:
            self._touch(stack, resource, "CREATE_IN_PROGRESS")
        self._make(stack, resource, lambda: kind.create(order), verb)
        journal.append(("created" if current is None else "replaced", current, resource))
        if current is not None:
            leftovers.append(replace(current, deletion_policy=current.replace_policy))
        walk.resources[name] = resource

    def _make(self, stack: Stack, resource: Resource, make: Callable[[], Made], verb: str) -> None:
        try:
            made = make()
        except Exception as error:
            self._touch(stack, resource, f"{verb}_FAILED", str(error))
            reason = (
                f"The following resource(s) failed to {verb.lower()}: [{resource.logical_id}]. "
            )
            raise ResourceError(f"{reason}{error}") from error
        resource.physical_id, resource.attributes = made.physical_id, made.attributes
        self._touch(stack, resource, f"{verb}_COMPLETE")

    def _order(
        self,
        stack: Stack,
        resource: Resource,
        current: Resource | None,
        policy: Mapping[str, Any],
    ) -> Order:
        return Order(
            cloud=self._cloud,
            stack_name=stack.name,
            stack_id=stack.id,
            logical_id=resource.logical_id,
            type=resource.type,
            properties=resource.properties,
            physical_id=current.physical_id if current else "",
            attributes=current.attributes if current else {},
            previous=current.properties if current else {},
            update_policy=policy,
        )

    def _undo(
        self,
        stack: Stack,
        verb: str,
        journal: list[tuple[str, Resource | None, Resource | None]],
        reason: str,
    ) -> None:
        """Take back what was done, the last first, and say why."""
        prefix = "ROLLBACK" if verb == "CREATE" else "UPDATE_ROLLBACK"
        self.mark(stack, f"{prefix}_IN_PROGRESS", reason)
        failed: list[str] = []
        for action, before, after in reversed(journal):
            if after is None:
                continue
            try:
                if action == "updated" and before is not None:
                    kind = self._kinds[before.type]
                    order = self._order(stack, before, after, {})
                    self._touch(stack, before, "UPDATE_IN_PROGRESS")
                    kind.update(order)
                    self._touch(stack, before, "UPDATE_COMPLETE")
                else:
                    if before is not None:
                        self._touch(stack, before, "UPDATE_COMPLETE")
                    self._remove(stack, after)
            except Exception as error:
                logger.exception("rolling back %s", after.logical_id)
                failed.append(f"{after.logical_id}: {error}")
        if failed:
            self.mark(stack, f"{prefix}_FAILED", "; ".join(failed))
        else:
            self.mark(stack, f"{prefix}_COMPLETE")

    def _remove(self, stack: Stack, resource: Resource) -> None:
        if resource.deletion_policy in {"Retain", "RetainExceptOnCreate"}:
            self._touch(stack, resource, "DELETE_SKIPPED")
            return
        self._touch(stack, resource, "DELETE_IN_PROGRESS")
        try:
            self._kinds[resource.type].delete(self._order(stack, resource, resource, {}))
        except Exception as error:
            self._touch(stack, resource, "DELETE_FAILED", str(error))
            raise
        self._touch(stack, resource, "DELETE_COMPLETE")

    def _outputs(self, walk: Walk) -> dict[str, dict[str, str]]:
        outputs = {}
        for name, body in (walk.plan.template.get("Outputs") or {}).items():
            if "Condition" in body and not walk.condition(body["Condition"]):
                continue
            output = {"OutputKey": name, "OutputValue": text(resolve(body["Value"], walk))}
            if "Description" in body:
                output["Description"] = text(resolve(body["Description"], walk))
            if "Export" in body:
                export = text(resolve(body["Export"]["Name"], walk))
                owner = self._exports().get(export)
                if owner is not None and owner[0] is not walk.stack:
                    raise TemplateError(
                        f"Export with name {export} is already exported by stack {owner[0].name}."
                    )
                output["ExportName"] = export
            outputs[name] = output
        return outputs

    def delete(self, stack: Stack) -> None:
        """Delete what a stack holds, each resource before what it depends on."""
        failed = []
        if stack.plan is not None:
            walk = Walk(
                self._cloud, self._exports, stack, stack.plan, stack.values, dict(stack.resources)
            )
            for name in reversed(walk.active()):
                if name not in stack.resources:
                    continue
                try:
                    self._remove(stack, stack.resources[name])
                except Exception as error:
                    failed.append(f"{name}: {error}")
                else:
                    del stack.resources[name]
        if failed:
            reason = f"The following resource(s) failed to delete: {'; '.join(failed)}"
            self.mark(stack, "DELETE_FAILED", reason)
            return
        stack.outputs = {}
        self.mark(stack, "DELETE_COMPLETE")

    def describe_changes(self, stack: Stack, plan: Plan) -> list[dict[str, Any]]:
        """Describe what a plan would change, as far as it is known before doing it."""
        old = stack.plan.template["Resources"] if stack.plan else {}
        new = plan.template["Resources"]
        parameters = {
            key
            for key in plan.parameters
            if stack.plan and stack.plan.parameters.get(key) != plan.parameters[key]
        }
        walk = Walk(self._cloud, self._exports, stack, plan, self._values(plan))
        active = set(walk.active())
        changes = []
        for name in dict.fromkeys((*new, *old)):
            if name in active and name not in stack.resources:
                action = "Add"
            elif name not in active and name in stack.resources:
                action = "Remove"
            elif name in active and (
                new[name] != old.get(name)
                or parameters & set(references(new[name], walk.conditions))
            ):
                action = "Modify"
            else:
                continue
            body = new.get(name) or old[name]
            current = stack.resources.get(name)
            change = {
                "Action": action,
                "LogicalResourceId": name,
                "ResourceType": body["Type"],
                "Scope": ["Properties"] if action == "Modify" else [],
                "Details": [],
            }
            if current is not None:
                change["PhysicalResourceId"] = current.physical_id
            if action == "Modify":
                change["Replacement"] = self._replacement(
                    self._kinds[body["Type"]], old.get(name, {}), new[name], parameters, walk
                )
            changes.append({"Type": "Resource", "ResourceChange": change})
        return changes

    @staticmethod
    def _replacement(
        kind: Kind,
        old: Mapping[str, Any],
        new: Mapping[str, Any],
        parameters: set[str],
        walk: Walk,
    ) -> str:
        before, after = old.get("Properties") or {}, new.get("Properties") or {}
        for key in before.keys() | after.keys():
            changed = before.get(key) != after.get(key) or bool(
                parameters & set(references(after.get(key), walk.conditions))
            )
            if changed and key in kind.create_only:
                return "True"
        return "False"
