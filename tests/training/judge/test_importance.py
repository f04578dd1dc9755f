"""Importance finds the columns that matter."""

import numpy as np

from core.contract import Column, Contract
from training.judge.importance import measure_importance
from training.metrics import Answers


def contract_of(*columns: Column, task: str = "binary") -> Contract:
    return Contract(task, columns, target="y", classes=("no", "yes") if task == "binary" else ())  # type: ignore[arg-type]


def test_importance_finds_the_column_that_matters() -> None:
    """Shuffling the only informative column hurts; shuffling another does nothing."""
    random = np.random.default_rng(0)
    contract = contract_of(Column("noise", "number"), Column("signal", "number"))
    matrix = random.normal(size=(500, 2))
    labels = (matrix[:, 1] > 0).astype(float)

    def answer(rows: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-4 * rows[:, 1]))
        return np.column_stack([1 - p, p])

    answers = Answers("binary", labels, answer(matrix), 1, 0.5)
    found = measure_importance(contract, matrix, answer, answers, "log_loss", 7)
    assert [item["column"] for item in found] == ["signal", "noise"]
    assert found[0]["drop"] > 0.5
    assert found[1]["drop"] == 0.0
