"""Joins labels with captured rows by prediction id, and writes what was joined.

The order of the writes: per run of the model the joined rows under labelled/ and what quality is
measured from under monitor/quality/; then the labels that wait; then the ledger. A run that dies in
between leaves objects that the next run, which starts from the same ledger, writes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from core.errors import DriftlessError
from lambdas.monitor.captures import Capture, Row, hash_text, read_captures
from lambdas.monitor.intake import LOOKBACK, Watch
from lambdas.monitor.labels import Label, PendingLabels, read_labels, write_labelled
from lambdas.monitor.ledger import Ledger
from lambdas.monitor.models import Models
from lambdas.monitor.outbox import Notes
from lambdas.monitor.storage import (
    Entry,
    Record,
    Store,
    names_key,
    read_ahead,
    read_names,
)
from lambdas.monitor.term import LabelledRow, LabelledTerm

LABEL_DAYS = 30
"""How long after a prediction its label is still joined."""
PENDING = "monitor/labels/pending.json"
LEDGER = "monitor/labels/joined.bin"


class Joiner:
    """Joins labels, for one run."""

    def __init__(self, store: Store, models: Models, watch: Watch, notes: Notes) -> None:
        """Read labels, captures and models from one store."""
        self._store = store
        self._models = models
        self._watch = watch
        self._notes = notes

    def join(self, state: Record, now: int, fresh: Sequence[str]) -> Record:
        """Join new labels with captured rows by prediction id; write what was joined.

        `fresh` are the captures that this run took in. Gives how many labels were joined, and why
        others were not; `runs` counts the joined ones by run of the model.
        """
        book = state["labels"]
        result: Record = {
            "joined": 0,
            "duplicate": 0,
            "conflicting": 0,
            "orphan": 0,
            "invalid": 0,
            "waiting": 0,
            "runs": {},
        }
        pending = PendingLabels.from_json(self._store.read(PENDING))
        ledger = Ledger(self._store.read(LEDGER))
        seen = set(book["seen"])
        since = min(state["time"] or now, now)
        entries = [entry for entry in self._label_objects(since, now) if entry.key not in seen]
        new = self._read_new(entries, pending, ledger, result, now)
        if new or (pending.labels and (fresh or book["left"])):
            # New labels look through all captures of late, waiting ones through the new captures,
            # and those that a run has left for want of time.
            recent = self._recent_captures(now)
            rows, left = self._find_rows(set(new), recent)
            also = {*fresh, *(key for key in recent if key <= book["left"])}
            more, still_left = self._find_rows(set(pending.labels), sorted(also))
            rows.update(more)
            book["left"] = max(left, still_left)
            self._write_joined(rows, {**pending.labels, **new}, ledger, result)
            pending.labels.update(new)
            for name in list(pending.labels):
                if name in rows:
                    del pending.labels[name]
        oldest = now - LABEL_DAYS * 86_400_000
        for name, label in list(pending.labels.items()):
            if label.arrived < oldest:
                del pending.labels[name]
                result["orphan"] += 1
        result["waiting"] = len(pending.labels)
        self._store.write(PENDING, pending.to_json())
        if ledger.new:
            self._store.write(LEDGER, ledger.to_bytes(), "application/octet-stream")
        current = {entry.key for entry in entries}
        book["seen"] = sorted(
            current | {key for key in seen if not _is_dated(key) or key >= _label_day(since)}
        )
        # By the ledger, not by this run: one that died after it wrote the ledger joined some too.
        book["new"] += max(len(ledger) - book["total"], 0)
        book["total"] = len(ledger)
        return result

    def _read_new(
        self,
        entries: Sequence[Entry],
        pending: PendingLabels,
        ledger: Ledger,
        result: Record,
        now: int,
    ) -> dict[str, Label]:
        """Read the labels that are still to be joined; counts the others in `result`.

        A label that replaces a waiting one is taken out of `pending`.
        """
        new: dict[str, Label] = {}
        for entry in entries:
            for label in read_labels(self._store.stream(entry.key), now):
                if label is None:
                    result["invalid"] += 1
                    continue
                known = ledger.value(hash_text(label.id))
                if known is not None:
                    same = known == hash_text(repr(label.value))
                    result["duplicate" if same else "conflicting"] += 1
                    continue
                other = new.get(label.id) or pending.labels.get(label.id)
                if other is not None and other.value != label.value:
                    # Until it has been used, the newest word on a prediction counts.
                    result["conflicting"] += 1
                    if label.time < other.time:
                        continue
                elif other is not None:
                    result["duplicate"] += 1
                    continue
                pending.labels.pop(label.id, None)
                new[label.id] = label
        return new

    def _label_objects(self, since: int, now: int) -> list[Entry]:
        """List label files: dated ones of late, and any that people dropped beside them."""
        first = _label_day(since) if since < now else ""
        # People's own files lie beside the dated folders, or in folders of other names, which sort
        # after those of years: neither listing grows with the age of the deployment.
        found = [*self._store.list("labels/", first), *self._store.list_folder("labels/")]
        return sorted({entry for entry in found if not entry.key.endswith("/")})

    def _recent_captures(self, now: int) -> list[str]:
        start = datetime.fromtimestamp(now / 1000, UTC) - timedelta(days=LABEL_DAYS)
        return [e.key for e in self._store.list("captures/", f"captures/{start:%Y/%m/%d/%H/}")]

    def _find_rows(
        self, names: set[str], keys: Sequence[str]
    ) -> tuple[dict[str, tuple[Capture, Row]], str]:
        """Find captured rows by prediction id, reading only the objects that hold one of them.

        The newest objects come first. A label of no prediction looks through all of them: where
        time ends before that, the second value is the first key that was not looked at.
        """
        found: dict[str, tuple[Capture, Row]] = {}
        if not names:
            return found, ""
        wanted = np.array([hash_text(name) for name in names], dtype=np.uint64)
        newest_first = sorted(keys, reverse=True)
        tables = read_ahead(self._store.read, map(names_key, newest_first))
        for key, raw in zip(newest_first, tables, strict=True):
            if len(found) == len(names):
                break
            if self._watch.is_up():
                self._notes.add(
                    f"{len(names) - len(found)} labels are still to be looked for in captures up "
                    f"to {key}: the run ran out of time, the next one goes on"
                )
                return found, key
            if not np.isin(wanted, read_names(raw)[:, 1]).any():
                continue
            self._look_through(key, names, found)
        return found, ""

    def _look_through(
        self, key: str, names: set[str], found: dict[str, tuple[Capture, Row]]
    ) -> None:
        """Add the rows of a captured object that have one of the names to `found`."""
        for capture in read_captures(self._store.stream(key)):
            for row in capture.rows if capture else ():
                if capture and row.prediction in names:
                    other = found.get(row.prediction)
                    # An id that a client used twice names its latest prediction.
                    if other is None or capture.time > other[0].time:
                        found[row.prediction] = (capture, row)

    def _write_joined(
        self,
        rows: dict[str, tuple[Capture, Row]],
        labels: dict[str, Label],
        ledger: Ledger,
        result: Record,
    ) -> None:
        # The key names the ledger that the rows are to be added to. A run that dies between rows
        # and ledger leaves an object that the next one, which finds the same ledger and at least
        # the same labels, writes over: no row is ever in two objects.
        place = len(ledger)
        by_run: dict[str, list[tuple[str, str | float, Capture, Row]]] = {}
        for name, (capture, row) in sorted(rows.items()):
            model = self._models.find(capture.run, self._notes.add)
            if model is None:
                continue
            try:
                value = model.contract.parse_label(labels[name].value)
            except DriftlessError as error:
                result["invalid"] += 1
                self._notes.add(f"the label of prediction {name!r} is left out: {error}")
                continue
            ledger.add(hash_text(name), hash_text(repr(labels[name].value)))
            by_run.setdefault(capture.run, []).append((name, value, capture, row))
        for run, found in by_run.items():
            model = self._models.find(run, self._notes.add)
            assert model is not None
            result["joined"] += len(found)
            result["runs"][run] = len(found)
            if model.contract.target is not None:
                key = f"labelled/part-{place:09d}-{run}.csv.gz"
                self._store.write(key, write_labelled(model.contract, found), "application/gzip")
            quality_key = f"monitor/quality/{run}.json"
            term = LabelledTerm.from_json(self._store.read(quality_key))
            for name, value, capture, row in found:
                term.add(LabelledRow(name, value, row.outputs, capture.time))
            term.trim()
            self._store.write(quality_key, term.to_json())


def _label_day(milliseconds: int) -> str:
    day = datetime.fromtimestamp(milliseconds / 1000, UTC) - LOOKBACK
    return f"labels/{day:%Y/%m/%d/}"


def _is_dated(key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 5 and all(part.isdigit() for part in parts[1:4])
