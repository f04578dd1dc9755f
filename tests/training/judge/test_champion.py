"""The champion answers the same question, or is not compared with."""

import numpy as np

from core.contract import Column, Contract
from training.judge.champion import align_outputs, explain_mismatch


def test_models_of_different_questions_are_not_compared() -> None:
    """Another task, target or set of classes has no common score."""

    def contract(**options: object) -> Contract:
        given = {"task": "binary", "target": "y", "classes": ("no", "yes"), **options}
        return Contract(columns=(Column("x", "number"),), **given)  # type: ignore[arg-type]

    assert explain_mismatch(contract(), contract()) is None
    assert "task" in str(explain_mismatch(contract(), contract(task="regression", classes=())))
    assert "predicts" in str(explain_mismatch(contract(), contract(target="z")))
    assert "classes" in str(explain_mismatch(contract(), contract(classes=("a", "b"))))


def test_classes_are_aligned_by_name() -> None:
    """A champion with its classes in another order, or without a new class, is read rightly."""

    def contract(*classes: str) -> Contract:
        return Contract("multiclass", (Column("x", "number"),), target="y", classes=classes)

    outputs = np.array([[0.7, 0.3]])
    aligned = align_outputs(outputs, contract("b", "a"), contract("a", "b", "c"))
    assert aligned.tolist() == [[0.3, 0.7, 0.0]]
