"""The evaluation is the same for the same seed, and no share is claimed to be perfect."""

import numpy as np

from tests.training.answers import binary
from training.judge.evaluation import evaluate_metrics
from training.metrics import Answers


def test_a_perfect_share_still_has_a_lower_limit() -> None:
    """No sample proves perfection: 40 of 40 right is not an interval of width zero."""
    labels = np.r_[np.ones(20), np.zeros(20)]
    answers = Answers("binary", labels, np.column_stack([1 - labels, labels]))
    found = evaluate_metrics(answers, np.arange(40), 7)
    assert found["accuracy"].value == 1.0
    assert 0.88 < found["accuracy"].low < 0.95
    assert found["recall"].low < 0.9


def test_same_seed_same_intervals() -> None:
    """The bootstrap is drawn from the seed alone."""
    answers = binary()
    first = evaluate_metrics(answers, np.arange(300), 7)
    assert first == evaluate_metrics(answers, np.arange(300), 7)
    assert first != evaluate_metrics(answers, np.arange(300), 8)
