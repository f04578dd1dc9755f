"""Trees as one `TreeEnsemble`."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from core.engine import AMONG, AMONG_OR_MISSING, AT_MOST_OR_MISSING, ONNX_INPUT
from training.export.graphs.graph import Graph

# ai.onnx.ml TreeEnsemble-5, attribute nodes_modes.
_LEQ, _EQ, _MEMBER = 0, 4, 6
_SUM = 1


def add_trees(graph: Graph, content: dict[str, Any]) -> str:
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
