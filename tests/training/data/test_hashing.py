"""Hashes depend on what a row says, not on how it is written."""

import numpy as np

from training.data.hashing import hash_rows


def test_hash_ignores_how_zero_and_missing_are_written() -> None:
    """-0.0 is 0.0 and every NaN is the same missing value."""
    odd = np.array([[0.0, np.nan], [-0.0, -np.nan]])
    assert len(set(hash_rows(odd, 1))) == 1
