"""Links and calibration curves turn margins into outputs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core.engine import load_engine, softmax
from core.engine.links import _answer_exponential, expit
from tests.core.engine.models import (
    make_model,
    stump,
)


@pytest.mark.parametrize(
    ("calibration", "probability", "scale", "factor"),
    [
        ({"method": "sigmoid", "a": [-2.0], "b": [0.5]}, 1 / (1 + math.exp(-4.5)), "log-odds", 2.0),
        ({"method": "temperature", "beta": 0.5}, 1 / (1 + math.exp(-2.5)), "log-odds", 1.0),
        (
            {"method": "isotonic", "x": [[0.0, 2.0, 3.0]], "y": [[0.1, 0.4, 0.8]]},
            0.6,
            "log-odds before calibration",
            1.0,
        ),
    ],
)
def test_calibration_follows_the_margin(
    calibration: dict[str, Any], probability: float, scale: str, factor: float
) -> None:
    """Probabilities come from the margin, and linear calibrations pass attributions on."""
    engine = load_engine(make_model("trees", stump(calibration=calibration)))
    row = [1.0, 0.0, 0.0, 0.0, 0.0]
    assert engine.score(row) == pytest.approx([1 - probability, probability], abs=1e-15)
    engine = load_engine(
        make_model("trees", stump(calibration=calibration), baseline=[[-1.0, 0, 0, 0, 0]])
    )
    explanation = engine.explain(row)
    assert explanation.scale == scale
    assert explanation.contributions[0] == pytest.approx([3.0 * factor, 0, 0, 0, 0])


def test_an_isotonic_curve_is_level_beyond_its_ends() -> None:
    """Margins outside the curve get its end values, and those on a point get the point's."""
    curve = {"method": "isotonic", "x": [[-0.5, 1.0, 2.5]], "y": [[0.2, 0.3, 0.9]]}
    low = load_engine(make_model("trees", stump(calibration=curve)))
    assert low.score([-1.0, 0, 0, 0, 0])[1] == 0.2
    assert low.score([1.0, 0, 0, 0, 0])[1] == 0.9


def test_margins_without_end_have_an_answer() -> None:
    """No margin overflows: probabilities saturate."""
    assert softmax([1000.0, -1000.0]) == [1.0, 0.0]
    assert softmax([math.inf, 0.0]) == [1.0, 0.0]
    assert expit(-1e9) == 0.0
    assert expit(1e9) == 1.0
    assert _answer_exponential([1e4]) == [math.inf]
