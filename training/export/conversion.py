"""Models without tables: converted by skl2onnx, in float32, within preprocessing in double."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.contract import Contract
from core.errors import ExportError
from training.arrays import FloatArray
from training.export.folding import NotFoldable, fold_preparation
from training.export.graphs import OPSET, SINGLE_ML_OPSET, build_around


def convert_model(model: Any, contract: Contract, template: FloatArray) -> bytes:
    """Convert an estimator through skl2onnx, in float32, within preprocessing in double.

    Where even the preprocessing does not fold, the whole model goes through skl2onnx.
    """
    if contract.task == "clustering":
        raise ExportError(
            f"clusters of {_name(model)} cannot be exported; use KMeans or GaussianMixture, after "
            "SimpleImputer, scalers and OneHotEncoder"
        )
    try:
        halves = fold_preparation(model, template)
    except NotFoldable:
        halves = None
    estimator = model if halves is None else halves.estimator
    width = len(contract.features) if halves is None else len(halves.order)
    scored = (
        halves is not None
        and halves.calibration is not None
        and hasattr(estimator, "decision_function")
    )
    options: dict[str, Any] = {}
    if contract.is_classification:
        options = {"zipmap": False} | ({"raw_scores": True} if scored else {})
    offset: float | None = None
    if contract.task == "anomaly":
        offset = float(np.ravel(getattr(_last(estimator), "offset_", 0.0))[0])
    proto = _run_converter(estimator, width, options)
    count = len(contract.outputs)
    return build_around(
        proto,
        len(contract.features),
        count,
        halves=halves,
        link=("logistic" if count == 2 else "softmax") if scored else "proportion",
        offset=offset,
    )


def _run_converter(estimator: Any, width: int, options: dict[str, Any]) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    try:
        return convert_sklearn(
            estimator,
            initial_types=[("single", FloatTensorType([None, width]))],
            options={id(estimator): options} if options else None,
            target_opset={"": OPSET, "ai.onnx.ml": SINGLE_ML_OPSET},
        )
    except (
        MissingConverter,
        MissingShapeCalculator,
        NotImplementedError,
        NameError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ExportError(
            f"{_name(estimator)} can neither be folded into tables nor converted to ONNX: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error


def _last(model: Any) -> Any:
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    return model


def _name(model: Any) -> str:
    return type(_last(model)).__name__
