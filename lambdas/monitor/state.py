"""The monitor's state: all that a run decides from, in one object that is replaced as a whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from core.errors import StorageError
from lambdas.monitor.storage import Record

STATE = "monitor/state.json"
FORMAT = 1


def read_state(raw: bytes | None) -> Record:
    """Read the state, or begin one; raises StorageError for what is no state of this release.

    Members that a release before did not write have their first value; `terms` is None then, for
    the labelled rows that there are were measured without a note of it.
    """
    empty: Record = {
        "format": FORMAT,
        "time": 0,
        "counting": 0,
        "seen": [],
        "pending": {},
        "judged": {},
        "creep": {},
        "standing": {},
        "newest": None,
        "asked": None,
        "unhelped": None,
        "history": [],
        "quality": {},
        "terms": None,
        "labels": {"seen": [], "left": "", "total": 0, "new": 0, "last": {}},
        "problems": [],
        "outbox": [],
    }
    if raw is None:
        return {**empty, "terms": {}}
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise StorageError(f"{STATE} is not JSON: restore an earlier version of it") from error
    if not isinstance(found, dict):
        raise StorageError(f"{STATE} holds no state: restore an earlier version of it")
    if found.get("format") != FORMAT:
        raise StorageError(
            f"{STATE} has format {found.get('format')!r}, this release reads {FORMAT}: move it "
            "away to begin anew"
        )
    labels = {**empty["labels"], **found.get("labels", {})}
    return {**empty, **found, "labels": labels}


def iso(milliseconds: float) -> str:
    """Write a moment as `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
