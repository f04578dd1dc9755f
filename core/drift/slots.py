"""From the values of a column to the slots that they are counted in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.drift.arrays import Counts, Floats
from core.drift.columns import ColumnBaseline

_SEARCHED = 2048
"""Up to so many values are searched for one by one."""
_CELLS = 4096


def _is_missing(value: object) -> bool:
    if value is None:
        return True
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return type(value).__name__ in ("NAType", "NaTType")


_BOOLEANS = {"true": 1.0, "false": 0.0}


def read_numbers(
    values: Sequence[object] | NDArray[Any], text: bool = False
) -> tuple[Floats, NDArray[np.bool_]]:
    """Give values as float64, NaN where missing or invalid, and mark the invalid ones."""
    if text:
        sizes = [math.nan if _is_missing(v) else float(len(str(v))) for v in values]
        return np.asarray(sizes, dtype=np.float64), np.zeros(len(sizes), dtype=bool)
    try:
        numeric = np.array(values, dtype=np.float64)
        invalid = np.isinf(numeric)
    except (TypeError, ValueError):
        numeric = np.full(len(values), np.nan)
        invalid = np.zeros(len(values), dtype=bool)
        for i, value in enumerate(values):
            if _is_missing(value):
                continue
            try:
                numeric[i] = _BOOLEANS.get(str(value).lower(), math.nan)
                if math.isnan(numeric[i]):
                    numeric[i] = float(value)
            except (TypeError, ValueError):
                invalid[i] = True
        invalid |= np.isinf(numeric)
    if invalid.any():
        numeric[invalid] = np.nan
    return numeric, invalid


def place_numbers(column: ColumnBaseline, numeric: Floats, invalid: NDArray[np.bool_]) -> Counts:
    """Give the slot of each number of a column, as `read_numbers` gave it."""
    edges = np.asarray(column.edges)
    absent = np.isnan(numeric)
    slot = (
        place_in_edges(edges, numeric, absent)
        if len(numeric) > _SEARCHED
        else (np.searchsorted(edges, numeric, side="right"))
    )
    if absent.any():
        slot[absent] = column.values
        slot[invalid] = column.values + 1
    return slot


def place_in_edges(edges: Floats, values: Floats, absent: NDArray[np.bool_]) -> Counts:
    """Give `searchsorted(edges, values, side="right")`, much faster for many values.

    Values fall into equal cells. The cell never falls when a value rises, so that in a cell without
    an edge all values lie between the same edges; only values in cells with an edge are searched.
    """
    low, span = float(edges[0]), float(edges[-1]) - float(edges[0])
    if not math.isfinite(span) or span < 1e-290:
        return np.searchsorted(edges, values, side="right")
    factor = _CELLS / span

    def cells(points: Floats) -> NDArray[np.int32]:
        with np.errstate(over="ignore"):
            scaled = (points - low) * factor
        np.clip(scaled, -1.0, float(_CELLS), out=scaled)
        return np.asarray(scaled.astype(np.int32) + 1, dtype=np.int32)

    of_edges = cells(edges)
    table = np.searchsorted(of_edges, np.arange(_CELLS + 2), side="left")
    holds = np.zeros(_CELLS + 2, dtype=bool)
    holds[of_edges] = True
    cell = cells(np.where(absent, low, values) if absent.any() else values)
    slot = table[cell]
    near = holds[cell]
    slot[near] = np.searchsorted(edges, values[near], side="right")
    return slot


def _text(value: object) -> str | None:
    if _is_missing(value):
        return None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def read_texts(values: Sequence[object] | NDArray[Any]) -> list[str | None]:
    """Give values as text, None where missing."""
    return [value if type(value) is str else _text(value) for value in values]


def place_categories(column: ColumnBaseline, texts: Sequence[str | None]) -> Counts:
    """Give the slot of each text of a column."""
    values = column.values
    if column.kind == "presence":
        return np.fromiter((1 if t is None else 0 for t in texts), dtype=np.int64, count=len(texts))
    slots = column.slots
    return np.fromiter(
        (values if t is None else slots.get(t, values + 1) for t in texts),
        dtype=np.int64,
        count=len(texts),
    )


def count_categories(column: ColumnBaseline, values: Sequence[object]) -> Counts:
    """Count the values of a column by their slots."""
    counts = np.zeros(len(column.counts), dtype=np.int64)
    slots = column.slots
    last = column.values
    for value, count in Counter(values).items():
        text = _text(value)
        if text is None:
            counts[last] += count
        elif column.kind == "presence":
            counts[0] += count
        else:
            counts[slots.get(text, last + 1)] += count
    return counts
