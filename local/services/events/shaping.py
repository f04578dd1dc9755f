"""What a rule's target receives of an event: constants, selected parts, filled templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_MISSING = object()
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\['([^']+)'\]|\[(\d+)\]")
_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.-]+)>")


class EventError(RuntimeError):
    """Say that an event cannot be shaped or delivered as its rule asks."""


def shape_input(target: Mapping[str, Any], event: Mapping[str, Any], rule: Any = None) -> str:
    """Return the text that a target receives: constant, part of the event, template, or event."""
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath"):
        value = select(str(target["InputPath"]), event)
        return json.dumps(None if value is _MISSING else value)
    transformer = target.get("InputTransformer")
    if not transformer:
        return json.dumps(event)
    values: dict[str, Any] = {
        "aws.events.event": {name: event[name] for name in event if name != "detail"},
        "aws.events.event.json": event,
        "aws.events.event.ingestion-time": event["time"],
        "aws.events.rule-arn": getattr(rule, "arn", ""),
        "aws.events.rule-name": getattr(rule, "name", ""),
    }
    for name, path in (transformer.get("InputPathsMap") or {}).items():
        values[name] = select(path, event)
    return fill_template(str(transformer["InputTemplate"]), values)


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """Fill an input template: JSON where a placeholder stands alone, text inside a JSON string."""
    parts: list[str] = []
    inside, position = False, 0
    for match in _PLACEHOLDER.finditer(template):
        before = template[position : match.start()]
        inside = _ends_in_string(before, inside)
        parts.append(before)
        position = match.end()
        if match[1] not in values:
            raise EventError(
                f"an input template names <{match[1]}>, which its InputPathsMap does not define"
            )
        value = values[match[1]]
        if value is _MISSING:
            continue
        if inside:
            text = value if isinstance(value, str) else json.dumps(value)
            parts.append(json.dumps(text)[1:-1])
        else:
            parts.append(json.dumps(value))
    parts.append(template[position:])
    return "".join(parts)


def _ends_in_string(text: str, inside: bool) -> bool:
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = inside
        elif character == '"':
            inside = not inside
    return inside


def select(path: str, document: Any) -> Any:
    """Return what a JSON path of plain steps (`$.a['b'][0]`) selects in a document."""
    if not path.startswith("$"):
        raise EventError(f"a JSON path must start with '$', got {path!r}")
    position, value = 1, document
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise EventError(f"cannot read the JSON path {path!r} at {path[position:]!r}")
        position = step.end()
        if step[3] is not None:
            index = int(step[3])
            if not isinstance(value, list) or index >= len(value):
                return _MISSING
            value = value[index]
        else:
            name = step[1] or step[2]
            if not isinstance(value, Mapping) or name not in value:
                return _MISSING
            value = value[name]
    return value
