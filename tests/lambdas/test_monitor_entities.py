"""Labelled rows keep the hash of whose row it was, and nothing that is not a hash."""

import csv
import gzip
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from core.entities import EntityKey
from lambdas.monitor.captures import Capture, Row, read_captures
from lambdas.monitor.labels import write_labelled
from tests.lambdas.monitor_world import CONTRACT, START, World, capture, make_rows, pack

HASHER = EntityKey(bytes(32), "customer")


def hashes(count: int) -> list[str | None]:
    return [None if i % 5 == 4 else HASHER.hash(f"C-{i % 7}") for i in range(count)]


def read_parts(world: World) -> list[dict[str, str]]:
    return [
        row
        for key, body in sorted(world.store.objects.items())
        if key.startswith("labelled/")
        for row in csv.DictReader(io.StringIO(gzip.decompress(body).decode()))
    ]


def test_joined_rows_carry_the_hash_of_their_own_request() -> None:
    """By prediction, also across objects; empty where a request named nobody."""
    world = World()
    expected: dict[str, str] = {}
    for number in range(3):
        rows, named = make_rows(world.generator, 10), hashes(10)
        more = {} if number == 2 else {"entities": named}
        one = capture(rows, "alpha", START + number, f"q{number}", **more)
        world.deliver(0, pack([one]), f"object-{number}")
        for i in range(10):
            expected[f"q{number}-{i}"] = (named[i] or "") if more else ""
    world.label([{"id": name, "value": "yes"} for name in expected], "labels")
    assert world.run(2)["labels"]["joined"] == 30
    assert {row["prediction_id"]: row["entity_hash"] for row in read_parts(world)} == expected


def test_without_entities_labelled_rows_are_as_they_were() -> None:
    """No column is added for nothing."""
    world = World()
    (one, *_) = world.serve(0, count=10)
    world.label([{"id": one["rows"][0][0], "value": "no"}], "labels")
    world.run(2)
    assert list(read_parts(world)[0]) == [
        *CONTRACT.column_names, "churned", "prediction_id", "prediction_time",
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["group_column", "id_column", "time_column"])
def test_the_columns_name_is_none_of_the_tables(role: str) -> None:
    """Also where the table has `entity_hash` beside the columns."""
    contract = replace(CONTRACT, **{role: "entity_hash"})
    row = Row("p1", {"age": 1.0}, [0.5, 0.5], str(HASHER.hash("C-1")))
    text = write_labelled(contract, [("p1", "yes", Capture(5, "r", "run", "1", 1.0, [row]), row)])
    (found,) = csv.DictReader(io.StringIO(gzip.decompress(text).decode()))
    assert found["entity_hash_"] == HASHER.hash("C-1")


@pytest.mark.parametrize("entities", [["SECRET-17"], [17], [None, None], "SECRET-17", [["x"]]])
def test_a_capture_that_holds_anything_but_hashes_is_unreadable(entities: Any) -> None:
    """A text that got in somehow is not handed on."""
    (row,) = make_rows(World().generator, 1)
    line = json.dumps(capture([row], "alpha", START, "r", entities=entities))
    assert list(read_captures(iter([line.encode()]))) == [None]
