"""The monitor: counts once, judges complete windows, joins labels, survives what arrives."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import math
import re
from typing import Any

import numpy as np
import pytest

from core import bundle, drift
from core.contract import Column, Contract
from core.errors import StorageError
from lambdas.monitor.captures import Capture, Row, read_captures
from lambdas.monitor.labels import write_labelled
from lambdas.monitor.messages import describe_window
from tests.lambdas.monitor_world import (
    CONTRACT,
    HOUR,
    START,
    MemoryStore,
    Recorder,
    World,
    answer,
    capture,
    make_bundle,
    make_rows,
    pack,
)


@pytest.fixture
def world() -> World:
    return World()


def labels_of(captures: list[dict[str, Any]], right: float = 1.0) -> list[dict[str, Any]]:
    """Label rows as the model answered, of a share `right`, and against it otherwise."""
    generator = np.random.default_rng(0)
    found = []
    for one in captures:
        for name, _, outputs in one["rows"]:
            yes = (outputs[1] >= 0.5) == (generator.random() < right)
            found.append({"id": name, "value": "yes" if yes else "no", "time": one["time"]})
    return found


# ------------------------------------------------------------------------------------- windows


def test_like_rows_raise_no_alarm_and_shifted_rows_do(world: World) -> None:
    """Each complete hour is judged; the first drifted one alarms, is explained and told once."""
    for hour in range(3):
        world.serve(hour)
    assert world.run(3.1)["judged"] == 3
    assert world.out.metric("DriftDetected") == [0, 0, 0]
    assert world.out.messages == []
    world.serve(4, age=46)
    world.serve(5, age=46)
    assert world.run(6.1)["alarms"] == 2
    assert world.out.metric("DriftDetected")[3:] == [1, 1]
    assert world.out.metric("DriftEvidence")[3] > 1
    assert world.out.metric("PredictionShift")[3] == 1
    assert len(world.out.messages) == 1
    subject, text = world.out.messages[0]
    assert "age" in subject
    for part in (
        "median",
        "2026-01-01T04:00:00Z",
        "captures/2026/01/01/04/",
        "s3://bucket/monitor/reports/",
        "https://example.com/runbook/drift.md",
        "python -m ops drift",
    ):
        assert part in text


def test_a_window_is_judged_only_when_it_is_complete(world: World) -> None:
    """An hour is complete once it is over and its last capture can have been delivered."""
    world.serve(0)
    assert world.run(0.5)["judged"] == 0
    assert world.run(1.01)["judged"] == 0
    assert world.run(1.02)["judged"] == 1


def test_small_windows_merge_with_the_next(world: World) -> None:
    for hour in range(5):
        world.serve(hour, count=80)
    assert world.run(5.1)["judged"] == 1
    assert world.out.metric("RowsJudged") == [240]
    world.serve(5, count=50)
    assert world.run(6.1)["judged"] == 1
    assert world.out.metric("RowsJudged") == [240, 210]


def test_a_window_without_rows_is_only_a_heartbeat(world: World) -> None:
    assert world.run(1.1)["judged"] == 0
    assert world.out.metric("MonitorRuns") == [1]
    assert world.out.metric("DriftDetected") == []
    assert b"No window has been judged yet" in world.store.objects["monitor/reports/index.html"]


def test_runs_that_were_missed_are_made_up_for(world: World) -> None:
    """A monitor that did not run for a day judges every hour of it, each on its own."""
    world.run(0.1)
    for hour in range(24):
        world.serve(hour, age=46 if hour == 20 else 40)
    assert world.run(25)["judged"] == 24
    assert [i for i, v in enumerate(world.out.metric("DriftDetected")) if v] == [20]


def test_rows_that_come_after_their_window_was_judged_count_in_the_next(world: World) -> None:
    world.serve(0)
    world.run(1.1)
    late = world.serve(0, age=46)
    world.run(1.5)
    world.serve(1, count=10)
    assert world.run(2.1)["alarms"] == 1
    assert sum(world.out.metric("RowsJudged")) == 250 + 250 + 10
    assert late


def test_a_clock_that_runs_ahead_does_not_delay_a_window(world: World) -> None:
    rows = make_rows(world.generator, 250)
    world.deliver(0, pack([capture(rows, "alpha", START + 500 * HOUR, "skewed")]), "skewed")
    world.run(0.9)
    assert world.run(2.0)["judged"] == 1


# ---------------------------------------------------------------------------------- idempotency


def test_the_same_event_twice_does_nothing_the_second_time(world: World) -> None:
    world.serve(0, age=46)
    world.run(1.1)
    before = dict(world.store.objects)
    lines, messages = len(world.out.lines), len(world.out.messages)
    assert world.run(1.1)["repeated"]
    assert world.store.objects == before
    assert (len(world.out.lines), len(world.out.messages)) == (lines, messages)


def test_of_two_runs_at_once_one_changes_nothing(world: World) -> None:
    """The second writer of the state fails before it has sent anything."""
    world.serve(0, age=46)
    second = Recorder()

    class Overtaken:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def write_over(self, key: str, body: bytes, tag: str) -> str:
            world.run(1.1)
            return world.store.write_over(key, body, tag)

    with pytest.raises(StorageError, match="another run"):
        world.monitor(store=Overtaken(), out=second).run(START + round(1.2 * HOUR))
    assert second.messages == []
    assert len(world.out.messages) == 1


def test_an_alarm_outlives_a_run_that_dies_before_it_could_tell(world: World) -> None:
    """What a run concluded is saved before it is sent, and sent by the next run."""
    world.serve(0, age=46)

    class Mute(Recorder):
        def publish(self, subject: str, message: str) -> None:
            raise StorageError("SNS does not answer")

    with pytest.raises(StorageError):
        world.monitor(out=Mute()).run(START + round(1.1 * HOUR))
    world.run(2.1)
    assert len(world.out.messages) == 1
    assert world.out.metric("DriftDetected") == [1]


def test_each_captured_object_is_counted_once(world: World) -> None:
    """Later windows are merges of counts: an object is not read again."""
    world.serve(0, count=100)
    world.run(1.1)
    key = next(key for key in world.store.objects if key.startswith("captures/"))
    world.store.reads.clear()
    world.serve(1, count=150)
    assert world.run(2.1)["judged"] == 1
    assert key not in world.store.reads


def test_a_run_without_time_leaves_the_rest_to_the_next(world: World) -> None:
    """No window is judged on half of its objects."""
    for _ in range(3):
        world.serve(0, count=100)

    class Short:
        calls = 0

        def is_up(self) -> bool:
            self.calls += 1
            return self.calls > 2

    result = world.monitor(watch=Short()).run(START + round(1.1 * HOUR))
    assert result["judged"] == 0
    assert "wait for the next run" in result["problems"][0]
    assert world.run(1.2)["judged"] == 1
    assert world.out.metric("RowsJudged") == [300]


# --------------------------------------------------------------------------------- what arrives


def test_rows_delivered_twice_count_once(world: World) -> None:
    """Firehose delivers at least once: in the same object, in a later one, a day later."""
    captures = world.serve(0)
    world.deliver(0, pack(captures), "again")
    world.run(1.1)
    world.deliver(1, pack(captures + captures), "and-again")
    world.run(2.5)
    assert sum(world.out.metric("RowsJudged")) == 250
    assert world.state["pending"] == {}


def test_the_same_prediction_id_from_two_requests_counts_twice(world: World) -> None:
    """Clients name their rows as they like; only a request delivered twice is a repeat."""
    rows = make_rows(world.generator, 100)
    captures = []
    for request in "abc":
        one = capture(rows, "alpha", START, request)
        one["rows"] = [[f"row-{i}", *row[1:]] for i, row in enumerate(one["rows"])]
        captures.append(one)
    world.deliver(0, pack(captures), "reused")
    world.run(1.1)
    assert world.out.metric("RowsJudged") == [300]


@pytest.mark.parametrize(
    "body",
    [
        b"not a capture\n",
        b"",
        b"\x1f\x8b broken gzip",
        gzip.compress(b'{"capture": 2}\n[]\n17\n"x"\n{"capture": 1}\n'),
        gzip.compress(
            b'{"capture":1,"time":"x","request":"r","run":"alpha","rows":[["a",{},[1]]]}'
        ),
        gzip.compress(
            b'{"capture":1,"time":1,"request":"r","run":"alpha","rows":[["a",[],["b"]]]}'
        ),
        gzip.compress(b'{"capture":1,"time":1,"request":"r","run":"alpha","rows":[["a"]]}'),
        gzip.compress(json.dumps(capture([], "alpha", START, "r")).encode()),
        bytes(range(256)) * 100,
    ],
    ids=[
        "text",
        "empty",
        "broken gzip",
        "other JSON",
        "time is no number",
        "row is no object",
        "short row",
        "no rows",
        "binary",
    ],
)
def test_foreign_files_are_counted_and_do_no_harm(world: World, body: bytes) -> None:
    world.deliver(0, body, "foreign")
    world.serve(0)
    result = world.run(1.1)
    assert result["judged"] == 1
    assert world.out.metric("RowsJudged") == [250]
    assert world.out.metric("CapturesUnreadable")[0] == result["unreadable"]
    assert (result["unreadable"] > 0) == bool(body)
    if body:
        assert "foreign.gz" in world.state["problems"][0]


def test_a_truncated_file_counts_up_to_the_cut(world: World) -> None:
    body = pack(
        [capture(make_rows(world.generator, 10), "alpha", START, f"r{i}") for i in range(40)]
    )
    world.deliver(0, body[: len(body) * 3 // 4], "cut")
    assert world.run(1.1)["unreadable"] == 1
    assert 200 <= world.out.metric("RowsJudged")[0] < 400


def test_captures_may_share_a_line_and_gzip_members_a_file() -> None:
    """Firehose adds no separators unless told to, and appends what it gets compressed."""
    one, two, three = (json.dumps(capture([{"age": 1}], "r", 1, name)).encode() for name in "abc")
    body = gzip.compress(one + two) + gzip.compress(b"\n" + three)
    for size in (1, 7, 10_000):
        chunks = iter([body[i : i + size] for i in range(0, len(body), size)])
        found = list(read_captures(chunks))
        assert [c.request for c in found if c] == ["a", "b", "c"]
        assert None not in found
    plain = list(read_captures(iter([one + b"\n" + two])))
    assert [c.request for c in plain if c] == ["a", "b"]


# -------------------------------------------------------------------------------------- models


def test_a_new_model_in_mid_window_is_judged_against_its_own_baseline(world: World) -> None:
    make_bundle(world.store, "beta", seed=5)
    world.serve(0, run="alpha")
    world.serve(0.5, run="beta", age=46)
    assert world.run(1.1)["judged"] == 2
    verdicts = {w["run"]: w["alarm"] for w in world.state["history"]}
    assert verdicts == {"alpha": False, "beta": True}


def test_rows_of_a_model_that_cannot_be_read_are_named_not_judged(world: World) -> None:
    """No bundle, another release's baseline, an older contract's baseline, an altered file."""
    baseline = world.store.objects["models/alpha/output/model/baseline.json"]
    make_bundle(
        world.store, "old", 0, **{bundle.BASELINE: baseline.replace(b'"format":1', b'"format":0')}
    )
    older = json.loads(CONTRACT.to_json())
    older["columns"][0]["unit"] = "years"
    make_bundle(world.store, "other", 0, **{bundle.CONTRACT: json.dumps(older).encode()})
    make_bundle(world.store, "altered")
    world.store.objects["models/altered/output/model/baseline.json"] += b" "
    for run in ("absent", "old", "other", "altered", "alpha"):
        world.serve(0, run=run)
    result = world.run(1.1)
    assert result["judged"] == 1
    assert result["unreadable"] == 4 * 25
    text = " ".join(world.state["problems"])
    for part in ("there is no s3://", "format 0", "another contract", "was altered"):
        assert part in text


def test_a_few_rows_of_a_replaced_model_are_dropped_in_the_end(world: World) -> None:
    world.serve(0, count=10)
    world.run(1.1)
    assert world.state["pending"]
    world.run(24 * 30)
    assert not world.state["pending"]
    assert "never filled a window" in world.state["problems"][0]


# -------------------------------------------------------------------------------------- labels


def read_labelled(world: World) -> list[dict[str, str]]:
    rows = []
    for key, body in sorted(world.store.objects.items()):
        if key.startswith("labelled/"):
            rows += list(csv.DictReader(io.StringIO(gzip.decompress(body).decode())))
    return rows


def test_labels_join_their_predictions_and_become_training_rows(world: World) -> None:
    captures = world.serve(0)
    world.label(labels_of(captures), "a")
    assert world.run(1.1)["labels"]["joined"] == 250
    rows = read_labelled(world)
    assert len(rows) == 250
    assert list(rows[0]) == [
        "age",
        "income",
        "plan",
        "active",
        "churned",
        "prediction_id",
        "prediction_time",
    ]
    by_id = {row["prediction_id"]: row for row in rows}
    name, values, outputs = captures[0]["rows"][0]
    assert float(by_id[name]["age"]) == values["age"]
    assert by_id[name]["active"] == ("true" if values["active"] else "false")
    assert by_id[name]["churned"] == ("yes" if outputs[1] >= 0.5 else "no")
    assert by_id[name]["prediction_time"] == str(captures[0]["time"])


def test_labelled_rows_keep_columns_that_are_named_like_the_monitors_own() -> None:
    """What the table calls `time` or `prediction_id` stays what it was in the table."""
    contract = Contract(
        task="binary",
        target="prediction_time",
        classes=("no", "yes"),
        columns=(Column("time", "number"), Column("prediction_id", "number")),
    )
    row = Row("p1", {"time": 3.0, "prediction_id": 4.0}, [0.5, 0.5])
    text = write_labelled(contract, [("p1", "yes", Capture(5, "r", "run", "1", 1.0, [row]), row)])
    assert gzip.decompress(text).decode().splitlines() == [
        "time,prediction_id,prediction_time,prediction_id_,prediction_time_",
        "3,4,yes,p1,5",
    ]


def test_late_duplicate_conflicting_orphan_and_invalid_labels(world: World) -> None:
    captures = world.serve(0)
    world.run(1.1)
    (first, *_), (second, *_), (third, *_) = captures[0]["rows"][:3]
    world.label(
        [
            {"id": first, "value": "yes", "time": START},
            {"id": first, "value": "yes", "time": START},
            {"id": second, "value": "yes", "time": START},
            {"id": second, "value": "no", "time": START + 1000},
            {"id": third, "value": "maybe", "time": START},
            {"id": "never-served", "value": "yes", "time": START},
            {"value": "yes"},
        ],
        "a",
        hours=24,
    )
    labels = world.run(30)["labels"]
    assert labels == {
        "joined": 2,
        "duplicate": 1,
        "conflicting": 1,
        "orphan": 0,
        "invalid": 2,
        "waiting": 1,
    }
    by_id = {row["prediction_id"]: row["churned"] for row in read_labelled(world)}
    assert by_id == {first: "yes", second: "no"}
    # Once a label has been used it stands; a different one is counted, the same one too.
    world.label([{"id": first, "value": "no"}, {"id": second, "value": "no"}], "b", hours=24)
    labels = world.run(31)["labels"]
    assert (labels["joined"], labels["duplicate"], labels["conflicting"]) == (0, 1, 1)
    assert world.run(24 * 40)["labels"]["orphan"] == 1


def test_labels_that_come_before_their_captures_wait_for_them(world: World) -> None:
    rows = make_rows(world.generator, 250)
    captures = [capture(rows, "alpha", START, "r")]
    world.label(labels_of(captures), "a")
    assert world.run(0.1)["labels"]["waiting"] == 250
    world.deliver(0, pack(captures), "later")
    assert world.run(1.1)["labels"]["joined"] == 250


def test_label_files_that_people_drop_are_read(world: World) -> None:
    """CSV or JSON lines, gzipped or not, beside the API's dated folders."""
    captures = world.serve(0)
    made = labels_of(captures)
    table = "id,value\n" + "".join(f"{one['id']},{one['value']}\n" for one in made[:100])
    world.store.objects["labels/january.csv"] = table.encode()
    world.store.objects["labels/2026-rest.jsonl.gz"] = gzip.compress(
        "".join(json.dumps(one) + "\n" for one in made[100:200]).encode()
    )
    world.store.objects["labels/mine/more.csv"] = (
        "\ufeffid;value\n" + "".join(f"{one['id']};{one['value']}\n" for one in made[200:])
    ).encode()
    world.store.objects["labels/readme.txt"] = b"what is this\n"
    labels = world.run(1.1)["labels"]
    assert (labels["joined"], labels["invalid"]) == (250, 1)
    assert world.run(2.1)["labels"]["joined"] == 0


def test_quality_is_judged_by_labels(world: World) -> None:
    """A model that holds is silent; one that answers at random alarms once, with an interval."""
    world.label(labels_of(world.serve(0), right=0.97), "good")
    world.run(1.1)
    assert world.out.metric("QualityDrop") == [0]
    world.label(labels_of(world.serve(1), right=0.5), "bad", hours=1)
    world.run(2.1)
    world.label(labels_of(world.serve(2), right=0.5), "worse", hours=2)
    world.run(3.1)
    assert world.out.metric("QualityDrop") == [0, 1, 1]
    quality = [text for subject, text in world.out.messages if "quality" in subject]
    assert len(quality) == 1
    assert "95% interval" in quality[0]
    assert "python -m ops rollback --stage dev" in quality[0]
    measured = world.state["quality"]["alpha"]
    assert measured["low"] < measured["value"] < measured["high"] < measured["expected"]


def test_few_labels_are_no_ground_for_a_quality_alarm(world: World) -> None:
    world.label(labels_of(world.serve(0), right=0.0)[:60], "few")
    world.run(1.1)
    assert world.out.metric("QualityDrop") == []


def test_estimated_quality_comes_before_labels(world: World) -> None:
    captures = world.serve(0)
    world.run(1.1)
    confidence = [max(row[2]) for one in captures for row in one["rows"]]
    assert world.out.metric("EstimatedQuality")[0] == pytest.approx(np.mean(confidence))


# ------------------------------------------------------------------------------------- training


def test_labels_ready_is_sent_once_while_drift_stands_and_labels_suffice(world: World) -> None:
    shifted = world.serve(0, age=46)
    world.label(labels_of(shifted)[:60], "some")
    world.run(1.1)
    assert world.out.events == []
    world.label(labels_of(shifted)[60:], "rest", hours=1)
    world.run(2.1)
    assert world.out.events == [
        ("Labels Ready", {"deployment": "shop-dev", "new_labels": 250, "run": "alpha"})
    ]
    world.label(labels_of(world.serve(2, age=46)), "more", hours=2)
    world.run(3.1)
    assert len(world.out.events) == 1


def test_without_drift_labels_ask_for_nothing(world: World) -> None:
    world.label(labels_of(world.serve(0)), "a")
    world.run(1.1)
    assert world.out.events == []


def test_a_retrain_that_did_not_help_is_said_so_and_needs_far_more_labels(world: World) -> None:
    world.label(labels_of(world.serve(0, age=46)), "a")
    world.run(1.1)
    assert len(world.out.events) == 1
    make_bundle(world.store, "beta", seed=7)
    world.label(labels_of(world.serve(2, age=46, run="beta")), "b", hours=2)
    world.run(3.1)
    assert "alarms again" in world.out.messages[-1][1]
    assert len(world.out.events) == 1
    for hour in (3, 4):
        world.label(labels_of(world.serve(hour, age=46, run="beta")), f"h{hour}", hours=hour)
        world.run(hour + 1.1)
    assert len(world.out.events) == 2


# -------------------------------------------------------------------------------------- reports


def test_each_window_has_a_page_that_holds_all_it_shows_and_an_index(world: World) -> None:
    world.serve(0)
    world.serve(1, age=46)
    world.run(2.1)
    pages = {k: v.decode() for k, v in world.store.objects.items() if k.endswith(".html")}
    assert len(pages) == 3
    index = pages.pop("monitor/reports/index.html")
    for key, page in pages.items():
        assert key.split("/")[-1] in index
        assert len(page) < 100_000
        assert 'name="viewport"' in page
        loaded = page.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
        for outside in ("<script", "http://", "https://", "<link", "url("):
            assert outside not in loaded
        assert page.count("<svg") >= 5
    assert "What the alarm saw" in max(pages.values(), key=lambda page: "alarm saw" in page)
    moments = re.findall(r">(01-01 \d\d:\d\d)</text>", index)
    assert moments == ["01-01 00:04", "01-01 01:04"]  # each window once, and nothing between them


def test_a_verdict_is_strict_json_with_what_a_person_asks(world: World) -> None:
    world.serve(0, age=46)
    world.run(1.1)
    key = next(k for k in world.store.objects if k.startswith("monitor/reports/2") and "json" in k)

    def refuse(value: str) -> None:
        raise ValueError(value)

    verdict = json.loads(world.store.objects[key], parse_constant=refuse)
    assert verdict["verdict"]["alarm"]
    assert verdict["rows"] == 250
    assert verdict["objects"][0].startswith("captures/")
    assert verdict["verdict"]["findings"][0]["text"]


def test_column_names_cannot_break_the_page(world: World) -> None:
    from lambdas.monitor.report import render_index

    state = {
        "history": [
            {
                "name": "x",
                "end": "now",
                "alarm": True,
                "rows": 1,
                "evidence": 2.0,
                "top": "<script>alert(1)</script>",
                "run": "<b>",
            }
        ],
        "quality": {},
        "problems": ["<img src=x>"],
    }
    page = render_index("<i>", state, "now").decode()
    for tag in ("<script>", "<img", "<b>", "<i>"):
        assert tag not in page


def test_settings_change_what_happens() -> None:
    """Each of the monitor's settings is followed."""
    rare = World(false_alarms_per_year=1e-9)
    often = World(false_alarms_per_year=365.0)
    for world in (rare, often):
        world.serve(0, age=43)
        world.run(1.1)
    assert rare.out.metric("DriftEvidence")[0] < often.out.metric("DriftEvidence")[0]
    half = World(schedule_minutes=30)
    half.serve(0)
    assert half.run(0.6)["judged"] == 1
    tolerant = World(max_quality_drop=0.9)
    tolerant.label(labels_of(tolerant.serve(0), right=0.6), "a")
    tolerant.run(1.1)
    assert tolerant.out.metric("QualityDrop") == [0]
    slow = World(buffer_seconds=900)
    slow.serve(0)
    assert slow.run(1.1)["judged"] == 0
    strict = World(min_labels=300)
    strict.label(labels_of(strict.serve(0)), "a")
    strict.run(1.1)
    assert strict.out.metric("QualityDrop") == []


def test_a_state_of_another_release_is_refused(world: World) -> None:
    world.store.objects["monitor/state.json"] = b'{"format": 99, "outbox": []}'
    with pytest.raises(StorageError, match="format 99"):
        world.run(1.1)
    world.store.objects["monitor/state.json"] = b"{"
    with pytest.raises(StorageError, match="not JSON"):
        world.run(1.1)


def test_sampled_captures_are_weighed_in_what_was_served(world: World) -> None:
    rows = make_rows(world.generator, 250)
    world.deliver(0, pack([capture(rows, "alpha", START, "r", weight=10.0)]), "sampled")
    world.run(1.1)
    key = next(k for k in world.store.objects if k.startswith("monitor/reports/2") and "json" in k)
    assert json.loads(world.store.objects[key])["served"] == 2500
    assert math.isclose(world.out.metric("RowsJudged")[0], 250)


def test_labelled_rows_are_in_one_object_only_though_a_run_died_before_its_ledger(
    world: World,
) -> None:
    """The next run, which has more labels by then, writes over what the dead one left."""
    captures = world.serve(0)
    labels = labels_of(captures)
    world.label(labels[:150], "a")

    class Dies(Exception):
        pass

    class Dying(MemoryStore):
        def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
            if key.endswith("joined.bin"):
                raise Dies
            super().write(key, body, content_type)

    dying = Dying()
    dying.objects = world.store.objects
    with pytest.raises(Dies):
        world.monitor(store=dying).run(START + HOUR + 600_000)
    assert len(read_labelled(world)) == 150
    world.label(labels[150:200], "b")
    assert world.run(1.2)["labels"]["joined"] == 200
    names = [row["prediction_id"] for row in read_labelled(world)]
    assert sorted(names) == sorted(label["id"] for label in labels[:200])
    world.label(labels[200:], "c")
    world.run(2.2)
    assert len({row["prediction_id"] for row in read_labelled(world)}) == 250
    assert len([key for key in world.store.objects if key.startswith("labelled/")]) == 2
    assert world.state["labels"]["total"] == 250


def test_labels_of_a_run_that_died_after_its_ledger_still_count(world: World) -> None:
    world.label(labels_of(world.serve(0)), "a")

    class Dies(Exception):
        pass

    class Dying(MemoryStore):
        def write_over(self, key: str, body: bytes, tag: str) -> str:
            raise Dies

    dying = Dying()
    dying.objects = world.store.objects
    with pytest.raises(Dies):
        world.monitor(store=dying).run(START + HOUR + 600_000)
    assert world.run(1.2)["labels"]["joined"] == 0
    assert world.state["labels"]["total"] == world.state["labels"]["new"] == 250


def test_sensitive_columns_are_neither_watched_nor_written(world: World) -> None:
    """Predict leaves them out of captures: that is no missing value, and no column of a table."""
    hidden = dataclasses.replace(
        CONTRACT,
        columns=tuple(
            dataclasses.replace(column, sensitive=column.name in ("age", "plan"))
            for column in CONTRACT.columns
        ),
    )
    rows = make_rows(np.random.default_rng(3), 1000)
    baseline = drift.build_baseline(
        hidden,
        {column.name: [row[column.name] for row in rows] for column in hidden.columns},
        [answer(row) for row in rows[:300]],
    )
    make_bundle(
        world.store,
        "beta",
        0,
        **{bundle.CONTRACT: hidden.to_json(), bundle.BASELINE: baseline.to_json()},
    )
    captures = []
    for i, row in enumerate(make_rows(world.generator, 300)):
        one = capture([row], "beta", START + i * 1000, f"s{i}")
        one["rows"][0][1] = {k: v for k, v in row.items() if k not in ("age", "plan")}
        captures.append(one)
    world.deliver(0, pack(captures), "beta")
    world.label([{"id": f"s{i}-0", "value": "yes"} for i in range(300)], "a")
    done = world.run(1.1)
    assert (done["judged"], done["alarms"], done["labels"]["joined"]) == (1, 0, 300)
    assert list(read_labelled(world)[0]) == [
        "income", "active", "churned", "prediction_id", "prediction_time",
    ]  # fmt: skip


def test_the_message_lets_a_person_act(world: World) -> None:
    """What moved, by how much, since when, in which rows, where the report is, what to do."""
    world.serve(0)
    world.serve(1, age=55.0)
    world.run(2.1)
    [(subject, text)] = world.out.messages
    assert subject.startswith("[shop-dev] drift: age: median 39.26 -> 5")
    assert "Since:   2026-01-01T01:00:00Z" in text
    assert "captures/2026/01/01/01/" in text
    page = next(line.split()[-1] for line in text.splitlines() if line.startswith("Report:"))
    assert page.removeprefix("s3://bucket/") in world.store.objects
    assert "https://console.aws.amazon.com/s3/object/bucket?prefix=monitor/reports/" in text
    assert "drift.md" in text
    commands = [line.split("  ")[1] for line in text.splitlines() if "python -m ops" in line]
    assert commands == [
        "python -m ops drift --stage dev",
        "python -m ops train --stage dev --reason drift",
    ]


def test_the_columns_that_moved_are_named_when_only_all_together_alarm() -> None:
    moved = [
        drift.Finding(drift.MEANS, "joint", "means", "shock", 1.2, 0.1, 9, 6, 0, 1.2, "a (1 -> 2)"),
        drift.Finding("a", "input", "location", "shock", 0.1, 0.02, 5, 7, 1.0, 2.0),
        drift.Finding("b", "input", "location", "shock", 0.1, 0.02, 1, 7, 1.0, 2.0),
    ]
    verdict = drift.Verdict(True, 200, (moved[0],), tuple(moved), 1.5, "independent")
    window = {
        "deployment": "shop-dev", "stage": "dev", "since": "then", "rows": 200,
        "start": "then", "end": "now", "objects": [], "model_uri": "",
        "estimated_quality": None, "expected_quality": None,
    }  # fmt: skip
    links = {"report": "", "console": "", "runbook": ""}
    subject, text = describe_window(window, verdict, links)
    assert subject == "[shop-dev] drift: columns together, most a (1 -> 2)"
    assert "a: median 1 -> 2 (up)" in text
    assert "b: median" not in text


def test_what_joins_a_standing_alarm_is_told_once(world: World) -> None:
    """CloudWatch stays silent while its alarm stands; a second fault must not be."""
    world.serve(0, age=55.0)
    world.run(1.1)
    world.serve(1, age=55.0)
    world.run(2.1)
    assert len(world.out.messages) == 1
    for hour in (2, 3):
        captures = world.serve(hour, age=55.0)
        for one in captures:
            for _, row, _ in one["rows"]:
                row["plan"] = "PRO"
        key = f"alpha-{world.requests}"
        world.deliver(hour, pack(captures), key)
        world.run(hour + 1.1)
    assert len(world.out.messages) == 2
    subject, text = world.out.messages[1]
    assert subject.startswith("[shop-dev] drift, now also: plan")
    assert "stands since 2026-01-01T00:00:00Z; new in it: plan" in text
