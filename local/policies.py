"""IAM policy documents: whether a statement speaks about a call, conditions included."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import Any

# The condition keys of every call: the local endpoint counts as TLS.
SECURE: Mapping[str, str] = {"aws:SecureTransport": "true"}

_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda actual, wanted: actual == wanted,
    "StringNotEquals": lambda actual, wanted: actual != wanted,
    "StringEqualsIgnoreCase": lambda actual, wanted: actual.lower() == wanted.lower(),
    "StringLike": lambda actual, wanted: matches(wanted, actual),
    "StringNotLike": lambda actual, wanted: not matches(wanted, actual),
    "ArnEquals": lambda actual, wanted: matches(wanted, actual),
    "ArnLike": lambda actual, wanted: matches(wanted, actual),
    "ArnNotEquals": lambda actual, wanted: not matches(wanted, actual),
    "ArnNotLike": lambda actual, wanted: not matches(wanted, actual),
    "Bool": lambda actual, wanted: actual.lower() == wanted.lower(),
    "NumericEquals": lambda actual, wanted: float(actual) == float(wanted),
    "NumericLessThan": lambda actual, wanted: float(actual) < float(wanted),
    "NumericLessThanEquals": lambda actual, wanted: float(actual) <= float(wanted),
    "NumericGreaterThan": lambda actual, wanted: float(actual) > float(wanted),
    "NumericGreaterThanEquals": lambda actual, wanted: float(actual) >= float(wanted),
}
_NEGATIVE = re.compile(r"Not(Equals|Like)")


class PolicyError(ValueError):
    """A policy uses something that the local cloud cannot judge."""


def matches(pattern: str, value: str) -> bool:
    """Match IAM's `*` and `?`; everything else is meant literally."""
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


def decide(
    policy: Mapping[str, Any],
    action: str,
    resource: str,
    context: Mapping[str, str],
    principal: str | None = None,
) -> str | None:
    """Return "Deny", "Allow" or None: what a policy says of one call, an explicit denial first.

    `principal` is an ARN or a service's name; None leaves the statements' principals unlooked at,
    as for a policy that is attached to who calls.
    """
    decision = None
    for statement in _listed(policy.get("Statement", [])):
        if not _concerns(statement, action, resource, principal):
            continue
        if not _holds(statement.get("Condition") or {}, context):
            continue
        if statement["Effect"] == "Deny":
            return "Deny"
        decision = "Allow"
    return decision


def mentions(policy: Mapping[str, Any], action: str) -> str | None:
    """Return "Allow" where a policy allows an action on anything, under whatever condition."""
    allowed = any(
        _any(_listed(statement.get("Action", [])), action, fold=True)
        for statement in _listed(policy.get("Statement", []))
        if statement["Effect"] == "Allow"
    )
    return "Allow" if allowed else None


def _concerns(
    statement: Mapping[str, Any], action: str, resource: str, principal: str | None
) -> bool:
    if "NotAction" in statement:
        acts = not _any(_listed(statement["NotAction"]), action, fold=True)
    else:
        acts = _any(_listed(statement.get("Action", [])), action, fold=True)
    if "NotResource" in statement:
        applies = not _any(_listed(statement["NotResource"]), resource)
    else:
        applies = _any(_listed(statement.get("Resource", "*")), resource)
    if principal is None or not (acts and applies):
        return acts and applies
    return _names(statement.get("Principal", "*"), principal)


def _names(stated: Any, principal: str) -> bool:
    if stated == "*":
        return True
    account = principal.split(":")[4] if principal.startswith("arn:") else ""
    for value in (item for items in stated.values() for item in _listed(items)):
        if value in {"*", principal, account, f"arn:aws:iam::{account}:root"}:
            return True
    return False


def _any(patterns: list[str], value: str, *, fold: bool = False) -> bool:
    if fold:
        return any(matches(pattern.lower(), value.lower()) for pattern in patterns)
    return any(matches(pattern, value) for pattern in patterns)


def _holds(condition: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    """Tell whether every test of a Condition holds; a key's case does not matter."""
    known = {key.lower(): value for key, value in context.items()}
    for stated, tests in condition.items():
        operator = stated.split(":")[-1]
        optional = operator.endswith("IfExists")
        operator = operator.removesuffix("IfExists")
        for key, wanted in tests.items():
            actual = known.get(key.lower())
            if operator == "Null":
                if (actual is None) != (str(_listed(wanted)[0]).lower() == "true"):
                    return False
                continue
            if operator not in _OPERATORS:
                raise PolicyError(f"the local cloud cannot judge the condition {stated}")
            negative = _NEGATIVE.search(operator) is not None
            if actual is None:
                if optional or negative:
                    continue
                return False
            results = [_OPERATORS[operator](actual, _text(value)) for value in _listed(wanted)]
            if not (all(results) if negative else any(results)):
                return False
    return True


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
