"""Scores rows with onnxruntime: models that have no tables, and large batches."""

from typing import Any

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
        self._session = session
        self._binding: Any = None

    def score(self, vector: list[float]) -> list[float]:
        """Return the outputs of one row.

        Input and output stay bound to the same memory, which saves a third of the time: a function
        answers one request after the other.
        """
        if self._binding is None:
            self._bind(len(vector))
        self._row[:] = vector
        self._session.run_with_iobinding(self._binding)
        outputs: list[float] = self._outputs.tolist()
        return outputs

    def _bind(self, width: int) -> None:
        given = numpy.zeros((1, width))
        found = numpy.array(self._session.run([ONNX_OUTPUT], {ONNX_INPUT: given})[0])
        self._row, self._outputs = given[0], found[0]
        self._binding = self._session.io_binding()
        for bind, name, buffer in (
            (self._binding.bind_input, ONNX_INPUT, given),
            (self._binding.bind_output, ONNX_OUTPUT, found),
        ):
            bind(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)

    def score_many(self, vectors: list[list[float]]) -> list[list[float]]:
        """Return the outputs of many rows."""
        rows = numpy.array(vectors, dtype=numpy.float64)
        (found,) = self._session.run([ONNX_OUTPUT], {ONNX_INPUT: rows})
        outputs: list[list[float]] = found.tolist()
        return outputs


def open_onnx(bundle: Bundle) -> OnnxEngine:
    """Load ``model.onnx`` of a bundle."""
    return OnnxEngine(bundle.file(ONNX))
