"""The columns of a contract: what each may hold, and how one value of it becomes numbers.

==========  =========  ==========================================================================
column      features   values
==========  =========  ==========================================================================
number      1          as it is
integer     1          as it is; at most 2**53 - 1 in size, so that float64 holds it exactly
boolean     1          0.0 or 1.0
category    1          its index in `categories`; `len(categories)` for a category not listed
timestamp   5          year, month, day, weekday (Monday = 0) and hour (with its fraction), in UTC
text        64         how often each hash bucket's words occur (CRC-32 of the lower-case word)
==========  =========  ==========================================================================

A missing value (absent, null, NaN) is NaN in every feature of its column.
"""

import math
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, get_args

ColumnType = Literal["number", "integer", "boolean", "category", "timestamp", "text"]
Unseen = Literal["accept", "refuse"]

COLUMN_TYPES: tuple[ColumnType, ...] = get_args(ColumnType)
TIMESTAMP_PARTS = ("year", "month", "day", "weekday", "hour")
TEXT_BUCKETS = 64
LARGEST_INTEGER = 2**53 - 1

_WORD = re.compile(r"\w+")
_MICROSECONDS_PER_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Column:
    """One column that the model is given.

    `min` and `max` are hard limits: a value beyond them is refused by training and by the API.
    They are for what cannot be (a negative age), not for what was not seen; the monitor watches
    that.
    """

    name: str
    type: ColumnType
    unit: str = ""
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] = ()
    missing: bool = False
    sensitive: bool = False
    unseen: Unseen = "accept"
    description: str = ""


class Feature(NamedTuple):
    """One position of the encoded vector: its name, its column, and that column's type."""

    name: str
    column: str
    kind: ColumnType


def feature_names(column: Column) -> tuple[str, ...]:
    """Name the positions that a column takes in the encoded vector."""
    if column.type == "timestamp":
        return tuple(f"{column.name}.{part}" for part in TIMESTAMP_PARTS)
    if column.type == "text":
        return tuple(f"{column.name}.{bucket}" for bucket in range(TEXT_BUCKETS))
    return (column.name,)


def find_contradictions(column: Column) -> list[str]:
    """Say what in a column's definition contradicts itself."""
    found = []
    if not column.name.strip():
        found.append("a column needs a name")
    if column.type not in COLUMN_TYPES:
        found.append(f"type {column.type!r} is none of {', '.join(COLUMN_TYPES)}")
    if column.categories and column.type != "category":
        found.append(f"only a category column lists categories, not a {column.type} column")
    if len(set(column.categories)) != len(column.categories):
        found.append("a category is listed twice")
    if column.type == "category" and column.unseen == "refuse" and not column.categories:
        found.append('unseen = "refuse" needs the categories listed')
    limits = [limit for limit in (column.min, column.max) if limit is not None]
    if limits and column.type not in ("number", "integer"):
        found.append(f"only number and integer columns have limits, not a {column.type} column")
    if not all(math.isfinite(limit) for limit in limits):
        found.append("a limit is a finite number")
    if len(limits) == 2 and limits[0] > limits[1]:
        found.append(f"min {limits[0]:g} is above max {limits[1]:g}")
    return found


def integer_limits(column: Column) -> tuple[int, int]:
    """Give the least and the largest whole number that a column accepts."""
    low = -LARGEST_INTEGER if column.min is None else max(-LARGEST_INTEGER, -int(-column.min // 1))
    high = LARGEST_INTEGER if column.max is None else min(LARGEST_INTEGER, int(column.max // 1))
    return low, high


def encode_timestamp(value: datetime | str) -> tuple[float, float, float, float, float]:
    """Split a moment into its parts in UTC; a moment without an offset is taken as UTC."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    offset = moment.utcoffset()
    if offset:
        # Within hours of year 1 or 9999 there is no such moment in UTC: keep the local parts.
        with suppress(OverflowError):
            moment = moment - offset
    microseconds = (
        moment.hour * 3600 + moment.minute * 60 + moment.second
    ) * 1_000_000 + moment.microsecond
    return (
        float(moment.year),
        float(moment.month),
        float(moment.day),
        float(moment.weekday()),
        microseconds / _MICROSECONDS_PER_HOUR,
    )


def count_words(text: str) -> list[float]:
    """Count the words of a text into `TEXT_BUCKETS` buckets by the CRC-32 of their lower case."""
    counts = [0.0] * TEXT_BUCKETS
    for word in _WORD.findall(text.lower()):
        counts[zlib.crc32(word.encode()) % TEXT_BUCKETS] += 1.0
    return counts
