"""Metrics are scikit-learn's, also with weights."""

import numpy as np
import pytest
from sklearn import metrics as reference

from core.settings import METRICS
from tests.training.answers import binary, multiclass
from training import metrics
from training.metrics import Answers


@pytest.mark.parametrize("ties", [False, True])
def test_binary_metrics_are_scikit_learns(ties: bool) -> None:
    """With equal weights every metric is the one that people know, ties included."""
    answers = binary(ties=ties)
    truth, scores, said = answers.labels, answers.outputs[:, 1], answers.predicted
    expected = {
        "roc_auc": reference.roc_auc_score(truth, scores),
        "pr_auc": reference.average_precision_score(truth, scores),
        "log_loss": reference.log_loss(truth, scores),
        "brier": reference.brier_score_loss(truth, scores),
        "accuracy": reference.accuracy_score(truth, said),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, said),
        "precision": reference.precision_score(truth, said),
        "recall": reference.recall_score(truth, said),
        "f1": reference.f1_score(truth, said),
    }
    for name, value in expected.items():
        assert metrics.compute_one(name, answers) == pytest.approx(value, abs=1e-12), name


def test_multiclass_metrics_are_scikit_learns() -> None:
    """Averages are over classes, areas one class against the rest."""
    answers = multiclass()
    truth, outputs, said = answers.labels, answers.outputs, answers.predicted
    expected = {
        "roc_auc": reference.roc_auc_score(truth, outputs, multi_class="ovr"),
        "log_loss": reference.log_loss(truth, outputs),
        "accuracy": reference.accuracy_score(truth, said),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, said),
        "precision": reference.precision_score(truth, said, average="macro"),
        "recall": reference.recall_score(truth, said, average="macro"),
        "f1": reference.f1_score(truth, said, average="macro"),
    }
    for name, value in expected.items():
        assert metrics.compute_one(name, answers) == pytest.approx(value, abs=1e-12), name


def test_regression_metrics_are_scikit_learns() -> None:
    """Errors and their quantiles, also for labels far from zero."""
    random = np.random.default_rng(0)
    labels = 1e6 + random.normal(size=400)
    outputs = labels + random.normal(scale=0.5, size=400)
    answers = Answers("regression", labels, outputs[:, None])
    assert metrics.compute_one("rmse", answers) == pytest.approx(
        reference.root_mean_squared_error(labels, outputs)
    )
    assert metrics.compute_one("mae", answers) == pytest.approx(
        reference.mean_absolute_error(labels, outputs)
    )
    assert metrics.compute_one("r2", answers) == pytest.approx(
        reference.r2_score(labels, outputs), abs=1e-9
    )
    assert metrics.compute_one("error_p90", answers) == pytest.approx(
        np.quantile(np.abs(labels - outputs), 0.9, method="inverted_cdf")
    )


@pytest.mark.parametrize("name", list(METRICS["binary"]))
def test_a_weight_counts_a_row_that_often(name: str) -> None:
    """Weights are repetitions: weighing rows equals repeating them."""
    answers = binary(rows=120, ties=True)
    counts = np.random.default_rng(1).integers(0, 4, 120)
    counts[0] = 1
    repeated = answers.take(np.repeat(np.arange(120), counts))
    if name == "calibration_error":  # its bins are fixed by the rows, not by the weights
        return
    weighed = metrics.compute(name, answers, counts[None, :].astype(float))[0]
    assert weighed == pytest.approx(metrics.compute_one(name, repeated), abs=1e-12)
