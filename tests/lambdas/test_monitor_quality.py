"""Quality metrics agree with scikit-learn, and the alarm needs more than noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from core.contract import Column, Contract
from lambdas.monitor.quality import estimate_confidence, measure_quality

COLUMNS = (Column("x", "number"),)
BINARY = Contract(task="binary", target="y", classes=("no", "yes"), positive="yes", columns=COLUMNS)
MULTI = Contract(task="multiclass", target="y", classes=("a", "b", "c"), columns=COLUMNS)
REGRESSION = Contract(task="regression", target="y", columns=COLUMNS)


def shown(name: str, value: float) -> dict[str, Any]:
    return {
        "metric": name,
        "threshold": 0.4,
        "metrics": {name: {"value": value, "low": value - 0.02, "high": value + 0.02}},
    }


def binary(n: int = 400) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    p = np.round(generator.random(n), 2)
    return (generator.random(n) < p).astype(int), np.column_stack([1 - p, p])


@pytest.mark.parametrize("name", ["roc_auc", "accuracy", "log_loss", "brier"])
def test_binary_metrics(name: str) -> None:
    truth, outputs = binary()
    p = outputs[:, 1]
    expected = {
        "roc_auc": sk.roc_auc_score(truth, p),
        "accuracy": sk.accuracy_score(truth, p >= 0.4),
        "log_loss": sk.log_loss(truth, np.clip(p, 1e-15, 1 - 1e-15)),
        "brier": sk.brier_score_loss(truth, p),
    }[name]
    labels = ["yes" if one else "no" for one in truth]
    found = measure_quality(
        BINARY, shown(name, expected), labels, outputs, max_drop=0.05, level=1e-3
    )
    assert found is not None
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high
    assert not found.dropped


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_multiclass_metrics(name: str) -> None:
    generator = np.random.default_rng(2)
    outputs = generator.dirichlet([1, 1, 1], 300)
    truth = np.array([generator.choice(3, p=row) for row in outputs])
    expected = {
        "accuracy": sk.accuracy_score(truth, outputs.argmax(axis=1)),
        "log_loss": sk.log_loss(truth, outputs),
    }[name]
    found = measure_quality(
        MULTI,
        shown(name, expected),
        [MULTI.classes[i] for i in truth],
        outputs,
        max_drop=0.05,
        level=1e-3,
    )
    assert found is not None
    assert found.value == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mae", "rmse", "r2"])
def test_regression_metrics(name: str) -> None:
    generator = np.random.default_rng(3)
    truth = generator.normal(size=300)
    answers = truth + generator.normal(0, 0.3, 300)
    expected = {
        "mae": sk.mean_absolute_error(truth, answers),
        "rmse": sk.root_mean_squared_error(truth, answers),
        "r2": sk.r2_score(truth, answers),
    }[name]
    outputs = answers.reshape(-1, 1)
    found = measure_quality(
        REGRESSION, shown(name, expected), truth.tolist(), outputs, max_drop=0.05, level=1e-3
    )
    assert found is not None
    assert found.value == pytest.approx(expected)
    worse = measure_quality(
        REGRESSION, shown(name, expected), truth.tolist(), outputs * 0.0, max_drop=0.05, level=1e-3
    )
    assert worse is not None
    assert worse.dropped


def test_noise_alone_does_not_alarm() -> None:
    """60 samples of a model that is as good as it was: 1 in 1,000 allowed."""
    generator = np.random.default_rng(4)
    dropped = 0
    for _ in range(60):
        p = generator.random(150)
        truth = generator.random(150) < p
        labels = ["yes" if one else "no" for one in truth]
        found = measure_quality(
            BINARY,
            shown("accuracy", 0.74),
            labels,
            np.column_stack([1 - p, p]),
            max_drop=0.01,
            level=1e-3,
        )
        assert found is not None
        dropped += found.dropped
    assert dropped == 0


def test_what_cannot_be_measured_is_none() -> None:
    arguments: dict[str, Any] = {"max_drop": 0.05, "level": 1e-3}
    assert measure_quality(BINARY, {}, ["yes"], [[0.5, 0.5]], **arguments) is None
    assert measure_quality(BINARY, shown("accuracy", 1.0), [], [], **arguments) is None
    one_class = measure_quality(
        BINARY, shown("roc_auc", 0.9), ["yes"] * 5, [[0.5, 0.5]] * 5, **arguments
    )
    assert one_class is not None
    assert not one_class.dropped
    assert one_class.to_dict()["value"] is None


def test_confidence_follows_the_decision() -> None:
    outputs = [[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [float("nan"), 0.5]]
    assert estimate_confidence(BINARY, 0.4, outputs) == (pytest.approx(0.9 + 0.45 + 0.8), 3)
    assert estimate_confidence(MULTI, None, [[0.2, 0.5, 0.3]]) == (0.5, 1)
    assert estimate_confidence(REGRESSION, None, [[1.0]]) == (0.0, 0)
