"""Linear models and constants are scored and explained."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.engine import load_engine
from tests.core.engine.models import (
    ALONE,
    FEATURES,
    VECTOR,
    assert_explained,
    linear_terms,
    make_model,
)


@settings(max_examples=60, deadline=None)
@given(vector=VECTOR, outputs=st.sampled_from([1, 3]))
def test_linear_models_are_scored_and_explained(vector: list[float], outputs: int) -> None:
    """A margin is the sum of its terms by definition; attributions are differences of terms."""
    terms = linear_terms(outputs)
    link = "logistic" if outputs == 1 else "softmax"
    tables = {"base": [0.75] * outputs, "terms": terms, "link": link}
    changes = {} if outputs == 1 else {"task": "multiclass", "classes": ["a", "b", "c"]}
    engine = load_engine(make_model("linear", tables, **changes))
    for k in range(outputs):
        expected = 0.75
        for term in terms:
            value = vector[term["feature"]]
            if math.isnan(value):
                expected += term["missing"][k]
            elif value in term["codes"]:
                expected += term["values"][term["codes"].index(value)][k]
            else:
                slope = term["weight"][k] if term["weight"] else 0.0
                expected += term["other"][k] + slope * (value - term["centre"])
        assert engine.margins(vector)[k] == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert_explained(engine, vector, ALONE)


def test_constants_are_answered_and_explained() -> None:
    """A constant model answers every row alike and credits no column."""
    tables = {"base": [0.3, 0.7], "scale": "probability"}
    engine = load_engine(make_model("constant", tables))
    assert engine.score([0.0] * FEATURES) == [0.3, 0.7]
    explanation = engine.explain([0.0] * FEATURES)
    assert explanation.scale == "probability"
    assert explanation.contributions == [[0.0] * FEATURES] * 2
