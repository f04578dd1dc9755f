"""The contract: what a row holds, how it is checked, and how it becomes a vector of float64.

`rows` (validation) and `openapi` (the API's description) are imported where they are needed.
"""

from core.contract.columns import (
    LARGEST_INTEGER,
    TEXT_BUCKETS,
    TIMESTAMP_PARTS,
    Column,
    ColumnType,
    Unseen,
    count_words,
    encode_timestamp,
)
from core.contract.definition import TASKS, Contract, Task, spell_label

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
