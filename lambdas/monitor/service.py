"""One run of the monitor: what is new is counted, what is complete is judged, changes are reported.

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

The order of a run's writes:

1. what an earlier run left in its outbox is sent;
2. `intake`: of each captured object the names of its rows, then its summary;
3. `windows`: of each window its report, then its page;
4. `joining`: joined rows and what quality is measured from, the labels that wait, the ledger;
5. `judging`: what labels say of the newest claim, for runs of training;
6. the index of the reports;
7. the state, with this run's outbox; what is in it is sent; the state without it.

A run that hands its captures over to a distributed map writes the batches, then does step 7 alone.
A run that dies before step 7 has concluded nothing: the next one uses the summaries that are there
and writes everything else again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from core import drift
from lambdas.monitor.counting import count_batch
from lambdas.monitor.deployment import Deployment
from lambdas.monitor.intake import Intake, Watch
from lambdas.monitor.joining import Joiner
from lambdas.monitor.judging import Judge
from lambdas.monitor.models import Models
from lambdas.monitor.outbox import Events, Lines, Notes, Outbox, People, send
from lambdas.monitor.report import render_index
from lambdas.monitor.state import STATE, iso, read_state
from lambdas.monitor.storage import Entry, Record, Store, dump
from lambdas.monitor.windows import Windows

COUNTING_MS = 2 * 3600 * 1000
"""How long a distributed count may take (infra/counting.py) before another run goes on without."""
REMIND_MS = 24 * 3600 * 1000


class Ports(NamedTuple):
    """What the monitor reaches the world through."""

    store: Store
    people: People
    events: Events
    log: Lines
    watch: Watch


class Monitor:
    """The monitor of one deployment; `run` does a whole run, `count` a worker's part."""

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
        self._deployment = Deployment(deployment, stage, bucket_name, runbook_url.rstrip("/"))
        self._settings = settings
        self._ports = ports
        self._store = store = ports.store
        self._budget = drift.budget_for(
            settings["false_alarms_per_year"], settings["schedule_minutes"]
        )
        self._models = models = Models(bucket_name, store.read)
        self._notes = notes = Notes(ports.log)
        self._windows = Windows(self._deployment, settings, self._budget, store, models, notes)
        self._intake = Intake(store, models, ports.watch, notes, window_ms=self._windows.length_ms)
        self._joiner = Joiner(store, models, ports.watch, notes)
        self._judge = Judge(
            self._deployment, settings, store, models, notes, level=self._budget.per_window
        )

    def count(self, entries: Iterable[Entry], now: int) -> Record:
        """Count a batch of objects that a run as of `now` handed over."""
        counted = count_batch(
            entries, self._store, self._models, window_ms=self._windows.length_ms, now=now
        )
        return {"counted": counted}

    def run(self, now: int, *, after_count: bool = False) -> Record:
        """Do one run as of `now` (epoch ms); gives what it did.

        `after_count` tells a run that the objects handed over before it have been counted.
        """
        raw, tag = self._store.read_tagged(STATE)
        state = read_state(raw)
        if state["outbox"]:
            # An earlier run saved its conclusions and died before it had sent them all.
            self._send(state)
        if now <= state["time"]:
            # The same event again (EventBridge delivers at least once), or an older one.
            if raw is not None:
                self._store.write_over(STATE, dump(state), tag)
            return {"judged": 0, "repeated": True}

        if not after_count and now - state["counting"] < COUNTING_MS:
            return {"judged": 0, "counting": True}
        outbox = Outbox(self._deployment.name, now)
        waiting = self._intake.find(state, now)
        if not after_count and self._intake.hand_over(
            state,
            now,
            waiting,
            outbox,
            bucket=self._deployment.bucket,
            limit_mb=self._settings["parallel_above_mb"],
        ):
            self._save(state, tag, outbox)
            return {"judged": 0, "counting": True}
        state["counting"] = 0
        taken = self._intake.take(state, now, waiting)
        windows = self._windows.judge(state, now, outbox) if taken.finished else []
        labels = self._joiner.join(state, now, taken.fresh)
        self._judge.judge(state, now, labels["runs"], outbox)
        self._ask_for_training(state, now, outbox)
        heartbeat: dict[str, float] = {
            "MonitorRuns": 1,
            "CapturesUnreadable": taken.unreadable,
            "LabelledRows": labels["joined"],
        }
        self._measure_quality(state, outbox, heartbeat)
        told = {k: v for k, v in labels.items() if k != "runs"}
        state["time"] = now
        state["problems"] = self._notes.problems[:20]
        state["labels"]["last"] = told
        self._store.write(
            "monitor/reports/index.html",
            render_index(self._deployment.name, state, iso(now)),
            "text/html; charset=utf-8",
        )
        self._save(state, tag, outbox)
        return {
            "judged": len(windows),
            "alarms": sum(1 for window in windows if window["verdict"]["alarm"]),
            "objects": len(taken.fresh),
            "unreadable": taken.unreadable,
            "labels": told,
            "problems": self._notes.problems[:20],
        }

    def _save(self, state: Record, tag: str, outbox: Outbox) -> None:
        """Write the state with what is to be sent, send it, and write the state without it."""
        state["outbox"] = outbox.items
        tag = self._store.write_over(STATE, dump(state), tag)
        self._send(state)
        self._store.write_over(STATE, dump(state), tag)

    def _send(self, state: Record) -> None:
        """Send what the state's outbox holds, and empty it."""
        send(state["outbox"], self._ports.people, self._ports.events, self._ports.log)
        state["outbox"] = []

    def _measure_quality(self, state: Record, outbox: Outbox, heartbeat: dict[str, float]) -> None:
        """Add whether the newest model has dropped, where labels judge it, to the metrics."""
        newest = (state["newest"] or {}).get("run")
        latest = state["quality"].get(newest)
        if latest is None:
            outbox.add_metrics(heartbeat)
            return
        # The cause is a property of the line, not a metric: Logs Insights finds it, at no cost.
        outbox.add_metrics(
            {**heartbeat, "QualityDrop": int(latest["dropped"])},
            {"QualityCause": latest["cause"]} if latest.get("cause") else {},
        )

    def _ask_for_training(self, state: Record, now: int, outbox: Outbox) -> None:
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
        outbox.add_event("Labels Ready", {"new_labels": available, "run": newest})
