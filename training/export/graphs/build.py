"""The graph of a model's tables, and the graph around an estimator that has none."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from core.engine import ONNX_INPUT
from training.export.folding import Halves, Tables
from training.export.graphs.answers import add_answer, add_calibration
from training.export.graphs.graph import SINGLE_ML_OPSET, Graph, cast_double
from training.export.graphs.terms import add_coordinates, add_distances, add_terms
from training.export.graphs.trees import add_trees


def build_graph(tables: Tables, features: int, outputs: int) -> bytes:
    """Write tables as the bytes of `model.onnx`."""
    graph = Graph()
    content = tables.content
    if tables.family == "constant":
        # The rows are counted off the input, so that any number of them is answered.
        first = graph.add("Gather", ONNX_INPUT, graph.constant([0], np.int64), axis=1)
        rows = graph.add("Shape", first)
        shape = graph.add(
            "Concat",
            graph.add("Slice", rows, graph.constant([0], np.int64), graph.constant([1], np.int64)),
            graph.constant([outputs], np.int64),
            axis=0,
        )
        base = graph.constant([content["base"]])
        return graph.finish(graph.add("Expand", base, shape), features, outputs)
    if tables.family == "trees":
        margins = add_trees(graph, content)
    elif tables.family == "linear":
        margins = add_terms(graph, content["terms"], content["base"])
    else:
        margins = add_distances(graph, content)
    answer = add_answer(graph, margins, content)
    return graph.finish(answer, features, outputs)


def build_around(
    estimator: onnx.ModelProto,
    features: int,
    outputs: int,
    *,
    halves: Halves | None,
    link: str,
    offset: float | None,
) -> bytes:
    """Put an estimator's float32 graph between double preprocessing and double answers.

    Its last output holds probabilities or scores (`link`, which only calibration asks), a value, or
    (with `offset`) anomaly scores that are minus ours after adding the offset. Without `halves` the
    estimator's graph takes the encoded vector itself.
    """
    graph = Graph()
    given, calibration = ONNX_INPUT, None
    if halves is not None:
        coordinates = add_coordinates(graph, halves.terms)
        given = graph.add("Gather", coordinates, graph.constant(halves.order, np.int64), axis=1)
        calibration = halves.calibration
    single = graph.add("Cast", given, to=TensorProto.FLOAT)
    answer = cast_double(graph, graph.include(estimator, single)[-1])
    if offset is not None:
        answer = graph.add("Neg", graph.add("Add", answer, graph.constant(offset)))
    if calibration is not None:
        count = 1 if outputs == 2 else outputs
        if count == 1:
            # Of two columns the last is about the second class, which calibration is fitted on.
            answer = graph.add("Gather", answer, graph.constant([-1], np.int64), axis=1)
        answer = add_calibration(graph, answer, link, calibration, count)
    shape = graph.constant([-1, outputs], np.int64)
    answer = graph.add("Reshape", answer, shape)
    return graph.finish(answer, features, outputs, ml_opset=SINGLE_ML_OPSET)
