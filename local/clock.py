"""Simulated time for the local cloud: real time at a rate, which can also be moved forward."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

logger = logging.getLogger(__name__)


@dataclass(order=True)
class Timer:
    """Hold one call to be made when simulated time reaches `due` (epoch seconds)."""

    due: float
    order: int
    callback: Callable[[], None] = field(compare=False)
    interval_seconds: float | None = field(default=None, compare=False)
    wakes: bool = field(default=False, compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Keep the call from being made (again)."""
        self.cancelled = True


class Clock:
    """Tell simulated time, wake sleepers and fire timers by it.

    Time runs at `rate` simulated seconds a real second. `advance` moves it on at once, in the order
    of the timers and sleepers that fall due on the way, and before each step it waits for the work
    under way (`work`, `spawn`) to end or to sleep, so that what an event causes carries the time of
    that event. Work is counted, never polled.
    """

    def __init__(self, rate: float = 1.0) -> None:
        if not rate > 0:
            raise ValueError(f"a clock's rate must be above 0, got {rate}")
        self.rate = rate
        self._changed = threading.Condition(threading.RLock())
        self._stepping = threading.RLock()
        self._timers: list[Timer] = []
        self._orders = itertools.count()
        self._real = time.monotonic()
        self._simulated = time.time()
        self._works = 0
        self._mine = threading.local()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._thread.start()

    # -- time ---------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the simulated time in epoch seconds."""
        with self._changed:
            return self._simulated + (time.monotonic() - self._real) * self.rate

    def utc(self) -> datetime:
        """Return the simulated time as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now(), UTC)

    def naive_utc(self) -> datetime:
        """Return the simulated time in UTC without a zone, which is how moto keeps times."""
        return self.utc().replace(tzinfo=None)

    def sleep(
        self,
        seconds: float,
        *,
        interrupted: Callable[[], bool] | None = None,
        working: bool | None = None,
    ) -> None:
        """Block until `seconds` of simulated time have passed; the caller's work counts as idle.

        `interrupted` is asked five times a (real) second whether to stop sleeping; `working` says
        that the thread does counted work which another thread started.
        """
        if seconds <= 0 or self._closed:
            return
        woken = threading.Event()
        working = self._depth() > 0 if working is None else working

        def wake() -> None:
            # Counted by the waker, so that no step can slip between the waking and the counting.
            with self._changed:
                if woken.is_set():
                    return
                woken.set()
                if working:
                    self._count(1)

        timer = Timer(self.now() + seconds, next(self._orders), wake, wakes=True)
        self._add(timer)
        if working:
            self._count(-1)
        if interrupted is None:
            woken.wait()
            return
        while not woken.wait(0.2):
            if interrupted():
                timer.cancel()
                wake()
                return

    # -- timers -------------------------------------------------------------------------------

    def call_at(self, due: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once when simulated time reaches `due` (epoch seconds)."""
        return self._add(Timer(due, next(self._orders), callback))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once after `seconds` of simulated time."""
        return self.call_at(self.now() + seconds, callback)

    def call_every(
        self, seconds: float, callback: Callable[[], None], *, first: float | None = None
    ) -> Timer:
        """Call `callback` every `seconds` of simulated time, first at `first` (epoch seconds)."""
        if not seconds > 0:
            raise ValueError(f"a timer's interval must be above 0 seconds, got {seconds}")
        due = self.now() + seconds if first is None else first
        return self._add(Timer(due, next(self._orders), callback, seconds))

    def _add(self, timer: Timer) -> Timer:
        with self._changed:
            heapq.heappush(self._timers, timer)
            self._changed.notify_all()
        return timer

    # -- work ---------------------------------------------------------------------------------

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count the block as work that `advance` and `settle` wait for."""
        self._count(1)
        with self._counted():
            yield

    def spawn(self, target: Callable[[], None], name: str = "work") -> threading.Thread:
        """Run `target` as work in a thread of its own; it counts from this moment."""
        self._count(1)

        def run() -> None:
            with self._counted():
                try:
                    target()
                except Exception:
                    logger.exception("%s failed", name)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Count the block as idle although the work around it goes on (waiting for other work)."""
        working = self._depth() > 0
        if working:
            self._count(-1)
        try:
            yield
        finally:
            if working:
                self._count(1)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        depth = self._depth()
        self._mine.depth = depth + 1
        try:
            yield
        finally:
            self._mine.depth = depth
            self._count(-1)

    def _depth(self) -> int:
        return int(getattr(self._mine, "depth", 0))

    def _count(self, by: int) -> None:
        with self._changed:
            self._works += by
            self._changed.notify_all()

    def settle(self, patience_seconds: float = 300.0) -> bool:
        """Wait (real seconds) until no work is under way and no timer is due; tell whether so."""
        deadline = time.monotonic() + patience_seconds
        mine = self._depth()
        while True:
            self._fire_due()
            with self._changed:
                if self._works <= mine and not self._is_due():
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if self._works > mine:
                    self._changed.wait(left)

    def advance(self, seconds: float, patience_seconds: float = 300.0) -> None:
        """Move simulated time forward, through every timer and sleeper due on the way, in order.

        `patience_seconds` (real) bounds the wait for work under way before each step.
        """
        if seconds < 0:
            raise ValueError(f"time cannot be moved back, got {seconds} seconds")
        target = self.now() + seconds
        while True:
            self.settle(patience_seconds)
            with self._changed:
                self._drop_cancelled()
                due = self._timers[0].due if self._timers else None
                if due is None or due > target:
                    self._jump(target)
                    break
                self._jump(due)
        self.settle(patience_seconds)

    def _jump(self, to: float) -> None:
        with self._changed:
            if to > self.now():
                self._simulated, self._real = to, time.monotonic()
            self._changed.notify_all()

    # -- firing -------------------------------------------------------------------------------

    def _drop_cancelled(self) -> None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)

    def _is_due(self) -> bool:
        self._drop_cancelled()
        return bool(self._timers) and self._timers[0].due <= self.now()

    def _fire_due(self) -> None:
        """Fire every timer that is due, the earliest first; one thread at a time."""
        with self._stepping:
            while True:
                with self._changed:
                    if not self._is_due():
                        return
                    timer = heapq.heappop(self._timers)
                    if timer.interval_seconds is not None:
                        timer.due += timer.interval_seconds
                        heapq.heappush(self._timers, timer)
                try:
                    timer.callback()
                except Exception:
                    logger.exception("a timer's call failed")

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                self._drop_cancelled()
                if not self._timers:
                    self._changed.wait()
                    continue
                wait = (self._timers[0].due - self.now()) / self.rate
                if wait > 0:
                    self._changed.wait(min(wait, threading.TIMEOUT_MAX))
                    continue
            self._fire_due()

    def close(self) -> None:
        """Stop firing timers and wake whoever sleeps."""
        with self._changed:
            self._closed = True
            timers, self._timers = self._timers, []
            self._changed.notify_all()
        for timer in timers:
            if timer.wakes and not timer.cancelled:
                timer.callback()
