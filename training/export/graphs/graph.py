"""An ONNX graph under construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.compose
from onnx import TensorProto, helper, numpy_helper

from core.engine import ONNX_INPUT, ONNX_OUTPUT

OPSET = 21
ML_OPSET = 5
# Of skl2onnx's graphs: version 5 deprecates the tree operators that it writes.
SINGLE_ML_OPSET = 3
IR_VERSION = 10


class Graph:
    """Collects nodes and constants under fresh names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: Any, dtype: type = np.float64) -> str:
        """Add a constant and give its name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and give the output's name."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def include(self, model: onnx.ModelProto, *inputs: str) -> list[str]:
        """Add all of another graph, fed with `inputs`, and give the names of its outputs."""
        prefix = f"m{len(self.nodes)}_"
        graph = onnx.compose.add_prefix_graph(model.graph, prefix)
        for given, taken in zip(inputs, graph.input, strict=True):
            self.nodes.append(helper.make_node("Identity", [given], [taken.name]))
        self.nodes += graph.node
        self.constants += graph.initializer
        return [output.name for output in graph.output]

    def finish(
        self, output: str, features: int, outputs: int, *, ml_opset: int = ML_OPSET
    ) -> bytes:
        """Close the graph and give the file's bytes."""
        self.nodes.append(helper.make_node("Identity", [output], [ONNX_OUTPUT]))
        graph = helper.make_graph(
            self.nodes,
            "driftless",
            [helper.make_tensor_value_info(ONNX_INPUT, TensorProto.DOUBLE, [None, features])],
            [helper.make_tensor_value_info(ONNX_OUTPUT, TensorProto.DOUBLE, [None, outputs])],
            self.constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[
                helper.make_opsetid("", OPSET),
                helper.make_opsetid("ai.onnx.ml", ml_opset),
            ],
            ir_version=IR_VERSION,
            producer_name="driftless",
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def cast_double(graph: Graph, name: str) -> str:
    """Add the conversion of a value to double."""
    return graph.add("Cast", name, to=TensorProto.DOUBLE)
