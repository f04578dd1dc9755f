"""Models without tables are converted to ONNX, or refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, OneClassSVM

from core.errors import ExportError
from tests.training.export.models import (
    Median,
    calibrate,
    export,
    fit,
    make_rows,
    make_target,
    prepare,
    rare,
)
from training.export.formats import FOLDED_BOUND
from training.export.proof import prove_parity


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("binary", MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0)),
        ("multiclass", KNeighborsClassifier()),
        ("regression", MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0)),
        ("anomaly", OneClassSVM()),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_other_estimators_go_through_onnx(task: str, model: Any) -> None:
    """A model without tables is converted, says why it has none, and keeps its weaker bound."""
    classes = {"binary": 2, "multiclass": 3}.get(task, 0)
    pipeline, contract, fresh = fit(
        Pipeline([("p", prepare(categories=rare())), ("m", model)]), task, classes
    )
    exported = export(pipeline, contract, fresh)
    assert exported.family == "none"
    assert type(model).__name__ in exported.note
    assert json.loads(exported.model_json)["tables"] is None
    assert prove_parity(pipeline, exported, fresh, contract).bound > FOLDED_BOUND


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "model",
    [MLPClassifier(hidden_layer_sizes=(5,), max_iter=20, random_state=0), SVC(random_state=0)],
    ids=["probabilities", "scores"],
)
@pytest.mark.filterwarnings("ignore")
def test_other_estimators_are_calibrated_in_onnx(model: Any, classes: int) -> None:
    """Calibration follows a converted estimator, whatever it gives: probabilities or scores."""
    task = "binary" if classes == 2 else "multiclass"
    pipeline, contract, fresh = fit(Pipeline([("p", prepare()), ("m", model)]), task, classes)
    rows = make_rows(3)
    calibrated = calibrate("sigmoid", pipeline).fit(rows, make_target(rows, task, classes))
    exported = export(calibrated, contract, fresh)
    assert exported.family == "none"
    assert prove_parity(calibrated, exported, fresh, contract).max_abs_diff <= exported.bound


def test_a_model_that_nothing_can_express_is_refused() -> None:
    """An estimator without converter is one clear error that names it."""
    model, contract, fresh = fit(Pipeline([("p", prepare()), ("m", Median())]), "regression")
    with pytest.raises(ExportError, match="Median can neither"):
        export(model, contract, fresh)
