"""Judges model versions by the labels that came back: the quality alarm, and its cause.

What is known of each version lies in the state: `quality` by run, and in `terms` the tag of the
labelled rows that it was measured from. A run that died after it wrote rows has left a tag that the
state does not know, and the next run measures them.
"""

from __future__ import annotations

from collections.abc import Collection

from lambdas.monitor.claims import NEVER, UNCLEAR, Term, judge_term
from lambdas.monitor.deployment import Deployment
from lambdas.monitor.messages import describe_quality
from lambdas.monitor.metrics import Answers
from lambdas.monitor.models import Model, Models
from lambdas.monitor.outbox import Notes, Outbox
from lambdas.monitor.quality import Claim, Quality, compare, read_claim
from lambdas.monitor.state import iso
from lambdas.monitor.storage import Record, Source, dump
from lambdas.monitor.term import LATEST, LabelledTerm

ROWS = "monitor/quality/"
CLAIM = "monitor/claim.json"
"""Where Plan reads whether labels have refuted the claim of the newest version that they judge."""
VERSIONS = 5
"""Of how many versions the state keeps the quality."""


class Judge:
    """Judges versions by their labels, for one run."""

    def __init__(
        self,
        deployment: Deployment,
        settings: Record,
        store: Source,
        models: Models,
        notes: Notes,
        *,
        level: float,
    ) -> None:
        """Alarm on a drop that chance shows with a probability of `level` at most."""
        self._deployment = deployment
        self._min_rows: int = settings["min_labels"]
        self._max_drop: float = settings["max_quality_drop"]
        self._level = level
        self._store = store
        self._models = models
        self._notes = notes

    def judge(self, state: Record, now: int, joined: Collection[str], outbox: Outbox) -> None:
        """Measure each version whose labelled rows have changed, and tell of those that alarm.

        `joined` are the runs of the model that this run of the monitor has joined labels of.
        """
        tags = {
            entry.key.removeprefix(ROWS).removesuffix(".json"): entry.tag
            for entry in self._store.list(ROWS)
        }
        known = state["terms"]
        if known is None:
            # After a release that kept no tags: what it has measured itself, and what is new.
            again = {*joined, *state["quality"], (state["newest"] or {}).get("run")}
            known = {run: tag for run, tag in tags.items() if run not in again}
        changed = [run for run, tag in tags.items() if known.get(run) != tag]
        for run in changed:
            model = self._models.find(run, self._notes.add)
            if model is not None:
                self._judge_version(state, model, now, outbox)
        state["terms"] = tags
        if changed and state["quality"]:
            # Runs are named after their time: the newest is the last by name.
            newest = max(state["quality"])
            self._store.write(CLAIM, dump(_describe_claim(newest, state["quality"][newest])))

    def _judge_version(self, state: Record, model: Model, now: int, outbox: Outbox) -> None:
        claim = read_claim(model.contract, model.evaluation)
        term = LabelledTerm.from_json(self._store.read(f"{ROWS}{model.run}.json"))
        if claim is None or len(term) < self._min_rows:
            return
        rows = term.in_order()
        answers = Answers.read(
            model.contract,
            model.threshold,
            [row.label for row in rows],
            [row.outputs for row in rows],
            [row.time for row in rows],
        )
        if not len(answers):
            return
        latest = answers.take(slice(-LATEST, None))
        measured = compare(claim, latest, max_drop=self._max_drop, level=self._level)
        judged = judge_term(
            claim,
            answers,
            from_start=term.from_start,
            min_rows=self._min_rows,
            max_drop=self._max_drop,
            dropped=measured.dropped,
        )
        self._keep(state, model, claim, measured, judged, now, outbox)

    def _keep(
        self,
        state: Record,
        model: Model,
        claim: Claim,
        measured: Quality,
        judged: Term,
        now: int,
        outbox: Outbox,
    ) -> None:
        """Keep what was measured, and tell people what an alarm has not told them yet."""
        before = state["quality"].get(model.run) or {}
        # A state of a release before knows no causes: people know of its alarm, not why.
        told = before.get("told", [UNCLEAR]) if before.get("dropped") else []
        tell = measured.dropped and judged.cause not in told
        tell = tell and not (told and judged.cause == UNCLEAR)
        state["quality"][model.run] = {
            **measured.to_dict(),
            "first": judged.first.to_dict(),
            "recent": judged.recent and judged.recent.to_dict(),
            "cause": judged.cause,
            "sentence": judged.sentence,
            "told": [*told, judged.cause] if tell else told,
            "time": iso(now),
        }
        state["quality"] = dict(list(state["quality"].items())[-VERSIONS:])
        if tell:
            outbox.add_message(
                *describe_quality(self._deployment, model, measured, judged, standing=bool(told))
            )


def _describe_claim(run: str, quality: Record) -> Record:
    """Give what later runs of training are told of the newest claim that labels have judged."""
    shown = quality.get("first") or quality
    return {
        "format": 1,
        "run": run,
        "refuted": quality.get("cause") == NEVER,
        "metric": quality["metric"],
        "claimed": {
            "value": quality["expected"],
            "low": quality.get("expected_low"),
            "high": quality.get("expected_high"),
        },
        "shown": {name: shown.get(name) for name in ("value", "low", "high", "rows")},
        "time": quality["time"],
    }
