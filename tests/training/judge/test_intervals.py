"""Intervals cover what they state."""

import numpy as np

from training.judge.intervals import mean_interval
from training.metrics import Answers


def test_intervals_cover_what_they_state() -> None:
    """A 95% interval of the accuracy covers the true accuracy in about 95% of samples."""
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(150):
        right = random.uniform(size=200) < 0.8
        labels = np.zeros(200)
        outputs = np.column_stack([right, ~right]).astype(float)
        answers = Answers("multiclass", labels, outputs)
        found = mean_interval(
            (answers.predicted == answers.labels).astype(float), np.arange(200), 3
        )
        covered += found.low <= 0.8 <= found.high
    assert 0.90 <= covered / 150 <= 0.99


def test_intervals_of_grouped_rows_are_wider() -> None:
    """Rows of one group repeat each other; resampling groups says so."""
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(30), 10)
    values = random.normal(size=30)[groups] + 0.1 * random.normal(size=300)
    by_row = mean_interval(values, np.arange(300), 3)
    by_group = mean_interval(values, groups, 3)
    assert by_group.high - by_group.low > 2 * (by_row.high - by_row.low)
