"""The contract: what a row holds, how it is checked, and how it becomes a vector of float64."""

from core.contract.definition import (
    LARGEST_INTEGER,
    TASKS,
    TEXT_BUCKETS,
    TIMESTAMP_PARTS,
    Column,
    ColumnType,
    Contract,
    Task,
    Unseen,
    count_words,
    encode_timestamp,
    spell_label,
)

__all__ = [
    "LARGEST_INTEGER",
    "TASKS",
    "TEXT_BUCKETS",
    "TIMESTAMP_PARTS",
    "Column",
    "ColumnType",
    "Contract",
    "Task",
    "Unseen",
    "count_words",
    "encode_timestamp",
    "spell_label",
]
