"""Mistakes in project.toml, each said in one line that names the key."""

import difflib
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def explain(
    error: ValidationError,
    model: type[BaseModel],
    source: str,
    override: Mapping[str, Any] = MappingProxyType({}),
    stage: str = "",
) -> str:
    """Say the first mistake in one line, and how many more there are.

    `model` is what the document did not fit; `override` are the values from `[stages.STAGE]`.
    """
    mistakes = error.errors()
    first = mistakes[0]
    location = tuple(str(part) for part in first["loc"])
    kind, message = first["type"], first["msg"]
    if kind == "value_error":
        text = message.removeprefix("Value error, ")
    else:
        where = _locate(location, override, stage)
        if kind == "extra_forbidden":
            text = f"{where}: unknown key{suggest(location[-1], _known_keys(model, location[:-1]))}"
        elif kind == "missing":
            text = f"{where}: is missing; add it"
        else:
            shown = json.dumps(first["input"], default=str, ensure_ascii=False)
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            text = f"{where}: {message[0].lower()}{message[1:]} (it is {shown})"
    if len(mistakes) > 1:
        text += f" (and {len(mistakes) - 1} more)"
    return f"{source}: {text}"


def _locate(location: tuple[str, ...], override: Mapping[str, Any], stage: str) -> str:
    """Write a location as it stands in the file: under [stages.X] if its value is from there."""
    value: Any = override
    for part in location:
        value = value.get(part) if isinstance(value, Mapping) else None
    prefix = ("stages", stage) if value is not None and stage else ()
    path = (*prefix, *location)
    if len(path) == 1:
        return f"[{_quote(path[0])}]"
    return f"[{'.'.join(_quote(part) for part in path[:-1])}] {_quote(path[-1])}"


def _quote(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _known_keys(root: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    """List the keys that a table of project.toml knows."""
    model = root
    for part in path:
        known = model.model_fields.get(part)
        if known is None:
            continue
        kinds = (known.annotation, *get_args(known.annotation))
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        model = nested[0] if nested else model
    return [*model.model_fields, *(["stages"] if model is root else [])]


def suggest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """Name the known key that is closest, or all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; use one of {', '.join(known)}"
