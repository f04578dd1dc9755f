"""Calibration: the sigmoids are scikit-learn's, and calibrated probabilities mean what they say."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from training.fit import calibration
from training.fit.objectives import LabelledObjective


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("make", [RandomForestClassifier, LogisticRegression])
def test_calibrating_is_what_scikit_learn_does(make: type, classes: int) -> None:
    """The wrapped model equals `CalibratedClassifierCV(ensemble=False)` fitted the long way."""
    matrix, labels = make_classification(
        400, 8, n_informative=5, n_classes=classes, flip_y=0.2, random_state=0
    )
    model = make(random_state=0, **({"n_estimators": 20} if make is RandomForestClassifier else {}))
    folds = list(StratifiedKFold(3).split(matrix, labels))
    expected = CalibratedClassifierCV(model, method="sigmoid", cv=folds, ensemble=False)
    expected.fit(matrix, labels)
    method = "decision_function" if make is LogisticRegression else "predict_proba"
    scores = cross_val_predict(model, matrix, labels, cv=folds, method=method)
    if scores.ndim == 1 or scores.shape[1] == 2:
        scores = scores.reshape(len(labels), -1)[:, -1:]
    model.fit(matrix, labels)
    found = calibration.calibrate(model, scores, labels.astype(float))
    assert np.allclose(found.predict_proba(matrix), expected.predict_proba(matrix), atol=1e-12)
    ours = calibration.apply_sigmoids(
        calibration.fit_sigmoids(scores, labels), calibration.raw_scores(model, matrix)
    )
    assert np.allclose(ours, expected.predict_proba(matrix), atol=2e-3)


def test_a_rare_class_can_be_calibrated() -> None:
    """Two rows of a class are enough for the sigmoid, where five folds of it are not there."""
    scores = np.linspace(-2, 2, 40)[:, None]
    labels = (np.arange(40) >= 38).astype(float)
    model = LogisticRegression().fit(scores, labels)
    assert calibration.calibrate(model, scores, labels).predict_proba(scores).shape == (40, 2)


def test_overconfident_scores_are_tamed() -> None:
    """Scores that claim too much become probabilities that come true."""
    random = np.random.default_rng(0)
    truth = random.uniform(0.05, 0.95, 4000)
    labels = (random.uniform(size=4000) < truth).astype(float)
    margin = np.log(truth / (1 - truth))
    claimed = (5 * margin + 2)[:, None]
    found = calibration.apply_sigmoids(calibration.fit_sigmoids(claimed, labels), claimed)[:, 1]
    assert np.abs(found - truth).mean() < 0.02


def test_separable_scores_stay_finite() -> None:
    """Perfect separation gives steep but finite sigmoids."""
    scores = np.r_[np.full(20, -1e6), np.full(20, 1e6)][:, None]
    labels = np.r_[np.zeros(20), np.ones(20)]
    found = calibration.apply_sigmoids(calibration.fit_sigmoids(scores, labels), scores)
    assert np.isfinite(found).all()
    assert found[0, 1] < 0.1 < 0.9 < found[-1, 1]


@pytest.mark.parametrize("blocks", [1, 3])
def test_in_order_of_time_only_the_past_calibrates(blocks: int) -> None:
    """What came later must not make the answers of a search look better than they will be."""
    random = np.random.default_rng(0)
    n = 120 * blocks
    raw = random.normal(size=(n, 1))
    labels = (random.random(n) < 1 / (1 + np.exp(-3 * raw[:, 0]))).astype(float)
    positive = 1 / (1 + np.exp(-raw))
    answered = np.hstack([1 - positive, positive, raw])
    times = np.arange(n)[::-1].astype(float)  # the rows stand from new to old
    validations = [np.sort(n - 1 - block) for block in np.split(np.arange(n), blocks)]
    objective = LabelledObjective(
        "binary", "log_loss", np.zeros((n, 1)), labels, classes=2, positive=1, ordered=True
    )
    outputs = [answered[rows] for rows in validations]
    found = np.vstack(objective.calibrated(outputs, validations))
    rows, length = np.concatenate(validations), n / blocks
    first, last = times[rows] < length, times[rows] >= n - length
    assert np.array_equal(found[first], answered[rows][first, :2])
    if blocks > 1:
        before = rows[~last]
        sigmoids = calibration.fit_sigmoids(raw[before], labels[before])
        assert np.array_equal(found[last], calibration.apply_sigmoids(sigmoids, raw[rows[last]]))
