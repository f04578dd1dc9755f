"""One pass over a template: what its functions see, and the order of its resources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.host import Host
from local.services.cloudformation.intrinsics import (
    NO_VALUE,
    TemplateError,
    references,
    resolve,
    text,
)
from local.services.cloudformation.model import Plan, Resource, Stack

# Every export: the stack that it comes from and its value.
Exports = dict[str, tuple[Stack, str]]


@dataclass
class Walk:
    """One pass over a template: the scope that its functions see (see `intrinsics.Scope`)."""

    cloud: Host
    exports: Callable[[], Exports]
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
        cloud = self.cloud
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
        exports = self.exports()
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


def imported_names(value: Any, walk: Walk) -> set[str]:
    """Return the names of the exports that a template imports."""
    if isinstance(value, dict):
        if "Fn::ImportValue" in value:
            return {text(resolve(value["Fn::ImportValue"], walk))}
        return set().union(*(imported_names(inner, walk) for inner in value.values()), set())
    if isinstance(value, list):
        return set().union(*(imported_names(inner, walk) for inner in value), set())
    return set()
