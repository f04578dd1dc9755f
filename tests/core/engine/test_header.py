"""The header decides on outputs, whatever gave them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core.engine import Header, decide, read_header
from tests.core.engine.models import (
    make_model,
)


def header(**changes: Any) -> Header:
    values: dict[str, Any] = {
        "task": "binary",
        "family": "trees",
        "classes": ("no", "yes"),
        "positive": 1,
        "threshold": None,
        "features": (),
        "columns": (),
        "baseline": (),
    }
    return Header(**(values | changes))


@pytest.mark.parametrize(
    ("given_header", "outputs", "answer"),
    [
        (header(), [0.5, 0.5], "no"),
        (header(threshold=0.5), [0.5, 0.5], "yes"),
        (header(threshold=0.2), [0.75, 0.25], "yes"),
        (header(threshold=0.2, positive=0), [0.15, 0.85], "yes"),
        (header(threshold=0.2, positive=0), [0.25, 0.75], "no"),
        (header(task="multiclass", classes=("a", "b", "c")), [0.2, 0.5, 0.3], "b"),
        (header(task="regression", classes=()), [3.5], 3.5),
        (header(task="anomaly", classes=()), [0.7], 0.7),
        (header(task="clustering", classes=("x", "y")), [1.0, -4.0, -2.0], "y"),
    ],
)
def test_decisions(given_header: Header, outputs: list[float], answer: str | float) -> None:
    """The answer follows task and threshold."""
    assert decide(given_header, outputs) == answer


def test_the_header_alone_reads_models_without_tables() -> None:
    """What the ONNX engine needs to decide is there whatever the family."""
    read = read_header(make_model("none", None))
    assert (read.task, read.classes, read.threshold) == ("binary", ("no", "yes"), 0.5)
    assert math.isnan(read.baseline[0][4])
