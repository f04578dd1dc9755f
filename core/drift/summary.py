"""Summaries: the counts of the rows of a window, which can be added."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.drift.arrays import Counts, Floats
from core.drift.baseline import Baseline
from core.drift.columns import ColumnBaseline
from core.drift.joint import measure_distances
from core.drift.slots import (
    count_categories,
    place_categories,
    place_numbers,
    read_numbers,
    read_texts,
)
from core.errors import DriftError


@dataclass(frozen=True)
class Summary:
    """The counts of some rows under one baseline's edges; `+` merges, in any order."""

    baseline: str
    rows: int
    counts: tuple[Counts, ...] = field(compare=False)

    def __add__(self, other: Summary) -> Summary:
        """Merge two summaries; raises DriftError if they were counted under different baselines."""
        if self.baseline != other.baseline:
            raise DriftError(
                "summaries of different baselines cannot be added: count the rows again"
            )
        return Summary(
            self.baseline,
            self.rows + other.rows,
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
        )

    def __eq__(self, other: object) -> bool:
        """Compare by counts."""
        return isinstance(other, Summary) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """Hash by baseline and size."""
        return hash((self.baseline, self.rows))

    def to_json(self) -> bytes:
        """Write the summary."""
        counts = [column.tolist() for column in self.counts]
        raw = {"baseline": self.baseline, "rows": self.rows, "counts": counts}
        return json.dumps(raw, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> Summary:
        """Read a summary; raises DriftError if it is none."""
        try:
            raw = json.loads(text)
            counts = tuple(np.asarray(column, dtype=np.int64) for column in raw["counts"])
            return cls(str(raw["baseline"]), int(raw["rows"]), counts)
        except (ValueError, KeyError, TypeError) as error:
            raise DriftError(f"this is not a drift summary: {error!r}") from error

    @classmethod
    def empty(cls, baseline: Baseline) -> Summary:
        """Give the summary of no rows."""
        counts = tuple(np.zeros(len(c.counts), dtype=np.int64) for c in baseline.columns)
        return cls(baseline.digest, 0, counts)


def summarise(
    baseline: Baseline,
    rows: Sequence[Mapping[str, object]],
    outputs: Sequence[Sequence[float]] | None = None,
) -> Summary:
    """Count rows as they were served, and the outputs given for them."""
    columns = {
        column.name: [row.get(column.name) for row in rows]
        for column in baseline.columns
        if column.group == "input"
    }
    table = None
    if outputs:
        widest = max(map(len, outputs))
        table = np.array(
            [[*row, *[math.nan] * (widest - len(row))] for row in outputs], dtype=float
        )
    return summarise_columns(baseline, columns, table)


def summarise_columns(
    baseline: Baseline,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    outputs: NDArray[Any] | None = None,
) -> Summary:
    """Count a table given column by column; a column that is not there counts as missing."""
    rows = _count_rows(columns, outputs)
    if rows == 0:
        return Summary.empty(baseline)
    counts: list[Counts] = []
    for column, placed in _place_columns(baseline, columns, outputs, rows):
        if placed is None:
            counts.append(np.zeros(len(column.counts), dtype=np.int64))
        elif isinstance(placed, list):
            counts.append(count_categories(column, placed))
        else:
            counts.append(np.bincount(placed, minlength=len(column.counts)))
    return Summary(baseline.digest, rows, tuple(counts))


def place_columns(
    baseline: Baseline,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    outputs: NDArray[Any],
) -> list[Counts]:
    """Give the slot of every row in every column: what `summarise_columns` counts."""
    placed: list[Counts] = []
    for column, values in _place_columns(baseline, columns, outputs, _count_rows(columns, outputs)):
        assert values is not None
        placed.append(
            place_categories(column, read_texts(values)) if isinstance(values, list) else values
        )
    return placed


def _count_rows(
    columns: Mapping[str, Sequence[object] | NDArray[Any]], outputs: NDArray[Any] | None
) -> int:
    # A baseline without columns of its own (all are sensitive) still counts the outputs.
    given = [*columns.values(), *([] if outputs is None else [outputs])]
    return max(map(len, given), default=0)


def _place_columns(
    baseline: Baseline,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    outputs: NDArray[Any] | None,
    rows: int,
) -> Iterator[tuple[ColumnBaseline, Counts | list[object] | None]]:
    """Yield each column with its rows' slots, or the values of a category; None without outputs."""
    raw: dict[int, Floats] = {}
    joint = set(baseline.joint.columns) if baseline.joint else set()
    reached = 0
    for position, column in enumerate(baseline.columns):
        if column.group == "input":
            values = columns.get(column.name)
            if values is None:
                values = np.full(rows, np.nan)
            if len(values) != rows:
                raise DriftError(f"column {column.name!r} has {len(values)} of {rows} values")
            if column.kind != "number":
                yield column, _as_list(values)
                continue
            numeric, invalid = read_numbers(values, column.text)
            if position in joint:
                raw[position] = numeric
        elif column.group == "output":
            which = baseline.outputs[reached]
            reached += 1
            if outputs is None or len(outputs) == 0:
                yield column, None
                continue
            if outputs.ndim != 2 or outputs.shape[1] <= which:
                raise DriftError(f"the rows carry no output number {which + 1}")
            numeric, invalid = read_numbers(outputs[:, which])
        else:
            assert baseline.joint is not None
            numeric = measure_distances(baseline.joint, [raw[i] for i in baseline.joint.columns])
            invalid = np.zeros(rows, dtype=bool)
        yield column, place_numbers(column, numeric, invalid)


def _as_list(values: Sequence[object] | NDArray[Any]) -> list[object]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)
