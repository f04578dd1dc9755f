"""Judges windows that are complete, writes their reports, and keeps what stands between them.

A window's report and page are written as soon as it is judged; its metrics and messages go to the
outbox, and its conclusions to the state, in this order: `creep`, `standing`, `newest`, `history`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

from core import drift
from lambdas.monitor.deployment import Deployment
from lambdas.monitor.messages import describe_window
from lambdas.monitor.models import Model, Models
from lambdas.monitor.outbox import Notes, Outbox
from lambdas.monitor.report import render_window
from lambdas.monitor.state import iso
from lambdas.monitor.storage import Record, Source, dump, parse_summary, read_ahead

HISTORY = 500
HELD_WINDOWS = 14 * 24
CLEAR = 1.25
"""How much evidence a column needs, in that of an alarm, to be told while the alarm stands."""


@dataclass
class _Window:
    """The rows of one window, added up from the parts that counted them."""

    total: drift.Summary
    first: float = math.inf
    last: float = -math.inf
    served: float = 0.0
    confidence: float = 0.0
    confident: int = 0
    objects: list[str] = field(default_factory=list)

    def add(self, document: Record, part: Record) -> None:
        self.total = self.total + drift.Summary.from_json(json.dumps(part["counts"]))
        self.first, self.last = min(self.first, part["first"]), max(self.last, part["last"])
        self.served += part["served"]
        self.confidence += part["confidence"]
        self.confident += part["confident"]
        self.objects.append(document["key"])


class Windows:
    """Judges the windows of every run of the model."""

    def __init__(
        self,
        deployment: Deployment,
        settings: Record,
        budget: drift.Budget,
        store: Source,
        models: Models,
        notes: Notes,
    ) -> None:
        """Follow the settings of the deployment's monitor."""
        self._deployment = deployment
        self._budget = budget
        self._store = store
        self._models = models
        self._notes = notes
        self._min_rows = settings["min_window_rows"]
        self._grace = round(settings["buffer_seconds"] * 1000)
        self.length_ms = round(settings["schedule_minutes"] * 60_000)

    def judge(self, state: Record, now: int, outbox: Outbox) -> list[Record]:
        """Judge each run's complete windows, oldest first."""
        judged: list[Record] = []
        for run in sorted(
            state["pending"],
            key=lambda run: min((item["window"] for item in state["pending"][run]), default=0),
        ):
            items = sorted(
                state["pending"][run], key=lambda item: (item["window"], item["summary"])
            )
            groups, held = self._group(items, now)
            for group in groups:
                window = self._judge_window(state, run, group, now, outbox)
                if window is not None:
                    judged.append(window)
            oldest = now // self.length_ms - HELD_WINDOWS
            if held and all(item["window"] < oldest for item in held):
                self._notes.add(
                    f"{sum(item['rows'] for item in held)} rows of run {run!r} never filled a "
                    "window and are dropped"
                )
                held = []
            if held:
                state["pending"][run] = held
            else:
                del state["pending"][run]
        return judged

    def _group(self, items: list[Record], now: int) -> tuple[list[list[Record]], list[Record]]:
        """Group parts into windows that are complete and have rows enough; give the rest, too.

        A window of too few rows is judged together with the next.
        """
        groups: list[list[Record]] = []
        group: list[Record] = []
        for i, item in enumerate(items):
            if (item["window"] + 1) * self.length_ms + self._grace > now:
                return groups, group + items[i:]
            group.append(item)
            last = i + 1 == len(items) or items[i + 1]["window"] != item["window"]
            if last and sum(one["rows"] for one in group) >= self._min_rows:
                groups.append(group)
                group = []
        return groups, group

    def _judge_window(
        self, state: Record, run: str, items: list[Record], now: int, outbox: Outbox
    ) -> Record | None:
        model = self._models.find(run, self._notes.add)
        state["judged"][run] = items[-1]["window"]
        if model is None:
            return None
        counted = self._add_up(model, items)
        if counted.total.rows == 0:
            return None
        verdict = self._judge_counts(state, model, counted.total)
        standing = state["standing"].get(run)
        since = standing["since"] if standing else iso(counted.first)
        window = self._describe(model, counted, verdict, since if verdict.alarm else None, now)
        self._write_report(state, model, window, verdict, counted.total)
        outbox.add_metrics(_measure(counted, verdict))
        if verdict.alarm:
            self._raise_alarm(state, window, verdict, since, outbox)
        else:
            state["standing"].pop(run, None)
        newest = state["newest"]
        if newest is None or counted.last >= newest["time"]:
            state["newest"] = {"run": run, "time": counted.last}
        state["history"] = [*state["history"], _shorten(window, verdict)][-HISTORY:]
        return window

    def _add_up(self, model: Model, items: list[Record]) -> _Window:
        counted = _Window(drift.Summary.empty(model.baseline))
        found = read_ahead(self._store.read, (item["summary"] for item in items))
        for item, stored in zip(items, found, strict=True):
            if stored is None:
                self._notes.add(
                    f"{item['summary']} is gone: its {item['rows']} rows are not judged"
                )
                continue
            document = parse_summary(stored)
            counted.add(document, document["parts"][item["part"]])
        return counted

    def _judge_counts(self, state: Record, model: Model, total: drift.Summary) -> drift.Verdict:
        """Judge counts, and keep the creep rule's state for the run's next window."""
        creep = state["creep"].get(model.run)
        verdict, after = drift.judge(
            model.baseline,
            total,
            self._budget,
            None if creep is None else drift.Creep.from_json(json.dumps(creep)),
        )
        state["creep"] = {
            **dict(list(state["creep"].items())[-3:]),
            model.run: json.loads(after.to_json()),
        }
        return verdict

    def _describe(
        self,
        model: Model,
        counted: _Window,
        verdict: drift.Verdict,
        since: str | None,
        now: int,
    ) -> Record:
        """Give the window as its report holds it."""
        confident = counted.confident
        return {
            "name": f"{iso(counted.last).replace(':', '').replace('-', '')}-{model.run}",
            "deployment": self._deployment.name,
            "stage": self._deployment.stage,
            "run": model.run,
            "model_uri": model.uri,
            "start": iso(counted.first),
            "end": iso(counted.last),
            "judged": iso(now),
            "rows": counted.total.rows,
            "served": round(counted.served, 1),
            "since": since,
            "estimated_quality": round(counted.confidence / confident, 6) if confident else None,
            "expected_quality": _expected(model),
            "verdict": verdict.to_dict(),
            "objects": sorted(set(counted.objects)),
        }

    def _write_report(
        self,
        state: Record,
        model: Model,
        window: Record,
        verdict: drift.Verdict,
        total: drift.Summary,
    ) -> None:
        before = [earlier for earlier in state["history"] if earlier["run"] == model.run]
        self._store.write(f"monitor/reports/{window['name']}.json", dump(window))
        self._store.write(
            _page(window),
            render_window(window, verdict, model.baseline, total, model.importance, before),
            "text/html; charset=utf-8",
        )

    def _raise_alarm(
        self, state: Record, window: Record, verdict: drift.Verdict, since: str, outbox: Outbox
    ) -> None:
        """Tell people of what an alarm has not told them yet, and let it stand."""
        run = window["run"]
        standing = state["standing"].get(run)
        told = standing.get("told", []) if standing else []
        # CloudWatch is silent while its alarm stands: what joins the drift later, say a pipe that
        # breaks during a known change of population, is told here, once a column.
        fresh = sorted(
            {
                finding.column
                for finding in verdict.findings
                if finding.column not in told and (not standing or _is_clear(finding))
            }
        )
        if fresh:
            helped = None if standing else _note_retrain(state, run)
            subject, message = describe_window(
                window,
                verdict,
                self._links(window),
                helped=helped,
                also=fresh if standing else (),
            )
            outbox.add_message(subject, message)
        state["standing"][run] = {"since": since, "last": window["end"], "told": [*told, *fresh]}

    def _links(self, window: Record) -> dict[str, str]:
        bucket, page = self._deployment.bucket, _page(window)
        return {
            "report": f"s3://{bucket}/{page}",
            "console": f"https://console.aws.amazon.com/s3/object/{bucket}?prefix={page}",
            "runbook": f"{self._deployment.runbook}/drift.md",
        }


def _page(window: Record) -> str:
    return f"monitor/reports/{window['name']}.html"


def _measure(counted: _Window, verdict: drift.Verdict) -> dict[str, float]:
    """Give a window's metrics."""
    values: dict[str, float] = {
        "DriftDetected": int(verdict.alarm),
        "DriftEvidence": verdict.evidence,
        "RowsJudged": counted.total.rows,
        "DataQualityFindings": len(verdict.data_quality),
        "PredictionShift": int(verdict.prediction_shift),
    }
    if counted.confident:
        values["EstimatedQuality"] = counted.confidence / counted.confident
    return values


def _shorten(window: Record, verdict: drift.Verdict) -> Record:
    """Give what the history keeps of a window."""
    strongest = verdict.findings or verdict.ranking[:1]
    return {
        "name": window["name"],
        "run": window["run"],
        "start": window["start"],
        "end": window["end"],
        "rows": window["rows"],
        "alarm": verdict.alarm,
        "evidence": window["verdict"]["evidence"],
        "data_quality": len(verdict.data_quality),
        "prediction_shift": verdict.prediction_shift,
        "estimated_quality": window["estimated_quality"],
        "top": strongest[0].describe() if strongest else "",
    }


def _note_retrain(state: Record, run: str) -> bool | None:
    """Say whether a retrain that an alarm asked for has helped; None where there was none."""
    asked = state["asked"]
    if not asked or asked["run"] == run:
        return None
    state["unhelped"] = run
    return False


def _is_clear(finding: drift.Finding) -> bool:
    """Say whether a finding is clearly beyond its threshold, not just around it."""
    return finding.evidence >= CLEAR * finding.threshold


def _expected(model: Model) -> float | None:
    shown = (model.evaluation.get("metrics") or {}).get("accuracy")
    return float(shown["value"]) if isinstance(shown, dict) and "value" in shown else None
