"""What was found in a table: for each column, and as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from core.contract import Column
from training.data.splits import Strategy as SplitStrategy
from training.doubts import Doubt

Role: TypeAlias = Literal["input", "target", "id", "time", "group", "left out"]


@dataclass(frozen=True)
class ColumnFinding:
    """What one column of a table holds, and what is made of it.

    `column` is the column as the contract could list it, also where it is left out. `low` and
    `high` are texts; `warnings` are sentences for people.
    """

    name: str
    role: Role
    column: Column | None
    missing: int
    distinct: int
    low: str = ""
    high: str = ""
    examples: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """Name the type, or "" of a column without values."""
        return self.column.type if self.column is not None else ""


@dataclass(frozen=True)
class Findings:
    """What a table holds, column by column and as a whole, and the split that leaks nothing."""

    rows: int
    columns: tuple[ColumnFinding, ...]
    duplicates: int
    split: SplitStrategy
    classes: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Write the findings as JSON-ready members."""
        return {
            "rows": self.rows,
            "duplicate_rows": self.duplicates,
            "split": self.split,
            "classes": dict(self.classes),
            "warnings": list(self.warnings),
            "doubts": [doubt.to_dict() for doubt in self.doubts],
            "columns": [
                {
                    "name": found.name,
                    "role": found.role,
                    "type": found.type,
                    "missing": found.missing,
                    "distinct": found.distinct,
                    "low": found.low,
                    "high": found.high,
                    "examples": list(found.examples),
                    "warnings": list(found.warnings),
                }
                for found in self.columns
            ],
        }
