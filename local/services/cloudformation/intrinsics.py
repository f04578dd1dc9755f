"""CloudFormation's template language: parsing, intrinsic functions, conditions, dependencies."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import yaml  # type: ignore[import-untyped]

SUBSTITUTION = re.compile(r"\$\{(!?)([^}]*)\}")
PSEUDO = "AWS::"


class TemplateError(Exception):
    """A template that CloudFormation would refuse; the message is the one line to show."""


class NoValue:
    """What `AWS::NoValue` stands for: the property, or the list item, is left out."""


NO_VALUE = NoValue()


class Scope(Protocol):
    """What a template's functions may ask about the stack around them."""

    def ref(self, name: str) -> Any:
        """Answer a parameter's value, a pseudo parameter, or a resource's physical id."""

    def attribute(self, name: str, attribute: str) -> Any:
        """Answer Fn::GetAtt."""

    def condition(self, name: str) -> bool:
        """Answer whether a named condition holds."""

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Answer one table of the Mappings section."""

    def imported(self, name: str) -> Any:
        """Answer another stack's export."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's short forms (`!Ref`, `!Sub`, ...)."""


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix in {"Ref", "Condition"}:
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
# `2010-09-09` is a version here, not a date.
_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
    for key, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_template(body: str) -> dict[str, Any]:
    """Read a template in JSON or YAML; raise TemplateError when it is neither."""
    try:
        template = (
            json.loads(body) if body.lstrip().startswith("{") else yaml.load(body, _Loader)  # noqa: S506
        )
    except (ValueError, yaml.YAMLError) as error:
        raise TemplateError(f"Template format error: {error}") from error
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise TemplateError("Template format error: At least one Resources member must be defined.")
    return template


def resolve(value: Any, scope: Scope) -> Any:
    """Replace every intrinsic function inside `value`; drop what is `AWS::NoValue`."""
    if isinstance(value, list):
        items = (resolve(item, scope) for item in value)
        return [item for item in items if item is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (name, argument) = next(iter(value.items()))
        if name == "Ref":
            return scope.ref(argument)
        if name == "Condition" and isinstance(argument, str):
            return scope.condition(argument)
        if name.startswith("Fn::"):
            return _call(name, argument, scope)
    items = ((key, resolve(item, scope)) for key, item in value.items())
    return {key: item for key, item in items if item is not NO_VALUE}


def _call(name: str, argument: Any, scope: Scope) -> Any:
    if name == "Fn::If":
        condition, then, otherwise = argument
        return resolve(then if scope.condition(condition) else otherwise, scope)
    if name == "Fn::GetAtt":
        target = argument.split(".", 1) if isinstance(argument, str) else argument
        return scope.attribute(target[0], resolve(target[1], scope))
    if name == "Fn::Sub":
        return _substitute(argument, scope)
    argument = resolve(argument, scope)
    match name:
        case "Fn::Join":
            return argument[0].join(text(item) for item in argument[1])
        case "Fn::Split":
            return argument[1].split(argument[0])
        case "Fn::Select":
            return argument[1][int(argument[0])]
        case "Fn::ImportValue":
            return scope.imported(argument)
        case "Fn::Base64":
            return base64.b64encode(argument.encode()).decode()
        case "Fn::ToJsonString":
            return json.dumps(argument, separators=(",", ":"))
        case "Fn::Length":
            return len(argument)
        case "Fn::GetAZs":
            return [f"{argument or scope.ref('AWS::Region')}{zone}" for zone in "abc"]
        case "Fn::FindInMap":
            return _find_in_map(argument, scope)
        case "Fn::Equals":
            return text(argument[0]) == text(argument[1])
        case "Fn::Not":
            return not argument[0]
        case "Fn::And":
            return all(argument)
        case "Fn::Or":
            return any(argument)
        case "Fn::Contains":
            return argument[1] in argument[0]
    raise TemplateError(f"Template error: {name} is not supported by the local cloud")


def _find_in_map(argument: list[Any], scope: Scope) -> Any:
    name, first, second, *rest = argument
    try:
        return resolve(scope.mapping(name)[first][second], scope)
    except KeyError as error:
        if rest and "DefaultValue" in rest[0]:
            return rest[0]["DefaultValue"]
        raise TemplateError(
            f"Template error: Unable to get mapping for {name}::{first}::{second}"
        ) from error


def _substitute(argument: Any, scope: Scope) -> str:
    template, values = argument if isinstance(argument, list) else (argument, {})

    def replace(match: re.Match[str]) -> str:
        literal, name = match.groups()
        if literal:
            return "${" + name + "}"
        if name in values:
            return text(resolve(values[name], scope))
        if "." in name:
            return text(scope.attribute(*name.split(".", 1)))
        return text(scope.ref(name))

    return SUBSTITUTION.sub(replace, template)


def text(value: Any) -> str:
    """Write a value as CloudFormation writes it inside a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(text(item) for item in value)
    return str(value)


def references(value: Any, conditions: Mapping[str, bool]) -> Iterator[str]:
    """Yield the names that `value` refers to, in the branches that are taken."""
    if isinstance(value, list):
        for item in value:
            yield from references(item, conditions)
        return
    if not isinstance(value, dict):
        return
    for name, argument in value.items():
        if name == "Ref" and isinstance(argument, str):
            yield argument
        elif name == "Fn::GetAtt":
            yield argument.split(".", 1)[0] if isinstance(argument, str) else argument[0]
        elif name == "Fn::Sub":
            template, values = argument if isinstance(argument, list) else (argument, {})
            for literal, inner in SUBSTITUTION.findall(template):
                if not literal and inner not in values:
                    yield inner.split(".", 1)[0]
            yield from references(values, conditions)
        elif name == "Fn::If" and len(value) == 1:
            yield from references(argument[1 if conditions[argument[0]] else 2], conditions)
        else:
            yield from references(argument, conditions)
