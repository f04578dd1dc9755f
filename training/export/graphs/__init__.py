"""Writes a model's tables as an ONNX graph in float64.

Input `vector` (rows x features, double, the contract's encoded vector), output `outputs` (rows x
outputs, double). Trees are one `TreeEnsemble` of ai.onnx.ml version 5, the first ONNX operator that
holds float64 thresholds and leaves; everything around it is made of ordinary operators that
onnxruntime has in float64 (see OperatorKernels.md in the onnxruntime repository).
"""

from training.export.graphs.build import build_around, build_graph
from training.export.graphs.graph import OPSET, SINGLE_ML_OPSET

__all__ = ["OPSET", "SINGLE_ML_OPSET", "build_around", "build_graph"]
