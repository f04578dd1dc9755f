"""Counts what training saw: `build_baseline`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contract import Contract
from core.drift.arrays import Counts, Floats
from core.drift.baseline import DISTANCE, Baseline
from core.drift.budget import FLOORS
from core.drift.columns import ColumnBaseline, Group
from core.drift.dispersion import Dispersion, Statistic, estimate_dispersion
from core.drift.joint import Joint, build_joint, measure_distances
from core.drift.slots import place_categories, place_numbers, read_numbers, read_texts
from core.errors import DriftError

_LARGEST_VOCABULARY = 5_000
_TOP_CATEGORIES = 30
_LARGEST_DISCRETE = 22


def build_baseline(
    contract: Contract,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    outputs: NDArray[Any] | Sequence[Sequence[float]] | None = None,
    *,
    times: Sequence[float] | None = None,
    seed: int = 0,
) -> Baseline:
    """Count what training saw.

    `columns` maps each of the contract's columns to its values over the training rows. `outputs`
    (rows x outputs) must come from rows that the model was *not* fitted on: a score's distribution
    on its own training rows is too sharp and would alarm on the first window. `times` (seconds, one
    a row of `columns`) lets dependence between neighbouring rows enter the tests. Sensitive columns
    are not counted: predict leaves them out of what it captures. Raises DriftError for missing or
    unequal columns.
    """
    rows = _count_rows(contract, columns)
    generator = np.random.default_rng(seed)
    fitting = np.zeros(rows, dtype=bool)  # half of the rows choose vocabularies and the distance
    fitting[generator.permutation(rows)[: rows // 2]] = True
    order = None
    if times is not None:
        if len(times) != rows:
            raise DriftError(f"{len(times)} times for {rows} rows")
        order = np.argsort(np.asarray(times, dtype=np.float64), kind="stable")

    built: list[ColumnBaseline] = []
    slots: list[Counts] = []
    numbers: dict[int, Floats] = {}
    watched = [column for column in contract.columns if not column.sensitive]
    for position, column in enumerate(watched):
        values = columns[column.name]
        if column.type in ("number", "integer", "boolean", "text"):
            numeric, invalid = read_numbers(values, text=column.type == "text")
            made = _number_baseline(column.name, "input", numeric, invalid, column.type == "text")
            if column.type != "text":
                numbers[position] = numeric
            slot = place_numbers(made, numeric, invalid)
        else:
            texts = read_texts(values)
            made = _category_baseline(column.name, texts, fitting, column.type == "timestamp")
            slot = place_categories(made, texts)
            made = _count_category(made, slot, fitting)
        built.append(made)
        slots.append(slot)
    if order is not None:
        built = [
            replace(made, dispersion=_disperse(made, slot[order]))
            for made, slot in zip(built, slots, strict=True)
        ]

    joint = build_joint(built, slots, numbers, fitting, order)
    table = np.empty((0, 0)) if outputs is None else np.asarray(outputs, dtype=np.float64)
    if table.size:
        table = table.reshape(len(table), -1)
    kept = _choose_outputs(contract, table)
    built += _output_baselines(contract, table, kept)
    if joint is not None:
        built.append(_distance_baseline(joint, numbers, fitting, order))
    return Baseline(
        contract=contract.digest,
        columns=tuple(built),
        joint=joint,
        rows=rows,
        output_rows=len(table) if table.size else 0,
        outputs=kept,
    )


def _count_rows(contract: Contract, columns: Mapping[str, Sequence[object] | NDArray[Any]]) -> int:
    missing = [column.name for column in contract.columns if column.name not in columns]
    if missing:
        raise DriftError(f"the baseline lacks columns of the contract: {', '.join(missing)}")
    lengths = {column.name: len(columns[column.name]) for column in contract.columns}
    rows = next(iter(lengths.values()))
    if rows < 20 or len(set(lengths.values())) > 1:
        raise DriftError(
            f"a baseline needs at least 20 rows and columns of one length, not {lengths}"
        )
    return rows


def _choose_outputs(contract: Contract, table: Floats) -> tuple[int, ...]:
    """Choose the outputs that are watched: of two probabilities that add to 1, one is enough."""
    if not table.size:
        return ()
    if contract.task == "binary" and table.shape[1] == 2:
        return (contract.positive_index,)
    return tuple(range(min(table.shape[1], _TOP_CATEGORIES)))


def _output_baselines(
    contract: Contract, table: Floats, kept: tuple[int, ...]
) -> list[ColumnBaseline]:
    built = []
    for i in kept:
        numeric, invalid = read_numbers(table[:, i])
        name = "prediction" if len(kept) == 1 else f"prediction {contract.outputs[i]}"
        built.append(_number_baseline(name, "output", numeric, invalid, False))
    return built


def _distance_baseline(
    joint: Joint,
    numbers: Mapping[int, Floats],
    fitting: NDArray[np.bool_],
    order: NDArray[np.intp] | None,
) -> ColumnBaseline:
    """Count the distances of the rows that did not choose the distance."""
    held = measure_distances(joint, [numbers[i][~fitting] for i in joint.columns])
    made = _number_baseline(DISTANCE, "joint", held, np.zeros(len(held), dtype=bool), False)
    if order is None:
        return made
    everyone = measure_distances(joint, [numbers[i] for i in joint.columns])
    slot = place_numbers(made, everyone, np.zeros(len(fitting), dtype=bool))[order]
    return replace(made, dispersion=_disperse(made, slot[~fitting[order]]))


def _number_baseline(
    name: str, group: Group, numeric: Floats, invalid: NDArray[np.bool_], text: bool
) -> ColumnBaseline:
    present = np.sort(numeric[~np.isnan(numeric)])
    if len(present) == 0:
        edges: list[float] = [0.0, math.nextafter(0.0, math.inf)]
    else:
        low, high = float(present[0]), float(present[-1])
        margin = _margin(present)
        distinct = np.unique(present[:: max(1, len(present) // 20_000)])
        if len(distinct) <= _LARGEST_DISCRETE and len(np.unique(present)) <= _LARGEST_DISCRETE:
            distinct = np.unique(present)
            inner = (distinct[:-1] + distinct[1:]) / 2.0
        else:
            bins = int(min(20, max(4, len(present) // 15)))
            points = list(np.arange(1, bins) / bins)
            if len(present) >= 10_000:
                points = [0.0005, *points, 0.9995]
            inner = np.quantile(present, points, method="higher")
        inner = np.unique(inner)
        inner = inner[(inner > low) & (inner <= high)]
        edges = [low - margin, *inner.tolist(), math.nextafter(high + margin, math.inf)]
    made = ColumnBaseline(
        name=name,
        kind="number",
        group=group,
        counts=(0,) * (len(edges) + 3),
        edges=tuple(edges),
        text=text,
    )
    counts = np.bincount(place_numbers(made, numeric, invalid), minlength=len(made.counts))
    return replace(
        made, counts=tuple(counts.tolist()), unseen_of=(int(invalid.sum()), len(numeric))
    )


def _margin(present: Floats) -> float:
    """Give how far beyond the range seen a value must be to count as out of it.

    A tenth of a standard deviation (from the quartiles, which outliers do not move): a change that
    is too small to report of a mean is also too small of a value (next year's oldest person).
    """
    low, high = np.quantile(present, (0.25, 0.75))
    margin = FLOORS["means"] * (float(high) - float(low)) / 1.349
    widest = max(abs(float(present[0])), abs(float(present[-1]))) + margin
    return margin if math.isfinite(widest) else 0.0


def _category_baseline(
    name: str, texts: list[str | None], fitting: NDArray[np.bool_], presence: bool
) -> ColumnBaseline:
    chosen = Counter(text for text, fit in zip(texts, fitting, strict=True) if fit)
    chosen.pop(None, None)
    if presence or len(chosen) > _LARGEST_VOCABULARY:
        return ColumnBaseline(name=name, kind="presence", group="input", counts=(0, 0, 0))
    ranked = sorted(chosen, key=lambda text: (-chosen[text], str(text)))
    labels = tuple(str(text) for text in ranked[:_TOP_CATEGORIES])
    return ColumnBaseline(
        name=name,
        kind="category",
        group="input",
        counts=(0,) * (len(labels) + 3),
        labels=labels,
        known=tuple(sorted(str(text) for text in chosen)),
    )


def _count_category(
    made: ColumnBaseline, slot: Counts, fitting: NDArray[np.bool_]
) -> ColumnBaseline:
    counted = np.ones(len(slot), dtype=bool)
    if len(made.known) > len(made.labels):
        # The most frequent were chosen on half of the rows, where they look more frequent than
        # they are: count them on the other half.
        counted = ~fitting
    unseen = int((slot[~fitting] == len(made.counts) - 1).sum())
    return replace(
        made,
        counts=tuple(np.bincount(slot[counted], minlength=len(made.counts)).tolist()),
        unseen_of=(unseen, int((~fitting).sum())),
    )


def _disperse(column: ColumnBaseline, slot: Counts) -> Dispersion | None:
    """Estimate the design effects of a column from its slots in time order."""

    def between(score: Floats) -> Statistic:
        centred = score - score.mean()
        variance = float((centred**2).mean())

        def ratio(starts: NDArray[np.intp], sizes: Floats) -> float:
            if variance == 0.0:
                return 1.0
            means = np.add.reduceat(centred, starts) / sizes
            return float((sizes * means**2).sum() / (len(sizes) - 1) / variance)

        return ratio

    def largest(*parts: Statistic) -> Statistic:
        return lambda starts, sizes: max(part(starts, sizes) for part in parts)

    values = column.values
    statistics: dict[str, Statistic] = {
        "missing": between((slot == values).astype(np.float64)),
        "unseen": between((slot == values + 1).astype(np.float64)),
    }
    # Dependence is strongest along few directions: a mean over the bins' own effects would hide
    # that the level moves from hour to hour, and with it every bin. The strongest counts for all.
    if column.kind == "number":
        location = between(np.append(column.locations, (0.0, 0.0))[slot])
        spread = between(np.append(column.spreads, (0.0, 0.0))[slot])
        below = between((slot <= 1).astype(np.float64))
        above = between(((slot >= values - 2) & (slot < values)).astype(np.float64))
        statistics["location"], statistics["spread"] = location, spread
        statistics["below"], statistics["above"] = (
            largest(location, below),
            largest(location, above),
        )
        statistics["shape"] = largest(location, spread, below, above)
    elif column.kind == "category":
        common = np.bincount(slot, minlength=values)[:values] >= max(20, len(slot) // 100)
        each = [between((slot == i).astype(np.float64)) for i in np.flatnonzero(common)]
        statistics["shape"] = largest(*each) if each else lambda starts, sizes: 1.0
    return estimate_dispersion(len(slot), statistics)
