"""A set of 64-bit names that takes little more than 8 bytes for each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

LATEST = 250_000
"""How many names are held as a Python set, some 100 bytes each, before they join the array."""


class Names:
    """Hold names: a sorted array of most, and a set of the latest."""

    def __init__(self, tables: Iterable[NDArray[np.uint64]] = ()) -> None:
        """Take in arrays of names."""
        self._sorted = np.sort(np.concatenate([np.empty(0, dtype=np.uint64), *tables]))
        self._latest: set[int] = set()

    def __contains__(self, name: int) -> bool:
        """Say whether a name is held."""
        if name in self._latest:
            return True
        place = int(self._sorted.searchsorted(np.uint64(name)))
        return place < len(self._sorted) and int(self._sorted[place]) == name

    def __len__(self) -> int:
        """Count the names."""
        return len(self._sorted) + len(self._latest)

    def add(self, name: int) -> None:
        """Take in one name that is not held yet."""
        self._latest.add(name)
        if len(self._latest) >= LATEST:
            self.add_all(np.fromiter(self._latest, dtype=np.uint64, count=len(self._latest)))
            self._latest = set()

    def add_all(self, names: NDArray[np.uint64]) -> None:
        """Take in an array of names."""
        # Both parts are runs in order or soon are: a stable sort of them is a merge.
        self._sorted = np.concatenate([self._sorted, np.sort(names)])
        self._sorted.sort(kind="stable")
