"""Output of the commands: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

# rich omits colour and animation where the output is no terminal or NO_COLOR is set.
console = Console(highlight=False, soft_wrap=True)
progress_console = Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print a value as JSON, times in ISO 8601."""
    json.dump(value, sys.stdout, indent=2, default=_encode, ensure_ascii=False)
    sys.stdout.write("\n")


def _encode(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with a title; cells are plain text."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console.print(table, markup=False)


def describe_age(then: datetime, now: datetime) -> str:
    """Format the time since `then`: `12 s`, `5 min`, `3 h`, `2 days`."""
    seconds = max(0, round((now - then).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    if seconds < 172_800:
        return f"{seconds // 3600} h"
    return f"{seconds // 86_400} days"
