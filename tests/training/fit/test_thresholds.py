"""Thresholds do not depend on one row."""

import numpy as np
import pytest
from sklearn import metrics as reference

from tests.training.answers import binary
from training.fit.thresholds import choose_threshold


def test_the_threshold_is_the_best_f1_and_sits_between_rows() -> None:
    """No other threshold has a better F1 on those rows, and no row lies exactly on it."""
    answers = binary(rows=150, seed=3)
    scores = answers.outputs[:, 1]
    found = choose_threshold(answers.labels, scores, "yes")
    best = max(reference.f1_score(answers.labels, scores >= t) for t in scores)
    assert reference.f1_score(answers.labels, scores >= found.value) == pytest.approx(best)
    assert found.value not in scores
    assert "'yes'" in found.reason


def test_the_threshold_of_one_class_stays() -> None:
    """Without both classes there is nothing to choose by."""
    assert choose_threshold(np.ones(9), np.linspace(0, 1, 9), "yes").value == 0.5
