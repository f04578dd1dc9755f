"""Rows in the order of time, though no column says so: a random split then shows the future."""

from collections.abc import Sequence

import numpy as np

from training.arrays import FloatArray
from training.doubts.doubt import Doubt, Variable

# From this likeness of neighbours' labels on, a random split tells the future too well.
ALIKE = 0.2
MIN_ROWS = 200
SPAN = 7  # rows before and after that a moving window may reach
IN_WINDOW = 0.9999
WITHOUT_FUTURE = 0.999


def measure_likeness(labels: FloatArray, *, classes: bool) -> float:
    """Measure how alike the labels of neighbouring rows are: 0 as if shuffled, 1 the same.

    For classes the share of equal neighbours beyond chance, for numbers the correlation of their
    ranks at lag one; 0 where that is within what chance gives so many rows.
    """
    n = len(labels)
    if n < 2 or float(np.ptp(labels)) == 0.0:
        return 0.0
    if classes:
        chance = float(((np.unique(labels, return_counts=True)[1] / n) ** 2).sum())
        likeness = (float((labels[1:] == labels[:-1]).mean()) - chance) / (1.0 - chance)
    else:
        ranks = np.argsort(np.argsort(labels, kind="stable"), kind="stable").astype(np.float64)
        likeness = float(np.corrcoef(ranks[1:], ranks[:-1])[0, 1])
    return likeness if likeness > 4.0 / np.sqrt(n) else 0.0


def is_sorted_by_target(labels: FloatArray, *, classes: bool) -> bool:
    """Say whether the table was sorted by its target, or its start and end differ in kind."""
    if classes:  # a fifth is what the last fold or the holdout is left with
        known = len(np.unique(labels))
        return any(len(np.unique(part)) < known for part in np.array_split(labels, 5))
    return float(np.mean(labels[1:] >= labels[:-1])) > 0.95


def find_sorting(variables: Sequence[Variable], rows: int) -> str | None:
    """Name the column that the table is sorted by, or whose values stand together; else None."""
    for variable in variables:
        values = np.nan_to_num(variable.values, nan=-1e300)
        distinct = len(np.unique(values))
        if 2 <= distinct <= rows // 2 and int((values[1:] != values[:-1]).sum()) < 2 * distinct:
            return variable.name
    for variable in variables:
        if variable.kind == "number" and len(variable.values) >= 20:
            steps = np.diff(variable.values)
            if bool((steps >= 0).all()) or bool((steps <= 0).all()):
                return variable.name
            if _follows_rows(variable.values):
                return variable.name
    return None


def _follows_rows(values: FloatArray) -> bool:
    """Say whether values nearly rise or fall with the rows: a rank correlation over 0.95."""
    from scipy.stats import rankdata

    if not np.isfinite(values).all() or float(np.ptp(values)) == 0.0:
        return False
    ranks = rankdata(values)
    return abs(float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])) > 0.95


def find_order(variables: Sequence[Variable], labels: FloatArray, *, classes: bool) -> Doubt | None:
    """Doubt a random split of rows whose neighbours have like targets for no reason in sight."""
    likeness = measure_likeness(labels, classes=classes)
    if len(labels) < MIN_ROWS or likeness < ALIKE:
        return None
    if is_sorted_by_target(labels, classes=classes):
        return None
    sorting = find_sorting(variables, len(labels))
    if sorting is not None:
        return None
    return Doubt(
        "order",
        f"neighbouring rows have like targets (correlation {likeness:.2f}), as rows in time order "
        "have, and the holdout was drawn at random among them: the model was tested on moments "
        'between those that it learned. Set [split] strategy = "order" (or name the time column)',
    )


def find_moment(moments: Sequence[Variable], labels: FloatArray, *, classes: bool) -> str | None:
    """Name the timestamp in whose order neighbouring rows have like targets, if there is one."""
    for moment in moments:
        known = np.isfinite(moment.values) & np.isfinite(labels)
        if known.sum() < max(MIN_ROWS, 0.9 * len(labels)):
            continue
        if len(np.unique(moment.values[known])) < 0.5 * known.sum():
            continue
        by_time = np.argsort(moment.values[known], kind="stable")
        sorted_labels = labels[known][by_time]
        if measure_likeness(sorted_labels, classes=classes) < ALIKE:
            continue
        if not is_sorted_by_target(sorted_labels, classes=classes):
            return moment.name
    return None


def doubt_moment(name: str) -> Doubt:
    """Doubt a random split of rows that follow each other by a timestamp."""
    return Doubt(
        f"order:{name}",
        f"rows that follow each other by {name!r} have like targets, and the holdout was drawn at "
        "random among them: the model was tested on moments between those that it learned. Set "
        f'[problem] time_column = "{name}" and [split] strategy = "time"',
        (name,),
    )


def find_windows(variables: Sequence[Variable], labels: FloatArray) -> list[Doubt]:
    """Find columns of ordered rows that are moving sums of the target over its own and later rows.

    A sum over earlier rows alone is what service can know. `labels` are numbers, or 1 for a class.
    """
    lags = list(range(-SPAN, SPAN + 1))
    inner = np.arange(SPAN, len(labels) - SPAN)
    if len(inner) < MIN_ROWS or float(np.ptp(labels)) == 0.0:
        return []
    around = np.column_stack([labels[inner + lag] for lag in lags])
    found = []
    for variable in variables:
        values = variable.values[inner]
        if variable.kind != "number" or not np.isfinite(values).all() or np.ptp(values) == 0.0:
            continue
        if _fit(around, values) < IN_WINDOW:
            continue
        if _fit(around[:, : lags.index(0)], values) < WITHOUT_FUTURE:
            found.append(
                Doubt(
                    f"window:{variable.name}",
                    f"{variable.name!r} is a moving sum of the target over the row's own answer or "
                    "later ones: service does not know them; use earlier rows alone",
                    (variable.name,),
                )
            )
    return found


def _fit(design: FloatArray, values: FloatArray) -> float:
    """Give the share of the variance that a least-squares fit explains."""
    centred = design - design.mean(axis=0)
    wanted = values - values.mean()
    weights, *_ = np.linalg.lstsq(centred, wanted, rcond=None)
    return 1.0 - float(((wanted - centred @ weights) ** 2).sum() / (wanted**2).sum())
