"""Exporting refuses what cannot answer the contract, and gives the same bytes again."""

from __future__ import annotations

import pytest

from core.errors import ExportError
from tests.training.export.models import (
    CLASSIFIERS,
    export,
    fit,
    make_contract,
)
from training.export.formats import export_model


def test_a_class_that_training_never_saw_is_refused() -> None:
    """Outputs must be the contract's classes, all of them, in order."""
    model, _, fresh = fit(CLASSIFIERS["boosting"](), "binary", 2)
    with pytest.raises(ExportError, match="every class among the rows"):
        export(model, make_contract("multiclass", 3), fresh)


def test_a_background_of_another_width_is_refused() -> None:
    """Explanations need rows as wide as the model."""
    model, contract, fresh = fit(CLASSIFIERS["dummy"](), "binary", 2)
    with pytest.raises(ExportError, match="7 features"):
        export_model(model, contract, fresh[0, :3])


def test_the_same_model_gives_the_same_files() -> None:
    """Exporting twice gives the same bytes."""
    model, contract, fresh = fit(CLASSIFIERS["boosting-native"](), "binary", 2)
    one, two = export(model, contract, fresh), export(model, contract, fresh)
    assert one.model_json == two.model_json
    assert one.onnx == two.onnx
