"""A contract with a column of every type, and a row that fits it."""

from typing import Any

from core.contract import Column, Contract
from core.contract.rows import RowAdapter

COLUMNS = (
    Column("mean radius", "number", unit="mm", min=0),
    Column("größe", "integer", missing=True, max=300),
    Column("smoker", "boolean"),
    Column("plan", "category", categories=("basic", "plus"), missing=True),
    Column("region", "category", categories=("n", "s"), unseen="refuse"),
    Column("seen", "timestamp", missing=True),
    Column("note", "text", missing=True),
    Column("salary", "number", sensitive=True, max=1e6),
)
CONTRACT = Contract("binary", COLUMNS, target="y", classes=("no", "yes"), positive="yes")
ROW: dict[str, Any] = {
    "mean radius": 1.5,
    "größe": 180,
    "smoker": True,
    "plan": "plus",
    "region": "n",
    "seen": "2024-02-29T13:30:00Z",
    "note": "Hello, hello world",
    "salary": 1000.0,
}
ADAPTER = RowAdapter(CONTRACT, max_rows=3)


def send(**changes: Any) -> dict[str, Any]:
    """Make a request of one row that differs from the good one."""
    return {"instances": [{**ROW, **changes}]}
