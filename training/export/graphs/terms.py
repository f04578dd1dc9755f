"""Sums of terms, and distances of the coordinates that terms give."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.engine import ONNX_INPUT
from training.arrays import FloatArray
from training.export.graphs.graph import Graph, cast_double


def add_terms(graph: Graph, terms: list[dict[str, Any]], base: list[float]) -> str:
    """Add the sum of the terms and `base`, of shape (rows, len(base))."""
    total = np.array(base, dtype=np.float64)
    numbers, centres, weights = [], [], []
    present, gaps = [], []
    refused, spoilt = [], []
    coded, codes, steps = [], [], []
    for term in terms:
        other = np.array(term["other"])
        total = total + other
        missing = np.array(term["missing"], dtype=np.float64)
        present.append(term["feature"])
        gaps.append(np.where(np.isnan(missing), 0.0, missing - other))
        if np.isnan(missing).any():  # the model has no answer for a row without this feature
            refused.append(term["feature"])
            spoilt.append(np.isnan(missing).astype(np.float64))
        if term["weight"] is not None:
            numbers.append(term["feature"])
            centres.append(term["centre"])
            weights.append(term["weight"])
        for code, value in zip(term["codes"], term["values"], strict=True):
            elsewhere = other
            if term["weight"] is not None:
                elsewhere = other + np.array(term["weight"]) * (code - term["centre"])
            coded.append(term["feature"])
            codes.append(code)
            steps.append(np.array(value) - elsewhere)
    answer = graph.constant(total[None, :])
    if numbers:
        taken = _take(graph, numbers)
        offsets = graph.add("Sub", taken, graph.constant(centres))
        offsets = graph.add("Where", graph.add("IsNaN", taken), graph.constant(0.0), offsets)
        answer = graph.add("Add", answer, graph.add("MatMul", offsets, graph.constant(weights)))
    if present:
        gone = cast_double(graph, graph.add("IsNaN", _take(graph, present)))
        answer = graph.add("Add", answer, graph.add("MatMul", gone, _rows(graph, gaps)))
    if refused:
        # 0 * NaN is NaN, so a product with NaN would spoil every row: count, then choose.
        absent = cast_double(graph, graph.add("IsNaN", _take(graph, refused)))
        hits = graph.add("MatMul", absent, _rows(graph, spoilt))
        is_spoilt = graph.add("Greater", hits, graph.constant(0.0))
        nothing = graph.add("Where", is_spoilt, graph.constant(np.nan), graph.constant(0.0))
        answer = graph.add("Add", answer, nothing)
    if coded:
        equal = cast_double(graph, graph.add("Equal", _take(graph, coded), graph.constant(codes)))
        answer = graph.add("Add", answer, graph.add("MatMul", equal, _rows(graph, steps)))
    return answer


def _take(graph: Graph, features: list[int]) -> str:
    return graph.add("Gather", ONNX_INPUT, graph.constant(features, np.int64), axis=1)


def _rows(graph: Graph, rows: list[FloatArray]) -> str:
    return graph.constant(np.stack(rows))


def add_distances(graph: Graph, content: dict[str, Any]) -> str:
    """Add `constant + factor * quadratic form` of the coordinates around each centre."""
    at = add_coordinates(graph, content["terms"])
    centres = np.array(content["centres"])
    rows = graph.add("Unsqueeze", at, graph.constant([1], np.int64))
    offsets = graph.add("Sub", rows, graph.constant(centres[None]))
    pulled = offsets
    if content["shape"] == "diagonal":
        pulled = graph.add("Mul", offsets, graph.constant(np.array(content["precisions"])[None]))
    elif content["shape"] == "full":
        wide = graph.add("Unsqueeze", offsets, graph.constant([2], np.int64))
        product = graph.add("MatMul", wide, graph.constant(content["precisions"]))
        pulled = graph.add("Squeeze", product, graph.constant([2], np.int64))
    squares = graph.add("Mul", offsets, pulled)
    forms = graph.add("ReduceSum", squares, graph.constant([2], np.int64), keepdims=0)
    scaled = graph.add("Mul", forms, graph.constant(content["factor"]))
    return graph.add("Add", scaled, graph.constant(content["base"]))


def add_coordinates(graph: Graph, terms: list[dict[str, Any]]) -> str:
    """Add the vector of all terms' values, side by side."""
    width = sum(len(term["other"]) for term in terms)
    spread, start = [], 0
    for term in terms:
        size = len(term["other"])

        def place(values: list[float], start: int = start, size: int = size) -> list[float]:
            return [0.0] * start + list(values) + [0.0] * (width - start - size)

        spread.append(
            {
                **term,
                "weight": None if term["weight"] is None else place(term["weight"]),
                "other": place(term["other"]),
                "missing": place(term["missing"]),
                "values": [place(values) for values in term["values"]],
            }
        )
        start += size
    return add_terms(graph, spread, [0.0] * width)
