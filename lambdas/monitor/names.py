"""A set of 64-bit names that takes little more than 8 bytes for each."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

LATEST = 250_000
"""How many names are held as a Python set, some 100 bytes each, before they join an array."""
MOST = 20_000_000
"""How many names are known at least before the oldest are forgotten: 160 MB, twice at most."""

_NONE = np.empty(0, dtype=np.uint64)


class Names:
    """Hold names: sorted arrays of most, the smaller one of those that came of late, and a set."""

    def __init__(self, tables: Iterable[NDArray[np.uint64]] = ()) -> None:
        """Take in arrays of names."""
        self._oldest = _NONE
        self._sorted = _NONE
        self._recent = _NONE
        self._latest: set[int] = set()
        for table in tables:
            self.add_all(table)

    def __contains__(self, name: int) -> bool:
        """Say whether a name is held."""
        if name in self._latest:
            return True
        wanted = np.uint64(name)
        for table in (self._recent, self._sorted, self._oldest):
            place = int(table.searchsorted(wanted))
            if place < len(table) and int(table[place]) == name:
                return True
        return False

    def __len__(self) -> int:
        """Count the names."""
        arrays = len(self._oldest) + len(self._sorted) + len(self._recent)
        return arrays + len(self._latest)

    @property
    def nbytes(self) -> int:
        """Measure the arrays."""
        return self._oldest.nbytes + self._sorted.nbytes + self._recent.nbytes

    def add(self, name: int) -> None:
        """Take in one name that is not held yet."""
        self._latest.add(name)
        if len(self._latest) >= LATEST:
            self._settle()

    def overlaps(self, names: NDArray[np.uint64]) -> bool:
        """Say whether any of these names is held."""
        self._settle()
        wanted = np.sort(names)
        for table in (self._recent, self._sorted, self._oldest):
            if len(table):
                places = np.minimum(table.searchsorted(wanted), len(table) - 1)
                if (table[places] == wanted).any():
                    return True
        return False

    def add_all(self, names: NDArray[np.uint64]) -> None:
        """Take in an array of names."""
        self._recent = _merge(self._recent, np.sort(names))
        # A merge copies both: it waits until it is worth that.
        if len(self._recent) >= max(LATEST, len(self._sorted) // 8):
            self._sorted, self._recent = _merge(self._sorted, self._recent), _NONE
        if len(self._sorted) >= MOST:
            self._oldest, self._sorted = self._sorted, _NONE

    def _settle(self) -> None:
        """Move the set into the arrays."""
        if self._latest:
            latest, self._latest = self._latest, set()
            self.add_all(np.fromiter(latest, dtype=np.uint64, count=len(latest)))


def _merge(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Merge two arrays in order: two runs, which a stable sort merges."""
    both = np.concatenate([one, other])
    both.sort(kind="stable")
    return both
