"""Summaries: how rows are counted, and how counts add up."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core import drift
from core.drift.slots import place_in_edges
from tests.core.drift.traffic import (
    answers,
    count,
    draw,
    make_baseline,
)

_SHARED = make_baseline()


def test_rows_and_columns_are_counted_alike() -> None:
    """`summarise` of dicts is `summarise_columns` of the same table."""
    baseline = make_baseline()
    columns = draw(np.random.default_rng(5), 300)
    rows = [{name: values[i] for name, values in columns.items()} for i in range(300)]
    by_rows = drift.summarise(baseline, rows, answers(columns).tolist())
    assert by_rows == count(baseline, columns)


def test_the_slots_of_rows_add_up_to_their_summary() -> None:
    """Measuring the alarm places each row once and draws windows from the slots."""
    baseline = make_baseline()
    columns = draw(np.random.default_rng(6), 500)
    placed = drift.place_columns(baseline, columns, answers(columns))
    for slots, column, counted in zip(
        placed, baseline.columns, count(baseline, columns).counts, strict=True
    ):
        assert np.bincount(slots, minlength=len(column.counts)).tolist() == counted.tolist()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 80), min_size=1, max_size=5), st.randoms())
def test_summaries_add_up_in_any_order_and_any_cut(sizes: list[int], random: Any) -> None:
    """Counting pieces and merging them is counting the whole."""
    baseline = _SHARED
    columns = draw(np.random.default_rng(9), sum(sizes) + 1)
    whole = count(baseline, columns)
    cuts = [0, *np.cumsum(sizes).tolist(), sum(sizes) + 1]
    pieces = [
        count(baseline, {name: values[a:b] for name, values in columns.items()})
        for a, b in pairwise(cuts)
    ]
    random.shuffle(pieces)
    total = drift.Summary.empty(baseline)
    for piece in pieces:
        total = total + drift.Summary.from_json(piece.to_json())
    assert total == whole


def test_a_lacking_column_counts_as_missing_and_a_wrong_type_as_unseen() -> None:
    baseline = make_baseline()
    counted = drift.summarise(baseline, [{"size": "many", "weight": "3.5", "flag": "true"}])
    by_name = dict(zip([c.name for c in baseline.columns], counted.counts, strict=True))
    assert by_name["size"][-1] == 1
    assert by_name["weight"][-2:].sum() == 0
    assert by_name["flag"][-2:].sum() == 0
    assert by_name["count"][-2] == 1
    assert by_name["city"][-2] == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-300, 1e-9, 1.0, 1e12, 1e307]))
def test_many_values_are_placed_as_a_search_places_them(seed: int, scale: float) -> None:
    """The fast way to a value's bin gives the bin of the plain way, on the edges too."""
    generator = np.random.default_rng(seed)
    edges = np.unique(generator.standard_cauchy(generator.integers(2, 24)) * scale)
    values = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])
    wild = [np.nan, 1e308, -1e308]
    values = np.concatenate([values, generator.standard_cauchy(200) * scale, wild])
    absent = np.isnan(values)
    placed = place_in_edges(edges, values, absent)
    expected = np.searchsorted(edges, values, side="right")
    assert (placed[~absent] == expected[~absent]).all()
