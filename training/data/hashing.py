"""Hashes that place rows and values in [0, 1), the same today and tomorrow."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arrays import BoolArray, FloatArray

_SMALLEST_NAN = np.uint64(0x7FF8000000000000)
NAMELESS = np.uint64(0)
"""The code of no text: a row without an entity of its own."""


def hash_rows(matrix: FloatArray, seed: int) -> FloatArray:
    """Place each row of the encoded matrix in [0, 1) by a hash of its values (splitmix64)."""
    bits = np.ascontiguousarray(matrix + 0.0).view(np.uint64).reshape(matrix.shape)
    bits = np.where(np.isnan(matrix), _SMALLEST_NAN, bits)
    state = np.full(len(matrix), np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64)
    for column in range(matrix.shape[1]):
        state = _mix(state ^ bits[:, column])
    return _to_unit(state)


def hash_values(values: Sequence[object] | NDArray[Any], seed: int) -> FloatArray:
    """Place each value in [0, 1) by a hash of its text; equal values land together.

    An array of uint64 holds the codes of texts already.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.uint64:
        return _to_unit(_mix(values + np.uint64(seed)))
    texts = np.asarray([str(value) for value in values], dtype=object)
    unique, inverse = np.unique(texts, return_inverse=True)
    return _to_unit(_mix(code_texts(unique) + np.uint64(seed)))[inverse]


def code_texts(texts: Sequence[str] | NDArray[Any]) -> NDArray[np.uint64]:
    """Code texts by their CRC-32 and length, which is all that places them."""
    sums = [zlib.crc32(text.encode("utf-8", "surrogatepass")) for text in texts]
    lengths = np.asarray([len(text) for text in texts], dtype=np.uint64)
    return np.asarray(sums, dtype=np.uint64) + (lengths << np.uint64(32))


def code_longer(codes: NDArray[np.uint64], end: str) -> NDArray[np.uint64]:
    """Give the codes of the same texts with `end` behind them (CRC-32 goes on from a checksum)."""
    unique, inverse = np.unique(codes, return_inverse=True)
    sums = [zlib.crc32(end.encode(), int(code) & 0xFFFFFFFF) for code in unique.tolist()]
    lengths = (unique >> np.uint64(32)) + np.uint64(len(end))
    longer: NDArray[np.uint64] = np.asarray(sums, dtype=np.uint64) + (lengths << np.uint64(32))
    return longer[inverse]


def place_named(names: NDArray[Any], matrix: FloatArray, seed: int) -> FloatArray:
    """Place rows by their names; one without a name by a hash of what it holds."""
    places = hash_values(names, seed)
    lone = find_nameless(names)
    if lone.any():
        places[lone] = hash_rows(matrix[lone], seed)
    return places


def find_nameless(names: NDArray[Any]) -> BoolArray:
    """Mark the rows that name no entity."""
    if names.dtype != np.uint64:
        return np.zeros(len(names), dtype=bool)
    return np.asarray(names == NAMELESS, dtype=bool)


def place_rows(matrix: FloatArray, seed: int, *, apart: bool) -> FloatArray:
    """Hash the rows; `apart` also counts in how often the row came before, so that equals part."""
    places = hash_rows(matrix, seed)
    if not apart:
        return places
    order = np.argsort(places, kind="stable")
    starts = np.r_[True, places[order][1:] != places[order][:-1]]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    occurrence = np.empty(len(order), dtype=np.uint64)
    occurrence[order] = (np.arange(len(order)) - first).astype(np.uint64)
    return _to_unit(_mix(places.view(np.uint64) ^ _mix(occurrence)))


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words: the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _to_unit(state: NDArray[np.uint64]) -> FloatArray:
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
