"""Counting by many workers: the same result as by one run, whatever happens to a worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdas.monitor.counting import make_batches
from lambdas.monitor.storage import SUMMARIES, Entry
from tests.lambdas.monitor_world import HOUR, START, World, make_bundle, pack

Waiting = dict[str, Any]


@pytest.fixture
def world() -> World:
    return World(parallel_above_mb=0.01)


def serve(world: World) -> None:
    """Serve two hours of two models, with repeats, a foreign object and one of a lost model."""
    make_bundle(world.store, "beta", seed=3)
    first = world.serve(0)
    world.serve(0, run="beta")
    world.deliver(0, pack(first[:3]), "alpha-repeat")
    world.deliver(0, b"\x1f\x8b nothing", "foreign")
    world.serve(1, age=46)
    world.serve(1, run="lost", count=20)
    world.deliver(1, pack(first[:9] + first[:2]), "beta-repeat")


def take_event(world: World) -> tuple[Waiting, list[Any]]:
    """Give the event that asks for a count, and the batches that it names."""
    [(kind, detail)] = world.out.events
    assert kind == "Captures Waiting"
    return detail, json.loads(world.store.objects[detail["key"]])


def count(world: World, batches: list[Any], hours: float = 2.1, store: Any = None) -> int:
    """Count batches as workers do, each with a monitor of its own."""
    now = START + round(hours * HOUR)
    return sum(
        world.monitor(store=store).count([Entry(*given) for given in batch], now)["counted"]
        for batch in batches
    )


def conclusions(world: World) -> Any:
    """Give what was found, without the moments and places that differ by how it was counted."""
    state = {
        key: value
        for key, value in world.state.items()
        if key not in ("time", "problems", "pending")
    }
    windows = [
        {key: value for key, value in json.loads(body).items() if key != "judged"}
        for key, body in sorted(world.store.objects.items())
        if key.startswith("monitor/reports/") and key.endswith(".json")
    ]
    return state, windows, sorted(world.state["problems"])


@pytest.fixture
def alone() -> Any:
    """Conclude from the same captures in one run."""
    world = World()
    serve(world)
    world.run(2.2)
    return conclusions(world)


def test_many_workers_conclude_what_one_run_does(world: World, alone: Any) -> None:
    """The same windows to the last digit, though rows of one object repeat in another's."""
    serve(world)
    assert world.run(2.1) == {"judged": 0, "counting": True}
    detail, batches = take_event(world)
    assert detail["deployment"] == "shop-dev"
    assert len(batches) > 2
    assert count(world, batches[::-1]) == 7
    done = world.monitor().run(START + round(2.2 * HOUR), after_count=True)
    assert (done["judged"], done["alarms"], done["unreadable"]) == (3, 1, 3)
    assert conclusions(world) == alone
    assert sum(window["rows"] for window in world.state["history"]) == 750


def test_a_run_that_merges_counts_only_what_repeats(world: World) -> None:
    serve(world)
    world.run(2.1)
    count(world, take_event(world)[1])
    world.store.reads.clear()
    world.monitor().run(START + round(2.2 * HOUR), after_count=True)
    read = {key for key in world.store.reads if key.startswith("captures/")}
    assert {key.rpartition("/")[2] for key in read} == {"alpha-repeat.gz", "beta-repeat.gz"}


def test_a_worker_that_died_or_came_twice_changes_nothing(world: World, alone: Any) -> None:
    """What it wrote is passed over; two at once agree on the first one's summary."""
    serve(world)
    world.run(2.1)
    batches = take_event(world)[1]

    class Dies(Exception):
        """A lost host."""

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def write_new(self, key: str, body: bytes) -> bool:
            if len([name for name in world.store.objects if name.startswith(SUMMARIES)]) == 3:
                raise Dies
            return world.store.write_new(key, body)

    with pytest.raises(Dies):
        count(world, batches, store=Dying())
    assert count(world, batches) == 4
    assert count(world, batches) == 0

    class Blind:
        """One that began before the others had written."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def read(self, key: str) -> bytes | None:
            return None if key.startswith(SUMMARIES) else world.store.read(key)

    assert count(world, batches, store=Blind()) == 0
    world.monitor().run(START + round(2.2 * HOUR), after_count=True)
    assert count(world, batches, store=Blind()) == 0
    assert conclusions(world) == alone


def test_a_run_that_died_while_it_merged_is_made_up_for(world: World, alone: Any) -> None:
    """The next one meets the same summaries, of workers and without repeats, and agrees."""
    serve(world)
    world.run(2.1)
    count(world, take_event(world)[1])

    class Dies(Exception):
        """A lost host."""

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def write_over(self, key: str, body: bytes, tag: str) -> str:
            raise Dies

    with pytest.raises(Dies):
        world.monitor(store=Dying()).run(START + round(2.2 * HOUR), after_count=True)
    world.monitor().run(START + round(2.2 * HOUR), after_count=True)
    assert conclusions(world) == alone


def test_a_batch_that_nobody_could_count_is_counted_by_the_run_that_judges(
    world: World, alone: Any
) -> None:
    serve(world)
    world.run(2.1)
    count(world, take_event(world)[1][1:])
    world.monitor().run(START + round(2.2 * HOUR), after_count=True)
    assert conclusions(world) == alone


def test_while_a_count_runs_no_other_begins(world: World) -> None:
    """A run in between leaves all as it is; after two hours without an end there is a new one."""
    serve(world)
    world.run(2.1)
    before = dict(world.store.objects)
    assert world.run(3.1) == {"judged": 0, "counting": True}
    assert world.store.objects == before
    assert world.out.metric("MonitorRuns") == []
    assert world.run(4.2) == {"judged": 0, "counting": True}
    assert len(world.out.events) == 2
    count(world, json.loads(world.store.objects[world.out.events[1][1]["key"]]), 4.2)
    world.monitor().run(START + round(4.3 * HOUR), after_count=True)
    assert world.out.metric("MonitorRuns") == [1]
    world.serve(4, count=30)
    assert world.run(5.1)["objects"] == 1


def test_a_request_to_count_outlives_a_run_that_dies_before_it_is_sent(world: World) -> None:
    serve(world)

    class Mute(type(world.out)):  # type: ignore[misc]
        def put(self, detail_type: str, detail: dict[str, Any]) -> None:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        world.monitor(out=Mute()).run(START + round(2.1 * HOUR))
    world.run(3.1)
    assert [kind for kind, _ in world.out.events] == ["Captures Waiting"]


def test_few_captures_are_counted_by_the_run_itself() -> None:
    """`[monitoring] parallel_above_mb` is the line, and 0 draws none."""
    for limit, expected in ((0.01, True), (1.0, None), (0, None)):
        world = World(parallel_above_mb=limit)
        serve(world)
        assert world.run(2.1).get("counting") is expected


def test_batches_hold_all_objects_in_order() -> None:
    entries = [Entry(f"captures/{i}", size, "tag") for i, size in enumerate((5, 5, 30, 1, 1, 9))]
    batches = make_batches(entries, 10)
    assert [[entry.size for entry in batch] for batch in batches] == [[5, 5], [30], [1, 1], [9]]
    assert make_batches([], 10) == []
