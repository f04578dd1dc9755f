"""From margins to a model's outputs: links and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from training.arrays import FloatArray
from training.export.graphs.graph import Graph, cast_double

_LOG_EPSILON = 1e-12


def add_answer(graph: Graph, margins: str, content: dict[str, Any]) -> str:
    """Add the link or the calibration that `content` asks for."""
    link, calibration = content.get("link", "identity"), content.get("calibration")
    if calibration is not None:
        return add_calibration(graph, margins, link, calibration, len(content["base"]))
    if link == "logistic":
        return _pair(graph, _expit(graph, margins))
    if link == "softmax":
        return graph.add("Softmax", margins, axis=1)
    if link == "proportion":
        return margins if len(content["base"]) > 1 else _pair(graph, margins)
    if link == "exponential":
        return graph.add("Exp", margins)
    if link == "isolation":
        return graph.add("Pow", graph.constant(2.0), margins)
    if link == "nearest":
        distances = graph.add("Neg", graph.add("Sqrt", graph.add("Neg", margins)))
        return graph.add("Concat", _best(graph, margins), distances, axis=1)
    if link == "responsibility":
        shares = graph.add("Softmax", margins, axis=1)
        return graph.add("Concat", _best(graph, margins), shares, axis=1)
    return margins


def _best(graph: Graph, margins: str) -> str:
    return cast_double(graph, graph.add("ArgMax", margins, axis=1, keepdims=1))


def _expit(graph: Graph, margins: str) -> str:
    """Add 1 / (1 + exp(-m)), which is right at both ends in IEEE arithmetic."""
    one = graph.constant(1.0)
    powers = graph.add("Exp", graph.add("Neg", margins))
    return graph.add("Div", one, graph.add("Add", one, powers))


def _pair(graph: Graph, probability: str) -> str:
    rest = graph.add("Sub", graph.constant(1.0), probability)
    return graph.add("Concat", rest, probability, axis=1)


def add_calibration(
    graph: Graph, margins: str, link: str, calibration: dict[str, Any], count: int
) -> str:
    """Add a calibration of `count` margins, and the probabilities of all classes."""
    method = calibration["method"]
    if method == "temperature":
        if link == "proportion":
            shares = margins if count > 1 else _pair(graph, margins)
            shifted = graph.add("Add", shares, graph.constant(_LOG_EPSILON))
            logits = graph.add("Log", shifted)
        elif count > 1:
            logits = margins
        else:
            logits = graph.add("Concat", graph.add("Neg", margins), margins, axis=1)
        scaled = graph.add("Mul", logits, graph.constant(calibration["beta"]))
        return graph.add("Softmax", scaled, axis=1)
    if method == "sigmoid":
        scaled = graph.add("Mul", margins, graph.constant([calibration["a"]]))
        moved = graph.add("Add", scaled, graph.constant([calibration["b"]]))
        scores = _expit(graph, graph.add("Neg", moved))
    else:
        curves = []
        for output, (x, y) in enumerate(zip(calibration["x"], calibration["y"], strict=True)):
            column = graph.add("Gather", margins, graph.constant([output], np.int64), axis=1)
            curves.append(_add_curve(graph, column, np.array(x), np.array(y)))
        scores = graph.add("Concat", *curves, axis=1) if count > 1 else curves[0]
    if count == 1:
        return _pair(graph, scores)
    total = graph.add("ReduceSum", scores, graph.constant([1], np.int64), keepdims=1)
    empty = graph.add("Equal", total, graph.constant(0.0))
    safe = graph.add("Where", empty, graph.constant(1.0), total)
    even = graph.constant(1.0 / count)
    return graph.add("Where", empty, even, graph.add("Div", scores, safe))


def _add_curve(graph: Graph, margins: str, x: FloatArray, y: FloatArray) -> str:
    """Add the interpolation between points, level beyond the ends, of one column of margins."""
    if len(x) == 1:
        zero = graph.add("Mul", margins, graph.constant(0.0))
        return graph.add("Add", zero, graph.constant(y[0]))
    # The number of points at or below a margin says which segment it is on.
    reached = graph.add("GreaterOrEqual", margins, graph.constant(x[None, :]))
    count = graph.add(
        "ReduceSum",
        graph.add("Cast", reached, to=TensorProto.INT64),
        graph.constant([1], np.int64),
        keepdims=1,
    )
    slopes = np.concatenate([[0.0], np.diff(y) / np.diff(x), [0.0]])
    origin_x = np.concatenate([[0.0], x])
    origin_y = np.concatenate([[y[0]], y])
    slope, start, level = (
        graph.add("Gather", graph.constant(table), count) for table in (slopes, origin_x, origin_y)
    )
    rise = graph.add("Mul", slope, graph.add("Sub", margins, start))
    return graph.add("Add", rise, level)
