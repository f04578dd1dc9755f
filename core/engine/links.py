"""From margins to outputs: the links of the families, and calibration curves."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

# scikit-learn's `_convert_to_logits` adds it to a probability before the logarithm.
_LOG_EPSILON = 1e-12


def expit(margin: float) -> float:
    """Give the logistic function, without overflow."""
    if margin >= 0.0:
        return 1.0 / (1.0 + math.exp(-margin))
    power = math.exp(margin)
    return power / (1.0 + power)


def softmax(margins: Sequence[float]) -> list[float]:
    """Give probabilities proportional to the exponentials of the margins."""
    top = max(margins)
    if math.isinf(top):
        powers = [float(margin == top) for margin in margins]
    else:
        powers = [math.exp(margin - top) for margin in margins]
    total = sum(powers)
    return [power / total for power in powers]


def load_answer(
    link: str, calibration: dict[str, Any] | None
) -> Callable[[list[float]], list[float]]:
    """Choose the function from margins to outputs."""
    if calibration is None:
        return _LINKS[link]
    method = calibration["method"]
    if method == "temperature":
        return _load_temperature(link, calibration["beta"])
    if method == "sigmoid":
        platt = list(zip(calibration["a"], calibration["b"], strict=True))

        def calibrate(margins: list[float]) -> list[float]:
            return [expit(-(a * m + b)) for m, (a, b) in zip(margins, platt, strict=True)]

    elif method == "isotonic":
        curves = [
            _load_curve(x, y) for x, y in zip(calibration["x"], calibration["y"], strict=True)
        ]

        def calibrate(margins: list[float]) -> list[float]:
            return [curve(m) for m, curve in zip(margins, curves, strict=True)]

    else:
        raise ValueError(f"unknown calibration {method!r}")
    return lambda margins: _share(calibrate(margins))


def _share(scores: list[float]) -> list[float]:
    """Turn one-versus-rest probabilities into a distribution, as CalibratedClassifierCV does."""
    if len(scores) == 1:
        return [1.0 - scores[0], scores[0]]
    total = sum(scores)
    if total == 0.0:
        return [1.0 / len(scores)] * len(scores)
    return [score / total for score in scores]


def _load_curve(x: list[float], y: list[float]) -> Callable[[float], float]:
    """Interpolate between the points of an isotonic regression, level beyond its ends."""
    last = len(x) - 1

    def curve(margin: float) -> float:
        if margin >= x[last]:
            return y[last]
        if margin <= x[0]:
            return y[0]
        i = bisect_left(x, margin)
        if x[i] == margin:
            return y[i]
        slope = (y[i] - y[i - 1]) / (x[i] - x[i - 1])
        return slope * (margin - x[i - 1]) + y[i - 1]

    return curve


def _load_temperature(link: str, beta: float) -> Callable[[list[float]], list[float]]:
    def calibrate(margins: list[float]) -> list[float]:
        if link == "proportion":
            shares = margins if len(margins) > 1 else [1.0 - margins[0], margins[0]]
            return softmax([beta * math.log(share + _LOG_EPSILON) for share in shares])
        logits = margins if len(margins) > 1 else [-margins[0], margins[0]]
        return softmax([beta * logit for logit in logits])

    return calibrate


def _answer_logistic(margins: list[float]) -> list[float]:
    probability = expit(margins[0])
    return [1.0 - probability, probability]


def _answer_proportion(margins: list[float]) -> list[float]:
    return margins if len(margins) > 1 else [1.0 - margins[0], margins[0]]


def _answer_exponential(margins: list[float]) -> list[float]:
    try:
        return [math.exp(margins[0])]
    except OverflowError:
        return [math.inf]


def _answer_isolation(margins: list[float]) -> list[float]:
    return [2.0 ** margins[0]]


def _answer_nearest(margins: list[float]) -> list[float]:
    """Name the nearest centre, then minus the distance to each."""
    return [float(margins.index(max(margins))), *(-math.sqrt(-m) for m in margins)]


def _answer_responsibility(margins: list[float]) -> list[float]:
    """Name the likeliest component, then the probability of each."""
    return [float(margins.index(max(margins))), *softmax(margins)]


_LINKS: dict[str, Callable[[list[float]], list[float]]] = {
    "identity": lambda margins: margins,
    "logistic": _answer_logistic,
    "softmax": softmax,
    "proportion": _answer_proportion,
    "exponential": _answer_exponential,
    "isolation": _answer_isolation,
    "nearest": _answer_nearest,
    "responsibility": _answer_responsibility,
}

_SCALES = {
    "identity": "value",
    "logistic": "log-odds",
    "softmax": "log-odds",
    "proportion": "probability",
    "exponential": "logarithm of the value",
    "isolation": "base-2 logarithm of the score",
    "nearest": "minus the squared distance",
    "responsibility": "log density",
}


def load_scale(
    link: str, calibration: dict[str, Any] | None, tables: dict[str, Any]
) -> tuple[str, list[tuple[float, float]] | None]:
    """Name the scale of explanations, and the factor and shift of each margin that lead to it.

    Sigmoid and temperature calibration are linear in the margin, so attributions pass through them;
    isotonic calibration is not, and its explanations are those of the score that it is given.
    """
    scale = str(tables.get("scale") or _SCALES[link])
    if calibration is None:
        return scale, None
    method = calibration["method"]
    if method == "sigmoid":
        return "log-odds", [
            (-a, -b) for a, b in zip(calibration["a"], calibration["b"], strict=True)
        ]
    if method == "temperature" and link == "logistic":
        return "log-odds", [(2.0 * calibration["beta"], 0.0)]
    if method == "temperature" and link == "softmax":
        return "log-odds", [(calibration["beta"], 0.0)] * len(tables["base"])
    return f"{scale} before calibration", None
