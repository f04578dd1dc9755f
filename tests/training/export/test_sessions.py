"""onnxruntime answers any number of rows, with and without gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    StandardScaler,
)

from core.contract import Column, Contract
from core.engine import load_engine
from tests.training.export.models import (
    CLASSIFIERS,
    export,
    fit,
)
from training.export.formats import export_model
from training.export.sessions import run_onnx


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        Pipeline([("s", StandardScaler()), ("m", LogisticRegression())]),
        Pipeline([("s", StandardScaler()), ("m", MLPClassifier(5, max_iter=30, random_state=0))]),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_model_without_an_imputer_answers_complete_rows(model: Any) -> None:
    """Rows with values get their answers even beside rows with gaps, for which there is none."""
    contract = Contract("binary", (Column("a", "number"), Column("b", "number")), "y", ("n", "y"))
    rows = np.random.default_rng(7).normal(size=(200, 2))
    model.fit(rows, (rows.sum(axis=1) > 0).astype(int))
    exported = export_model(model, contract, np.zeros(2))
    asked = rows[:20].copy()
    asked[3:6, 1] = np.nan
    found = run_onnx(exported.onnx, asked)
    whole = ~np.isnan(asked).any(axis=1)
    assert np.abs(found[whole] - model.predict_proba(asked[whole])).max() <= exported.bound
    if exported.family == "linear":
        table = np.array(load_engine(exported.model_json).score_many(asked.tolist()))
        assert np.isnan(found[~whole]).all()
        assert np.array_equal(np.isnan(table), np.isnan(found))


def test_onnx_answers_no_rows_and_one_row() -> None:
    """Any number of rows is a batch."""
    model, contract, fresh = fit(CLASSIFIERS["dummy"](), "binary", 2)
    exported = export(model, contract, fresh)
    assert run_onnx(exported.onnx, fresh[:0]).shape == (0, 2)
    assert run_onnx(exported.onnx, fresh[:1]).tolist() == model.predict_proba(fresh[:1]).tolist()
