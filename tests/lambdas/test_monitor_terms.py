"""Claims meet service, in the monitor: what is kept of a term, what people and Plan are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core.errors import StorageError
from lambdas.monitor.term import BETWEEN, FIRST, LATEST, LabelledRow, LabelledTerm
from tests.lambdas.monitor_world import HOUR, START, MemoryStore, World, make_bundle

QUALITY = "monitor/quality/alpha.json"
CLAIM = "monitor/claim.json"
STATE = "monitor/state.json"


@pytest.fixture
def world() -> World:
    return World()


def label(captures: list[dict[str, Any]], right: float, seed: int = 0) -> list[dict[str, Any]]:
    """Label rows as the model answered, of a share `right`, and against it otherwise."""
    generator = np.random.default_rng(seed)
    found = []
    for one in captures:
        for name, _, outputs in one["rows"]:
            yes = (outputs[1] >= 0.5) == (generator.random() < right)
            found.append({"id": name, "value": "yes" if yes else "no"})
    return found


def live(world: World, hours: range, right: float, run: str = "alpha") -> None:
    """Serve, label and watch for some hours."""
    for hour in hours:
        world.label(label(world.serve(hour, run=run), right, hour), f"{run}-{hour}", hours=hour)
        world.run(hour + 1.1)


def told(world: World) -> list[str]:
    return [subject for subject, _ in world.out.messages if "quality" in subject]


def claim_of(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(world.store.objects[CLAIM])
    return found


# ------------------------------------------------------------------------- what people are told


def test_a_claim_that_never_was_true_is_told_so_once(world: World) -> None:
    """In the message, the state, the report, the log line; and that a retrain claims it again."""
    live(world, range(3), right=0.55)
    [(subject, text)] = [(s, t) for s, t in world.out.messages if "quality" in s]
    assert subject.endswith("never was what was claimed")
    flat = " ".join(text.split())
    assert "the holdout promised roc_auc 0.95 (0.93 to 0.97); the first" in flat
    assert "Training again on the same data will claim the same again." in flat
    assert "waits for a person (doubt refuted:alpha)" in flat
    assert "ops train" not in text
    quality = world.state["quality"]["alpha"]
    assert (quality["cause"], quality["dropped"]) == ("never-was", True)
    assert quality["first"]["since"] == "2026-01-01T00:00:00Z"
    assert quality["sentence"] in world.store.objects["monitor/reports/index.html"].decode()
    lines = [line for line in world.out.lines if "QualityDrop" in line]
    assert {line["QualityCause"] for line in lines} == {"never-was"}
    names = lines[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    assert {"Name": "QualityCause"} not in names


def test_a_model_that_fell_is_told_so_with_the_time(world: World) -> None:
    live(world, range(4), right=0.97)
    assert told(world) == []
    assert "QualityCause" not in world.out.lines[-1]
    live(world, range(4, 8), right=0.3)
    [(subject, text)] = [(s, t) for s, t in world.out.messages if "quality" in s]
    assert subject.endswith("fell")
    assert "python -m ops train --stage dev --reason quality" in text
    quality = world.state["quality"]["alpha"]
    # 250 rows an hour: the fall is after row 1,000, predicted at 04:00.
    assert 950 <= quality["first"]["rows"] <= 1050
    assert quality["first"]["until"][:13] in ("2026-01-01T03", "2026-01-01T04")
    assert quality["recent"]["high"] < 0.5 < 0.93 < quality["first"]["value"]
    assert claim_of(world)["refuted"] is False


def test_labels_that_come_late_count_where_their_predictions_were_made(world: World) -> None:
    """Labels of the last hours come first, those of the first hours a day later: it still fell."""
    captures = [world.serve(hour) for hour in range(8)]
    for hour in (4, 5, 6, 7):
        world.label(label(captures[hour], 0.3, hour), f"l{hour}")
    world.run(8.1)
    assert world.state["quality"]["alpha"]["cause"] == "never-was"
    for hour in (0, 1, 2, 3):
        world.label(label(captures[hour], 0.97, hour), f"l{hour}", hours=24)
    world.run(32.1)
    assert world.state["quality"]["alpha"]["cause"] == "fell"
    assert [subject.partition(", ")[2] for subject in told(world)] == [
        "never was what was claimed",
        "fell",
    ]
    assert "This alarm has been on; labels now tell its cause." in world.out.messages[-1][1]
    world.label(label(world.serve(33), 0.3), "more", hours=33)
    world.run(34.1)
    assert len(told(world)) == 2


def test_a_service_better_than_the_claim_is_no_alarm() -> None:
    world = World()
    evaluation = {
        "metric": "accuracy",
        "metrics": {"accuracy": {"value": 0.7, "low": 0.66, "high": 0.74}},
    }
    make_bundle(world.store, "alpha", 0, **{"evaluation.json": json.dumps(evaluation).encode()})
    live(world, range(2), right=0.99)
    assert told(world) == []
    assert world.state["quality"]["alpha"]["low"] > 0.74
    assert world.state["quality"]["alpha"]["cause"] == ""
    assert world.out.metric("QualityDrop") == [0, 0]


# ------------------------------------------------------------------------------ what Plan is told


def test_the_newest_judged_claim_is_what_plan_reads(world: World) -> None:
    """A refuted claim counts until a later version's has held; a rollback does not clear it."""
    make_bundle(world.store, "beta", seed=5)
    live(world, range(2), right=0.97)
    assert claim_of(world)["run"] == "alpha"
    assert claim_of(world)["refuted"] is False
    live(world, range(2, 4), right=0.5, run="beta")
    found = claim_of(world)
    assert (found["run"], found["refuted"], found["metric"]) == ("beta", True, "roc_auc")
    assert found["claimed"] == {"value": 0.95, "low": 0.93, "high": 0.97}
    assert found["shown"]["high"] < 0.7
    live(world, range(4, 6), right=0.97)  # rolled back to alpha
    assert claim_of(world)["run"] == "beta"
    make_bundle(world.store, "gamma", seed=6)
    live(world, range(6, 8), right=0.97, run="gamma")
    assert claim_of(world)["run"] == "gamma"
    assert claim_of(world)["refuted"] is False


# ------------------------------------------------------------------------------ runs that die


class Dies(Exception):
    pass


def dying(world: World, when: Callable[[str], bool]) -> MemoryStore:
    """Give the world's store, which dies at the first write to a key."""

    class Dying(MemoryStore):
        def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
            if when(key):
                raise Dies
            super().write(key, body, content_type)

        def write_over(self, key: str, body: bytes, tag: str) -> str:
            if when(key):
                raise Dies
            return super().write_over(key, body, tag)

    store = Dying()
    store.objects = world.store.objects
    return store


@pytest.mark.parametrize("last", [QUALITY, "monitor/labels/joined.bin", CLAIM, STATE])
def test_a_run_that_dies_loses_no_verdict(world: World, last: str) -> None:
    """Wherever it dies, the next run says what it would have said, though no label is new then."""
    world.label(label(world.serve(0), 0.5), "bad")
    with pytest.raises(Dies):
        world.monitor(store=dying(world, lambda key: key == last)).run(START + HOUR + 360_000)
    assert told(world) == []
    world.run(1.2)
    assert len(told(world)) == 1
    assert world.out.metric("QualityDrop") == [1]
    assert claim_of(world)["refuted"] is True
    whole = World()
    whole.label(label(whole.serve(0), 0.5), "bad")
    whole.run(1.2)
    assert world.store.objects[QUALITY] == whole.store.objects[QUALITY]
    assert world.state["quality"] == whole.state["quality"]


def test_what_has_not_changed_is_not_measured_again(world: World) -> None:
    live(world, range(1), right=0.5)
    world.store.reads.clear()
    world.run(2.1)
    assert QUALITY not in world.store.reads
    assert world.out.metric("QualityDrop") == [1, 1]


# ------------------------------------------------------------------------- what is kept of a term


def make_old(world: World) -> None:
    """Turn what the world holds into what the release before kept: format 1, no causes."""
    state = world.state
    del state["terms"]
    for quality in state["quality"].values():
        for name in (
            "first",
            "recent",
            "cause",
            "sentence",
            "told",
            "expected_low",
            "expected_high",
        ):
            del quality[name]
    world.store.objects[STATE] = json.dumps(state).encode()
    rows = json.loads(world.store.objects[QUALITY])["rows"]
    world.store.objects[QUALITY] = json.dumps([row[:3] for row in rows]).encode()
    del world.store.objects[CLAIM]


def test_the_state_of_the_release_before_is_read(world: World) -> None:
    """Its alarm was told and is not told as new; its cause is, once it is known."""
    live(world, range(2), right=0.5)
    make_old(world)
    before = len(told(world))
    assert world.run(2.2)["labels"]["joined"] == 0
    assert world.state["quality"]["alpha"]["cause"] == "never-was"
    assert len(told(world)) == before + 1
    assert "labels now tell its cause" in world.out.messages[-1][1]
    live(world, range(3, 4), right=0.5)
    assert len(told(world)) == before + 1
    found = json.loads(world.store.objects[QUALITY])
    assert (found["format"], found["from_start"], len(found["rows"])) == (2, True, 750)
    times = [row[3] for row in found["rows"]]
    assert times[:500] == [None] * 500  # of rows that the release before kept
    assert times[500:] == sorted(times[500:])


def test_versions_that_the_release_before_has_judged_long_ago_stay_silent(world: World) -> None:
    """An upgrade measures the versions that the state knows, not every one that ever had labels."""
    make_bundle(world.store, "old", seed=9)
    live(world, range(1), right=0.5, run="old")
    live(world, range(1, 2), right=0.97)
    state = world.state
    del state["terms"], state["quality"]["old"]
    world.store.objects[STATE] = json.dumps(state).encode()
    before = len(told(world))
    world.run(3.1)
    assert len(told(world)) == before
    assert set(world.state["quality"]) == {"alpha"}


def test_rows_of_the_release_before_that_filled_up_have_lost_their_first() -> None:
    old = [[f"p{i}", "yes", [0.1, None]] for i in range(5000)]
    term = LabelledTerm.from_json(json.dumps(old).encode())
    assert not term.from_start
    assert LabelledTerm.from_json(json.dumps(old[:4999]).encode()).from_start
    term.add(LabelledRow("new", "no", [0.5, 0.5], 1.0))
    again = LabelledTerm.from_json(term.to_json())
    assert not again.from_start
    assert [row.prediction for row in again.in_order()] == [*(f"p{i}" for i in range(5000)), "new"]
    assert again.label("p7") == "yes"
    assert again.label("nobody") is None


@pytest.mark.parametrize("body", [b"{", b"7", b"{}", b'{"format":2}', b"[[1]]", b'[["a","b",3]]'])
def test_damaged_rows_are_named(body: bytes) -> None:
    with pytest.raises(StorageError, match="restore an earlier version of it"):
        LabelledTerm.from_json(body)


def test_rows_of_a_later_release_are_refused() -> None:
    with pytest.raises(StorageError, match="format 3, this release reads 1 and 2"):
        LabelledTerm.from_json(b'{"format":3,"rows":[]}')


def test_of_a_long_term_the_first_the_last_and_a_sample_between_are_kept() -> None:
    """The same rows, whatever the order and the batches in which their labels came."""
    rows = [LabelledRow(f"p{i}", float(i), [0.5], 1000.0 * i) for i in range(20_000)]

    def keep(order: Any, batch: int) -> list[LabelledRow]:
        term = LabelledTerm({}, from_start=True)
        for start in range(0, len(rows), batch):
            for i in order[start : start + batch]:
                term.add(rows[i])
            term.trim()
            term = LabelledTerm.from_json(term.to_json())
        return term.in_order()

    kept = keep(range(20_000), 3_000)
    assert len(kept) == FIRST + BETWEEN + LATEST
    assert kept[:FIRST] == rows[:FIRST]
    assert kept[-LATEST:] == rows[-LATEST:]
    between = [float(row.label) for row in kept[FIRST:-LATEST]]
    assert between == sorted(between)
    assert np.mean(between) == pytest.approx(8000, abs=400)  # of 1,000 to 15,000, evenly
    assert keep(range(20_000), 7_000) == kept
    few = LabelledTerm({row.prediction: row for row in rows[:8000]}, from_start=True)
    few.trim()
    assert len(few) == 8000
