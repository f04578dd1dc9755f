"""Calibration: the curves that turn a classifier's scores into probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.export.folding.tables import NotFoldable


def fold_calibrator(calibrator: Any) -> dict[str, Any]:
    """Fold one fitted calibrator; raises NotFoldable for a method without tables."""
    method = calibrator.method
    fitted = calibrator.calibrators
    if method == "sigmoid":
        return {
            "method": "sigmoid",
            "a": [float(c.a_) for c in fitted],
            "b": [float(c.b_) for c in fitted],
        }
    if method == "isotonic":
        return {
            "method": "isotonic",
            "x": [np.asarray(c.X_thresholds_, dtype=np.float64).tolist() for c in fitted],
            "y": [np.asarray(c.y_thresholds_, dtype=np.float64).tolist() for c in fitted],
        }
    if method == "temperature":
        return {"method": "temperature", "beta": float(fitted[0].beta_)}
    raise NotFoldable(f"calibration by {method!r}")
