"""Count captured objects, each by itself: the result is the same in whatever function it is done.

A run of the monitor counts what is new. Where that is more than one run should take on, it hands
batches of objects to a distributed map, whose workers call `count_batch`, and merges what they
wrote: one summary an object, under a name that follows from the object.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core import drift
from core.errors import DriftlessError
from lambdas.monitor.captures import Capture, Row, hash_text, read_captures
from lambdas.monitor.models import Model, Models
from lambdas.monitor.names import Names
from lambdas.monitor.quality import estimate_confidence
from lambdas.monitor.storage import Entry, Record, Source, dump, names_key

SKEW_MS = 5 * 60 * 1000
BATCH_ROWS = 5_000


class Counted(NamedTuple):
    """What came of an object: its summary, and two names of each row (n, 2)."""

    summary: Record
    names: NDArray[np.uint64]


def count_object(
    entry: Entry, source: Source, models: Models, *, window_ms: int, now: int, known: Names
) -> Counted:
    """Count an object's rows by run and window, less those that are known; takes in their names."""
    counts: dict[tuple[str, int], _Part] = {}
    unreadable = duplicates = skewed = 0
    problems: list[str] = []
    names: list[tuple[int, int]] = []

    def note(text: str) -> None:
        if text not in problems:
            problems.append(text)

    for capture in read_captures(source.stream(entry.key)):
        if capture is None:
            unreadable += 1
            continue
        try:
            model = models.get(capture.run)
        except DriftlessError as error:
            note(f"rows of run {capture.run!r} are not judged: {error}")
            unreadable += 1
            continue
        time = capture.time
        if time > now + SKEW_MS:
            skewed += len(capture.rows)
            time = now
        part = counts.setdefault((capture.run, time // window_ms), _Part(model))
        kept = _keep_unknown(capture, known, names)
        duplicates += len(capture.rows) - len(kept)
        try:
            part.add(capture, kept)
        except DriftlessError as error:
            unreadable += 1
            note(f"{entry.key}: a capture of run {capture.run!r} is left out: {error}")
    parts = []
    for (run, window), part in sorted(counts.items(), key=lambda item: item[0]):
        if not part.rows:
            continue
        try:
            parts.append({"run": run, "window": window, **part.finish()})
        except DriftlessError as error:
            unreadable += 1
            note(f"{entry.key}: rows of run {run!r} are left out: {error}")
    if unreadable:
        note(f"{entry.key} holds {unreadable} pieces that are no captures of ours")
    summary = {
        "key": entry.key,
        "parts": parts,
        "unreadable": unreadable,
        "duplicates": duplicates,
        "skewed": skewed,
        "problems": problems,
    }
    return Counted(summary, np.array(names, dtype=np.uint64).reshape(-1, 2))


def _keep_unknown(capture: Capture, known: Names, names: list[tuple[int, int]]) -> list[Row]:
    """Give the rows that are not known yet; adds them to the known, and both names to `names`."""
    kept: list[Row] = []
    for row in capture.rows:
        name = hash_text(capture.request, row.prediction)
        if name in known:
            continue
        known.add(name)
        names.append((name, hash_text(row.prediction)))
        kept.append(row)
    return kept


def count_batch(
    entries: Iterable[Entry], source: Source, models: Models, *, window_ms: int, now: int
) -> int:
    """Count the objects of a batch that have no summary yet; gives how many those were.

    A worker that died left whole summaries, which the next one passes over. Of two that count the
    same object at once the first to write counts. A row that another object holds as well is
    counted with both: the run that merges sees it by its name, and counts that object again.
    """
    done = 0
    for entry in entries:
        if source.read(entry.summary) is not None:
            continue
        counted = count_object(entry, source, models, window_ms=window_ms, now=now, known=Names())
        # The names come first: a summary without them would let a repeat pass.
        source.write(names_key(entry.key), counted.names.tobytes(), "application/octet-stream")
        done += source.write_new(entry.summary, dump(counted.summary))
    return done


def make_batches(entries: Sequence[Entry], batch_bytes: float) -> list[list[Entry]]:
    """Cut objects, in order, into batches of some `batch_bytes`, each of one object at least."""
    batches: list[list[Entry]] = []
    room = 0.0
    for entry in entries:
        if room < entry.size or not batches:
            batches.append([])
            room = batch_bytes
        batches[-1].append(entry)
        room -= entry.size
    return batches


def _plain(value: Any) -> Any:
    """Turn what is no value of any column into text, which counts as never seen."""
    if isinstance(value, list | dict) or (isinstance(value, int) and abs(value) > 1e300):
        return str(type(value))
    return value


class _Part:
    """The rows of one run and window, counted in batches."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._waiting: list[Row] = []
        self._total = drift.Summary.empty(model.baseline)
        self.rows = 0
        self._served = 0.0
        self._first, self._last = math.inf, -math.inf
        self._confidence, self._confident = 0.0, 0

    def add(self, capture: Capture, rows: list[Row]) -> None:
        """Take rows in; raises DriftError for rows that the baseline cannot count."""
        if not rows:
            return
        self.rows += len(rows)
        self._served += capture.weight * len(rows)
        self._first, self._last = min(self._first, capture.time), max(self._last, capture.time)
        self._waiting += rows
        if len(self._waiting) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        outputs = [row.outputs for row in rows]
        values = [row.values for row in rows]
        try:
            counted = drift.summarise(self._model.baseline, values, outputs)
        except (TypeError, OverflowError):  # values that no column can have; rare, so looked at now
            plain = [{name: _plain(value) for name, value in row.items()} for row in values]
            counted = drift.summarise(self._model.baseline, plain, outputs)
        self._total = self._total + counted
        total, number = estimate_confidence(self._model.contract, self._model.threshold, outputs)
        self._confidence += total
        self._confident += number

    def finish(self) -> Record:
        """Give the part as the summary object holds it."""
        self._flush()
        return {
            "rows": self.rows,
            "served": round(self._served, 3),
            "first": self._first,
            "last": self._last,
            "confidence": round(self._confidence, 6),
            "confident": self._confident,
            "counts": json.loads(self._total.to_json()),
        }
