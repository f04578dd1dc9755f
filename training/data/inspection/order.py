"""The order of the rows: whether it is that of time, though no column says so."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.contract import Task
from training.arrays import FloatArray
from training.data.columns import coerce_column
from training.data.inspection.findings import ColumnFinding
from training.data.splits import ALIKE, measure_likeness


def judge_order(
    frame: pd.DataFrame,
    findings: Sequence[ColumnFinding],
    labels: FloatArray,
    task: Task,
) -> tuple[bool, list[str]]:
    """Say whether the rows are in the order of time, though no column says so, and what to know.

    They are taken to be where neighbours have like targets and no column or class explains it by
    having been sorted by.
    """
    classes = task != "regression"
    likeness = measure_likeness(labels, classes=classes)
    if likeness < ALIKE or len(labels) < 200:
        return False, []
    alike = f"neighbouring rows have like targets (correlation {likeness:.2f})"
    if classes:  # a fifth is what the last fold or the holdout is left with
        known = len(np.unique(labels))
        by_target = any(len(np.unique(part)) < known for part in np.array_split(labels, 5))
    else:
        by_target = float(np.mean(labels[1:] >= labels[:-1])) > 0.95
    if by_target:
        return False, [f"{alike}: the table is sorted by its target, or its start and end differ"]
    for finding in findings:
        if finding.role == "target" or finding.distinct < 2 or finding.distinct > len(labels) // 2:
            continue
        codes = pd.factorize(frame[finding.name])[0]
        if int((codes[1:] != codes[:-1]).sum()) < 2 * finding.distinct:
            name = finding.name
            return False, [
                f"{alike} and the table is sorted by {name!r}: if that is time, set time_column = "
                f'"{name}" and [split] strategy = "time"; if its values own their rows, '
                f'group_column and "group"'
            ]
    for finding in findings:
        if finding.column and finding.role == "input" and finding.type in ("number", "integer"):
            values = coerce_column(frame[finding.name], finding.column)
            if is_sorted(values) or is_sorted(-values):
                return False, [
                    f"{alike} and the table is sorted by {finding.name!r}: if that is time, set "
                    f'time_column = "{finding.name}" and [split] strategy = "time"'
                ]
    return True, [
        f"{alike}, as rows in time order have: the last rows judge. If their order means nothing, "
        'set [split] strategy = "random"'
    ]


def is_sorted(values: NDArray[Any]) -> bool:
    """Say whether at least 20 values rise, or stay, from row to row."""
    return len(values) >= 20 and bool((values[1:] >= values[:-1]).all())
