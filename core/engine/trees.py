"""The trees of `model.json` as arrays of nodes, and the vector that their tests read."""

from __future__ import annotations

import math
from typing import Any

from core.engine.margins import Vector

# Tests of a split, in `tables["trees"]["test"]`; the first child is taken where the test holds.
AT_MOST, AT_MOST_OR_MISSING, AMONG, AMONG_OR_MISSING = range(4)

# A split is (position in the widened vector, threshold, child where at most, child elsewhere); a
# leaf is its value, or a list of one value a class.
Node = Any


class Trees:
    """Trees as arrays of nodes; the first child of a split is the next node.

    `other` is a split's second child, `value` its threshold or its set of codes; of a leaf (feature
    -1) `value` is the leaf's, or the place of its list in `rows`. `outputs` names the margin of
    each tree.
    """

    __slots__ = ("feature", "other", "outputs", "roots", "rows", "sets", "test", "value")

    def __init__(self, table: dict[str, Any]) -> None:
        """Read `tables["trees"]` of `model.json`."""
        self.feature: list[int] = table["feature"]
        self.test: list[int] = table["test"]
        self.value: list[float] = table["value"]
        self.other: list[int] = table["right"]
        self.roots: list[int] = table["roots"]
        self.outputs: list[int] = table["outputs"]
        self.sets: list[frozenset[float]] = [frozenset(codes) for codes in table["sets"]]
        self.rows: list[list[float]] | None = table["leaves"]

    def leaf(self, node: int) -> Any:
        """Give the value of a leaf, or its list of values."""
        value = self.value[node]
        return value if self.rows is None else self.rows[int(value)]

    def count_levels(self) -> int:
        """Count the splits on the longest path."""
        depth = [0] * len(self.feature)
        for i in range(len(depth) - 1, -1, -1):
            if self.feature[i] >= 0:
                depth[i] = 1 + max(depth[i + 1], depth[self.other[i]])
        return max(depth, default=0)


class Plan:
    """Widens a vector so that every test of a forest reads `x[position] <= threshold`.

    Missing values that take the first child become minus infinity at a position of their own; a
    test on a set of codes becomes 0 (a member) or 1, compared with 0.5. `owners` has the feature
    that each position comes from, `positions` the position that each node reads.
    """

    def __init__(self, trees: Trees) -> None:
        """Give a position of its own to each kind of test of a feature."""
        width = 1 + max(trees.feature, default=-1)
        lows: dict[int, int] = {}
        members: dict[tuple[int, int, bool], int] = {}
        places = []
        nodes = list(zip(trees.feature, trees.test, trees.value, strict=True))
        for feature, test, value in nodes:
            if feature < 0 or test == AT_MOST:
                places.append(feature)
            elif test == AT_MOST_OR_MISSING:
                places.append(width + lows.setdefault(feature, len(lows)))
            else:
                key = (feature, int(value), test == AMONG_OR_MISSING)
                places.append(-2 - members.setdefault(key, len(members)))
        # Sets come last, after as many positions as there turned out to be.
        after = width + len(lows)
        self.positions = [after - 2 - place if place < -1 else place for place in places]
        self.owners = [*range(width), *lows, *(feature for feature, _, _ in members)]
        self._width = width
        self._lows = list(lows)
        self._members = [(f, trees.sets[s], missing) for f, s, missing in members]

    def widen(self, vector: Vector) -> list[float]:
        """Give the vector with the positions that tests read."""
        x = list(vector[: self._width])
        for feature in self._lows:
            value = vector[feature]
            x.append(value if value == value else -math.inf)
        for feature, codes, missing in self._members:
            value = vector[feature]
            x.append(0.0 if (missing if value != value else value in codes) else 1.0)
        return x
