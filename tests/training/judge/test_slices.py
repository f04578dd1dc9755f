"""Slices name the groups of rows that are worse, and no others."""

import numpy as np

from core.contract import Column, Contract
from tests.training.answers import binary
from training.judge.slices import measure_slices
from training.metrics import Answers


def contract_of(*columns: Column, task: str = "binary") -> Contract:
    return Contract(task, columns, target="y", classes=("no", "yes") if task == "binary" else ())  # type: ignore[arg-type]


def test_the_bad_slice_is_found_and_good_ones_are_not_accused() -> None:
    """A category whose labels are noise is the worst group and is marked; chance is not."""
    random = np.random.default_rng(0)
    contract = contract_of(
        Column("x", "number"), Column("site", "category", categories=("a", "b", "c"))
    )
    site = random.integers(0, 3, 900).astype(float)
    labels = random.integers(0, 2, 900).astype(float)
    scores = np.where(labels == 1, 0.9, 0.1)
    noise = random.integers(0, 2, 900)
    scores = np.where(site == 1, np.where(noise == 1, 0.9, 0.1), scores)
    matrix = np.column_stack([random.normal(size=900), site])
    answers = Answers("binary", labels, np.column_stack([1 - scores, scores]), 1, 0.5)
    found = measure_slices(contract, matrix, answers, "accuracy", np.arange(900), 7)
    assert (found[0]["column"], found[0]["group"], found[0]["worse"]) == ("site", "b", True)
    assert not any(item["worse"] for item in found if item["column"] == "x")


def test_sensitive_columns_are_always_reported() -> None:
    """Every group of a sensitive column is in the list, however well it does."""
    random = np.random.default_rng(0)
    columns = [Column(f"x{i}", "number") for i in range(8)]
    contract = contract_of(
        *columns, Column("sex", "category", categories=("f", "m"), sensitive=True)
    )
    matrix = np.column_stack([random.normal(size=(600, 8)), random.integers(0, 2, 600)])
    answers = binary(rows=600)
    found = measure_slices(contract, matrix, answers, "log_loss", np.arange(600), 7)
    assert {i["group"] for i in found if i["column"] == "sex"} == {"f", "m"}
