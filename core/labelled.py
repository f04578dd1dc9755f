"""The columns that the monitor adds to labelled rows, beside the table's own.

A table may have columns of the same names: then the monitor's have as many underscores more as it
takes to be the longest, and training takes the longest for the monitor's.
"""

from collections.abc import Iterable

PREDICTION_ID = "prediction_id"
PREDICTION_TIME = "prediction_time"
ENTITY_HASH = "entity_hash"


def name_own(name: str, taken: Iterable[str]) -> str:
    """Give the monitor's column a name that the table does not have."""
    alike = [other for other in taken if other.rstrip("_") == name]
    return f"{max(alike, key=len)}_" if alike else name


def find_own(name: str, columns: Iterable[str]) -> str:
    """Find the monitor's column among those of labelled rows."""
    return max((other for other in columns if other.rstrip("_") == name), key=len, default=name)
