"""The ledger of labels that were joined with their predictions."""

from __future__ import annotations

import numpy as np

from lambdas.monitor.storage import read_names


class Ledger:
    """The labels that were joined: 64 bits of the prediction's id and of the label each."""

    def __init__(self, raw: bytes | None) -> None:
        """Read what `to_bytes` wrote, or begin anew."""
        self._raw = raw or b""
        table = read_names(raw)
        # In arrays: as a dictionary, ten million labels would not fit the function's memory.
        order = table[:, 0].argsort(kind="stable")
        self._names, self._labels = table[order, 0], table[order, 1]
        self.new: dict[int, int] = {}

    def __len__(self) -> int:
        """Count the labels."""
        return len(self._names) + len(self.new)

    def value(self, name: int) -> int | None:
        """Give the label of a prediction; None where none was joined."""
        place = int(self._names.searchsorted(np.uint64(name)))
        if place < len(self._names) and int(self._names[place]) == name:
            return int(self._labels[place])
        return self.new.get(name)

    def add(self, name: int, value: int) -> None:
        """Add the label of a prediction."""
        self.new[name] = value

    def to_bytes(self) -> bytes:
        """Write the ledger: what was read, and what is new."""
        table = np.array(list(self.new.items()), dtype=np.uint64)
        return self._raw + table.tobytes()
