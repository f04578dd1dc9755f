"""Copies and near copies are told from rows that are alike because the columns say so."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from training.data.hashing import hash_rows
from training.doubts.copies import (
    are_copies,
    doubt_near_copies,
    find_drawn_again,
    find_near_copies,
    measure_rest,
)
from training.doubts.doubt import Doubt


def customers(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make customers whose answer follows two columns, with much noise."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, 6))
    labels = (matrix[:, 0] + matrix[:, 1] + 1.5 * random.logistic(size=rows) > 0).astype(float)
    return matrix, labels


def exports(days: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Export the same customers every day; one column moves a little."""
    random = np.random.default_rng(seed + 100)
    matrix, labels = customers(800, seed)
    parts = []
    for _ in range(days):
        day = matrix.copy()
        day[:, 2] += 0.02 * random.normal(size=len(day))
        parts.append(day)
    return np.vstack(parts), np.tile(labels, days)


def look(matrix: np.ndarray, labels: np.ndarray) -> Doubt | None:
    """Ask as the training job does, with a boosted model and a random split."""
    held = np.random.default_rng(0).random(len(matrix)) < 0.25
    train, holdout = np.flatnonzero(~held), np.flatnonzero(held)
    found = find_near_copies(
        matrix, [False] * matrix.shape[1], labels, train, holdout, classes=True
    )
    if found is None:
        return None

    def losses(rows: np.ndarray) -> np.ndarray:
        model = HistGradientBoostingClassifier(random_state=0).fit(matrix[rows], labels[rows])
        p = model.predict_proba(matrix[found.held])[:, 1]
        return -np.log(np.clip(np.where(labels[found.held] == 1, p, 1 - p), 1e-6, 1))

    share = labels[train].mean()
    base = -np.log(np.where(labels[found.held] == 1, share, 1 - share))
    claimed, without = losses(train), losses(np.setdiff1d(train, found.copies))
    control = losses(np.setdiff1d(train, found.others))
    rest = measure_rest(claimed, claimed + without - control, base)
    return doubt_near_copies(found, rest)


@pytest.mark.parametrize("days", [2, 5, 30])
def test_a_daily_export_is_seen_without_an_id(days: int) -> None:
    """Near copies of the same customers lie on both sides, few or many."""
    found = look(*exports(days, seed=3))
    assert found is not None
    assert found.name == "near-copies"


def test_interpolated_rows_are_seen() -> None:
    """Rows made up between two neighbours of one class (SMOTE) before the split."""
    matrix, labels = customers(900, seed=5)
    random = np.random.default_rng(9)
    made, answers = [], []
    for code in (0.0, 1.0):
        own = matrix[labels == code]
        for row in own[random.integers(0, len(own), 1500)]:
            nearest = own[np.argsort(((own - row) ** 2).sum(axis=1))[random.integers(1, 4)]]
            made.append(row + 0.3 * random.random() * (nearest - row))
            answers.append(code)
    found = look(np.vstack([matrix, made]), np.r_[labels, answers])
    assert found is not None


def test_independent_rows_raise_no_doubt() -> None:
    """Rows of different customers, also where the columns give the answer without noise."""
    for seed in range(8):
        matrix, labels = customers(2_000, seed)
        assert look(matrix, labels) is None, f"noisy, seed {seed}"
        certain = (matrix[:, 0] * matrix[:, 1] > 0).astype(float)
        assert look(matrix, certain) is None, f"without noise, seed {seed}"


def test_equal_rows_with_equal_answers_are_copies() -> None:
    """A table twice in one file is copies; a table of counts, whose answers differ, is cases."""
    matrix, labels = customers(300, seed=1)
    twice = hash_rows(np.vstack([matrix, matrix]), 7)
    assert are_copies(twice, np.r_[labels, labels])
    random = np.random.default_rng(0)
    cells = random.integers(0, 2, size=(600, 3)).astype(float)
    answers = (random.random(600) < 0.2 + 0.2 * cells.sum(axis=1)).astype(float)
    for order in (np.arange(600), np.argsort(answers, kind="stable")):
        assert not are_copies(hash_rows(cells[order], 7), answers[order])


def test_a_class_that_was_drawn_again_is_named() -> None:
    """The rare class copied up to half of the rows; the others are as they were."""
    matrix, labels = customers(4_000, seed=2)
    rare = np.flatnonzero(labels == 1)[:90]
    rest = np.flatnonzero(labels == 0)
    chosen = np.r_[rest, np.random.default_rng(0).choice(rare, len(rest))]
    found = find_drawn_again(hash_rows(matrix[chosen], 7), labels[chosen], ("no", "yes"))
    assert [doubt.name for doubt in found] == ["drawn-again:yes"]
    assert "copies of 90 cases" in found[0].sentence
    assert not find_drawn_again(hash_rows(matrix, 7), labels, ("no", "yes"))


def test_a_table_of_counts_is_not_drawn_again() -> None:
    """Few distinct rows, of which one class has fewer: cases, not copies."""
    random = np.random.default_rng(3)
    cells = random.integers(0, 3, size=(900, 3)).astype(float)
    answers = (random.random(900) < 0.08 + 0.1 * cells.sum(axis=1)).astype(float)
    assert not find_drawn_again(hash_rows(cells, 7), answers, ("no", "yes"))
