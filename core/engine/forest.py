"""Forests: sums of leaves, over trees whose tests read the encoded vector.

The leaves that a row reaches are found by masks. Where these would take too much memory (deep
forests), each tree is walked from its root instead. Both add the leaves in scikit-learn's order, so
that the sum has the same bits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from core.engine.attribution import attribute_trees, weigh_players
from core.engine.margins import Vector
from core.engine.masks import Masks
from core.engine.trees import AT_MOST_OR_MISSING, Node, Plan, Trees


class Forest:
    """Sums of leaves, over trees whose tests read the encoded vector."""

    def __init__(self, tables: dict[str, Any]) -> None:
        trees = self._trees = Trees(tables["trees"])
        self._rows = trees.rows
        self._base: list[float] = tables["base"]
        self._divisor: float = tables["divisor"]
        if self._rows is None and sorted(trees.outputs) != trees.outputs:
            raise ValueError("trees are not in the order of their outputs")
        # Where the trees of each margin begin and end.
        self._spans = [
            (bisect_left(trees.outputs, k), bisect_left(trees.outputs, k + 1))
            for k in range(len(self._base))
        ]
        self._nodes: list[Node] | None = None
        self._prepared: dict[tuple[float, ...], list[Node]] = {}
        masks = Masks.build(trees)
        self.masks = (
            None if masks is None else masks.describe(trees.outputs, self._base, self._divisor)
        )
        self.margins: Callable[[Vector], list[float]] = (
            self._margins_walked if masks is None else self._margins_from(masks)
        )

    # Both ways of finding leaves end here.

    def _margins_from(self, masks: Masks) -> Callable[[Vector], list[float]]:
        """Bind the lookup of leaves by masks to the sum that this forest needs."""
        find, divisor = masks.find, self._divisor
        if self._rows is None and len(self._base) == 1:
            base = self._base[0]

            def margins(vector: Vector) -> list[float]:
                total = base
                for leaf in find(vector):
                    total += leaf
                return [total / divisor]

            return margins
        return lambda vector: self._add(list(find(vector)))

    def _margins_walked(self, vector: Vector) -> list[float]:
        if self._nodes is None:
            self._nodes = self._link(None, ())
        x = self._plan.widen(vector)
        leaves: list[Any] = []
        found = leaves.append
        for node in self._nodes:
            while node.__class__ is tuple:
                feature, threshold, at_most, above = node
                node = at_most if x[feature] <= threshold else above
            found(node)
        return self._add(leaves)

    def _add(self, leaves: list[Any]) -> list[float]:
        """Add leaves one by one, as scikit-learn does (`sum` compensates rounding from 3.12 on)."""
        divisor = self._divisor
        totals = []
        if self._rows is not None:
            for base, column in zip(self._base, zip(*leaves, strict=True), strict=True):
                total = base
                for leaf in column:
                    total += leaf
                totals.append(total / divisor)
            return totals
        for base, (start, stop) in zip(self._base, self._spans, strict=True):
            total = base
            for leaf in leaves[start:stop]:
                total += leaf
            totals.append(total / divisor)
        return totals

    @cached_property
    def _plan(self) -> Plan:
        return Plan(self._trees)

    @cached_property
    def _depth(self) -> int:
        return self._trees.count_levels()

    def _link(self, baseline: Vector | None, players: Sequence[int]) -> list[Node]:
        """Link the trees as nested tuples and give their roots.

        With a baseline, a split also has its side (does the test hold?) and its column's player.
        """
        plan, trees = self._plan, self._trees
        b = None if baseline is None else plan.widen(baseline)
        owners = [players[feature] for feature in plan.owners] if players else []
        nodes: list[Node] = [None] * len(trees.feature)
        for i in range(len(nodes) - 1, -1, -1):
            if trees.feature[i] < 0:
                nodes[i] = trees.leaf(i)
                continue
            position = plan.positions[i]
            threshold = trees.value[i] if trees.test[i] <= AT_MOST_OR_MISSING else 0.5
            split = (position, threshold, nodes[i + 1], nodes[trees.other[i]])
            if b is not None:
                split += (b[position] <= threshold, owners[position])  # type: ignore[assignment]
            nodes[i] = split
        return [nodes[root] for root in trees.roots]

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        """Give exact interventional Shapley values against one baseline row.

        Only splits where the row and the baseline part matter. Below such a split, a leaf on the
        row's side counts for its column and a leaf on the baseline's side against it, with the
        weight of a player among a + c of whom a must be the row's and c the baseline's.
        """
        if baseline not in self._prepared:
            self._prepared[baseline] = self._link(baseline, players)
        roots = self._prepared[baseline]
        x = self._plan.widen(vector)
        weights = weigh_players(min(count, self._depth) + 1)
        if self._rows is None:
            found = []
            for start, stop in self._spans:
                credit = [0.0] * count
                attribute_trees(roots[start:stop], x, credit, weights, None)
                found.append(credit)
        else:
            found = []
            for k in range(len(self._base)):
                credit = [0.0] * count
                attribute_trees(roots, x, credit, weights, k)
                found.append(credit)
        return [[value / self._divisor for value in credit] for credit in found]
