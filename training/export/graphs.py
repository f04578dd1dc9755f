"""Writes a model's tables as an ONNX graph in float64.

Input `vector` (rows x features, double, the contract's encoded vector), output `outputs` (rows x
outputs, double). Trees are one `TreeEnsemble` of ai.onnx.ml version 5, the first ONNX operator that
holds float64 thresholds and leaves; everything around it is made of ordinary operators that
onnxruntime has in float64 (see OperatorKernels.md in the onnxruntime repository).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.compose
from onnx import TensorProto, helper, numpy_helper

from core.engine import AMONG, AMONG_OR_MISSING, AT_MOST_OR_MISSING, ONNX_INPUT, ONNX_OUTPUT
from training.export.folding import Halves, Tables

OPSET = 21
ML_OPSET = 5
# Of skl2onnx's graphs: version 5 deprecates the tree operators that it writes.
SINGLE_ML_OPSET = 3
IR_VERSION = 10

# ai.onnx.ml TreeEnsemble-5, attribute nodes_modes.
_LEQ, _EQ, _MEMBER = 0, 4, 6
_SUM = 1
_LOG_EPSILON = 1e-12


class _Graph:
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


def build_graph(tables: Tables, features: int, outputs: int) -> bytes:
    """Write tables as the bytes of `model.onnx`."""
    graph = _Graph()
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
        margins = _add_trees(graph, content)
    elif tables.family == "linear":
        margins = _add_terms(graph, content["terms"], content["base"])
    else:
        margins = _add_distances(graph, content)
    answer = _add_answer(graph, margins, content)
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
    graph = _Graph()
    given, calibration = ONNX_INPUT, None
    if halves is not None:
        coordinates = _add_coordinates(graph, halves.terms)
        given = graph.add("Gather", coordinates, graph.constant(halves.order, np.int64), axis=1)
        calibration = halves.calibration
    single = graph.add("Cast", given, to=TensorProto.FLOAT)
    answer = _cast(graph, graph.include(estimator, single)[-1])
    if offset is not None:
        answer = graph.add("Neg", graph.add("Add", answer, graph.constant(offset)))
    if calibration is not None:
        count = 1 if outputs == 2 else outputs
        if count == 1:
            # Of two columns the last is about the second class, which calibration is fitted on.
            answer = graph.add("Gather", answer, graph.constant([-1], np.int64), axis=1)
        answer = _add_calibration(graph, answer, link, calibration, count)
    shape = graph.constant([-1, outputs], np.int64)
    answer = graph.add("Reshape", answer, shape)
    return graph.finish(answer, features, outputs, ml_opset=SINGLE_ML_OPSET)


# Trees.


def _add_trees(graph: _Graph, content: dict[str, Any]) -> str:
    """Add the ensemble; the base goes first, as a tree of its own, to keep the order of adding."""
    ensemble = _Ensemble(content["trees"])
    for output, base in enumerate(content["base"]):
        ensemble.add_constant(base, output)
    trees = content["trees"]
    for root, output in zip(trees["roots"], trees["outputs"], strict=True):
        if trees["leaves"] is None:
            ensemble.add_tree(root, output, None)
        else:
            # A leaf of TreeEnsemble adds to one output only: one copy of the tree for each.
            for target in range(len(content["base"])):
                ensemble.add_tree(root, target, target)
    margins = graph.add(
        "TreeEnsemble",
        ONNX_INPUT,
        domain="ai.onnx.ml",
        aggregate_function=_SUM,
        post_transform=0,
        n_targets=len(content["base"]),
        **ensemble.attributes(),
    )
    if content["divisor"] != 1.0:
        margins = graph.add("Div", margins, graph.constant(content["divisor"]))
    return margins


class _Ensemble:
    """The attributes of TreeEnsemble, filled tree by tree."""

    def __init__(self, trees: dict[str, Any]) -> None:
        self._trees = trees
        self._roots: list[int] = []
        self._features: list[int] = []
        self._modes: list[int] = []
        self._splits: list[float] = []
        self._missing: list[int] = []
        self._children: tuple[list[int], list[int]] = ([], [])
        self._are_leaves: tuple[list[int], list[int]] = ([], [])
        self._targets: list[int] = []
        self._weights: list[float] = []
        # The codes of each set, closed by NaN, in the order of the nodes that test them.
        self._members: list[float] = []

    def add_constant(self, value: float, output: int) -> None:
        """Add a tree whose leaves are alike."""
        self._roots.append(len(self._features))
        node = self._split(0, _LEQ, 0.0, missing=False)
        for side in (0, 1):
            self._link(node, side, self._leaf(value, output), leaf=True)

    def add_tree(self, root: int, output: int, column: int | None) -> None:
        """Add one tree; `column` picks from leaves that hold a value for each output."""
        trees = self._trees
        if trees["feature"][root] < 0:
            self.add_constant(self._value(root, column), output)
            return
        self._roots.append(len(self._features))
        # What is left to write: a node of the tables, and the split and side that lead to it.
        waiting: list[tuple[int, int, int]] = [(root, -1, 0)]
        while waiting:
            source, parent, side = waiting.pop()
            leaf = trees["feature"][source] < 0
            if leaf:
                child = self._leaf(self._value(source, column), output)
            else:
                child = self._write_test(source)
                waiting += [(trees["right"][source], child, 1), (source + 1, child, 0)]
            if parent >= 0:
                self._link(parent, side, child, leaf=leaf)

    def _write_test(self, source: int) -> int:
        """Write the test of one split and give its node."""
        trees = self._trees
        feature, test = trees["feature"][source], trees["test"][source]
        value = trees["value"][source]
        missing = test in (AT_MOST_OR_MISSING, AMONG_OR_MISSING)
        if test not in (AMONG, AMONG_OR_MISSING):
            return self._split(feature, _LEQ, value, missing=missing)
        codes = trees["sets"][value]
        if not codes:
            # No finite value is at most minus infinity: this holds for missing at most.
            return self._split(feature, _LEQ, -np.inf, missing=missing)
        if len(codes) == 1:
            return self._split(feature, _EQ, codes[0], missing=missing)
        self._members += [*codes, np.nan]
        return self._split(feature, _MEMBER, 0.0, missing=missing)

    def _value(self, source: int, column: int | None) -> float:
        value = self._trees["value"][source]
        return float(value if column is None else self._trees["leaves"][value][column])

    def _split(self, feature: int, mode: int, value: float, *, missing: bool) -> int:
        self._features.append(feature)
        self._modes.append(mode)
        self._splits.append(value)
        self._missing.append(int(missing))
        for side in (0, 1):
            self._children[side].append(0)
            self._are_leaves[side].append(0)
        return len(self._features) - 1

    def _leaf(self, value: float, output: int) -> int:
        self._targets.append(output)
        self._weights.append(value)
        return len(self._targets) - 1

    def _link(self, parent: int, side: int, child: int, *, leaf: bool) -> None:
        self._children[side][parent] = child
        self._are_leaves[side][parent] = int(leaf)

    def attributes(self) -> dict[str, Any]:
        """Give the attributes as ONNX names them."""
        members = {"membership_values": _tensor(self._members)} if self._members else {}
        return {
            **members,
            "tree_roots": self._roots,
            "nodes_featureids": self._features,
            "nodes_modes": numpy_helper.from_array(np.array(self._modes, dtype=np.uint8)),
            "nodes_splits": _tensor(self._splits),
            "nodes_missing_value_tracks_true": self._missing,
            "nodes_truenodeids": self._children[0],
            "nodes_falsenodeids": self._children[1],
            "nodes_trueleafs": self._are_leaves[0],
            "nodes_falseleafs": self._are_leaves[1],
            "leaf_targetids": self._targets,
            "leaf_weights": _tensor(self._weights),
        }


def _tensor(values: list[float]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.float64))


# Terms.


def _add_terms(graph: _Graph, terms: list[dict[str, Any]], base: list[float]) -> str:
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
        gone = _cast(graph, graph.add("IsNaN", _take(graph, present)))
        answer = graph.add("Add", answer, graph.add("MatMul", gone, _rows(graph, gaps)))
    if refused:
        # 0 * NaN is NaN, so a product with NaN would spoil every row: count, then choose.
        absent = _cast(graph, graph.add("IsNaN", _take(graph, refused)))
        hits = graph.add("MatMul", absent, _rows(graph, spoilt))
        is_spoilt = graph.add("Greater", hits, graph.constant(0.0))
        nothing = graph.add("Where", is_spoilt, graph.constant(np.nan), graph.constant(0.0))
        answer = graph.add("Add", answer, nothing)
    if coded:
        equal = _cast(graph, graph.add("Equal", _take(graph, coded), graph.constant(codes)))
        answer = graph.add("Add", answer, graph.add("MatMul", equal, _rows(graph, steps)))
    return answer


def _take(graph: _Graph, features: list[int]) -> str:
    return graph.add("Gather", ONNX_INPUT, graph.constant(features, np.int64), axis=1)


def _cast(graph: _Graph, name: str) -> str:
    return graph.add("Cast", name, to=TensorProto.DOUBLE)


def _rows(graph: _Graph, rows: list[npt.NDArray[np.float64]]) -> str:
    return graph.constant(np.stack(rows))


# Distances.


def _add_distances(graph: _Graph, content: dict[str, Any]) -> str:
    """Add `constant + factor * quadratic form` of the coordinates around each centre."""
    at = _add_coordinates(graph, content["terms"])
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


def _add_coordinates(graph: _Graph, terms: list[dict[str, Any]]) -> str:
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
    return _add_terms(graph, spread, [0.0] * width)


# Margins to outputs.


def _add_answer(graph: _Graph, margins: str, content: dict[str, Any]) -> str:
    link, calibration = content.get("link", "identity"), content.get("calibration")
    if calibration is not None:
        return _add_calibration(graph, margins, link, calibration, len(content["base"]))
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


def _best(graph: _Graph, margins: str) -> str:
    return _cast(graph, graph.add("ArgMax", margins, axis=1, keepdims=1))


def _expit(graph: _Graph, margins: str) -> str:
    """Add 1 / (1 + exp(-m)), which is right at both ends in IEEE arithmetic."""
    one = graph.constant(1.0)
    powers = graph.add("Exp", graph.add("Neg", margins))
    return graph.add("Div", one, graph.add("Add", one, powers))


def _pair(graph: _Graph, probability: str) -> str:
    rest = graph.add("Sub", graph.constant(1.0), probability)
    return graph.add("Concat", rest, probability, axis=1)


def _add_calibration(
    graph: _Graph, margins: str, link: str, calibration: dict[str, Any], count: int
) -> str:
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


def _add_curve(
    graph: _Graph, margins: str, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> str:
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
