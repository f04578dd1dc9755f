"""What every family of tables gives: margins, and the share that each column has in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Vector = Sequence[float]


class Margins(Protocol):
    """What each family of tables can do."""

    def margins(self, vector: Vector) -> list[float]:
        """Give the margins of one encoded row."""
        ...

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        """Share the difference of a row's margins from the baseline's among `count` columns.

        `players` names the column of each feature. Gives one list of `count` numbers a margin.
        """
        ...
