"""Small models of every family, and the brute force that their explanations are held to."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from core.engine import TableEngine

FEATURES = 5
CODES = [0.0, 1.0, 2.0, 3.0]


def make_model(family: str, tables: dict[str, Any] | None, **changes: Any) -> bytes:
    """Write a `model.json` around tables."""
    document: dict[str, Any] = {
        "format": 1,
        "task": "binary",
        "family": family,
        "classes": ["no", "yes"],
        "positive": 1,
        "threshold": 0.5,
        "features": [f"f{i}" for i in range(FEATURES)],
        "columns": [f"f{i}" for i in range(FEATURES)],
        "baseline": [[0.1, -0.2, 0.0, 1.0, None]],
        "tables": tables,
    }
    return json.dumps(document | changes).encode()


# Features 0 to 2 are numbers, 3 is a code, 4 is both.
NUMBER = st.one_of(st.floats(-2, 2), st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.just(math.nan))
CODE = st.sampled_from([*CODES, 4.0, math.nan])
VECTOR = st.tuples(NUMBER, NUMBER, NUMBER, CODE, st.one_of(CODE, NUMBER)).map(list)


@st.composite
def trees(draw: st.DrawFn, outputs: int = 1, vector: bool = False) -> dict[str, Any]:
    """Draw a small ensemble with every kind of test."""
    table: dict[str, Any] = {
        name: [] for name in ("feature", "test", "value", "right", "roots", "outputs", "sets")
    }
    leaves: list[list[float]] = []
    weight = st.floats(-3, 3)

    def add(depth: int) -> None:
        here = len(table["feature"])
        for name in ("feature", "test", "value", "right"):
            table[name].append(0)
        if depth == 0 or (draw(st.booleans()) and depth < 3):
            table["feature"][here] = -1
            if vector:
                leaves.append([draw(weight) for _ in range(outputs)])
                table["value"][here] = len(leaves) - 1
            else:
                table["value"][here] = draw(weight)
            return
        feature = draw(st.integers(0, FEATURES - 1))
        kinds = {3: [2, 3], 4: [0, 1, 2, 3]}.get(feature, [0, 1])
        test = draw(st.sampled_from(kinds))
        table["feature"][here], table["test"][here] = feature, test
        if test < 2:
            table["value"][here] = draw(st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]))
        else:
            table["value"][here] = len(table["sets"])
            table["sets"].append(draw(st.lists(st.sampled_from(CODES), max_size=3, unique=True)))
        add(depth - 1)
        table["right"][here] = len(table["feature"])
        add(depth - 1)

    for output in range(1 if vector else outputs):
        for _ in range(draw(st.integers(1, 3))):
            table["roots"].append(len(table["feature"]))
            table["outputs"].append(output)
            add(4)
    table["leaves"] = leaves if vector else None
    return table


def walk(table: dict[str, Any], root: int, vector: Sequence[float]) -> Any:
    """Answer one tree by the definition of its tests."""
    node = root
    while table["feature"][node] >= 0:
        value, test = vector[table["feature"][node]], table["test"][node]
        if math.isnan(value):
            holds = test in (1, 3)
        elif test < 2:
            holds = value <= table["value"][node]
        else:
            holds = value in table["sets"][table["value"][node]]
        node = node + 1 if holds else table["right"][node]
    value = table["value"][node]
    return table["leaves"][value] if table["leaves"] is not None else value


def brute_force(
    score: Callable[[list[float]], list[float]],
    vector: list[float],
    baseline: list[float],
    players: list[list[int]],
) -> list[list[float]]:
    """Average each player's contribution over all coalitions, 2^k of them."""
    count = len(players)

    def mixed(members: frozenset[int]) -> list[float]:
        row = list(baseline)
        for player in members:
            for feature in players[player]:
                row[feature] = vector[feature]
        return score(row)

    subsets = [
        frozenset(c) for r in range(count + 1) for c in itertools.combinations(range(count), r)
    ]
    worth = {subset: mixed(subset) for subset in subsets}
    outputs = len(worth[frozenset()])
    found = [[0.0] * count for _ in range(outputs)]
    for player in range(count):
        for subset in subsets:
            if player in subset:
                continue
            weight = (
                math.factorial(len(subset))
                * math.factorial(count - len(subset) - 1)
                / math.factorial(count)
            )
            joined = worth[subset | {player}]
            for k in range(outputs):
                found[k][player] += weight * (joined[k] - worth[subset][k])
    return found


def assert_explained(engine: TableEngine, vector: list[float], players: list[list[int]]) -> None:
    """Compare an explanation with brute force on the margins, and check that it adds up."""
    explanation = engine.explain(vector)
    baseline = list(engine.header.baseline[0])
    expected = brute_force(engine.margins, vector, baseline, players)
    margins, bases = engine.margins(vector), engine.margins(baseline)
    for k, row in enumerate(explanation.contributions):
        assert explanation.base[k] == bases[k]
        assert math.isclose(
            explanation.base[k] + math.fsum(row), margins[k], rel_tol=1e-12, abs_tol=1e-12
        )
        assert row == pytest.approx(expected[k], rel=1e-12, abs=1e-12)


ALONE = [[i] for i in range(FEATURES)]


def linear_terms(outputs: int) -> list[dict[str, Any]]:
    """Describe numbers, a code and a column that is both."""
    spread = [0.5 + k for k in range(outputs)]
    none: dict[str, Any] = {"codes": [], "values": []}
    terms: list[dict[str, Any]] = [
        {
            "feature": i,
            "centre": 0.1 * i,
            "weight": [w * (i + 1) for w in spread],
            "other": [0.0] * outputs,
            "missing": [0.25 * w for w in spread],
            **none,
        }
        for i in range(3)
    ]
    listed = {"codes": CODES, "values": [[c * w for w in spread] for c in (3, -1, 4, 1)]}
    rest = {"other": [-0.5] * outputs, "missing": [0.125] * outputs, "centre": 0.0, **listed}
    terms.append({"feature": 3, "weight": None, **rest})
    terms.append({"feature": 4, "weight": spread, **rest})
    return terms


STUMP = {
    "feature": [0, -1, -1],
    "test": [0, 0, 0],
    "value": [0.0, -1.0, 2.0],
    "right": [2, 0, 0],
    "roots": [0],
    "outputs": [0],
    "sets": [],
    "leaves": None,
}


def stump(link: str = "logistic", **extra: Any) -> dict[str, Any]:
    return {"base": [0.5], "divisor": 1.0, "link": link, "trees": STUMP, **extra}
