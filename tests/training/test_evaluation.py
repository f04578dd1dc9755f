"""Evaluation: metrics equal scikit-learn's, intervals cover, slices find what is there."""

import numpy as np
import pytest
from sklearn import metrics as reference

from core.contract import Column, Contract
from core.settings import METRICS
from training import metrics
from training.fit.thresholds import choose_threshold
from training.judge.evaluation import evaluate_metrics
from training.judge.importance import measure_importance
from training.judge.intervals import mean_interval
from training.judge.slices import measure_slices
from training.metrics import Answers


def binary(rows: int = 300, seed: int = 0, ties: bool = False) -> Answers:
    random = np.random.default_rng(seed)
    labels = (random.uniform(size=rows) < 0.35).astype(float)
    scores = 1 / (1 + np.exp(-(2 * labels - 1 + random.normal(size=rows))))
    if ties:
        scores = np.round(scores, 1).clip(0.05, 0.95)
    return Answers("binary", labels, np.column_stack([1 - scores, scores]), 1, 0.4)


def multiclass(rows: int = 300, seed: int = 0) -> Answers:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, rows).astype(float)
    logits = random.normal(size=(rows, 3)) + 1.5 * (labels[:, None] == np.arange(3))
    outputs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Answers("multiclass", labels, outputs)


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


def test_a_perfect_share_still_has_a_lower_limit() -> None:
    """No sample proves perfection: 40 of 40 right is not an interval of width zero."""
    labels = np.r_[np.ones(20), np.zeros(20)]
    answers = Answers("binary", labels, np.column_stack([1 - labels, labels]))
    found = evaluate_metrics(answers, np.arange(40), 7)
    assert found["accuracy"].value == 1.0
    assert 0.88 < found["accuracy"].low < 0.95
    assert found["recall"].low < 0.9


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


def test_same_seed_same_intervals() -> None:
    """The bootstrap is drawn from the seed alone."""
    answers = binary()
    first = evaluate_metrics(answers, np.arange(300), 7)
    assert first == evaluate_metrics(answers, np.arange(300), 7)
    assert first != evaluate_metrics(answers, np.arange(300), 8)
