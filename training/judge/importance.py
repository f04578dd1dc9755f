"""Importance: how much the model's metric owes to each column."""

from typing import Any

import numpy as np

from core.contract import Contract
from core.settings import METRICS
from training import metrics
from training.arrays import Answer, FloatArray
from training.metrics import Answers

IMPORTANCE_REPEATS = 5
MANY_COLUMNS = 300  # from here on the columns are shuffled twice, not five times
MAX_IMPORTANCE_ROWS = 2000
_IMPORTANCE_BATCH_CELLS = 2_000_000


def measure_importance(
    contract: Contract, matrix: FloatArray, answer: Answer, answers: Answers, metric: str, seed: int
) -> list[dict[str, Any]]:
    """Measure how much the metric worsens when a column's values are shuffled among the rows.

    Permutation importance (Breiman 2001) by column, not by feature: all features made from a column
    move together. Most important first, with the spread over repeats.
    """
    random = np.random.default_rng([seed, 1])
    rows = np.arange(len(matrix))
    if len(rows) > MAX_IMPORTANCE_ROWS:
        rows = np.sort(random.choice(rows, MAX_IMPORTANCE_ROWS, replace=False))
    base, held = answers.take(rows), matrix[rows]
    reference = metrics.compute_one(metric, base)
    sign = -1.0 if METRICS[answers.task][metric] == "lower" else 1.0
    jobs = []
    repeats = 2 if len(contract.columns) > MANY_COLUMNS else IMPORTANCE_REPEATS
    places: dict[str, list[int]] = {column.name: [] for column in contract.columns}
    for place, feature in enumerate(contract.features):
        places[feature.column].append(place)
    for name, positions in places.items():
        jobs += [(name, positions) for _ in range(repeats)]
    drops: dict[str, list[float]] = {column.name: [] for column in contract.columns}
    at_once = max(1, _IMPORTANCE_BATCH_CELLS // held.size)
    for start in range(0, len(jobs), at_once):
        batch = jobs[start : start + at_once]
        stacked = np.tile(held, (len(batch), 1))
        for k, (_, positions) in enumerate(batch):
            block = stacked[k * len(held) : (k + 1) * len(held)]
            block[:, positions] = held[random.permutation(len(held))[:, None], positions]
        outputs = answer(stacked)
        for k, (name, _) in enumerate(batch):
            part = outputs[k * len(held) : (k + 1) * len(held)]
            shuffled = Answers(base.task, base.labels, part, base.positive, base.threshold)
            drops[name].append(sign * (reference - metrics.compute_one(metric, shuffled)))
    found = [
        {"column": name, "drop": float(np.mean(values)), "spread": float(np.std(values, ddof=1))}
        for name, values in drops.items()
    ]
    return sorted(found, key=lambda item: -float(str(item["drop"])))
