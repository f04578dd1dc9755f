"""One call of a function: its outcome, and the names that functions are called by."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SYNC_BYTES = 6_291_556
MAX_ASYNC_BYTES = 1_048_576


@dataclass(frozen=True)
class Invocation:
    """What became of one event."""

    status: int
    payload: bytes
    error: str | None
    version: str
    request_id: str
    log_tail: bytes = b""


def split_name(name: str) -> tuple[str, str, str | None]:
    """Split a function's name or ARN into name, ARN prefix and qualifier."""
    prefix = ""
    if ":function:" in name:
        prefix, _, name = name.rpartition(":function:")
    bare, _, qualifier = name.partition(":")
    return bare, prefix, qualifier or None
