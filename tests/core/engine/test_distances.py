"""Quadratic forms are scored and explained."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.engine import decide, load_engine
from tests.core.engine.models import (
    ALONE,
    VECTOR,
    assert_explained,
    linear_terms,
    make_model,
)


@settings(max_examples=60, deadline=None)
@given(vector=VECTOR, shape=st.sampled_from(["unit", "diagonal", "full"]))
def test_distances_are_explained_exactly(vector: list[float], shape: str) -> None:
    """Quadratic forms have a closed form for their Shapley values, interactions included."""
    terms = linear_terms(2)
    width = 10
    precision: Any = [0.5 + 0.1 * i for i in range(width)]
    if shape == "full":
        precision = [
            [1.0 if i == j else 0.3 / (1 + i + j) for j in range(width)] for i in range(width)
        ]
    tables = {
        "base": [0.0, 1.0],
        "factor": -0.5,
        "terms": terms,
        "centres": [[0.1 * i for i in range(width)], [-0.3] * width],
        "shape": shape,
        "precisions": [precision, precision],
        "link": "responsibility",
    }
    clustering = {"task": "clustering", "classes": ["0", "1"], "positive": None}
    engine = load_engine(make_model("distances", tables, **clustering))
    assert_explained(engine, vector, ALONE)
    outputs = engine.score(vector)
    assert outputs[0] == outputs[1:].index(max(outputs[1:]))
    assert math.fsum(outputs[1:]) == pytest.approx(1.0)
    assert decide(engine.header, outputs) == str(int(outputs[0]))
