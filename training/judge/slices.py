"""Slices: how the model does within groups of rows."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from core.contract import Contract
from training import metrics
from training.arrays import BoolArray, FloatArray, IntArray
from training.judge.intervals import mean_interval, number_or_none
from training.metrics import Answers

MIN_SLICE_ROWS = 20
MAX_SLICES_A_COLUMN = 12


def measure_slices(
    contract: Contract,
    matrix: FloatArray,
    answers: Answers,
    metric: str,
    units: IntArray,
    seed: int,
) -> list[dict[str, Any]]:
    """Measure the model within groups of rows, the worst first.

    A group is a category, a quarter of a number's range by rank, or the rows where a column is
    missing. `worse` marks groups whose loss a row is above the other rows' by more than noise: a
    one-sided z-test at 5% divided by the number of groups (Bonferroni).
    """
    losses = answers.losses()
    groups = list(_groups(contract, matrix))
    found = []
    for column, label, members in groups:
        inside, outside = losses[members], losses[~members]
        if len(inside) < MIN_SLICE_ROWS or len(outside) < MIN_SLICE_ROWS:
            continue
        gap = float(inside.mean() - outside.mean())
        error = math.sqrt(
            float(inside.var(ddof=1)) / len(inside) + float(outside.var(ddof=1)) / len(outside)
        )
        z = gap / error if error > 0 else 0.0
        found.append((z, column, label, members, gap))
    found.sort(key=lambda item: -item[0])
    limit = NormalDist().inv_cdf(1 - 0.05 / max(len(found), 1))
    sensitive = {c.name for c in contract.columns if c.sensitive}
    result = []
    for rank, (z, column, label, members, gap) in enumerate(found):
        if rank >= 15 and column not in sensitive:
            continue
        rows = np.flatnonzero(members)
        part = answers.take(rows)
        result.append(
            {
                "column": column,
                "group": label,
                "rows": len(rows),
                "metric": number_or_none(metrics.compute_one(metric, part)),
                "loss": mean_interval(part.losses(), units[rows], seed).to_dict(),
                "gap": gap,
                "worse": bool(z > limit),
                "sensitive": column in sensitive,
            }
        )
    return result


def _groups(contract: Contract, matrix: FloatArray) -> Sequence[tuple[str, str, BoolArray]]:
    found: list[tuple[str, str, BoolArray]] = []
    position = 0
    features = contract.features
    for column in contract.columns:
        width = sum(1 for feature in features if feature.column == column.name)
        values = matrix[:, position]
        position += width
        missing = np.isnan(values)
        if missing.any():
            found.append((column.name, "missing", missing))
        if column.type == "category":
            codes, counts = np.unique(values[~missing], return_counts=True)
            for code in codes[np.argsort(-counts, kind="stable")][:MAX_SLICES_A_COLUMN]:
                name = column.categories[int(code)] if code < len(column.categories) else "(unseen)"
                found.append((column.name, name, values == code))
        elif column.type == "boolean":
            found += [
                (column.name, name, values == v) for v, name in ((0.0, "false"), (1.0, "true"))
            ]
        elif column.type in ("number", "integer"):
            known = values[~missing]
            edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else known
            quarter = np.searchsorted(edges, values, side="left")
            for k in range(len(edges) + 1) if len(edges) else ():
                label = _name_quarter([f"{edge:.4g}" for edge in edges], k)
                found.append((column.name, label, (quarter == k) & ~missing))
    return found


def _name_quarter(edges: Sequence[str], k: int) -> str:
    if k == 0:
        return f"up to {edges[0]}"
    if k == len(edges):
        return f"above {edges[-1]}"
    return f"above {edges[k - 1]}, up to {edges[k]}"
