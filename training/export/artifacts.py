"""The files of a fitted model, exported and proven to answer as scikit-learn does."""

import io
from dataclasses import dataclass

import joblib
import numpy as np

from training.arrays import FloatArray
from training.data.dataset import Data
from training.data.splits import Split
from training.export.formats import Exported, export_model
from training.export.proof import ParityReport, prove_parity
from training.fit.model import Model
from training.log import Log


@dataclass(frozen=True)
class ExportedModel:
    """The exported files and the proof that they answer as scikit-learn does."""

    model_json: bytes
    onnx: bytes
    family: str
    parity: ParityReport
    bound: float


def export_with_proof(data: Data, split: Split, model: Model, log: Log) -> ExportedModel:
    """Export to tables and ONNX; raises ExportError unless both answer as scikit-learn does."""
    exported: Exported = export_model(
        model.estimator, model.contract, _background(data, split), model.threshold
    )
    parity = prove_parity(model.estimator, exported, data.matrix[split.holdout], model.contract)
    log.say(
        f"exported as {exported.family}: {parity.rows} rows agree with scikit-learn within "
        f"{parity.max_abs_diff:.2g} (bound {exported.bound:g}), {parity.flips} labels differ"
    )
    return ExportedModel(
        exported.model_json, exported.onnx, exported.family, parity, exported.bound
    )


def dump_model(model: Model) -> bytes:
    """Write the fitted model with joblib, for notebooks; no function of ours ever loads it."""
    buffer = io.BytesIO()
    joblib.dump(model.estimator, buffer)
    return buffer.getvalue()


def _background(data: Data, split: Split) -> FloatArray:
    """Give the row that explanations start from: medians, and the commonest code of a category."""
    train = data.matrix[split.train]
    row = np.full(train.shape[1], np.nan)
    for position, feature in enumerate(data.contract.features):
        known = train[:, position][~np.isnan(train[:, position])]
        if 2 * len(known) < len(train):
            continue  # the column is mostly missing: so is its background
        if feature.kind in ("category", "boolean"):
            values, counts = np.unique(known, return_counts=True)
            row[position] = values[np.argmax(counts)]
        else:
            row[position] = np.quantile(known, 0.5, method="lower")
    return row[None, :]
