"""What must not stop the monitor: one bad record, label, name or answer of a service."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.exceptions import ConnectTimeoutError
from moto import mock_aws

from core import bundle, drift
from core.contract import Column, Contract
from core.errors import StorageError
from lambdas.monitor.ports import Bucket, Topic
from tests.lambdas.monitor_world import (
    HOUR,
    START,
    MemoryStore,
    World,
    answer,
    capture,
    make_bundle,
    make_rows,
    pack,
)

Change = Callable[[dict[str, Any]], None]

# Changes to one of five captures of ten rows, and how many of its rows still count.
DAMAGES: dict[str, tuple[Change, int]] = {
    "half a character in an id": (lambda c: c["rows"][0].__setitem__(0, "\ud800"), 0),
    "half a character in a value": (lambda c: c["rows"][0][1].__setitem__("plan", "\udfff"), 0),
    "half a character in the request": (lambda c: c.__setitem__("request", "\ud800"), 0),
    "half a character in the run": (lambda c: c.__setitem__("run", "\ud800"), 0),
    "a time before all times": (lambda c: c.__setitem__("time", -(10**18)), 0),
    "a list for a category": (lambda c: c["rows"][0][1].__setitem__("plan", ["basic"]), 10),
    "an object for a number": (lambda c: c["rows"][0][1].__setitem__("age", {"years": 4}), 10),
    "an integer beyond all floats": (lambda c: c["rows"][0][1].__setitem__("age", 10**400), 10),
    "infinity": (lambda c: c["rows"][0][1].__setitem__("age", float("inf")), 10),
    "no values": (lambda c: c["rows"][0].__setitem__(1, {}), 10),
    "no outputs": (lambda c: c["rows"][0].__setitem__(2, []), 10),
    "too many outputs": (lambda c: c["rows"][0].__setitem__(2, [0.1, 0.2, 0.7]), 10),
    "an output beyond all floats": (lambda c: c["rows"][0].__setitem__(2, [10**400, 0]), 0),
    "a path for a run": (lambda c: c.__setitem__("run", "../../data"), 0),
    "a run of 2,000 characters": (lambda c: c.__setitem__("run", "x" * 2000), 0),
}


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("name", DAMAGES)
def test_one_bad_capture_does_not_stop_the_good_ones(world: World, name: str) -> None:
    """Rows around it are judged and joined, nothing alarms, and what is no row is counted."""
    change, kept = DAMAGES[name]
    captures = [
        capture(make_rows(world.generator, 10), "alpha", START + i, f"r{i}") for i in range(25)
    ]
    change(captures[2])
    world.deliver(0, pack(captures), "damaged")
    good = [row[0] for one in captures if one is not captures[2] for row in one["rows"]]
    world.label([{"id": name, "value": "yes"} for name in good], "labels")
    done = world.run(1.1)
    assert world.out.metric("RowsJudged") == [240 + kept]
    assert done["unreadable"] == (kept == 0)
    assert done["labels"]["joined"] == 240
    assert done["alarms"] == 0
    assert world.run(2.1)["judged"] == 0


@pytest.mark.parametrize(
    "body",
    [b"[" * 200_000, gzip.compress(b'{"capture":1,"rows":' + b"[" * 100_000), b"\0" * 1_000_000],
    ids=["nested", "nested in a capture", "zeros"],
)
def test_an_object_that_no_parser_likes_is_only_unreadable(world: World, body: bytes) -> None:
    world.serve(0)
    world.deliver(0, body, "foreign")
    assert world.run(1.1)["unreadable"] == 1
    assert world.out.metric("RowsJudged") == [250]


def test_a_window_of_unreadable_objects_is_no_verdict(world: World) -> None:
    """The heartbeat and the count of pieces go out; the verdict before stands."""
    world.serve(0, age=47)
    world.run(1.1)
    world.deliver(1, b"", "empty")
    world.deliver(1, gzip.compress(b""), "gzipped nothing")
    world.deliver(1, b"\x1f", "one byte")
    world.deliver(1, b"\x1f\x8b nothing", "broken")
    assert world.run(2.1)["judged"] == 0
    assert world.out.metric("MonitorRuns") == [1, 1]
    assert world.out.metric("CapturesUnreadable") == [0, 1]
    assert world.out.metric("DriftDetected") == [1]
    assert set(world.state["standing"]) == {"alpha"}


@pytest.mark.parametrize(
    ("body", "invalid"),
    [
        (b'{"id":' + b"[" * 200_000, 1),
        (b'{"id":"\\ud800","value":"yes"}\n{"id":"a","value":"\\uDFFF"}\n', 2),
        (b'{"id":"a","value":' + b"9" * 400 + b"}\n", 1),
        (b'{"id":"a","value":Infinity}\n', 1),
        (b"id,value\n" + b"x" * 200_000 + b",yes\n", 1),
    ],
    ids=["nested", "half a character", "an integer beyond floats", "infinity", "an endless field"],
)
def test_one_bad_label_does_not_stop_the_good_ones(world: World, body: bytes, invalid: int) -> None:
    captures = world.serve(0)
    names = [row[0] for one in captures for row in one["rows"]]
    world.label([{"id": name, "value": "yes"} for name in names], "good")
    world.store.objects["labels/2026/01/01/bad.jsonl"] = body
    labels = world.run(1.1)["labels"]
    assert (labels["joined"], labels["invalid"]) == (250, invalid)
    assert world.run(2.1)["labels"]["invalid"] == 0


def test_a_label_of_no_prediction_cannot_hold_a_run_up(world: World) -> None:
    """It looks through a month of objects; where time ends first, the next run goes on."""
    captures = []
    for hour in range(30):
        captures.append(world.serve(hour, count=20))
        world.run(hour + 1.1)
    newest, oldest = captures[-1][0]["rows"][0][0], captures[0][0]["rows"][0][0]
    names = [newest, oldest, "nobody's"]
    world.label([{"id": name, "value": "yes"} for name in names], "late", hours=24)

    class Short:
        calls = 0

        def is_up(self) -> bool:
            self.calls += 1
            return self.calls > 5

    labels = world.monitor(watch=Short()).run(START + round(31.2 * HOUR))["labels"]
    assert (labels["joined"], labels["waiting"]) == (1, 2)
    assert "2 labels are still to be looked for in captures up to" in world.state["problems"][0]
    world.store.reads.clear()
    labels = world.run(32.2)["labels"]
    assert (labels["joined"], labels["waiting"]) == (1, 1)
    looked_at = [key for key in world.store.reads if key.startswith("monitor/names/")]
    assert len(looked_at) < 30
    world.store.reads.clear()
    assert world.run(33.2)["labels"]["waiting"] == 1
    assert not [key for key in world.store.reads if key.startswith("monitor/names/")]


def test_labels_of_one_of_two_models_judge_that_one(world: World) -> None:
    """Without labels for either there is no quality; with some for the older, only its own."""
    make_bundle(world.store, "beta", seed=5)
    older = world.serve(0)
    world.serve(0.5, run="beta")
    assert world.run(1.1)["judged"] == 2
    assert world.state["quality"] == {}
    assert world.out.metric("QualityDrop") == []
    world.label(
        [{"id": name, "value": "no"} for one in older for name, _, _ in one["rows"]], "all-no"
    )
    world.run(2.1)
    assert world.state["quality"]["alpha"]["rows"] == 250
    assert set(world.state["quality"]) == {"alpha"}
    # The metric is the live model's, which has no labels; its alarm does not speak for another.
    assert world.out.metric("QualityDrop") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [(-40, "not JSON"), (0, "not JSON"), (b"[]", "no state"), (b"{}", "format None")],
    ids=["cut", "emptied", "a list", "an empty object"],
)
def test_a_damaged_state_stops_the_run_and_says_what_to_do(
    world: World, text: Any, says: str
) -> None:
    """Nothing is written over it; once it is restored the monitor goes on where it was."""
    world.serve(0)
    world.run(1.1)
    whole = world.store.objects["monitor/state.json"]
    broken = whole[:text] if isinstance(text, int) else text
    world.store.objects["monitor/state.json"] = broken
    world.serve(1, age=47)
    before = dict(world.store.objects)
    with pytest.raises(StorageError, match=says):
        world.run(2.1)
    assert world.store.objects == before
    world.store.objects["monitor/state.json"] = whole
    assert world.run(3.1)["alarms"] == 1


def test_a_damaged_summary_is_named(world: World) -> None:
    world.serve(0, count=100)
    world.run(1.1)
    [key] = [key for key in world.store.objects if key.startswith("monitor/summaries/")]
    world.store.objects[key] = world.store.objects[key][:50]
    world.serve(1)
    with pytest.raises(StorageError, match="is no summary: delete it"):
        world.run(2.1)
    del world.store.objects[key]
    assert world.run(2.1)["judged"] == 1
    assert "is gone: its 100 rows are not judged" in " ".join(world.state["problems"])


NAMES = ("größe in cm", "Straße\n<Nr>", '"quoted", 温度', "a b", "a" * 300)


def make_wide(store: MemoryStore, names: tuple[str, ...], rows: int) -> None:
    """Make a model `wide` of number columns."""
    contract = Contract(
        task="binary",
        target="churned",
        classes=("no", "yes"),
        positive="yes",
        columns=tuple(Column(name, "number") for name in names),
    )
    table = np.random.default_rng(1).normal(size=(rows, len(names)))
    baseline = drift.build_baseline(
        contract,
        {name: list(table[:, i]) for i, name in enumerate(names)},
        [answer({"age": 40.0 + row[0]}) for row in table],
    )
    files = {bundle.CONTRACT: contract.to_json(), bundle.BASELINE: baseline.to_json()}
    make_bundle(store, "wide", 0, **files)


def serve_wide(
    world: World, names: tuple[str, ...], rows: int, moved: str | None, hour: int = 0
) -> None:
    table = np.random.default_rng(2 + hour).normal(size=(rows, len(names)))
    captures = []
    for i, row in enumerate(table):
        values = dict(zip(names, map(float, row), strict=True))
        one = capture(
            [{**values, "age": 40.0 + row[0]}], "wide", START + hour * HOUR + i, f"w{hour}-{i}"
        )
        if moved is not None:
            one["rows"][0][1][moved] += 3.0
        captures.append(one)
    world.deliver(hour, pack(captures), "wide")


@pytest.mark.parametrize("moved", NAMES)
def test_any_name_of_a_column_reaches_people(world: World, moved: str) -> None:
    """Metrics carry no column; pages escape it; SNS takes the subject that comes of it."""
    make_wide(world.store, NAMES, 400)
    serve_wide(world, NAMES, 300, moved)
    assert world.run(1.1)["alarms"] == 1
    [(subject, text)] = world.out.messages
    assert moved in text
    with mock_aws():
        client = boto3.client("sns", region_name="eu-west-1")
        sent: dict[str, Any] = {}
        client.meta.events.register(
            "provide-client-params.sns.Publish", lambda params, **_: sent.update(params)
        )
        arn = client.create_topic(Name="people")["TopicArn"]
        Topic(arn, client).publish(subject, text * 1000)
    assert sent["Subject"].isascii()
    assert sent["Subject"].isprintable()
    assert len(sent["Subject"]) <= 100
    assert len(sent["Message"].encode()) <= 256 * 1024
    pages = [v.decode() for k, v in world.store.objects.items() if k.endswith("-wide.html")]
    assert "<Nr>" not in pages[0]


def test_five_hundred_columns_are_judged_and_shown_in_a_page_to_mail(world: World) -> None:
    """No alarm without a drift; with one the column that moved is named first."""
    names = tuple(f"column {i}" for i in range(500))
    make_wide(world.store, names, 1000)
    for hour, moved in enumerate((None, "column 321")):
        serve_wide(world, names, 300, moved, hour)
        done = world.run(hour + 1.1)
        assert (done["judged"], done["alarms"]) == (1, hour)
    [(subject, _)] = world.out.messages
    assert "column 321" in subject
    pages = [v for k, v in world.store.objects.items() if k.endswith("-wide.html")]
    assert max(map(len, pages)) < 150_000
    assert "491 columns that moved less, the first 88" in pages[-1].decode()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Bucket]]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        yield client, Bucket("bucket", client)


def test_a_service_that_is_busy_once_is_asked_again(bucket: tuple[Any, Bucket]) -> None:
    """The first try of every call to S3 fails: the run does not notice."""
    client, store = bucket
    world = World()
    world.serve(0, age=47)
    for key, body in world.store.objects.items():
        client.put_object(Bucket="bucket", Key=key, Body=body)
    seen: set[str] = set()

    def refuse(request: Any, **_: Any) -> None:
        if (call := f"{request.method} {request.url}") not in seen:
            seen.add(call)
            raise ConnectTimeoutError(endpoint_url=request.url)

    client.meta.events.register_first("before-send.s3", refuse)
    done = world.monitor(store=store).run(START + round(1.1 * HOUR))
    assert (done["judged"], done["alarms"]) == (1, 1)
    assert len(seen) > 10
    assert json.loads(client.get_object(Bucket="bucket", Key="monitor/state.json")["Body"].read())


def test_a_line_that_breaks_is_told_apart_from_an_object_that_was_cut(
    bucket: tuple[Any, Bucket],
) -> None:
    """The run fails, changes nothing, and the next one reads the object whole."""
    client, _ = bucket
    unreachable = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:9",
        config=boto3.session.Config(retries={"total_max_attempts": 1}),
    )
    del client
    for call in (
        lambda store: store.list("captures/"),
        lambda store: list(store.stream("captures/a")),
        lambda store: store.read("captures/a"),
        lambda store: store.write("monitor/a", b""),
        lambda store: store.write_new("monitor/a", b""),
    ):
        with pytest.raises(StorageError, match="cannot"):
            call(Bucket("bucket", unreachable))
