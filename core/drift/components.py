"""What the creep rule follows of a baseline: components of its columns, and their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.drift.arrays import Floats
from core.drift.columns import ColumnBaseline


class Component(NamedTuple):
    """One thing that the creep rule follows: a column's location, or the share of one slot."""

    column: int
    kind: Literal["location", "shape", "missing", "unseen"]
    slot: int
    weight: float


def list_components(
    columns: Sequence[ColumnBaseline], shares: Mapping[str, float]
) -> list[Component]:
    """List what the creep rule follows, with weights that add to 1."""
    found: list[Component] = []
    for i, column in enumerate(columns):
        share = shares[column.group]
        if column.kind == "number":
            found.append(Component(i, "location", -1, share * 0.7))
        elif column.kind == "category":
            followed = range(min(len(column.labels), 8))
            found += [Component(i, "shape", j, share * 0.7 / len(followed)) for j in followed]
        found.append(Component(i, "missing", column.values, share * 0.15))
        found.append(Component(i, "unseen", column.values + 1, share * 0.15))
    total = sum(component.weight for component in found)
    return [component._replace(weight=component.weight / total) for component in found]


class Followed(NamedTuple):
    """What the creep rule needs of the baseline, one entry a component."""

    components: list[Component]
    weights: Floats
    sums: Floats
    rows: Floats
    variances: Floats
    pulls: Floats
    rates: NDArray[np.bool_]
    shares: NDArray[np.bool_]


def follow(columns: Sequence[ColumnBaseline], shares: Mapping[str, float]) -> Followed:
    """Work out what the creep rule needs of a baseline's columns.

    `shares` is the share of the error budget that a column of each group has.
    """
    components = list_components(columns, shares)
    table = np.array([_reference(columns[one.column], one) for one in components], dtype=np.float64)
    return Followed(
        components,
        np.array([one.weight for one in components]),
        table[:, 0],
        table[:, 1],
        table[:, 2],
        table[:, 3],
        np.array([one.kind in ("missing", "unseen") for one in components]),
        np.array([one.kind == "shape" for one in components]),
    )


def _reference(column: ColumnBaseline, component: Component) -> tuple[float, float, float, float]:
    """Give the baseline's sum and rows of a component, its variance, and one row's largest pull."""
    if component.kind == "location":
        counts = column.seen
        n = float(counts.sum())
        return 0.0, n, float(counts @ column.locations**2 / max(n, 1.0)), 0.5
    if component.kind == "unseen":
        return float(column.unseen_of[0]), float(column.unseen_of[1]), 0.0, 1.0
    k, n = float(column.counts[component.slot]), float(column.rows)
    share = k / max(n, 1.0)
    return k, n, share * (1.0 - share), max(share, 1.0 - share)
