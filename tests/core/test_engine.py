"""The table engine: scores, decisions, and explanations against brute force."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.engine import Header, TableEngine, decide, load_engine, read_header, softmax
from core.engine import everything as engines
from core.errors import EngineError

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
    forest = engines._Forest(tables)
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


@settings(max_examples=60, deadline=None)
@given(vector=VECTOR, outputs=st.sampled_from([1, 3]))
def test_linear_models_are_scored_and_explained(vector: list[float], outputs: int) -> None:
    """A margin is the sum of its terms by definition; attributions are differences of terms."""
    terms = linear_terms(outputs)
    link = "logistic" if outputs == 1 else "softmax"
    tables = {"base": [0.75] * outputs, "terms": terms, "link": link}
    changes = {} if outputs == 1 else {"task": "multiclass", "classes": ["a", "b", "c"]}
    engine = load_engine(make_model("linear", tables, **changes))
    for k in range(outputs):
        expected = 0.75
        for term in terms:
            value = vector[term["feature"]]
            if math.isnan(value):
                expected += term["missing"][k]
            elif value in term["codes"]:
                expected += term["values"][term["codes"].index(value)][k]
            else:
                slope = term["weight"][k] if term["weight"] else 0.0
                expected += term["other"][k] + slope * (value - term["centre"])
        assert engine.margins(vector)[k] == pytest.approx(expected, rel=1e-13, abs=1e-13)
    assert_explained(engine, vector, ALONE)


@settings(max_examples=60, deadline=None)
@given(vector=VECTOR, shape=st.sampled_from(["unit", "diagonal", "full"]))
def test_distances_are_explained_exactly(vector: list[float], shape: str) -> None:
    """Quadratic forms have a closed form for their Shapley values, interactions included."""
    terms = linear_terms(2)
    width = 10
    precision: Any = [0.5 + 0.1 * i for i in range(width)]
    if shape == "full":
        precision = [
            [1.0 if i == j else 0.3 / (1 + i + j) for j in range(width)] for i in range(width)
        ]
    tables = {
        "base": [0.0, 1.0],
        "factor": -0.5,
        "terms": terms,
        "centres": [[0.1 * i for i in range(width)], [-0.3] * width],
        "shape": shape,
        "precisions": [precision, precision],
        "link": "responsibility",
    }
    clustering = {"task": "clustering", "classes": ["0", "1"], "positive": None}
    engine = load_engine(make_model("distances", tables, **clustering))
    assert_explained(engine, vector, ALONE)
    outputs = engine.score(vector)
    assert outputs[0] == outputs[1:].index(max(outputs[1:]))
    assert math.fsum(outputs[1:]) == pytest.approx(1.0)
    assert decide(engine.header, outputs) == str(int(outputs[0]))


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


@pytest.mark.parametrize(
    ("calibration", "probability", "scale", "factor"),
    [
        ({"method": "sigmoid", "a": [-2.0], "b": [0.5]}, 1 / (1 + math.exp(-4.5)), "log-odds", 2.0),
        ({"method": "temperature", "beta": 0.5}, 1 / (1 + math.exp(-2.5)), "log-odds", 1.0),
        (
            {"method": "isotonic", "x": [[0.0, 2.0, 3.0]], "y": [[0.1, 0.4, 0.8]]},
            0.6,
            "log-odds before calibration",
            1.0,
        ),
    ],
)
def test_calibration_follows_the_margin(
    calibration: dict[str, Any], probability: float, scale: str, factor: float
) -> None:
    """Probabilities come from the margin, and linear calibrations pass attributions on."""
    engine = load_engine(make_model("trees", stump(calibration=calibration)))
    row = [1.0, 0.0, 0.0, 0.0, 0.0]
    assert engine.score(row) == pytest.approx([1 - probability, probability], abs=1e-15)
    engine = load_engine(
        make_model("trees", stump(calibration=calibration), baseline=[[-1.0, 0, 0, 0, 0]])
    )
    explanation = engine.explain(row)
    assert explanation.scale == scale
    assert explanation.contributions[0] == pytest.approx([3.0 * factor, 0, 0, 0, 0])


def test_an_isotonic_curve_is_level_beyond_its_ends() -> None:
    """Margins outside the curve get its end values, and those on a point get the point's."""
    curve = {"method": "isotonic", "x": [[-0.5, 1.0, 2.5]], "y": [[0.2, 0.3, 0.9]]}
    low = load_engine(make_model("trees", stump(calibration=curve)))
    assert low.score([-1.0, 0, 0, 0, 0])[1] == 0.2
    assert low.score([1.0, 0, 0, 0, 0])[1] == 0.9


def test_a_first_class_that_is_positive_is_explained_as_such() -> None:
    """Attributions are about the positive class, whichever position it has."""
    yes = load_engine(make_model("trees", stump(), baseline=[[-1.0, 0, 0, 0, 0]]))
    no = load_engine(make_model("trees", stump(), baseline=[[-1.0, 0, 0, 0, 0]], positive=0))
    row = [1.0, 0, 0, 0, 0]
    assert yes.explain(row).outputs == ("yes",)
    assert no.explain(row).outputs == ("no",)
    assert no.explain(row).base == [-b for b in yes.explain(row).base]
    assert no.explain(row).contributions[0][0] == -yes.explain(row).contributions[0][0]


def test_several_baselines_are_averaged() -> None:
    """With more than one baseline row an attribution is the mean of those against each."""
    rows = [[-1.0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0]]
    engine = load_engine(make_model("trees", stump(), baseline=rows))
    explanation = engine.explain([1.0, 0, 0, 0, 0])
    assert explanation.base == [1.0]
    assert explanation.contributions == [[1.5, 0, 0, 0, 0]]


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


def header(**changes: Any) -> Header:
    values: dict[str, Any] = {
        "task": "binary",
        "family": "trees",
        "classes": ("no", "yes"),
        "positive": 1,
        "threshold": None,
        "features": (),
        "columns": (),
        "baseline": (),
    }
    return Header(**(values | changes))


@pytest.mark.parametrize(
    ("given_header", "outputs", "answer"),
    [
        (header(), [0.5, 0.5], "no"),
        (header(threshold=0.5), [0.5, 0.5], "yes"),
        (header(threshold=0.2), [0.75, 0.25], "yes"),
        (header(threshold=0.2, positive=0), [0.15, 0.85], "yes"),
        (header(threshold=0.2, positive=0), [0.25, 0.75], "no"),
        (header(task="multiclass", classes=("a", "b", "c")), [0.2, 0.5, 0.3], "b"),
        (header(task="regression", classes=()), [3.5], 3.5),
        (header(task="anomaly", classes=()), [0.7], 0.7),
        (header(task="clustering", classes=("x", "y")), [1.0, -4.0, -2.0], "y"),
    ],
)
def test_decisions(given_header: Header, outputs: list[float], answer: str | float) -> None:
    """The answer follows task and threshold."""
    assert decide(given_header, outputs) == answer


def test_margins_without_end_have_an_answer() -> None:
    """No margin overflows: probabilities saturate."""
    assert softmax([1000.0, -1000.0]) == [1.0, 0.0]
    assert softmax([math.inf, 0.0]) == [1.0, 0.0]
    assert engines.expit(-1e9) == 0.0
    assert engines.expit(1e9) == 1.0
    assert engines._answer_exponential([1e4]) == [math.inf]


def test_constants_are_answered_and_explained() -> None:
    """A constant model answers every row alike and credits no column."""
    tables = {"base": [0.3, 0.7], "scale": "probability"}
    engine = load_engine(make_model("constant", tables))
    assert engine.score([0.0] * FEATURES) == [0.3, 0.7]
    explanation = engine.explain([0.0] * FEATURES)
    assert explanation.scale == "probability"
    assert explanation.contributions == [[0.0] * FEATURES] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "format 'list'"),
        (make_model("trees", {}, format=9), "format 9"),
        (make_model("trees", {}), "do not fit together"),
        (make_model("oracle", {"base": [1.0]}), "do not fit together"),
        (make_model("none", None), "model.onnx"),
        (b'{"format": 1}', "header is incomplete"),
    ],
)
def test_broken_models_are_refused(text: bytes, message: str) -> None:
    """A file that is no model, or no tables, is one clear error."""
    with pytest.raises(EngineError, match=message):
        load_engine(text)


def test_explaining_needs_a_baseline_and_the_right_width() -> None:
    """What cannot be explained is refused with its reason."""
    with pytest.raises(EngineError, match="without a baseline"):
        load_engine(make_model("trees", stump(), baseline=[])).explain([0.0] * FEATURES)
    with pytest.raises(EngineError, match="3 features"):
        load_engine(make_model("trees", stump())).explain([0.0] * 3)


def test_the_header_alone_reads_models_without_tables() -> None:
    """What the ONNX engine needs to decide is there whatever the family."""
    read = read_header(make_model("none", None))
    assert (read.task, read.classes, read.threshold) == ("binary", ("no", "yes"), 0.5)
    assert math.isnan(read.baseline[0][4])


def test_predicting_imports_no_numpy() -> None:
    """The engine runs on the standard library and this project's errors alone."""
    code = (
        "import sys, core.engine; "
        "print(sorted({'numpy', 'sklearn', 'pydantic', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
