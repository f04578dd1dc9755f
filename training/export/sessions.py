"""onnxruntime: scoring encoded rows from `model.onnx`."""

from collections.abc import Iterator

import numpy as np

from core.engine import ONNX_INPUT, ONNX_OUTPUT
from training.arrays import Answer, FloatArray

BATCH = 20_000


def open_onnx(model: bytes) -> Answer:
    """Load a model once, on one thread; gives the function that scores encoded rows with it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def answer(rows: FloatArray) -> FloatArray:
        found = [
            np.asarray(session.run([ONNX_OUTPUT], {ONNX_INPUT: part})[0])
            for part in take_batches(rows)
        ]
        if not found:
            return np.empty((0, session.get_outputs()[0].shape[1]))
        return np.concatenate(found)

    return answer


def run_onnx(model: bytes, rows: FloatArray) -> FloatArray:
    """Score encoded rows once."""
    return open_onnx(model)(rows)


def take_batches(rows: FloatArray) -> Iterator[FloatArray]:
    """Give the rows in parts that fit in memory when scored."""
    for start in range(0, len(rows), BATCH):
        yield np.ascontiguousarray(rows[start : start + BATCH])
