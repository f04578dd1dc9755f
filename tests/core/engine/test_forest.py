"""Forests: leaves by masks and by walking, explanations against brute force."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings

from core.engine import load_engine
from core.engine.forest import Forest
from tests.core.engine.models import (
    ALONE,
    VECTOR,
    assert_explained,
    make_model,
    trees,
    walk,
)


@settings(max_examples=80, deadline=None)
@given(table=trees(), vector=VECTOR)
def test_masks_and_walks_reach_the_same_leaves(table: dict[str, Any], vector: list[float]) -> None:
    """Every row, missing values and unseen codes included, gets the leaves that its tests name."""
    tables = {"base": [0.25], "divisor": 2.0, "link": "logistic", "trees": table}
    engine = load_engine(make_model("trees", tables))
    total = 0.25
    for root in table["roots"]:
        total += walk(table, root, vector)
    assert engine.margins(vector) == [total / 2.0]
    forest = Forest(tables)
    assert forest._margins_walked(vector) == [total / 2.0]
    assert engine.score(vector)[1] == pytest.approx(1 / (1 + math.exp(-total / 2.0)), abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(table=trees(), vector=VECTOR)
def test_trees_are_explained_exactly(table: dict[str, Any], vector: list[float]) -> None:
    """Attributions are the Shapley values against the baseline, for every kind of split."""
    tables = {"base": [0.5], "divisor": 3.0, "link": "logistic", "trees": table}
    assert_explained(load_engine(make_model("trees", tables)), vector, ALONE)


@settings(max_examples=25, deadline=None)
@given(table=trees(outputs=3), rows=trees(outputs=3, vector=True), vector=VECTOR)
def test_several_outputs_are_scored_and_explained(
    table: dict[str, Any], rows: dict[str, Any], vector: list[float]
) -> None:
    """Each class has its own margin and attributions, from trees of its own or from shared ones."""
    multiclass = {"task": "multiclass", "classes": ["a", "b", "c"], "positive": None}
    for trees_of, link in ((table, "softmax"), (rows, "proportion")):
        tables = {"base": [0.0, 0.5, 1.0], "divisor": 2.0, "link": link, "trees": trees_of}
        engine = load_engine(make_model("trees", tables, **multiclass))
        expected = [0.0, 0.5, 1.0]
        for root, output in zip(trees_of["roots"], trees_of["outputs"], strict=True):
            leaf = walk(trees_of, root, vector)
            for k in range(3):
                if trees_of["leaves"] is not None:
                    expected[k] += leaf[k]
                elif k == output:
                    expected[k] += leaf
        assert engine.margins(vector) == [value / 2.0 for value in expected]
        assert_explained(engine, vector, ALONE)
        assert engine.explain(vector).outputs == ("a", "b", "c")


@settings(max_examples=40, deadline=None)
@given(table=trees(), vector=VECTOR)
def test_parts_of_one_column_are_one_player(table: dict[str, Any], vector: list[float]) -> None:
    """Features that come from one column get one exact attribution, not a sum of theirs."""
    tables = {"base": [0.0], "divisor": 1.0, "link": "logistic", "trees": table}
    columns = ["when", "f1", "when", "f3", "when"]
    engine = load_engine(make_model("trees", tables, columns=columns))
    assert engine.explain(vector).columns == ("when", "f1", "f3")
    assert_explained(engine, vector, [[0, 2, 4], [1], [3]])


def test_wide_forests_are_walked() -> None:
    """A tree of more leaves than a word has bits is answered all the same."""
    count = 300
    table: dict[str, Any] = {
        "feature": [], "test": [], "value": [], "right": [],
        "roots": [0], "outputs": [0], "sets": [], "leaves": None,
    }  # fmt: skip
    for i in range(count):
        table["feature"] += [0, -1]
        table["test"] += [0, 0]
        table["value"] += [float(i), float(i)]
        table["right"] += [2 * i + 2, 0]
    for name, value in (("feature", -1), ("test", 0), ("value", -1.0), ("right", 0)):
        table[name].append(value)
    tables = {"base": [0.0], "divisor": 1.0, "link": "identity", "trees": table}
    engine = load_engine(make_model("trees", tables, task="regression", classes=[]))
    for value in (0.5, 10.0, 298.5):
        assert engine.score([value, 0, 0, 0, 0]) == [math.ceil(value)]
    assert engine.score([math.nan, 0, 0, 0, 0]) == [-1.0]
    assert math.fsum(engine.explain([250.0, 0, 0, 0, 0]).contributions[0]) == 249.0
