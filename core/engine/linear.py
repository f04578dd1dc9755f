"""Linear models: sums of one term a feature; and constants, which have no term."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.engine.margins import Vector


class Constant:
    """A model that answers every row alike."""

    def __init__(self, base: list[float]) -> None:
        self._base = base

    def margins(self, vector: Vector) -> list[float]:
        """Give the margins of one encoded row."""
        return list(self._base)

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        """Credit no column with anything."""
        return [[0.0] * count for _ in self._base]


class Term:
    """A vector-valued function of one feature.

    `missing` where the feature is; the value listed for its code where one is;
    `other + weight * (value - centre)` elsewhere.
    """

    __slots__ = ("centre", "codes", "feature", "missing", "other", "weight")

    def __init__(self, table: dict[str, Any]) -> None:
        self.feature: int = table["feature"]
        self.centre: float = table["centre"]
        self.weight: list[float] | None = table["weight"]
        self.other: list[float] = table["other"]
        self.missing: list[float] = table["missing"]
        self.codes: dict[float, list[float]] = dict(
            zip(table["codes"], table["values"], strict=True)
        )

    def __call__(self, vector: Vector) -> list[float]:
        """Give the values of the term for an encoded row."""
        value = vector[self.feature]
        if value != value:
            return self.missing
        found = self.codes.get(value)
        if found is not None:
            return found
        if self.weight is None:
            return self.other
        offset = value - self.centre
        return [o + w * offset for o, w in zip(self.other, self.weight, strict=True)]


class Linear:
    """Sums of one term a feature."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self._base: list[float] = tables["base"]
        self._terms = [Term(table) for table in tables["terms"]]
        if len(self._base) == 1:
            # One margin: plain tuples are several times faster than calls.
            self._numbers = [
                (t.feature, t.centre, t.weight[0], t.other[0], t.missing[0])
                for t in self._terms
                if t.weight is not None and not t.codes
            ]
            self._codes = [
                (t.feature, {c: v[0] for c, v in t.codes.items()}.get, t.other[0], t.missing[0])
                for t in self._terms
                if t.weight is None
            ]
            self._mixed = [t for t in self._terms if t.weight is not None and t.codes]

    def margins(self, vector: Vector) -> list[float]:
        """Give the margins of one encoded row."""
        if len(self._base) > 1:
            totals = list(self._base)
            for term in self._terms:
                for k, value in enumerate(term(vector)):
                    totals[k] += value
            return totals
        total = self._base[0]
        for feature, centre, weight, other, missing in self._numbers:
            value = vector[feature]
            total += missing if value != value else other + weight * (value - centre)
        for feature, find, other, missing in self._codes:
            value = vector[feature]
            total += missing if value != value else find(value, other)
        for term in self._mixed:
            total += term(vector)[0]
        return [total]

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        """Credit each column with the difference of its terms."""
        found = [[0.0] * count for _ in self._base]
        for term in self._terms:
            player = players[term.feature]
            for k, (mine, theirs) in enumerate(zip(term(vector), term(baseline), strict=True)):
                found[k][player] += mine - theirs
        return found
