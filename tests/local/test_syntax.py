"""Syntax trees can be built from several threads at once."""

from __future__ import annotations

import ast
import gc
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from local.syntax import build_alone


@pytest.fixture
def eager_switches() -> Iterator[None]:
    """Let threads take turns inside the building of a tree, where CPython's count is shared."""

    def yield_turn(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20)
    gc.callbacks.append(yield_turn)
    yield
    gc.callbacks.remove(yield_turn)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def test_threads_build_trees_together(eager_switches: None) -> None:
    failures: list[str] = []
    built: list[int] = []

    def build(depth: int, alone: bool) -> None:
        source = "f(" * depth + "1" + ")" * depth
        for _ in range(150):
            try:
                tree = build_alone(lambda: ast.parse(source)) if alone else ast.parse(source)
            except SystemError as error:
                if alone:
                    failures.append(str(error))
            else:
                built.append(len(tree.body))

    # The last thread does not ask, as code of others in the process would not.
    cases = [(5, True), (20, True), (40, True), (30, False)]
    threads = [threading.Thread(target=build, args=case) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(built) >= 3 * 150


def test_other_system_errors_are_raised_at_once() -> None:
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise SystemError("something else")

    with pytest.raises(SystemError, match="something else"):
        build_alone(fail)
    assert calls == 1
