"""One run of the monitor: what is new is counted, what is complete is judged, what moved is said.

::

    captures/...gz --count once--> monitor/summaries/     (counts a run of the model and window;
                                        |                  many at once: by a distributed map)
                                        |  window complete, at least min_window_rows
                                        v
                   core.drift.judge --> monitor/reports/  (verdict, page, index)  --> metrics, SNS
    labels/...    --join by id-->  labelled/part-*.csv.gz, monitor/quality/       --> metrics, SNS

All that a run decides from lies in `monitor/state.json`, which is replaced in one conditional
write: of two runs at once one fails without a trace. What is to be sent (metric lines, messages,
events) is part of that state and sent after the write; a run that died in between leaves it to the
next.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from core import drift
from core.errors import DriftlessError, StorageError
from lambdas.monitor.captures import Capture, Row, hash_text, read_captures
from lambdas.monitor.counting import (
    SUMMARIES,
    Entry,
    Record,
    Source,
    count_batch,
    count_object,
    dump,
    make_batches,
    names_key,
    read_names,
)
from lambdas.monitor.labels import Label, PendingLabels, read_labels, write_labelled
from lambdas.monitor.messages import describe_quality, describe_window
from lambdas.monitor.models import Model, Models
from lambdas.monitor.names import Names
from lambdas.monitor.quality import measure_quality
from lambdas.monitor.report import render_index, render_window

NAMESPACE = "Driftless"
STATE = "monitor/state.json"
FORMAT = 1
LOOKBACK = timedelta(hours=26)
"""Firehose retries a delivery for up to 24 hours and names objects by when it got the records."""
LABEL_DAYS = 30
"""How long after a prediction its label is still joined."""
DEDUPLICATED_OBJECTS = 2_000
"""Among how many of the latest objects a row delivered twice is known."""
READ_AHEAD = 10
"""How many objects are read at once: as many as a client of boto3 has connections."""
BATCH_SHARE = 8
"""Into how many batches goes what one run counts by itself at most."""
COUNTING_MS = 2 * 3600 * 1000
"""How long a distributed count may take (infra/counting.py) before another run goes on without."""
QUALITY_ROWS = 5_000
HISTORY = 500
HELD_WINDOWS = 14 * 24
REMIND_MS = 24 * 3600 * 1000
CLEAR = 1.25
"""How much evidence a column needs, in that of an alarm, to be told while the alarm stands."""


class Store(Source, Protocol):
    """The bucket."""

    def list_folder(self, prefix: str) -> Sequence[Entry]:
        """Return the objects right under `prefix`."""

    def read_tagged(self, key: str) -> tuple[bytes | None, str]:
        """Return an object and its tag."""

    def write_over(self, key: str, body: bytes, tag: str) -> str:
        """Write an object if it still has this tag; raises StorageError otherwise."""


class People(Protocol):
    """Whom messages go to."""

    def publish(self, subject: str, message: str) -> None:
        """Send a message."""


class Events(Protocol):
    """Where events go to."""

    def put(self, detail_type: str, detail: Record) -> None:
        """Send an event."""


class Lines(Protocol):
    """The log, which metrics are read from."""

    def write(self, record: Record) -> None:
        """Write one line."""


class Watch(Protocol):
    """The time left."""

    def is_up(self) -> bool:
        """Say whether to stop taking on new work."""


class Ports(NamedTuple):
    """What the monitor reaches the world through."""

    store: Store
    people: People
    events: Events
    log: Lines
    watch: Watch


def iso(milliseconds: float) -> str:
    """Write a moment as `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Monitor:
    """The monitor of one deployment; `run` does everything."""

    def __init__(
        self,
        *,
        deployment: str,
        stage: str,
        bucket_name: str,
        runbook_url: str,
        settings: Record,
        ports: Ports,
    ) -> None:
        self._deployment = deployment
        self._stage = stage
        self._bucket = bucket_name
        self._runbook = runbook_url.rstrip("/")
        self._settings = settings
        self._ports = ports
        self._store = ports.store
        self._budget = drift.budget_for(
            settings["false_alarms_per_year"], settings["schedule_minutes"]
        )
        self._length = round(settings["schedule_minutes"] * 60_000)
        self._grace = round(settings["buffer_seconds"] * 1000)
        self._models = Models(bucket_name, ports.store.read)
        self._problems: list[str] = []
        self._counted: Names | None = None

    # ------------------------------------------------------------------------------- the run

    def count(self, entries: Iterable[Entry], now: int) -> Record:
        """Count a batch of objects that a run as of `now` handed over."""
        store = self._store
        counted = count_batch(entries, store, self._models, window_ms=self._length, now=now)
        return {"counted": counted}

    def run(self, now: int, *, after_count: bool = False) -> Record:
        """Do one run as of `now` (epoch ms); gives what it did.

        `after_count` tells a run that the objects handed over before it have been counted.
        """
        raw, tag = self._store.read_tagged(STATE)
        state = _read_state(raw)
        if state["outbox"]:
            # An earlier run saved its conclusions and died before it had sent them all.
            self._send(state["outbox"])
            state["outbox"] = []
        if now <= state["time"]:
            # The same event again (EventBridge delivers at least once), or an older one.
            if raw is not None:
                self._store.write_over(STATE, dump(state), tag)
            return {"judged": 0, "repeated": True}

        if not after_count and now - state["counting"] < COUNTING_MS:
            return {"judged": 0, "counting": True}
        outbox: list[Record] = []
        entries, after = self._find_captures(state, now)
        summarised = self._find_summaries(entries, after)
        if not after_count and self._hand_over(state, now, entries, summarised, outbox):
            tag = self._store.write_over(STATE, dump(state), tag)
            self._send(outbox)
            state["outbox"] = []
            self._store.write_over(STATE, dump(state), tag)
            return {"judged": 0, "counting": True}
        state["counting"] = 0
        fresh, unreadable, finished = self._take_captures(state, now, entries, summarised, after)
        windows = self._judge(state, now, outbox) if finished else []
        labels = self._take_labels(state, now, fresh)
        dropped = self._judge_quality(state, now, labels, outbox)
        self._ask_for_training(state, now, outbox)
        heartbeat: dict[str, float] = {
            "MonitorRuns": 1,
            "CapturesUnreadable": unreadable,
            "LabelledRows": labels["joined"],
        }
        if dropped is not None:
            heartbeat["QualityDrop"] = int(dropped)
        outbox.append({"kind": "metrics", "record": self._metrics(now, heartbeat)})
        state["time"] = now
        state["problems"] = self._problems[:20]
        state["labels"]["last"] = {k: v for k, v in labels.items() if k != "runs"}
        state["outbox"] = outbox
        self._store.write(
            "monitor/reports/index.html",
            render_index(self._deployment, state, iso(now)),
            "text/html; charset=utf-8",
        )
        tag = self._store.write_over(STATE, dump(state), tag)
        self._send(outbox)
        state["outbox"] = []
        self._store.write_over(STATE, dump(state), tag)
        return {
            "judged": len(windows),
            "alarms": sum(1 for window in windows if window["verdict"]["alarm"]),
            "objects": len(fresh),
            "unreadable": unreadable,
            "labels": {k: v for k, v in labels.items() if k != "runs"},
            "problems": self._problems[:20],
        }

    def _metrics(self, now: int, values: dict[str, float]) -> Record:
        """Write metrics in CloudWatch's embedded metric format."""
        usable = {name: value for name, value in values.items() if math.isfinite(value)}
        return {
            "_aws": {
                "Timestamp": now,
                "CloudWatchMetrics": [
                    {
                        "Namespace": NAMESPACE,
                        "Dimensions": [["Deployment"]],
                        "Metrics": [{"Name": name} for name in usable],
                    }
                ],
            },
            "Deployment": self._deployment,
            **usable,
        }

    def _send(self, outbox: Sequence[Record]) -> None:
        for item in outbox:
            if item["kind"] == "metrics":
                self._ports.log.write(item["record"])
            elif item["kind"] == "message":
                self._ports.people.publish(item["subject"], item["message"])
            else:
                self._ports.events.put(item["type"], item["detail"])

    def _note(self, text: str) -> None:
        if text not in self._problems:
            self._problems.append(text)
            self._ports.log.write({"level": "warning", "message": text})

    # -------------------------------------------------------------------------------- models

    def _model(self, run: str) -> Model | None:
        """Read a run's bundle; None (and a note) where there is none that can be used."""
        try:
            return self._models.get(run)
        except DriftlessError as error:
            self._note(f"rows of run {run!r} are not judged: {error}")
            return None

    # ------------------------------------------------------------------------------ captures

    def _find_captures(self, state: Record, now: int) -> tuple[list[Entry], str]:
        """List the captured objects that no run has taken, and the key that all come after."""
        since = min(state["time"] or now, now)
        start = datetime.fromtimestamp(since / 1000, UTC) - LOOKBACK
        after = f"captures/{start:%Y/%m/%d/%H/}" if state["time"] else ""
        seen = set(state["seen"])
        return [e for e in self._store.list("captures/", after) if e.key not in seen], after

    def _find_summaries(self, entries: Sequence[Entry], after: str) -> set[str]:
        """List the summaries that workers, or a run that died, have written."""
        if not entries:
            return set()
        after = after and SUMMARIES + after
        return {entry.key for entry in self._store.list(f"{SUMMARIES}captures/", after)}

    def _hand_over(
        self,
        state: Record,
        now: int,
        entries: Sequence[Entry],
        summarised: set[str],
        outbox: list[Record],
    ) -> bool:
        """Ask for a distributed count where there is more to count than one run should."""
        waiting = [entry for entry in entries if entry.summary not in summarised]
        limit = self._settings["parallel_above_mb"] * 1e6
        if not limit or sum(entry.size for entry in waiting) <= limit:
            return False
        batches = make_batches(waiting, limit / BATCH_SHARE)
        key = f"monitor/counting/{now}.json"
        self._store.write(key, dump(batches))
        state["counting"] = now
        outbox.append(
            {
                "kind": "event",
                "type": "Captures Waiting",
                "detail": {
                    "deployment": self._deployment,
                    "bucket": self._bucket,
                    "key": key,
                    "time": iso(now),
                },
            }
        )
        state["outbox"] = outbox
        return True

    def _take_captures(
        self,
        state: Record,
        now: int,
        entries: Sequence[Entry],
        summarised: set[str],
        after: str,
    ) -> tuple[list[str], int, bool]:
        """Count each new object; gives new keys, unreadable pieces, and if all are read."""
        stored = [entry for entry in entries if entry.summary in summarised]
        found = self._read_ahead(
            key for entry in stored for key in (names_key(entry.key), entry.summary)
        )
        fresh: list[str] = []
        unreadable = 0
        finished = True
        for entry in entries:
            if self._ports.watch.is_up():
                finished = False
                self._note(
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
                self._note(problem)
            fresh.append(entry.key)
            unreadable += summary["unreadable"]
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
        state["seen"] = sorted({k for k in state["seen"] if k > after} | set(fresh))
        return fresh, unreadable, finished

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
        return entry.summary, _object(stored)

    def _count(
        self, entry: Entry, key: str, state: Record, now: int, *, repeated: bool = False
    ) -> Record:
        summary, names = count_object(
            entry,
            self._store,
            self._models,
            window_ms=self._length,
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
            found = self._read_ahead(names_key(key) for key in latest)
            self._counted = Names(read_names(raw)[:, 0] for raw in found)
        return self._counted

    def _read_ahead(self, keys: Iterable[str]) -> Iterator[bytes | None]:
        """Yield objects in order; a few are read at once, since most of the time is waiting."""
        following = iter(keys)
        with ThreadPoolExecutor(READ_AHEAD) as pool:
            while some := list(islice(following, READ_AHEAD)):
                yield from pool.map(self._store.read, some)

    # -------------------------------------------------------------------------------- windows

    def _judge(self, state: Record, now: int, outbox: list[Record]) -> list[Record]:
        """Judge each run's complete windows, oldest first."""
        judged: list[Record] = []
        for run in sorted(
            state["pending"],
            key=lambda run: min((item["window"] for item in state["pending"][run]), default=0),
        ):
            items = sorted(
                state["pending"][run], key=lambda item: (item["window"], item["summary"])
            )
            group: list[Record] = []
            kept: list[Record] = []
            for i, item in enumerate(items):
                if (item["window"] + 1) * self._length + self._grace > now:
                    kept = items[i:]
                    break
                group.append(item)
                last = i + 1 == len(items) or items[i + 1]["window"] != item["window"]
                if last and sum(one["rows"] for one in group) >= self._settings["min_window_rows"]:
                    window = self._judge_window(state, run, group, now, outbox)
                    if window is not None:
                        judged.append(window)
                    group = []
            held = group + kept
            oldest = now // self._length - HELD_WINDOWS
            if held and all(item["window"] < oldest for item in held):
                self._note(
                    f"{sum(item['rows'] for item in held)} rows of run {run!r} never filled a "
                    "window and are dropped"
                )
                held = []
            if held:
                state["pending"][run] = held
            else:
                del state["pending"][run]
        return judged

    def _judge_window(
        self, state: Record, run: str, items: list[Record], now: int, outbox: list[Record]
    ) -> Record | None:
        model = self._model(run)
        state["judged"][run] = items[-1]["window"]
        if model is None:
            return None
        total = drift.Summary.empty(model.baseline)
        first, last, served = math.inf, -math.inf, 0.0
        confidence, confident = 0.0, 0
        objects = []
        found = self._read_ahead(item["summary"] for item in items)
        for item, stored in zip(items, found, strict=True):
            if stored is None:
                self._note(f"{item['summary']} is gone: its {item['rows']} rows are not judged")
                continue
            document = _object(stored)
            part = document["parts"][item["part"]]
            total = total + drift.Summary.from_json(json.dumps(part["counts"]))
            first, last = min(first, part["first"]), max(last, part["last"])
            served += part["served"]
            confidence += part["confidence"]
            confident += part["confident"]
            objects.append(document["key"])
        if total.rows == 0:
            return None
        creep = state["creep"].get(run)
        verdict, after = drift.judge(
            model.baseline,
            total,
            self._budget,
            None if creep is None else drift.Creep.from_json(json.dumps(creep)),
        )
        state["creep"] = {
            **dict(list(state["creep"].items())[-3:]),
            run: json.loads(after.to_json()),
        }
        standing = state["standing"].get(run)
        since = standing["since"] if standing else iso(first)
        name = f"{iso(last).replace(':', '').replace('-', '')}-{run}"
        known = [window for window in state["history"] if window["run"] == run]
        window: Record = {
            "name": name,
            "deployment": self._deployment,
            "stage": self._stage,
            "run": run,
            "model_uri": model.uri,
            "start": iso(first),
            "end": iso(last),
            "judged": iso(now),
            "rows": total.rows,
            "served": round(served, 1),
            "since": since if verdict.alarm else None,
            "estimated_quality": round(confidence / confident, 6) if confident else None,
            "expected_quality": _expected(model),
            "verdict": verdict.to_dict(),
            "objects": sorted(set(objects)),
        }
        page = f"monitor/reports/{name}.html"
        links = {
            "report": f"s3://{self._bucket}/{page}",
            "console": f"https://console.aws.amazon.com/s3/object/{self._bucket}?prefix={page}",
            "runbook": f"{self._runbook}/drift.md",
        }
        self._store.write(f"monitor/reports/{name}.json", dump(window))
        self._store.write(
            page,
            render_window(window, verdict, model.baseline, total, model.importance, known),
            "text/html; charset=utf-8",
        )
        quality = len(verdict.data_quality)
        values: dict[str, float] = {
            "DriftDetected": int(verdict.alarm),
            "DriftEvidence": verdict.evidence,
            "RowsJudged": total.rows,
            "DataQualityFindings": quality,
            "PredictionShift": int(verdict.prediction_shift),
        }
        if confident:
            values["EstimatedQuality"] = confidence / confident
        outbox.append({"kind": "metrics", "record": self._metrics(now, values)})
        if verdict.alarm:
            told = standing.get("told", []) if standing else []
            # CloudWatch is silent while its alarm stands: what joins the drift later, say a pipe
            # that breaks during a known change of population, is told here, once a column.
            fresh = sorted(
                {
                    finding.column
                    for finding in verdict.findings
                    if finding.column not in told and (not standing or _is_clear(finding))
                }
            )
            if fresh:
                helped = None if standing else self._note_retrain(state, run)
                subject, message = describe_window(
                    window, verdict, links, helped=helped, also=fresh if standing else ()
                )
                outbox.append({"kind": "message", "subject": subject, "message": message})
            state["standing"][run] = {
                "since": since,
                "last": iso(last),
                "told": [*told, *fresh],
            }
        else:
            state["standing"].pop(run, None)
        newest = state["newest"]
        if newest is None or last >= newest["time"]:
            state["newest"] = {"run": run, "time": last}
        strongest = verdict.findings or verdict.ranking[:1]
        state["history"] = [
            *state["history"],
            {
                "name": name,
                "run": run,
                "start": window["start"],
                "end": window["end"],
                "rows": total.rows,
                "alarm": verdict.alarm,
                "evidence": window["verdict"]["evidence"],
                "data_quality": quality,
                "prediction_shift": verdict.prediction_shift,
                "estimated_quality": window["estimated_quality"],
                "top": strongest[0].describe() if strongest else "",
            },
        ][-HISTORY:]
        return window

    def _note_retrain(self, state: Record, run: str) -> bool | None:
        """Say whether a retrain that an alarm asked for has helped; None where there was none."""
        asked = state["asked"]
        if not asked or asked["run"] == run:
            return None
        state["unhelped"] = run
        return False

    # --------------------------------------------------------------------------------- labels

    def _take_labels(self, state: Record, now: int, fresh: Sequence[str]) -> Record:
        """Join new labels with captured rows by prediction id; write what was joined."""
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
        pending = PendingLabels.from_json(self._store.read("monitor/labels/pending.json"))
        joined = _Joined(self._store.read("monitor/labels/joined.bin"))
        seen = set(book["seen"])
        since = min(state["time"] or now, now)
        entries = [entry for entry in self._label_objects(since, now) if entry.key not in seen]
        new: dict[str, Label] = {}
        for entry in entries:
            for label in read_labels(self._store.stream(entry.key), now):
                if label is None:
                    result["invalid"] += 1
                    continue
                known = joined.value(hash_text(label.id))
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
        if new or (pending.labels and (fresh or book["left"])):
            # New labels look through all captures of late, waiting ones through the new captures,
            # and those that a run has left for want of time.
            recent = self._recent_captures(now)
            rows, left = self._find_rows(set(new), recent)
            also = {*fresh, *(key for key in recent if key <= book["left"])}
            more, still_left = self._find_rows(set(pending.labels), sorted(also))
            rows.update(more)
            book["left"] = max(left, still_left)
            self._write_joined(rows, {**pending.labels, **new}, joined, result)
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
        self._store.write("monitor/labels/pending.json", pending.to_json())
        if joined.new:
            self._store.write(
                "monitor/labels/joined.bin", joined.to_bytes(), "application/octet-stream"
            )
        current = {entry.key for entry in entries}
        book["seen"] = sorted(
            current | {key for key in seen if not _is_dated(key) or key >= _label_day(since)}
        )
        # By the ledger, not by this run: one that died after it wrote the ledger joined some too.
        book["new"] += max(len(joined) - book["total"], 0)
        book["total"] = len(joined)
        return result

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
        tables = self._read_ahead(names_key(key) for key in newest_first)
        for key, raw in zip(newest_first, tables, strict=True):
            if len(found) == len(names):
                break
            if self._ports.watch.is_up():
                self._note(
                    f"{len(names) - len(found)} labels are still to be looked for in captures up "
                    f"to {key}: the run ran out of time, the next one goes on"
                )
                return found, key
            if not np.isin(wanted, read_names(raw)[:, 1]).any():
                continue
            for capture in read_captures(self._store.stream(key)):
                for row in capture.rows if capture else ():
                    if capture and row.prediction in names:
                        other = found.get(row.prediction)
                        # An id that a client used twice names its latest prediction.
                        if other is None or capture.time > other[0].time:
                            found[row.prediction] = (capture, row)
        return found, ""

    def _write_joined(
        self,
        rows: dict[str, tuple[Capture, Row]],
        labels: dict[str, Label],
        joined: _Joined,
        result: Record,
    ) -> None:
        # The key names the ledger that the rows are to be added to. A run that dies between rows
        # and ledger leaves an object that the next one, which finds the same ledger and at least
        # the same labels, writes over: no row is ever in two objects.
        ledger = len(joined)
        by_run: dict[str, list[tuple[str, str | float, Capture, Row]]] = {}
        for name, (capture, row) in sorted(rows.items()):
            model = self._model(capture.run)
            if model is None:
                continue
            try:
                value = model.contract.parse_label(labels[name].value)
            except DriftlessError as error:
                result["invalid"] += 1
                self._note(f"the label of prediction {name!r} is left out: {error}")
                continue
            joined.add(hash_text(name), hash_text(repr(labels[name].value)))
            by_run.setdefault(capture.run, []).append((name, value, capture, row))
        for run, found in by_run.items():
            model = self._model(run)
            assert model is not None
            result["joined"] += len(found)
            result["runs"][run] = len(found)
            if model.contract.target is not None:
                key = f"labelled/part-{ledger:09d}-{run}.csv.gz"
                self._store.write(key, write_labelled(model.contract, found), "application/gzip")
            quality_key = f"monitor/quality/{run}.json"
            kept = {item[0]: item for item in json.loads(self._store.read(quality_key) or b"[]")}
            for name, value, _, row in found:
                kept[name] = [name, value, [_json(output) for output in row.outputs]]
            self._store.write(quality_key, dump(list(kept.values())[-QUALITY_ROWS:]))

    def _judge_quality(
        self, state: Record, now: int, labels: Record, outbox: list[Record]
    ) -> bool | None:
        """Compare labelled rows with the holdout; says if the newest model dropped."""
        for run in labels["runs"]:
            model = self._model(run)
            if model is None:
                continue
            rows = json.loads(self._store.read(f"monitor/quality/{run}.json") or b"[]")
            if len(rows) < self._settings["min_labels"]:
                continue
            outputs = [[math.nan if o is None else o for o in given] for _, _, given in rows]
            measured = measure_quality(
                model.contract,
                model.evaluation,
                [value for _, value, _ in rows],
                outputs,
                max_drop=self._settings["max_quality_drop"],
                level=self._budget.per_window,
            )
            if measured is None:
                continue
            before = state["quality"].get(run)
            state["quality"][run] = {**measured.to_dict(), "time": iso(now)}
            state["quality"] = dict(list(state["quality"].items())[-5:])
            if measured.dropped and not (before and before["dropped"]):
                subject, message = describe_quality(
                    self._deployment,
                    self._stage,
                    model.uri,
                    run,
                    measured,
                    f"{self._runbook}/quality-drop.md",
                )
                outbox.append({"kind": "message", "subject": subject, "message": message})
        newest = (state["newest"] or {}).get("run")
        latest = state["quality"].get(newest)
        return None if latest is None else bool(latest["dropped"])

    def _ask_for_training(self, state: Record, now: int, outbox: list[Record]) -> None:
        """Say that labels suffice, while an alarm of the newest model stands."""
        newest = (state["newest"] or {}).get("run")
        if newest is None:
            return
        quality = state["quality"].get(newest) or {}
        if newest not in state["standing"] and not quality.get("dropped"):
            return
        needed = self._settings["min_new_labels"]
        if state["unhelped"] == newest:
            # Trained for this alarm already, and it alarms again: ask for much more before the
            # next.
            needed *= 4
        asked = state["asked"]
        available = state["labels"]["new"]
        recent = asked and asked["run"] == newest and now - asked["time"] < REMIND_MS
        if recent or available < needed:
            return
        state["asked"] = {"run": newest, "time": now}
        state["labels"]["new"] = 0
        outbox.append(
            {
                "kind": "event",
                "type": "Labels Ready",
                "detail": {"deployment": self._deployment, "new_labels": available, "run": newest},
            }
        )


class _Joined:
    """The labels that were joined: 64 bits of the prediction's id and of the label each."""

    def __init__(self, raw: bytes | None) -> None:
        self._raw = raw or b""
        table = read_names(raw)
        # In arrays: as a dictionary, ten million labels would not fit the function's memory.
        order = table[:, 0].argsort(kind="stable")
        self._names, self._labels = table[order, 0], table[order, 1]
        self.new: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._names) + len(self.new)

    def value(self, name: int) -> int | None:
        place = int(self._names.searchsorted(np.uint64(name)))
        if place < len(self._names) and int(self._names[place]) == name:
            return int(self._labels[place])
        return self.new.get(name)

    def add(self, name: int, value: int) -> None:
        self.new[name] = value

    def to_bytes(self) -> bytes:
        table = np.array(list(self.new.items()), dtype=np.uint64)
        return self._raw + table.tobytes()


def _is_clear(finding: drift.Finding) -> bool:
    """Say whether a finding is more than one that comes and goes about the line."""
    return finding.evidence >= CLEAR * finding.threshold


def _label_day(milliseconds: int) -> str:
    day = datetime.fromtimestamp(milliseconds / 1000, UTC) - LOOKBACK
    return f"labels/{day:%Y/%m/%d/}"


def _is_dated(key: str) -> bool:
    parts = key.split("/")
    return len(parts) == 5 and all(part.isdigit() for part in parts[1:4])


def _expected(model: Model) -> float | None:
    shown = (model.evaluation.get("metrics") or {}).get("accuracy")
    return float(shown["value"]) if isinstance(shown, dict) and "value" in shown else None


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _object(stored: bytes) -> Record:
    try:
        document = json.loads(stored)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise StorageError("an object under monitor/summaries/ is no summary: delete it")
    return document


def _read_state(raw: bytes | None) -> Record:
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
        "labels": {"seen": [], "left": "", "total": 0, "new": 0, "last": {}},
        "problems": [],
        "outbox": [],
    }
    if raw is None:
        return empty
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
