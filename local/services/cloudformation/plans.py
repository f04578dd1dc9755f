"""What a stack is asked to become, checked as the API checks it before it accepts it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from local.services.cloudformation.intrinsics import TemplateError, parse_template, text
from local.services.cloudformation.model import Plan, Stack, StackError


def make_plan(
    body: str,
    parameters: Iterable[Mapping[str, Any]],
    tags: Mapping[str, str],
    stack: Stack | None,
    kinds: Container[str],
) -> Plan:
    """Check a template and its parameters as the API does before it accepts them."""
    try:
        template = parse_template(body)
    except TemplateError as error:
        raise StackError(str(error)) from error
    types = {item.get("Type", "") for item in template["Resources"].values()}
    unknown = sorted(kind for kind in types if kind not in kinds)
    if unknown:
        raise StackError(
            f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]"
            " (the local cloud makes every resource of a template or none: model the type in"
            " local/services)"
        )
    if template.get("Transform"):
        raise StackError(f"the local cloud has no transform {template['Transform']}")
    given = _read_parameters(template.get("Parameters") or {}, parameters, stack)
    return Plan(body, template, given, tuple(sorted(tags.items())))


def _read_parameters(
    declared: Mapping[str, Any], parameters: Iterable[Mapping[str, Any]], stack: Stack | None
) -> dict[str, str]:
    """Return the values that are given or kept; refuse what a template does not declare."""
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
    return given


def is_same(one: Plan, other: Plan) -> bool:
    """Tell whether two plans ask for the same."""
    return (
        one.template == other.template
        and dict(one.parameters) == dict(other.parameters)
        and one.tags == other.tags
    )
