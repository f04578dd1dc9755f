"""Encodes rows a column at a time, where their values are plainly what the contract asks for.

A row is *plain* where every value has its column's type, is within its limits and, where the column
says so, is a category that is listed. Plain rows are encoded here as `Contract.encode` would encode
them. Any other row is left to the contract's own validation, which is slower and gives reasons. So
this can be strict where it is in doubt, and never has to say why.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from typing import Any

import numpy
import numpy.typing as npt

from core.contract import (
    LARGEST_INTEGER,
    TEXT_BUCKETS,
    TIMESTAMP_PARTS,
    Column,
    Contract,
    count_words,
    encode_timestamp,
)
from core.contract.cells import FALSE_WORDS, TRUE_WORDS
from core.contract.rows import MAX_CATEGORY_CHARACTERS, MAX_TEXT_CHARACTERS

Matrix = npt.NDArray[numpy.float64]
Mask = npt.NDArray[numpy.bool_]
Values = Sequence[Any] | Matrix

_NONE = type(None)
_ALLOWED: dict[str, frozenset[type]] = {
    "number": frozenset({float, int, _NONE}),
    "integer": frozenset({float, int, _NONE}),
    "boolean": frozenset({bool, int, float, str, _NONE}),
    "category": frozenset({str, _NONE}),
    "timestamp": frozenset({datetime, str, _NONE}),
    "text": frozenset({str, _NONE}),
}
_BOOLEANS: dict[Any, float] = {
    None: numpy.nan,
    **dict.fromkeys((True, *TRUE_WORDS), 1.0),
    **dict.fromkeys((False, *FALSE_WORDS), 0.0),
}
# The moments that `datetime.fromisoformat` and pydantic read alike.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII
)


class Encoder:
    """Encodes columns of one contract."""

    def __init__(self, contract: Contract) -> None:
        """Choose how each column is encoded."""
        self._columns = [(column, _choose(column)) for column in contract.columns]
        self._width = len(contract.features)

    def encode(
        self, columns: Mapping[str, Values], count: int, *, typed: bool = False
    ) -> tuple[Matrix, Mask]:
        """Encode `count` rows; give the matrix, and which of its rows are plain.

        A column that is absent is missing from every row. `typed` vouches for the values' types.
        The matrix is laid out by columns.
        """
        matrix = numpy.empty((self._width, count), dtype=numpy.float64)
        plain = numpy.ones(count, dtype=numpy.bool_)
        absent = (None,) * count
        place = 0
        for column, encode in self._columns:
            values = columns.get(column.name, absent)
            if not (typed or isinstance(values, numpy.ndarray)):
                values, other = _sift(values, _ALLOWED[column.type])
                if other is not None:
                    plain &= ~other
            encoded, bad = encode(values)
            plain &= ~bad
            end = place + (len(encoded) if encoded.ndim == 2 else 1)
            matrix[place:end] = encoded
            if not column.missing:
                plain &= ~numpy.isnan(matrix[place])
            place = end
        return matrix.T, plain


def _sift(values: Sequence[Any], allowed: frozenset[type]) -> tuple[Sequence[Any], Mask | None]:
    """Put None for values of other types, and say which these are; None where there are none."""
    if allowed.issuperset(map(type, values)):
        return values, None
    other = numpy.array([type(value) not in allowed for value in values])
    return [value if type(value) in allowed else None for value in values], other


# Of values: encoded, of shape (rows,) or (features, rows), and which of them are not plain.
_Encode = Callable[[Any], tuple[Matrix, Mask]]


def _choose(column: Column) -> _Encode:
    if column.type == "category":
        return _encode_categories(column)
    if column.type == "timestamp":
        return lambda values: _expand(values, len(TIMESTAMP_PARTS), _encode_moment)
    if column.type == "text":
        return lambda values: _expand(values, TEXT_BUCKETS, _encode_text)
    if column.type == "boolean":
        return _encode_booleans
    return lambda values: _encode_numbers(column, values)


def _encode_categories(column: Column) -> _Encode:
    codes: dict[str | None, float] = {name: float(i) for i, name in enumerate(column.categories)}
    codes[None] = numpy.nan
    unseen = float(len(column.categories))

    def encode(values: Sequence[str | None]) -> tuple[Matrix, Mask]:
        found = map(codes.get, values, repeat(unseen))
        encoded = numpy.fromiter(found, dtype=numpy.float64, count=len(values))
        new = encoded == unseen
        if column.unseen == "accept":
            for place in numpy.flatnonzero(new).tolist():
                new[place] = len(values[place] or "") > MAX_CATEGORY_CHARACTERS
        return encoded, new

    return encode


def _encode_booleans(values: Sequence[Any]) -> tuple[Matrix, Mask]:
    found = map(_BOOLEANS.get, values, repeat(numpy.inf))
    encoded = numpy.fromiter(found, dtype=numpy.float64, count=len(values))
    return encoded, numpy.isinf(encoded)


def _encode_numbers(column: Column, values: Values) -> tuple[Matrix, Mask]:
    try:
        encoded = numpy.asarray(values, dtype=numpy.float64)
    except OverflowError:
        return numpy.zeros(len(values)), numpy.ones(len(values), dtype=numpy.bool_)
    bad = numpy.isinf(encoded)
    if column.min is not None:
        bad |= encoded < column.min
    if column.max is not None:
        bad |= encoded > column.max
    if column.type == "integer":
        bad |= (encoded != numpy.trunc(encoded)) & ~numpy.isnan(encoded)
        bad |= numpy.abs(encoded) > LARGEST_INTEGER
    return encoded, bad


def _expand(
    values: Sequence[Any], width: int, encode: Callable[[Any], Sequence[float] | None]
) -> tuple[Matrix, Mask]:
    """Encode values of several features one by one; None for one that is not plain."""
    missing = (numpy.nan,) * width
    found = [missing if value is None else encode(value) for value in values]
    bad = numpy.array([parts is None for parts in found], dtype=numpy.bool_)
    rows = [missing if parts is None else parts for parts in found]
    return numpy.array(rows, dtype=numpy.float64).reshape(len(rows), width).T, bad


def _encode_moment(value: datetime | str) -> Sequence[float] | None:
    if isinstance(value, str) and not _MOMENT.fullmatch(value):
        return None
    try:
        return encode_timestamp(value)
    except ValueError:
        return None


def _encode_text(value: str) -> Sequence[float] | None:
    return count_words(value) if len(value) <= MAX_TEXT_CHARACTERS else None
