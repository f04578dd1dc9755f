"""The names of rows: a set, in little memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdas.monitor import names
from lambdas.monitor.names import Names

NAME = st.integers(0, 2**64 - 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(NAME, max_size=40), st.lists(NAME, max_size=40), st.lists(NAME, max_size=10))
def test_names_are_a_set(first: list[int], added: list[int], others: list[int]) -> None:
    """Whether a name came in an array, alone, or has moved from the set to the array."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "LATEST", 7)
        held = Names([np.array(first, dtype=np.uint64)])
        for name in added:
            if name not in held:
                held.add(name)
        held.add_all(np.array([1, 2], dtype=np.uint64))
        every = {*first, *added, 1, 2}
        assert all(name in held for name in every)
        assert [name in held for name in others] == [name in every for name in others]


def test_ten_million_names_take_the_memory_of_an_array() -> None:
    """10 million take 80 MB; a Python set of them takes over a gigabyte."""
    held = Names()
    for start in range(0, 1_000_000, 100_000):
        held.add_all(np.arange(start, start + 100_000, dtype=np.uint64))
    assert len(held) == 1_000_000
    assert held.nbytes == 8_000_000
