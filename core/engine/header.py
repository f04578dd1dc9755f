"""The header of `model.json`: what it says about a model besides its tables.

It is all that an engine other than the tables needs to turn outputs into an answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import EngineError

FORMAT = 1
# Names in model.onnx: the input (double, rows x features) and the output (double, rows x outputs).
ONNX_INPUT = "vector"
ONNX_OUTPUT = "outputs"


@dataclass(frozen=True, slots=True)
class Header:
    """What `model.json` says about a model besides its tables; enough to decide on its outputs."""

    task: str
    family: str
    classes: tuple[str, ...]
    positive: int | None
    threshold: float | None
    features: tuple[str, ...]
    columns: tuple[str, ...]
    baseline: tuple[tuple[float, ...], ...]


def read_header(model_json: bytes | str) -> Header:
    """Read the part of `model.json` that every engine needs.

    Raises EngineError if it is not a model of this format.
    """
    return parse_header(parse_document(model_json))


def decide(header: Header, outputs: Sequence[float]) -> str | float:
    """Turn outputs into the answer: a class, a cluster's name, a value or an anomaly score.

    A binary model answers its positive class at or above the threshold; without a threshold, and
    with more classes, the most probable class (the first of equals) is the answer.
    """
    if header.task in ("regression", "anomaly"):
        return outputs[0]
    if header.task == "clustering":
        return header.classes[int(outputs[0])]
    if header.threshold is not None and header.positive is not None and len(outputs) == 2:
        positive = header.positive
        return header.classes[positive if outputs[positive] >= header.threshold else 1 - positive]
    return header.classes[outputs.index(max(outputs))]


def parse_document(model_json: bytes | str) -> dict[str, Any]:
    """Read `model.json`; raises EngineError if it is not a model of this format."""
    try:
        document = json.loads(model_json)
    except ValueError as error:
        raise EngineError(f"model.json is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise EngineError(f"model.json has format {found!r}; this release reads {FORMAT}")
    return document


def parse_header(document: dict[str, Any]) -> Header:
    """Take the header out of the document; raises EngineError if it is incomplete."""
    try:
        features = tuple(document["features"])
        return Header(
            task=document["task"],
            family=document["family"],
            classes=tuple(document["classes"]),
            positive=document.get("positive"),
            threshold=document.get("threshold"),
            features=features,
            columns=tuple(document.get("columns") or features),
            baseline=tuple(
                tuple(math.nan if v is None else v for v in row) for row in document["baseline"]
            ),
        )
    except (KeyError, TypeError) as error:
        raise EngineError(f"model.json: its header is incomplete ({error!r})") from error
