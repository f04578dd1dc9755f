"""CloudFormation: stacks, change sets, rollback, and the API that tools speak to it.

moto creates a stack's resources in the order of first use, never looks at a dependant of what it
replaces, has no rollback, and passes over types that it does not know. Here the template's graph is
walked as CloudFormation walks it; the resources themselves are made through the public APIs
(`local.resources`).
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.intrinsics import NO_VALUE, TemplateError, parse_template, references, resolve, text
from local.resources import KINDS, Kind, Made, Order, ResourceError

if TYPE_CHECKING:
    from local.cloud import Cloud

logger = logging.getLogger(__name__)
NOTHING_CHANGED = (
    "The submitted information didn't contain changes. "
    "Submit different information to create a change set."
)


class StackError(Exception):
    """An API call that CloudFormation refuses (ValidationError unless `code` says otherwise)."""

    def __init__(self, message: str, code: str = "ValidationError") -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Resource:
    """One resource of a stack as it stands."""

    logical_id: str
    type: str
    properties: dict[str, Any]
    physical_id: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    status: str = "CREATE_IN_PROGRESS"
    reason: str = ""
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))
    deletion_policy: str = "Delete"
    replace_policy: str = "Delete"


@dataclass(frozen=True)
class Event:
    """One line of a stack's history."""

    stack_id: str
    stack_name: str
    logical_id: str
    physical_id: str
    type: str
    status: str
    reason: str
    time: datetime
    token: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class Plan:
    """What a stack is asked to become."""

    body: str
    template: Mapping[str, Any]
    parameters: Mapping[str, str]
    tags: tuple[tuple[str, str], ...] = ()


@dataclass
class ChangeSet:
    """A change that was described and may be carried out."""

    id: str
    name: str
    stack: Stack
    plan: Plan
    kind: str
    description: str
    created: datetime
    changes: list[dict[str, Any]]
    status: str = "CREATE_COMPLETE"
    execution_status: str = "AVAILABLE"
    reason: str = ""


@dataclass
class Stack:
    """One stack: what it was last asked to be, what it is, and its history."""

    id: str
    name: str
    created: datetime
    status: str = "REVIEW_IN_PROGRESS"
    reason: str = ""
    plan: Plan | None = None
    values: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    change_sets: dict[str, ChangeSet] = field(default_factory=dict)
    role_arn: str = ""
    capabilities: tuple[str, ...] = ()
    notification_arns: tuple[str, ...] = ()
    protected: bool = False
    token: str = ""
    updated: datetime | None = None
    policy: str = ""

    @property
    def busy(self) -> bool:
        """Tell whether an operation is under way."""
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"


@dataclass
class Walk:
    """One pass over a template: the scope that its functions see (see `intrinsics.Scope`)."""

    stacks: Stacks
    stack: Stack
    plan: Plan
    values: Mapping[str, Any]
    resources: dict[str, Resource] = field(default_factory=dict)
    conditions: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Evaluate every condition once, so that the graph knows the branches taken."""
        for name in self.plan.template.get("Conditions") or {}:
            self.condition(name)

    def ref(self, name: str) -> Any:
        """Answer Ref."""
        if name in self.values:
            return self.values[name]
        if name in self.resources:
            return self.resources[name].physical_id
        cloud = self.stacks.cloud
        pseudo = {
            "AWS::AccountId": cloud.account,
            "AWS::Region": cloud.region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.stack.name,
            "AWS::StackId": self.stack.id,
            "AWS::NotificationARNs": list(self.stack.notification_arns),
            "AWS::NoValue": NO_VALUE,
        }
        if name in pseudo:
            return pseudo[name]
        raise TemplateError(
            f"Template format error: Unresolved resource dependencies [{name}] in the template"
        )

    def attribute(self, name: str, attribute: str) -> Any:
        """Answer Fn::GetAtt."""
        if name not in self.resources:
            raise TemplateError(
                f"Template error: instance of Fn::GetAtt references undefined resource {name}"
            )
        resource = self.resources[name]
        if attribute not in resource.attributes:
            raise TemplateError(
                f"Template error: resource {name} ({resource.type}) does not support attribute type"
                f" {attribute} in Fn::GetAtt (in the local cloud)"
            )
        return resource.attributes[attribute]

    def condition(self, name: str) -> bool:
        """Answer a named condition."""
        if name not in self.conditions:
            declared = self.plan.template.get("Conditions") or {}
            if name not in declared:
                raise TemplateError(f"Template format error: Unresolved condition {name}")
            self.conditions[name] = bool(resolve(declared[name], self))
        return self.conditions[name]

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Answer one table of Mappings."""
        table: Mapping[str, Any] = self.plan.template["Mappings"][name]
        return table

    def imported(self, name: str) -> Any:
        """Answer Fn::ImportValue."""
        exports = self.stacks.exports()
        if name not in exports:
            raise TemplateError(f"No export named {name} found")
        return exports[name][1]

    def active(self) -> list[str]:
        """Return the resources to make, each after what it depends on."""
        declared = self.plan.template["Resources"]
        wanted = {
            name: body
            for name, body in declared.items()
            if "Condition" not in body or self.condition(body["Condition"])
        }
        needs: dict[str, list[str]] = {}
        for name, body in wanted.items():
            explicit = body.get("DependsOn", [])
            explicit = [explicit] if isinstance(explicit, str) else explicit
            implied = references(
                {"p": body.get("Properties", {}), "u": body.get("UpdatePolicy", {})},
                self.conditions,
            )
            needs[name] = [other for other in (*explicit, *implied) if other in declared]
            for other in needs[name]:
                if other not in wanted and other not in explicit:
                    raise TemplateError(
                        f"Template format error: Unresolved resource dependencies [{other}] in the"
                        " Resources block of the template"
                    )
        order: list[str] = []
        state: dict[str, int] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if state.get(name) == 2 or name not in wanted:
                return
            if state.get(name) == 1:
                raise TemplateError(
                    f"Circular dependency between resources: [{', '.join((*path, name))}]"
                )
            state[name] = 1
            for other in needs[name]:
                visit(other, (*path, name))
            state[name] = 2
            order.append(name)

        for name in wanted:
            visit(name, ())
        return order


class Stacks:
    """All stacks of the account, and the operations on them."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.stacks: dict[str, Stack] = {}
        self._lock = threading.RLock()

    # -- reading ------------------------------------------------------------------------------

    def find(self, name: str) -> Stack:
        """Return a stack by name (not a deleted one) or id; raise StackError if there is none."""
        with self._lock:
            if name in self.stacks:
                return self.stacks[name]
            for stack in self.stacks.values():
                if stack.name == name and stack.status != "DELETE_COMPLETE":
                    return stack
        raise StackError(f"Stack with id {name} does not exist")

    def all(self, *, deleted: bool = False) -> list[Stack]:
        """Return the stacks, oldest first."""
        with self._lock:
            return [
                stack
                for stack in self.stacks.values()
                if deleted or stack.status != "DELETE_COMPLETE"
            ]

    def exports(self) -> dict[str, tuple[Stack, str]]:
        """Return every export: the stack it comes from and its value."""
        return {
            output["ExportName"]: (stack, output["OutputValue"])
            for stack in self.all()
            for output in stack.outputs.values()
            if "ExportName" in output
        }

    # -- asking -------------------------------------------------------------------------------

    def plan(
        self,
        body: str,
        parameters: Iterable[Mapping[str, Any]],
        tags: Mapping[str, str],
        stack: Stack | None,
    ) -> Plan:
        """Check a template and its parameters as the API does before it accepts them."""
        try:
            template = parse_template(body)
        except TemplateError as error:
            raise StackError(str(error)) from error
        types = {item.get("Type", "") for item in template["Resources"].values()}
        unknown = sorted(types - set(KINDS))
        if unknown:
            raise StackError(
                f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]"
                " (the local cloud makes every resource of a template or none: model the type in"
                " local/resources)"
            )
        if template.get("Transform"):
            raise StackError(f"the local cloud has no transform {template['Transform']}")
        declared = template.get("Parameters") or {}
        given: dict[str, str] = {}
        previous = stack.plan.parameters if stack and stack.plan else {}
        for parameter in parameters:
            key = parameter["ParameterKey"]
            keep = str(parameter.get("UsePreviousValue", False)).lower() == "true"
            if keep and parameter.get("ParameterValue"):
                raise StackError(
                    f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as"
                    " true and non empty value for a parameter"
                )
            if key not in declared:
                raise StackError(f"Parameters: [{key}] do not exist in the template")
            if keep:
                if key in previous:
                    given[key] = previous[key]
                elif "Default" not in declared[key]:
                    raise StackError(
                        f"Invalid input for parameter key {key}. Cannot use previous value, as it"
                        " has none"
                    )
            else:
                given[key] = str(parameter.get("ParameterValue", ""))
        missing = [k for k, v in declared.items() if k not in given and "Default" not in v]
        if missing:
            raise StackError(f"Parameters: [{', '.join(missing)}] must have values")
        for key, value in given.items():
            allowed = declared[key].get("AllowedValues")
            if allowed and value not in [text(item) for item in allowed]:
                raise StackError(f"Template error: Parameter {key} must be one of AllowedValues")
        return Plan(body, template, given, tuple(sorted(tags.items())))

    def create(self, name: str, plan: Plan, **options: Any) -> Stack:
        """Create a stack in the background; refuse a name that is in use."""
        with self._lock:
            if any(stack.name == name for stack in self.all()):
                raise StackError(f"Stack [{name}] already exists", "AlreadyExistsException")
            stack = self._new(name, options)
            self._start(stack, plan, "CREATE")
        return stack

    def update(self, name: str, plan: Plan, **options: Any) -> Stack:
        """Update a stack in the background; refuse while one runs, or if nothing changes."""
        with self._lock:
            stack = self.find(name)
            self._refuse_unready(stack)
            if stack.plan is not None and _same(stack.plan, plan):
                raise StackError("No updates are to be performed.")
            self._set(stack, options)
            self._start(stack, plan, "UPDATE")
        return stack

    def delete(self, name: str, token: str = "") -> None:
        """Delete a stack in the background; a stack that is not there is no error."""
        with self._lock:
            try:
                stack = self.find(name)
            except StackError:
                return
            if stack.protected:
                raise StackError(
                    f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
                )
            if stack.busy:
                raise StackError(
                    f"Stack [{stack.id}] cannot be deleted while in status {stack.status}"
                )
            used = {
                export for export, (owner, _) in self.exports().items() if owner is stack
            } & self._imports(stack)
            if used:
                raise StackError(
                    f"Export {min(used)} cannot be deleted as it is in use by another stack"
                )
            stack.token = token
            self._mark(stack, "DELETE_IN_PROGRESS", "User Initiated")
        self._spawn(stack, lambda: self._delete(stack))

    def _imports(self, without: Stack) -> set[str]:
        names: set[str] = set()
        for stack in self.all():
            if stack is without or stack.plan is None:
                continue
            walk = Walk(self, stack, stack.plan, stack.values, dict(stack.resources))
            names.update(_imports(stack.plan.template.get("Resources", {}), walk))
        return names

    def create_change_set(
        self,
        stack_name: str,
        name: str,
        kind: str,
        plan_for: Callable[[Stack | None], Plan],
        description: str,
        **options: Any,
    ) -> ChangeSet:
        """Describe a change; a new stack waits in REVIEW_IN_PROGRESS for it to be carried out."""
        with self._lock:
            existing = next((s for s in self.all() if s.name == stack_name), None)
            if kind == "UPDATE" and existing is None:
                raise StackError(f"Stack [{stack_name}] does not exist")
            if kind == "CREATE" and existing and existing.status != "REVIEW_IN_PROGRESS":
                raise StackError(
                    f"Stack [{stack_name}] already exists and cannot be created again with the"
                    f" changeSet [{name}].",
                    "AlreadyExistsException",
                )
            if existing is not None and kind == "UPDATE":
                self._refuse_unready(existing)
            plan = plan_for(existing)
            stack = existing or self._new(stack_name, options)
            if existing is None:
                self._mark(stack, "REVIEW_IN_PROGRESS", "User Initiated")
            change_set = ChangeSet(
                id=self._arn(f"changeSet/{name}/{uuid.uuid4()}"),
                name=name,
                stack=stack,
                plan=plan,
                kind=kind,
                description=description,
                created=self._now(),
                changes=self._changes(stack, plan),
            )
            if kind == "UPDATE" and stack.plan is not None and _same(stack.plan, plan):
                change_set.status, change_set.execution_status = "FAILED", "UNAVAILABLE"
                change_set.reason = NOTHING_CHANGED
            self._set(stack, options)
            stack.change_sets[change_set.id] = change_set
        return change_set

    def change_set(self, name: str, stack_name: str | None) -> ChangeSet:
        """Find a change set by id, or by name within a stack."""
        with self._lock:
            for stack in self.all(deleted=True):
                if name in stack.change_sets:
                    return stack.change_sets[name]
            if stack_name:
                for change_set in reversed(self.find(stack_name).change_sets.values()):
                    if change_set.name == name:
                        return change_set
        raise StackError(f"ChangeSet [{name}] does not exist", "ChangeSetNotFound")

    def execute(self, change_set: ChangeSet, token: str = "") -> None:
        """Carry out a change set in the background."""
        with self._lock:
            if change_set.execution_status != "AVAILABLE":
                raise StackError(
                    f"ChangeSet [{change_set.id}] cannot be executed in its current execution"
                    f" status of [{change_set.execution_status}]",
                    "InvalidChangeSetStatus",
                )
            stack = change_set.stack
            if change_set.kind == "UPDATE":
                self._refuse_unready(stack)
            change_set.execution_status = "EXECUTE_COMPLETE"
            stack.token = token
            self._start(stack, change_set.plan, change_set.kind)

    def _refuse_unready(self, stack: Stack) -> None:
        if stack.busy or stack.status in {
            "ROLLBACK_COMPLETE",
            "ROLLBACK_FAILED",
            "CREATE_FAILED",
            "UPDATE_ROLLBACK_FAILED",
            "DELETE_FAILED",
        }:
            raise StackError(f"Stack:{stack.id} is in {stack.status} state and can not be updated.")

    def _new(self, name: str, options: Mapping[str, Any]) -> Stack:
        stack = Stack(self._arn(f"stack/{name}/{uuid.uuid4()}"), name, self._now())
        self._set(stack, options)
        self.stacks[stack.id] = stack
        return stack

    def _set(self, stack: Stack, options: Mapping[str, Any]) -> None:
        for name, value in options.items():
            if value is not None:
                setattr(stack, name, value)

    def _arn(self, rest: str) -> str:
        return f"arn:aws:cloudformation:{self.cloud.region}:{self.cloud.account}:{rest}"

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.cloud.clock.now(), UTC)

    # -- doing --------------------------------------------------------------------------------

    def _start(self, stack: Stack, plan: Plan, verb: str) -> None:
        self._mark(stack, f"{verb}_IN_PROGRESS", "User Initiated")
        if verb == "UPDATE":
            stack.updated = self._now()
        self._spawn(stack, lambda: self._apply(stack, plan, verb))

    def _spawn(self, stack: Stack, work: Callable[[], None]) -> None:
        self.cloud.clock.spawn(work, f"stack {stack.name}")

    def wait(self, stack: Stack, timeout_seconds: float = 600.0) -> str:
        """Wait (real seconds) until no operation is under way; return the status."""
        deadline = threading.Event()
        waited = 0.0
        while stack.busy and waited < timeout_seconds:
            deadline.wait(0.02)
            waited += 0.02
        return stack.status

    def _mark(self, stack: Stack, status: str, reason: str = "") -> None:
        stack.status, stack.reason = status, reason
        self._record(stack, stack.name, stack.id, "AWS::CloudFormation::Stack", status, reason)
        detail = {
            "stack-id": stack.id,
            "status-details": {"status": status, "status-reason": reason},
            "client-request-token": stack.token,
        }
        self.cloud.emit(
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
                time=self._now(),
                token=stack.token,
            )
        )

    def _touch(self, stack: Stack, resource: Resource, status: str, reason: str = "") -> None:
        resource.status, resource.reason, resource.updated = status, reason, self._now()
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
                answer = self.cloud.client("ssm").get_parameter(Name=value)
                value = answer["Parameter"]["Value"]
            if kind.startswith("List<") or kind == "CommaDelimitedList" or "Value<List" in kind:
                value = [item.strip() for item in value.split(",")] if value else []
            values[key] = value
        return values

    def _apply(self, stack: Stack, plan: Plan, verb: str) -> None:
        """Bring the stack to the plan; undo everything if that fails."""
        journal: list[tuple[str, Resource | None, Resource | None]] = []
        leftovers: list[Resource] = []
        try:
            walk = Walk(self, stack, plan, self._values(plan))
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
            self._mark(stack, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        for resource in reversed(leftovers):
            self._remove(stack, resource)
        self._mark(stack, f"{verb}_COMPLETE")

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
        kind = KINDS[resource.type]
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
            cloud=self.cloud,
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
        self._mark(stack, f"{prefix}_IN_PROGRESS", reason)
        failed: list[str] = []
        for action, before, after in reversed(journal):
            if after is None:
                continue
            try:
                if action == "updated" and before is not None:
                    kind = KINDS[before.type]
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
            self._mark(stack, f"{prefix}_FAILED", "; ".join(failed))
        else:
            self._mark(stack, f"{prefix}_COMPLETE")

    def _remove(self, stack: Stack, resource: Resource) -> None:
        if resource.deletion_policy in {"Retain", "RetainExceptOnCreate"}:
            self._touch(stack, resource, "DELETE_SKIPPED")
            return
        self._touch(stack, resource, "DELETE_IN_PROGRESS")
        try:
            KINDS[resource.type].delete(self._order(stack, resource, resource, {}))
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
                owner = self.exports().get(export)
                if owner is not None and owner[0] is not walk.stack:
                    raise TemplateError(
                        f"Export with name {export} is already exported by stack {owner[0].name}."
                    )
                output["ExportName"] = export
            outputs[name] = output
        return outputs

    def _delete(self, stack: Stack) -> None:
        failed = []
        if stack.plan is not None:
            walk = Walk(self, stack, stack.plan, stack.values, dict(stack.resources))
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
            self._mark(stack, "DELETE_FAILED", reason)
            return
        stack.outputs = {}
        self._mark(stack, "DELETE_COMPLETE")

    def _changes(self, stack: Stack, plan: Plan) -> list[dict[str, Any]]:
        """Describe what a plan would change, as far as it is known before doing it."""
        old = stack.plan.template["Resources"] if stack.plan else {}
        new = plan.template["Resources"]
        parameters = {
            key
            for key in plan.parameters
            if stack.plan and stack.plan.parameters.get(key) != plan.parameters[key]
        }
        walk = Walk(self, stack, plan, self._values(plan))
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
                    KINDS[body["Type"]], old.get(name, {}), new[name], parameters, walk
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


def _same(one: Plan, other: Plan) -> bool:
    return (
        one.template == other.template
        and dict(one.parameters) == dict(other.parameters)
        and one.tags == other.tags
    )


def _imports(value: Any, walk: Walk) -> set[str]:
    """Return the names of the exports that a template imports."""
    if isinstance(value, dict):
        if "Fn::ImportValue" in value:
            return {text(resolve(value["Fn::ImportValue"], walk))}
        return set().union(*(_imports(inner, walk) for inner in value.values()), set())
    if isinstance(value, list):
        return set().union(*(_imports(inner, walk) for inner in value), set())
    return set()
