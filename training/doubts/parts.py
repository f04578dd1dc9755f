"""Columns that give the target together: as parts of a sum or product, or as a pair."""

from collections.abc import Iterator, Sequence

import numpy as np

from training.arrays import BoolArray, FloatArray, IntArray
from training.doubts.doubt import Doubt, Variable, last_decimal, rank_area, sample_rows

MIN_ROWS = 30
EXACT = 1.0 - 1e-6
MOST_PARTS = 6
MAX_PAIR_ROWS = 1_500
MAX_PAIR_COLUMNS = 40
MOST_CELLS = 20  # values of a column that is crossed with another
TOGETHER = 0.998
WEAK_ALONE = 0.95
NEARLY = 1.0 - 1e-4  # explained, where what is left may be rounding
COARSE = 0.03  # of the target's spread: rounding beyond that hides too much to judge by


def find_parts(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find a few numbers whose weighted sum, or product of powers, is the target."""
    if classes:
        return
    numbers = [v for v in variables if v.kind == "number" and np.isfinite(v.values).mean() > 0.5]
    for word, logs in (("sum", False), ("product", True)):
        usable = numbers
        target = labels
        if logs:
            usable = [v for v in numbers if np.nanmin(v.values) > 0]
            if float(labels.min()) <= 0:
                return
            target = np.log(labels)
        names = _find_combination(usable, target, logs=logs)
        if names:
            shown = ", ".join(repr(name) for name in names)
            yield Doubt(
                f"{word}:{','.join(names)}",
                f"the target is a {'weighted sum' if word == 'sum' else 'product of powers'} of "
                f"{shown}: are they known when predicting?",
                tuple(names),
            )
            return


def _find_combination(
    variables: Sequence[Variable], target: FloatArray, *, logs: bool
) -> list[str]:
    if not variables:
        return []
    matrix = np.column_stack([np.log(v.values) if logs else v.values for v in variables])
    known = np.isfinite(matrix).all(axis=1) & np.isfinite(target)
    if known.sum() < max(MIN_ROWS, 3 * len(variables)):
        return []
    matrix, wanted = matrix[known], target[known]
    keep = np.ptp(matrix, axis=0) > 0
    matrix, names = (
        matrix[:, keep],
        [v.name for v, kept in zip(variables, keep, strict=True) if kept],
    )
    if np.ptp(wanted) == 0 or not names:
        return []
    rounding = [0.0] * len(names)
    coarse = 0.0
    if not logs:  # a sum of rounded numbers misses by what their last decimals hide
        rounding = [last_decimal(column) / column.std() for column in matrix.T]
        coarse = last_decimal(wanted) / wanted.std()
    matrix = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    wanted = (wanted - wanted.mean()) / wanted.std()

    def is_exact(columns: list[int]) -> bool:
        part = matrix[:, columns]
        weights, *_ = np.linalg.lstsq(part, wanted, rcond=None)
        left = np.abs(wanted - part @ weights)
        if 1.0 - float((left**2).mean()) >= EXACT:
            return True
        hidden = coarse + sum(
            abs(float(weight)) * rounding[column]
            for weight, column in zip(weights, columns, strict=True)
        )
        return not logs and hidden <= COARSE and float(left.max()) <= hidden

    if _explained(matrix, wanted) < NEARLY:
        return []
    chosen: list[int] = []
    while len(chosen) < MOST_PARTS:  # forwards, so that a short answer is found first
        best = max(
            (k for k in range(len(names)) if k not in chosen),
            key=lambda k: _explained(matrix[:, [*chosen, k]], wanted),
            default=None,
        )
        if best is None:
            break
        chosen.append(best)
        if is_exact(chosen):
            break
    if not is_exact(chosen):
        return []
    for k in list(chosen):  # and what a later one made needless goes
        others = [other for other in chosen if other != k]
        if others and is_exact(others):
            chosen = others
    return [names[k] for k in sorted(chosen)]


def _explained(matrix: FloatArray, wanted: FloatArray) -> float:
    """Give the share of the variance of a standardised target that a least-squares fit explains."""
    weights, *_ = np.linalg.lstsq(matrix, wanted, rcond=None)
    return 1.0 - float(((wanted - matrix @ weights) ** 2).mean())


def find_together(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find two numbers that say little alone and nearly everything together, as a difference does.

    The direction that parts two classes best (Fisher 1936) in each plane of two columns.
    """
    if len(classes) != 2:
        return
    rows = sample_rows(len(labels), MAX_PAIR_ROWS)
    hits = labels[rows] == 1
    if min(int(hits.sum()), int((~hits).sum())) < MIN_ROWS:
        return
    columns, areas = [], []
    for variable in variables:
        values = variable.values[rows]
        if variable.kind == "number" and np.isfinite(values).all() and np.ptp(values) > 0:
            area = rank_area(values, hits)
            columns.append((variable.name, (values - values.mean()) / values.std()))
            areas.append(max(area, 1.0 - area))
    kept = range(min(len(columns), MAX_PAIR_COLUMNS))
    for first in kept:
        for second in range(first + 1, len(kept)):
            if max(areas[first], areas[second]) >= WEAK_ALONE:
                continue
            plane = np.column_stack([columns[first][1], columns[second][1]])
            area = _part_classes(plane, hits)
            if area >= TOGETHER:
                names = (columns[first][0], columns[second][0])
                yield Doubt(
                    f"together:{','.join(names)}",
                    f"{names[0]!r} and {names[1]!r} tell the target together (ROC-AUC {area:.3f}), "
                    f"and little alone ({areas[first]:.2f} and {areas[second]:.2f}): was one of "
                    "them, or the target, made from the other?",
                    names,
                )
                return


def find_crossed(
    variables: Sequence[Variable], labels: FloatArray, classes: Sequence[str]
) -> Iterator[Doubt]:
    """Find two columns of few values whose combination gives the class, as two flags may."""
    if len(classes) != 2:
        return
    rows = sample_rows(len(labels), 2 * MAX_PAIR_ROWS)
    hits = labels[rows] == 1
    columns = []
    for variable in variables:
        distinct, codes = np.unique(variable.values[rows], return_inverse=True)
        if 2 <= len(distinct) <= MOST_CELLS:
            area = _tell(codes, hits)
            if area < WEAK_ALONE:
                columns.append((variable.name, codes, len(distinct), area))
    columns = columns[:MAX_PAIR_COLUMNS]
    for first, (name, codes, values, alone) in enumerate(columns):
        for other, others, more, like in columns[first + 1 :]:
            if values * more > len(rows) / 20:
                continue  # so many cells fit any target
            area = _tell(codes * more + others, hits)
            if area >= TOGETHER:
                yield Doubt(
                    f"together:{name},{other}",
                    f"the combination of {name!r} and {other!r} tells the target (ROC-AUC "
                    f"{area:.3f}), each alone little ({alone:.2f} and {like:.2f}): was one of them "
                    "made from the target?",
                    (name, other),
                )
                return


def _tell(codes: IntArray, hits: BoolArray) -> float:
    """Give the ROC-AUC of the share of hits in each row's cell."""
    shares = np.bincount(codes, weights=hits) / np.maximum(1, np.bincount(codes))
    return rank_area(shares[codes], hits)


def _part_classes(plane: FloatArray, hits: BoolArray) -> float:
    """Give the ROC-AUC along the direction that parts the classes best."""
    inside = np.cov(plane[hits].T) + np.cov(plane[~hits].T)
    if np.linalg.cond(inside) > 1e12:
        return 0.5
    direction = np.linalg.solve(inside, plane[hits].mean(axis=0) - plane[~hits].mean(axis=0))
    return rank_area(plane @ direction, hits)
