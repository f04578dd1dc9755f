"""The two formats of a model: `model.json` and `model.onnx`.

Models that fold (see `folding`) are written twice from the same float64 tables: for `core.engine`
and as an ONNX graph in double. Any other classifier, regressor or anomaly detector becomes ONNX
through skl2onnx, in float32, with a weaker bound. `proof` then checks both.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.contract import Contract
from core.engine import FORMAT
from core.errors import ExportError
from training.arrays import FloatArray
from training.export.conversion import convert_model
from training.export.folding import NotFoldable, Tables, fold_model
from training.export.graphs import build_graph

# How far an answer may be from scikit-learn's, relative to max(1, |answer|).
FOLDED_BOUND = 1e-12
# scikit-learn expands squares, (x-c)^2 = x^2 - 2xc + c^2, and loses digits that the tables keep.
DISTANCES_BOUND = 1e-9
# Steps of an isotonic curve are nearly vertical: they magnify the rounding of a linear score.
STEEP_BOUND = 1e-9
# skl2onnx computes in float32, whose numbers have 7 digits.
SINGLE_BOUND = 1e-3


@dataclass(frozen=True)
class Exported:
    """A model's two files, its family, and the bound that its answers keep to."""

    model_json: bytes
    onnx: bytes
    family: str
    bound: float
    note: str


def export_model(
    model: Any, contract: Contract, background: FloatArray, threshold: float | None = None
) -> Exported:
    """Write a fitted model as tables (where its family has them) and as ONNX.

    `background` holds the encoded rows that explanations compare with, shape (rows, features) or
    (features,): one row, as a rule. `threshold` is the decision threshold of a binary model on its
    positive class. Raises ExportError for a model that neither engine can express.
    """
    rows = np.atleast_2d(np.asarray(background, dtype=np.float64))
    features = len(contract.features)
    if rows.shape[1] != features or not len(rows):
        raise ExportError(
            f"the background has shape {rows.shape}; explanations need at least one row of "
            f"{features} features"
        )
    _check_classes(model, contract)
    tables: Tables | None = None
    note = ""
    template = _ordinary_row(rows[0])
    try:
        tables = fold_model(model, template)
    except NotFoldable as error:
        note = f"served from ONNX in float32, without tables: {error}"
    outputs = len(contract.outputs)
    if tables is None:
        onnx = convert_model(model, contract, template)
        bound = SINGLE_BOUND
    else:
        onnx = build_graph(tables, features, outputs)
        bound = _bound(tables)
    family = tables.family if tables else "none"
    document = {
        "format": FORMAT,
        "task": contract.task,
        "family": family,
        "classes": list(contract.classes),
        "positive": contract.positive_index if contract.task == "binary" else None,
        "threshold": threshold,
        "features": [feature.name for feature in contract.features],
        "columns": [feature.column for feature in contract.features],
        "baseline": [[None if math.isnan(v) else v for v in row] for row in rows.tolist()],
        "tables": tables.content if tables else None,
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Exported(text.encode(), onnx, family, bound, note)


def _bound(tables: Tables) -> float:
    calibration = tables.content.get("calibration") or {}
    if tables.family == "distances":
        return DISTANCES_BOUND
    if tables.family == "linear" and calibration.get("method") == "isotonic":
        return STEEP_BOUND
    return FOLDED_BOUND


def _ordinary_row(row: FloatArray) -> FloatArray:
    """Give a row that every transformer accepts, to hold the columns that are not being asked."""
    return np.nan_to_num(row, nan=0.0)


def _check_classes(model: Any, contract: Contract) -> None:
    """Refuse a classifier whose outputs are not the contract's classes, in their order."""
    if not contract.is_classification:
        return
    found = list(getattr(model, "classes_", ()))
    numbered = len(found) == len(contract.classes) and all(
        not isinstance(c, str) and float(c) == i for i, c in enumerate(found)
    )
    if not numbered and [str(c) for c in found] != list(contract.classes):
        raise ExportError(
            f"the model answers the classes {found}, the contract lists {list(contract.classes)}: "
            "fit it on the codes that encode_target gives, with every class among the rows"
        )
