"""The number columns together: their correlation, and how far a row is from the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.drift.arrays import Counts, Floats
from core.drift.columns import ColumnBaseline
from core.drift.dispersion import Dispersion, estimate_dispersion, parse_dispersion

_CLIP = 6.0  # standard deviations
_BLOCK = 8192


@dataclass(frozen=True)
class Joint:
    """The number columns together.

    `columns` are positions in `Baseline.columns`. `correlation` is of the columns' mid-rank scores
    (missing = the mean), over all rows. `middle`, `scale` and `whiten` map raw values to a vector
    whose length is a row's distance; they come from rows that the distance's own counts do not.
    """

    columns: tuple[int, ...]
    rows: int
    correlation: tuple[tuple[float, ...], ...]
    deviations: tuple[float, ...]
    middle: tuple[float, ...]
    scale: tuple[float, ...]
    whiten: tuple[tuple[float, ...], ...]
    dispersion: Dispersion | None = None


def parse_joint(raw: Mapping[str, Any] | None) -> Joint | None:
    """Read what the number columns have in common from a baseline's JSON, where there is any."""
    if raw is None:
        return None
    return Joint(
        **{
            **{k: tuple(v) for k, v in raw.items() if isinstance(v, list)},
            "rows": raw["rows"],
            "correlation": tuple(map(tuple, raw["correlation"])),
            "whiten": tuple(map(tuple, raw["whiten"])),
            "dispersion": parse_dispersion(raw["dispersion"]),
        }
    )


def build_joint(
    built: list[ColumnBaseline],
    slots: list[Counts],
    numbers: dict[int, Floats],
    fitting: NDArray[np.bool_],
    order: NDArray[np.intp] | None,
) -> Joint | None:
    """Describe the number columns together; None for fewer than two that vary, or few rows.

    `slots` and `numbers` hold the rows' slots and values of the columns `built`; rows marked as
    `fitting` choose the distance. `order` is the rows' order in time, where it is known.
    """
    rows = len(fitting)
    use: list[int] = []
    scores: list[Floats] = []
    deviations: list[float] = []
    for i in numbers:
        score = np.append(built[i].locations, (0.0, 0.0))[slots[i]]
        deviation = float(score.std())
        if deviation > 0.05:  # a nearly constant column says nothing about a joint shift
            use.append(i)
            scores.append(score / deviation)
            deviations.append(deviation)
    if len(use) < 2 or rows < len(use) + 30:
        return None
    matrix = np.column_stack(scores)
    correlation = np.atleast_2d(np.corrcoef(matrix, rowvar=False))
    fitted = [numbers[i][fitting] for i in use]
    middle = [float(np.nanmedian(values)) for values in fitted]
    scale = [float(np.nanstd(values)) or 1.0 for values in fitted]
    cloud = _standardise(fitted, middle, scale)
    shrink = min(0.5, 0.01 + 0.1 * len(use) / cloud.shape[1])
    covariance = np.cov(cloud) * (1.0 - shrink) + shrink * np.eye(len(use))
    whiten = np.linalg.inv(np.linalg.cholesky(covariance))
    joint = Joint(
        columns=tuple(use),
        rows=rows,
        correlation=tuple(tuple(round(float(v), 6) for v in row) for row in correlation),
        deviations=tuple(deviations),
        middle=tuple(middle),
        scale=tuple(scale),
        whiten=tuple(tuple(float(f"{v:.7g}") for v in row) for row in whiten),
    )
    if order is not None:
        inverse = np.linalg.inv(shrink_correlation(joint))
        ordered = matrix[order]

        def squares(starts: NDArray[np.intp], sizes: Floats) -> float:
            means = np.add.reduceat(ordered, starts, axis=0) / sizes[:, None]
            means = means - ordered.mean(axis=0)
            lengths = np.einsum("ij,jk,ik->i", means, inverse, means) * sizes
            return float(lengths.mean() / ordered.shape[1])

        joint = replace(joint, dispersion=estimate_dispersion(rows, {"means": squares}))
    return joint


def shrink_correlation(joint: Joint) -> Floats:
    """Give the correlation, shrunk a little so that it can be inverted."""
    matrix = np.asarray(joint.correlation, dtype=np.float64)
    return np.asarray(0.98 * matrix + 0.02 * np.eye(len(matrix)), dtype=np.float64)


def _standardise(
    values: Sequence[Floats], middle: Sequence[float], scale: Sequence[float]
) -> Floats:
    """Centre and scale columns (columns x rows), missing = 0, clipped."""
    table = np.empty((len(values), len(values[0])))
    for i, column in enumerate(values):
        np.subtract(column, middle[i], out=table[i])
        table[i] /= scale[i]
    absent = np.isnan(table)
    if absent.any():
        table[absent] = 0.0
    return np.clip(table, -_CLIP, _CLIP, out=table)


def measure_distances(joint: Joint, values: Sequence[Floats]) -> Floats:
    """Give each row's distance from the training rows, by the values of the joint's columns."""
    whiten = np.asarray(joint.whiten)
    found = np.empty(len(values[0]))
    for start in range(0, len(found), _BLOCK):  # blocks stay in the processor's cache
        part = [column[start : start + _BLOCK] for column in values]
        table = _standardise(part, joint.middle, joint.scale)
        squares = np.zeros(table.shape[1])
        # `whiten` is lower triangular. Row by row, as the threads of a matrix product of this size
        # wait for one another longer than they work.
        for i in range(len(whiten)):
            squares += (whiten[i, : i + 1] @ table[: i + 1]) ** 2
        found[start : start + _BLOCK] = squares
    return np.asarray(np.sqrt(found / len(values)), dtype=np.float64)
