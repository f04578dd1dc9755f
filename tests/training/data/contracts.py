"""A contract with a column of every type, and a look at what was found in a column."""

from collections.abc import Sequence

from core.contract import Column, Contract
from training.data.inspection import (
    ColumnFinding,
)

COLUMNS = (
    Column("a", "number", missing=True),
    Column("b", "integer", missing=True),
    Column("c", "boolean", missing=True),
    Column("d", "category", categories=("x", "ü", "2"), missing=True),
    Column("e", "timestamp", missing=True),
    Column("f", "text", missing=True),
)
CONTRACT = Contract("anomaly", COLUMNS)


def find(findings: Sequence[ColumnFinding], name: str) -> ColumnFinding:
    """Give what was found in one column."""
    return next(found for found in findings if found.name == name)
