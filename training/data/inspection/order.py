"""The order of the rows: whether it is that of time, though no column says so."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from core.contract import Task
from training.arrays import FloatArray
from training.doubts import Variable
from training.doubts.order import (
    ALIKE,
    MIN_ROWS,
    find_sorting,
    is_sorted_by_target,
    measure_likeness,
)


def judge_order(
    variables: Sequence[Variable], labels: FloatArray, task: Task
) -> tuple[bool, list[str]]:
    """Say whether the rows are in the order of time, though no column says so, and what to know.

    They are taken to be where neighbours have like targets and no column or class explains it by
    having been sorted by.
    """
    classes = task != "regression"
    likeness = measure_likeness(labels, classes=classes)
    if likeness < ALIKE or len(labels) < MIN_ROWS:
        return False, []
    alike = f"neighbouring rows have like targets (correlation {likeness:.2f})"
    if is_sorted_by_target(labels, classes=classes):
        return False, [f"{alike}: the table is sorted by its target, or its start and end differ"]
    sorting = find_sorting(variables, len(labels))
    if sorting is not None:
        return False, [
            f"{alike} and the table is sorted by {sorting!r}: if that is time, set time_column = "
            f'"{sorting}" and [split] strategy = "time"; if its values own their rows, '
            'group_column and "group"'
        ]
    return True, [
        f"{alike}, as rows in time order have: the last rows judge. If their order means nothing, "
        'set [split] strategy = "random"'
    ]


def is_sorted(values: NDArray[Any]) -> bool:
    """Say whether at least 20 values rise, or stay, from row to row."""
    return len(values) >= 20 and bool((values[1:] >= values[:-1]).all())
