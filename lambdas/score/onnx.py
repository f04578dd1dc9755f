"""Scores blocks of rows with onnxruntime, encoding a column at a time.

A block is looked at by column: where every value of a row is plainly what the contract asks for
(its type, within its limits, a category that is listed), the row is encoded here. Any other row is
left to the contract's own validation, which is slower and gives reasons. So this can be strict
where it is in doubt, and never has to say why.
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any

import numpy
import numpy.typing as npt
import onnxruntime

from core.bundle import ONNX, Bundle
from core.contract import LARGEST_INTEGER, Column, Contract
from core.engine import ONNX_INPUT, ONNX_OUTPUT
from core.errors import EngineError
from lambdas.score.model import Row

Matrix = npt.NDArray[numpy.float64]
Mask = npt.NDArray[numpy.bool_]

_NONE = type(None)
_NUMBERS = frozenset({float, int, _NONE})
_BOOLEANS = frozenset({bool, _NONE})
_TEXTS = frozenset({str, _NONE})
_ENCODED = ("number", "integer", "boolean", "category")


class OnnxEngine:
    """One session on one thread, in float64: a unit has one vCPU."""

    def __init__(self, bundle: Bundle, contract: Contract) -> None:
        """Load `model.onnx`; raises EngineError when onnxruntime cannot."""
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
        run = session.run
        self._use(contract, lambda rows: run([ONNX_OUTPUT], {ONNX_INPUT: rows})[0].tolist())

    def _use(self, contract: Contract, score: Callable[[Matrix], list[list[float]]]) -> None:
        """Encode rows of a contract for a function from matrix to outputs."""
        self._score = score
        self._columns = contract.columns
        self._names = frozenset(contract.column_names)
        self._codes = [_codes(column) for column in contract.columns]
        # Moments and texts are parsed value by value; a column at a time would gain nothing.
        self._encodes = all(column.type in _ENCODED for column in contract.columns)
        names = contract.column_names
        self._pick: Any = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)

    def score_vectors(self, vectors: list[list[float]]) -> list[list[float]]:
        """Return the outputs of encoded rows."""
        return self._score(numpy.array(vectors, dtype=numpy.float64))

    def score_rows(self, rows: Sequence[Row]) -> tuple[Sequence[int], list[list[float]]]:
        """Score the rows that are plainly within the contract, every category listed."""
        if not (self._encodes and rows):
            return [], []
        matrix, plain = self._encode(rows)
        if plain.all():
            return range(len(rows)), self._score(matrix)
        places: list[int] = numpy.flatnonzero(plain).tolist()
        return places, self._score(matrix[plain]) if places else []

    def _encode(self, rows: Sequence[Row]) -> tuple[Matrix, Mask]:
        count, width = len(rows), len(self._columns)
        try:
            columns: Any = zip(*map(self._pick, rows), strict=True)
            columns = list(columns)
            known = numpy.fromiter(map(len, rows), dtype=numpy.intp, count=count) == width
        except KeyError:
            names = [column.name for column in self._columns]
            columns = [tuple([row.get(name) for row in rows]) for name in names]
            covers = self._names.issuperset
            known = numpy.fromiter(map(covers, rows), dtype=numpy.bool_, count=count)
        matrix = numpy.empty((count, width), dtype=numpy.float64)
        plain: Mask = known
        for place, (column, codes) in enumerate(zip(self._columns, self._codes, strict=True)):
            values, good = _encode_column(column, codes, columns[place])
            matrix[:, place] = values
            if good is not None:
                plain = plain & good
        return matrix, plain


def _codes(column: Column) -> dict[str | None, float]:
    codes: dict[str | None, float] = {name: float(i) for i, name in enumerate(column.categories)}
    codes[None] = numpy.nan
    return codes


def _encode_column(
    column: Column, codes: dict[str | None, float], values: tuple[Any, ...]
) -> tuple[Matrix, Mask | None]:
    """Encode a column; give which values are plainly good, or None where all of them are."""
    allowed = {"boolean": _BOOLEANS, "category": _TEXTS}.get(column.type, _NUMBERS)
    good: Mask | None = None
    if not allowed.issuperset(map(type, values)):
        good = numpy.array([type(value) in allowed for value in values])
        values = tuple([v if type(v) in allowed else None for v in values])
    if column.type == "category":
        unseen = float(len(column.categories))
        found = map(codes.get, values, repeat(unseen))
        encoded = numpy.fromiter(found, dtype=numpy.float64, count=len(values))
        new = encoded == unseen
        if new.any():
            good = _both(good, ~new)
    else:
        try:
            encoded = numpy.array(values, dtype=numpy.float64)
        except OverflowError:
            return numpy.zeros(len(values)), numpy.zeros(len(values), dtype=numpy.bool_)
        good = _check_numbers(column, encoded, good)
    if not column.missing:
        empty = numpy.isnan(encoded)
        if empty.any():
            good = _both(good, ~empty)
    return encoded, good


def _check_numbers(column: Column, values: Matrix, good: Mask | None) -> Mask | None:
    """Mark infinities, values beyond the limits and, of integers, fractions."""
    with numpy.errstate(invalid="ignore"):
        bad = numpy.isinf(values)
        if column.min is not None:
            bad |= values < column.min
        if column.max is not None:
            bad |= values > column.max
        if column.type == "integer":
            bad |= (values != numpy.trunc(values)) & ~numpy.isnan(values)
            bad |= numpy.abs(values) > LARGEST_INTEGER
    return _both(good, ~bad) if bad.any() else good


def _both(good: Mask | None, also: Mask) -> Mask:
    return also if good is None else good & also
