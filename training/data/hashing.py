"""Hashes that place rows and values in [0, 1), the same today and tomorrow."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arrays import FloatArray

_SMALLEST_NAN = np.uint64(0x7FF8000000000000)


def hash_rows(matrix: FloatArray, seed: int) -> FloatArray:
    """Place each row of the encoded matrix in [0, 1) by a hash of its values (splitmix64)."""
    bits = np.ascontiguousarray(matrix + 0.0).view(np.uint64).reshape(matrix.shape)
    bits = np.where(np.isnan(matrix), _SMALLEST_NAN, bits)
    state = np.full(len(matrix), np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64)
    for column in range(matrix.shape[1]):
        state = _mix(state ^ bits[:, column])
    return _to_unit(state)


def hash_values(values: Sequence[object] | NDArray[Any], seed: int) -> FloatArray:
    """Place each value in [0, 1) by a hash of its text; equal values land together."""
    texts = np.asarray([str(value) for value in values], dtype=object)
    unique, inverse = np.unique(texts, return_inverse=True)
    codes = np.asarray([zlib.crc32(text.encode()) for text in unique], dtype=np.uint64)
    lengths = np.asarray([len(text) for text in unique], dtype=np.uint64)
    state = _mix(codes + (lengths << np.uint64(32)) + np.uint64(seed))
    return _to_unit(state)[inverse]


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
