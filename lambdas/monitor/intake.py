"""Takes in captured objects: each is counted once, here or by the workers of a distributed map."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lambdas.monitor.counting import count_object, make_batches
from lambdas.monitor.models import Models
from lambdas.monitor.names import Names
from lambdas.monitor.outbox import Notes, Outbox
from lambdas.monitor.state import iso
from lambdas.monitor.storage import (
    SUMMARIES,
    Entry,
    Record,
    Source,
    dump,
    names_key,
    parse_summary,
    read_ahead,
    read_names,
)

LOOKBACK = timedelta(hours=26)
"""Firehose retries a delivery for up to 24 hours and names objects by when it got the records."""
DEDUPLICATED_OBJECTS = 2_000
"""Among how many of the latest objects a row delivered twice is known."""
BATCH_SHARE = 8
"""Into how many batches goes what one run counts by itself at most."""


class Watch(Protocol):
    """The time left."""

    def is_up(self) -> bool:
        """Say whether to stop taking on new work."""


class Waiting(NamedTuple):
    """The captured objects that no run has taken in.

    All of their keys come after the key `after`. `summarised` names the summaries that workers, or
    a run that died, have written.
    """

    entries: list[Entry]
    after: str
    summarised: set[str]


class Taken(NamedTuple):
    """What a run took in: the keys, how many pieces were unreadable, and whether nothing waits."""

    fresh: list[str]
    unreadable: int
    finished: bool


class Intake:
    """Takes captured objects in, for one run."""

    def __init__(
        self, store: Source, models: Models, watch: Watch, notes: Notes, *, window_ms: int
    ) -> None:
        """Count rows by windows of `window_ms`."""
        self._store = store
        self._models = models
        self._watch = watch
        self._notes = notes
        self._window_ms = window_ms
        self._counted: Names | None = None

    def find(self, state: Record, now: int) -> Waiting:
        """List the captured objects that no run has taken, and the summaries that there are."""
        since = min(state["time"] or now, now)
        start = datetime.fromtimestamp(since / 1000, UTC) - LOOKBACK
        after = f"captures/{start:%Y/%m/%d/%H/}" if state["time"] else ""
        seen = set(state["seen"])
        entries = [e for e in self._store.list("captures/", after) if e.key not in seen]
        if not entries:
            return Waiting(entries, after, set())
        found = self._store.list(f"{SUMMARIES}captures/", after and SUMMARIES + after)
        return Waiting(entries, after, {entry.key for entry in found})

    def hand_over(
        self,
        state: Record,
        now: int,
        waiting: Waiting,
        outbox: Outbox,
        *,
        bucket: str,
        limit_mb: float,
    ) -> bool:
        """Ask for a distributed count where more than `limit_mb` are to be counted; 0: never."""
        entries = [entry for entry in waiting.entries if entry.summary not in waiting.summarised]
        limit = limit_mb * 1e6
        if not limit or sum(entry.size for entry in entries) <= limit:
            return False
        batches = make_batches(entries, limit / BATCH_SHARE)
        key = f"monitor/counting/{now}.json"
        self._store.write(key, dump(batches))
        state["counting"] = now
        outbox.add_event("Captures Waiting", {"bucket": bucket, "key": key, "time": iso(now)})
        return True

    def take(self, state: Record, now: int, waiting: Waiting) -> Taken:
        """Count each new object, and note in `state` which windows its rows are in."""
        entries, after, summarised = waiting
        stored = [entry for entry in entries if entry.summary in summarised]
        found = read_ahead(
            self._store.read,
            (key for entry in stored for key in (names_key(entry.key), entry.summary)),
        )
        fresh: list[str] = []
        unreadable = 0
        finished = True
        for entry in entries:
            if self._watch.is_up():
                finished = False
                self._notes.add(
                    f"{len(entries) - len(fresh)} captured objects wait for the next run: this one "
                    "ran out of time; windows are judged once they are read"
                )
                break
            if entry.summary in summarised:
                names = read_names(next(found))[:, 0]
                key, summary = self._take_summary(entry, names, next(found), state, now)
            else:
                key, summary = entry.summary, self._count(entry, entry.summary, state, now)
            for problem in summary.get("problems", ()):
                self._notes.add(problem)
            fresh.append(entry.key)
            unreadable += summary["unreadable"]
            _add_pending(state, key, summary)
        state["seen"] = sorted({k for k in state["seen"] if k > after} | set(fresh))
        return Taken(fresh, unreadable, finished)

    def _take_summary(
        self, entry: Entry, names: NDArray[np.uint64], stored: bytes | None, state: Record, now: int
    ) -> tuple[str, Record]:
        """Take in what a worker, or a run that died, counted; gives where it lies, too.

        Workers know one object at a time. One that holds a row which another holds as well is
        counted again, without that row; the worker's summary stays as it is, for the next run to
        come to the same conclusion if this one dies.
        """
        known = self._known(state)
        if stored is None:
            return entry.summary, self._count(entry, entry.summary, state, now)
        if known.overlaps(names):
            key = entry.summary_without_repeats
            return key, self._count(entry, key, state, now, repeated=True)
        known.add_all(names)
        return entry.summary, parse_summary(stored)

    def _count(
        self, entry: Entry, key: str, state: Record, now: int, *, repeated: bool = False
    ) -> Record:
        summary, names = count_object(
            entry,
            self._store,
            self._models,
            window_ms=self._window_ms,
            now=now,
            known=self._known(state),
        )
        if not repeated:
            self._store.write(names_key(entry.key), names.tobytes(), "application/octet-stream")
        self._store.write(key, dump(summary))
        return summary

    def _known(self, state: Record) -> Names:
        """Give the names of rows counted before: in the objects seen of late, and in this run."""
        if self._counted is None:
            latest = state["seen"][-DEDUPLICATED_OBJECTS:]
            found = read_ahead(self._store.read, map(names_key, latest))
            self._counted = Names(read_names(raw)[:, 0] for raw in found)
        return self._counted


def _add_pending(state: Record, key: str, summary: Record) -> None:
    """Note where the rows of each run and window are counted, for the window to be judged."""
    for number, part in enumerate(summary["parts"]):
        judged = state["judged"].get(part["run"], -1)
        state["pending"].setdefault(part["run"], []).append(
            {
                "summary": key,
                "part": number,
                # Rows of a window that has been judged count in the next one.
                "window": max(part["window"], judged + 1),
                "rows": part["rows"],
            }
        )
