"""Rows as they are read from any format, a block at a time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from core.errors import Problem
from lambdas.score.columns import Values


class Block(NamedTuple):
    """Some rows with their numbers and ids, and the problems of what is no row.

    Numbers count from 1 within the unit. `columns` holds the values of the model's columns, one a
    row, for `lambdas.score.columns`, surely of their columns' types where `typed`; what it holds of
    the rows at the places `odd` counts for nothing. `row` gives the row at a place, as it is to be
    validated.
    """

    numbers: Sequence[int]
    ids: list[str]
    columns: Mapping[str, Values]
    typed: bool
    odd: Sequence[int]
    row: Callable[[int], dict[str, Any]]
    broken: list[tuple[int, Problem]]


class Part(NamedTuple):
    """A block as a format gives it: no numbers yet, rows with all of their members.

    `named` has the rows' own ids, None for one without; `broken` the problems by the places that
    the broken rows have among all `total` of them.
    """

    total: int
    columns: Mapping[str, Values]
    typed: bool
    named: Sequence[Any] | None
    odd: Sequence[int]
    row: Callable[[int], dict[str, Any]]
    broken: dict[int, Problem]
