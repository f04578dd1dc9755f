"""Scores rows with onnxruntime: models that have no tables, and large batches."""

import numpy
import onnxruntime

from core.bundle import ONNX, Bundle
from core.engine import ONNX_INPUT, ONNX_OUTPUT
from core.errors import EngineError


class OnnxEngine:
    """One session on one thread, in float64.

    A function has a fraction of a CPU: more threads would only wait for each other.
    """

    def __init__(self, model: bytes) -> None:
        """Load a model; raises ``EngineError`` when onnxruntime cannot."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        # onnxruntime raises classes of its own that share no base but Exception.
        except Exception as error:
            raise EngineError(f"onnxruntime cannot load the model: {error}") from error
        self._run = session.run

    def score(self, vector: list[float]) -> list[float]:
        """Return the outputs of one row."""
        return self.score_many([vector])[0]

    def score_many(self, vectors: list[list[float]]) -> list[list[float]]:
        """Return the outputs of many rows."""
        rows = numpy.array(vectors, dtype=numpy.float64)
        outputs: list[list[float]] = self._run([ONNX_OUTPUT], {ONNX_INPUT: rows})[0].tolist()
        return outputs


def open_onnx(bundle: Bundle) -> OnnxEngine:
    """Load ``model.onnx`` of a bundle."""
    return OnnxEngine(bundle.file(ONNX))
