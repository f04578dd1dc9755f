"""The proof finds a threshold that moved by one float."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.errors import ExportError
from tests.training.export.models import (
    CLASSIFIERS,
    export,
    fit,
)
from training.export.formats import Exported
from training.export.proof import prove_parity


def test_a_changed_table_is_refused() -> None:
    """The proof fails, naming engine and size, when one threshold moves by one float."""
    model, contract, fresh = fit(CLASSIFIERS["boosting"](), "binary", 2)
    exported = export(model, contract, fresh)
    document = json.loads(exported.model_json)
    trees = document["tables"]["trees"]
    trees["value"][0] = float(np.nextafter(trees["value"][0], np.inf))
    moved = Exported(
        json.dumps(document).encode(), exported.onnx, exported.family, exported.bound, ""
    )
    with pytest.raises(ExportError, match="table engine differs from scikit-learn by"):
        prove_parity(model, moved, fresh, contract)
