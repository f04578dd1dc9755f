"""Scores matrices with onnxruntime."""

from collections.abc import Callable

import numpy
import onnxruntime

from core.bundle import ONNX, Bundle
from core.engine import ONNX_INPUT, ONNX_OUTPUT
from core.errors import EngineError
from lambdas.score.columns import Matrix


def open_onnx(bundle: Bundle) -> Callable[[Matrix], Matrix]:
    """Return the function from encoded rows to outputs, in float64, on one thread: one vCPU.

    Raises EngineError when onnxruntime cannot load `model.onnx`.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            bundle.file(ONNX), options, providers=["CPUExecutionProvider"]
        )
    # onnxruntime raises classes of its own that share no base but Exception.
    except Exception as error:
        raise EngineError(f"onnxruntime cannot load the model: {error}") from error

    def score(rows: Matrix) -> Matrix:
        given = {ONNX_INPUT: numpy.ascontiguousarray(rows)}
        outputs: Matrix = session.run([ONNX_OUTPUT], given)[0]
        return outputs

    return score
