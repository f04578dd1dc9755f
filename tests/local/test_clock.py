"""Simulated time: it runs at its rate, moves forward in order, and waits for what it causes."""

import threading
import time
from collections.abc import Iterator

import pytest

from local.clock import Clock


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.close()


def test_time_runs_at_its_rate() -> None:
    clock = Clock(rate=100.0)
    before, real = clock.now(), time.monotonic()
    clock.sleep(10)
    passed = time.monotonic() - real
    assert clock.now() - before >= 10
    assert 0.09 < passed < 2
    assert clock.utc().tzinfo is not None
    clock.close()


def test_advance_fires_timers_in_their_order_at_their_time(clock: Clock) -> None:
    start = clock.now()
    fired: list[tuple[str, int]] = []

    def note(name: str) -> None:
        fired.append((name, round(clock.now() - start)))

    clock.call_later(300, lambda: note("c"))
    clock.call_later(100, lambda: note("a"))
    every = clock.call_every(200, lambda: note("b"))
    clock.call_later(150, lambda: note("never")).cancel()
    clock.advance(650)
    assert fired == [("a", 100), ("b", 200), ("c", 300), ("b", 400), ("b", 600)]
    every.cancel()
    clock.advance(1000)
    assert len(fired) == 5
    assert clock.now() - start == pytest.approx(1650, abs=5)


def test_a_timer_may_set_timers_that_fall_due_within_the_same_step(clock: Clock) -> None:
    seen: list[int] = []
    start = clock.now()

    def again() -> None:
        seen.append(round(clock.now() - start))
        if len(seen) < 3:
            clock.call_later(10, again)

    clock.call_later(10, again)
    clock.advance(100)
    assert seen == [10, 20, 30]


def test_advance_waits_for_the_work_that_a_step_causes(clock: Clock) -> None:
    """What an event causes sees the time of the event, not the time of the end of the step."""
    start = clock.now()
    seen: list[int] = []

    def work() -> None:
        time.sleep(0.05)
        seen.append(round(clock.now() - start))
        clock.sleep(50)
        time.sleep(0.05)
        seen.append(round(clock.now() - start))

    clock.call_later(100, lambda: clock.spawn(work) and None)
    clock.advance(1000)
    assert seen == [100, 150]


def test_sleepers_wake_when_time_moves_on(clock: Clock) -> None:
    woken = threading.Event()
    threading.Thread(target=lambda: (clock.sleep(3600), woken.set()), daemon=True).start()
    time.sleep(0.05)
    clock.advance(3599 - 10)
    assert not woken.is_set()
    clock.advance(20)
    assert woken.wait(2)


def test_a_sleeper_can_be_interrupted_and_its_work_counts_again(clock: Clock) -> None:
    stop = threading.Event()
    done = threading.Event()

    def work() -> None:
        clock.sleep(3600, interrupted=stop.is_set)
        done.set()

    clock.spawn(work)
    assert clock.settle(5)
    stop.set()
    assert done.wait(2)
    assert clock.settle(5)
    clock.advance(7200)
    assert clock.settle(5)


def test_settle_is_bounded_by_patience(clock: Clock) -> None:
    release = threading.Event()
    clock.spawn(lambda: release.wait(10) and None)
    assert not clock.settle(0.05)
    release.set()
    assert clock.settle(5)


def test_settle_within_work_does_not_wait_for_itself(clock: Clock) -> None:
    with clock.work():
        assert clock.settle(1)


def test_a_failing_timer_does_not_stop_the_others(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fired: list[int] = []
    clock.call_later(1, lambda: 1 / 0 and None)
    clock.call_later(2, lambda: fired.append(1))
    clock.advance(5)
    assert fired == [1]
    assert "ZeroDivisionError" in caplog.text


def test_closing_wakes_whoever_sleeps() -> None:
    clock = Clock()
    woken = threading.Event()
    threading.Thread(target=lambda: (clock.sleep(3600), woken.set()), daemon=True).start()
    time.sleep(0.05)
    clock.close()
    assert woken.wait(2)


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Clock(rate=rate)


def test_time_cannot_be_moved_back(clock: Clock) -> None:
    with pytest.raises(ValueError, match="moved back"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="above 0"):
        clock.call_every(0, lambda: None)
