"""CloudFormation: stacks and change sets, and what is asked of them.

moto creates a stack's resources in the order of first use, never looks at a dependant of what it
replaces, has no rollback, and passes over types that it does not know. Here the template's graph is
walked as CloudFormation walks it; the resources themselves are made through the public APIs, by the
resource types that the services declare.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local.host import Host
from local.parts import Part
from local.resources import Kind
from local.services.cloudformation.engine import Engine
from local.services.cloudformation.model import ChangeSet, Plan, Stack, StackError
from local.services.cloudformation.plans import is_same, make_plan
from local.services.cloudformation.walk import Exports, Walk, imported_names

NOTHING_CHANGED = (
    "The submitted information didn't contain changes. "
    "Submit different information to create a change set."
)


class Stacks(Part):
    """All stacks of the account, and the operations on them."""

    def __init__(self, cloud: Host, kinds: Mapping[str, Kind]) -> None:
        super().__init__(cloud)
        self.stacks: dict[str, Stack] = {}
        self._kinds = kinds
        self._lock = threading.RLock()
        self._engine = Engine(cloud, kinds, self.exports, self._lock)

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

    def exports(self) -> Exports:
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
        return make_plan(body, parameters, tags, stack, self._kinds)

    def read_object(self, bucket: str, key: str) -> str:
        """Return the text of a template that lies in S3."""
        answer = self._cloud.client("s3").get_object(Bucket=bucket, Key=key)
        return str(answer["Body"].read().decode("utf-8"))

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
            if stack.plan is not None and is_same(stack.plan, plan):
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
            self._engine.mark(stack, "DELETE_IN_PROGRESS", "User Initiated")
        self._spawn(stack, lambda: self._engine.delete(stack))

    def _imports(self, without: Stack) -> set[str]:
        names: set[str] = set()
        for stack in self.all():
            if stack is without or stack.plan is None:
                continue
            walk = Walk(
                self._cloud, self.exports, stack, stack.plan, stack.values, dict(stack.resources)
            )
            names.update(imported_names(stack.plan.template.get("Resources", {}), walk))
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
                self._engine.mark(stack, "REVIEW_IN_PROGRESS", "User Initiated")
            change_set = ChangeSet(
                id=self._arn(f"changeSet/{name}/{uuid.uuid4()}"),
                name=name,
                stack=stack,
                plan=plan,
                kind=kind,
                description=description,
                created=self._cloud.clock.utc(),
                changes=self._engine.describe_changes(stack, plan),
            )
            if kind == "UPDATE" and stack.plan is not None and is_same(stack.plan, plan):
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
        stack = Stack(self._arn(f"stack/{name}/{uuid.uuid4()}"), name, self._cloud.clock.utc())
        self._set(stack, options)
        self.stacks[stack.id] = stack
        return stack

    def _set(self, stack: Stack, options: Mapping[str, Any]) -> None:
        for name, value in options.items():
            if value is not None:
                setattr(stack, name, value)

    def _arn(self, rest: str) -> str:
        return f"arn:aws:cloudformation:{self._cloud.region}:{self._cloud.account}:{rest}"

    def _start(self, stack: Stack, plan: Plan, verb: str) -> None:
        self._engine.mark(stack, f"{verb}_IN_PROGRESS", "User Initiated")
        if verb == "UPDATE":
            stack.updated = self._cloud.clock.utc()
        self._spawn(stack, lambda: self._engine.apply(stack, plan, verb))

    def _spawn(self, stack: Stack, work: Callable[[], None]) -> None:
        self._cloud.clock.spawn(work, f"stack {stack.name}")

    def wait(self, stack: Stack, timeout_seconds: float = 600.0) -> str:
        """Wait (real seconds) until no operation is under way; return the status."""
        deadline = threading.Event()
        waited = 0.0
        while stack.busy and waited < timeout_seconds:
            deadline.wait(0.02)
            waited += 0.02
        return stack.status
