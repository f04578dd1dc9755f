"""Distances: quadratic forms around centres (k-means, Gaussian mixtures, robust covariance)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.engine.linear import Term
from core.engine.margins import Vector


class Distances:
    """Quadratic forms around centres, of coordinates that the terms give."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self._terms = [Term(table) for table in tables["terms"]]
        self._centres: list[list[float]] = tables["centres"]
        self._constants: list[float] = tables["base"]
        self._factor: float = tables["factor"]
        self._precisions: list[Any] = tables["precisions"]
        # Of each margin: "unit" (identity), "diagonal" or "full" precision.
        self._shape: str = tables["shape"]

    def _coordinates(self, vector: Vector) -> list[float]:
        return [value for term in self._terms for value in term(vector)]

    def _pulls(self, k: int, offsets: list[float]) -> list[float]:
        """Multiply offsets from centre k by its precision."""
        if self._shape == "unit":
            return offsets
        precision = self._precisions[k]
        if self._shape == "diagonal":
            return [p * o for p, o in zip(precision, offsets, strict=True)]
        return [sum(map(float.__mul__, row, offsets)) for row in precision]

    def margins(self, vector: Vector) -> list[float]:
        """Give the margins of one encoded row."""
        at = self._coordinates(vector)
        found = []
        for k, centre in enumerate(self._centres):
            offsets = [a - c for a, c in zip(at, centre, strict=True)]
            form = sum(map(float.__mul__, offsets, self._pulls(k, offsets)))
            found.append(self._constants[k] + self._factor * form)
        return found

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        """Use the closed form for quadratics: half of each interaction goes to each side.

        With d = x - b and P the precision, the Shapley value of coordinate i is
        d_i (P(x - c) + P(b - c))_i, and coordinates of one column add up.
        """
        mine, theirs = self._coordinates(vector), self._coordinates(baseline)
        owners = [players[t.feature] for t in self._terms for _ in t.other]
        found = []
        for k, centre in enumerate(self._centres):
            here = self._pulls(k, [a - c for a, c in zip(mine, centre, strict=True)])
            there = self._pulls(k, [b - c for b, c in zip(theirs, centre, strict=True)])
            row = [0.0] * count
            for i, owner in enumerate(owners):
                row[owner] += self._factor * (mine[i] - theirs[i]) * (here[i] + there[i])
            found.append(row)
        return found
