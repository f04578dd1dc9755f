"""Scores and explains encoded rows from `model.json`, in plain Python."""

from core.engine.header import FORMAT, ONNX_INPUT, ONNX_OUTPUT, Header, decide, read_header
from core.engine.links import expit, softmax
from core.engine.masks import Lookup, MaskedForest
from core.engine.table import Explanation, TableEngine, load_engine
from core.engine.trees import AMONG, AMONG_OR_MISSING, AT_MOST, AT_MOST_OR_MISSING

__all__ = [
    "AMONG",
    "AMONG_OR_MISSING",
    "AT_MOST",
    "AT_MOST_OR_MISSING",
    "FORMAT",
    "ONNX_INPUT",
    "ONNX_OUTPUT",
    "Explanation",
    "Header",
    "Lookup",
    "MaskedForest",
    "TableEngine",
    "decide",
    "expit",
    "load_engine",
    "read_header",
    "softmax",
]
