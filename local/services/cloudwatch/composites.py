"""The rules of composite alarms: which alarms they name, and whether they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from local.services.cloudwatch.evaluation import AlarmError

_OF_STATE = re.compile(
    r"\b(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:\"([^\"]*)\"|'([^']*)'|([^()\"']*?))\s*\)"
)


def rule_holds(rule: str, alarms: Mapping[str, Any]) -> bool:
    """Evaluate a composite alarm's rule (CloudWatch API Reference, PutCompositeAlarm)."""

    def replace(match: re.Match[str]) -> str:
        name = _name(match[2] or match[3] or match[4])
        if name not in alarms:
            raise AlarmError(f"the alarm rule {rule!r} names {name!r}, which does not exist")
        return str(alarms[name].state_value == match[1])

    text = _OF_STATE.sub(replace, rule)
    words = re.findall(r"\w+|[()]|\S", text)
    allowed = {
        "True": "True",
        "False": "False",
        "TRUE": "True",
        "FALSE": "False",
        "AND": "and",
        "OR": "or",
        "NOT": "not",
        "(": "(",
        ")": ")",
    }
    if unknown := [word for word in words if word not in allowed]:
        raise AlarmError(f"the alarm rule {rule!r} has {unknown[0]!r}, which is not understood")
    return bool(eval(" ".join(allowed[word] for word in words), {"__builtins__": {}}))  # noqa: S307


def named_alarms(rule: str) -> Iterator[str]:
    """Yield the names of the alarms that a rule looks at."""
    for match in _OF_STATE.finditer(rule):
        yield _name(match[2] or match[3] or match[4])


def _name(text: str) -> str:
    return text.split(":alarm:", 1)[-1].strip()
