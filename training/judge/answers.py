"""A model's answers for labelled rows, ready for the metrics."""

from training.arrays import FloatArray, IntArray
from training.data.dataset import Data
from training.fit.model import Model
from training.metrics import Answers


def label_answers(data: Data, model: Model, rows: IntArray, outputs: FloatArray) -> Answers:
    """Put the labels of `rows` beside the outputs that the model gave for them."""
    assert data.labels is not None
    contract = model.contract
    return Answers(
        contract.task,
        data.labels[rows],
        outputs,
        contract.positive_index if contract.is_classification else 0,
        0.5 if model.threshold is None else model.threshold,
    )
