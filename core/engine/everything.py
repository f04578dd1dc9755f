"""Scores and explains encoded rows from `model.json`, in plain Python.

A model that training could fold into tables (linear models, tree ensembles, distances to centres,
constants) is answered here from those tables alone, without numpy and without scikit-learn. The
layout of `model.json`::

    {"format": 1, "task", "family": "linear|trees|distances|constant|none", "classes": [...],
     "positive": index | null, "threshold": float | null, "features": [name of each position],
     "columns": [column of each position], "baseline": [[encoded row], ...], "tables": {...} | null}

`tables` of every family but `constant` gives *margins*: one number (log-odds, a value, an anomaly's
depth) or one a class or cluster. `link` turns margins into outputs, after `calibration` if there is
one. Three kinds of tables:

- `linear`: a margin is `base` plus one *term* a feature, a function of that feature's value alone;
- `trees`: a margin is (`base` plus the sum of one leaf a tree) / `divisor`, over thresholds on the
  encoded vector itself: whatever preprocessing the pipeline had is folded into them;
- `distances`: terms give coordinates, and a margin is `constant + factor * Q`, Q the quadratic
  form of the coordinates around a centre.

How trees are evaluated: every leaf of every tree is one bit of a long integer. For each feature the
integers of the leaves that a value rules out are worked out at load, one for each interval between
neighbouring thresholds, so that scoring a row is a binary search and a bitwise *or* per feature,
after which exactly one bit a tree is left (after Lucchese et al., "QuickScorer", SIGIR 2015).
Where that would take too much memory (deep forests), each tree is walked from its root instead.
Both add the leaves in scikit-learn's order, so that the sum has the same bits.
"""

from __future__ import annotations

import json
import math
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
from operator import getitem, or_
from typing import Any, Protocol

from core.errors import EngineError

FORMAT = 1
# Names in model.onnx: the input (double, rows x features) and the output (double, rows x outputs).
ONNX_INPUT = "vector"
ONNX_OUTPUT = "outputs"

# Tests of a split, in `tables["trees"]["test"]`; the first child is taken where the test holds.
AT_MOST, AT_MOST_OR_MISSING, AMONG, AMONG_OR_MISSING = range(4)

# More than this, and a forest is walked instead of looked up. A Lambda of 512 MB has room for it.
MASK_BYTES = 48 * 2**20
MASK_LEAVES = 64

# scikit-learn's `_convert_to_logits` adds it to a probability before the logarithm.
_LOG_EPSILON = 1e-12

Vector = Sequence[float]


@dataclass(frozen=True, slots=True)
class Header:
    """What `model.json` says about a model besides its tables; enough to decide on its outputs."""

    task: str
    family: str
    classes: tuple[str, ...]
    positive: int | None
    threshold: float | None
    features: tuple[str, ...]
    columns: tuple[str, ...]
    baseline: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the columns moved one row's margins away from the baseline's.

    `base[k] + sum(contributions[k])` is the margin `outputs[k]` of the row, in units of `scale`, to
    float64 rounding. `contributions[k]` has one number for each of `columns`: its Shapley value in
    the game where a column is either the row's or the baseline's (Lundberg et al., "From local
    explanations to global understanding with explainable AI for trees", 2020, interventional).
    """

    scale: str
    outputs: tuple[str, ...]
    columns: tuple[str, ...]
    base: list[float]
    contributions: list[list[float]]


# Of one feature: its place, the mask where it is missing, cuts in ascending order, the mask of each
# interval between them (at most the first cut, at most the second, ...), and those of listed codes.
Lookup = tuple[int, int, list[float], list[int], dict[float, int] | None]


@dataclass(frozen=True, slots=True)
class MaskedForest:
    """A forest as bit masks, for those who score many rows at once and have numpy to do it.

    A mask is one word a tree, of `widths` bits, little-endian and in the order of the trees; its
    bits are the leaves that a value rules out. Of the bits in `every`, the masks of a row's values
    leave one in each word; counted from 1, that is the leaf's place in `leaves` of its tree. A leaf
    is a number for the margin that `outputs` says, or a list of one number a margin. A margin is
    `base`, plus the leaves one by one, divided by `divisor`.
    """

    lookups: list[Lookup]
    widths: list[int]
    every: int
    leaves: list[list[Any]]
    outputs: list[int]
    base: list[float]
    divisor: float


class _Margins(Protocol):
    """What each family of tables can do."""

    def margins(self, vector: Vector) -> list[float]: ...

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]: ...


def read_header(model_json: bytes | str) -> Header:
    """Read the part of `model.json` that every engine needs.

    Raises EngineError if it is not a model of this format.
    """
    return _header(_parse(model_json))


def decide(header: Header, outputs: Sequence[float]) -> str | float:
    """Turn outputs into the answer: a class, a cluster's name, a value or an anomaly score.

    A binary model answers its positive class at or above the threshold; without a threshold, and
    with more classes, the most probable class (the first of equals) is the answer.
    """
    if header.task in ("regression", "anomaly"):
        return outputs[0]
    if header.task == "clustering":
        return header.classes[int(outputs[0])]
    if header.threshold is not None and header.positive is not None and len(outputs) == 2:
        positive = header.positive
        return header.classes[positive if outputs[positive] >= header.threshold else 1 - positive]
    return header.classes[outputs.index(max(outputs))]


def load_engine(model_json: bytes | str) -> TableEngine:
    """Build the engine of a model; `model_json` is the file `model.json` of its bundle.

    Raises EngineError if the model has no tables or they do not fit together.
    """
    document = _parse(model_json)
    header = _header(document)
    tables = document.get("tables")
    if not isinstance(tables, dict):
        raise EngineError(
            "this model has no tables: it can only be served from model.onnx; "
            'set [serving] engine = "onnx" or "auto" in project.toml'
        )
    try:
        return TableEngine(header, tables)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise EngineError(f"model.json: its tables do not fit together ({error!r})") from error


class TableEngine:
    """A model as a function of the encoded vector, and its exact explanations."""

    def __init__(self, header: Header, tables: dict[str, Any]) -> None:
        """Prepare the tables; load_engine is the way to call it."""
        self.header = header
        self._width = len(header.features)
        self._names = tuple(dict.fromkeys(header.columns))
        order = {name: index for index, name in enumerate(self._names)}
        self._players = [order[name] for name in header.columns]
        self._margins = _load_margins(header.family, tables)
        self.margins: Callable[[Vector], list[float]] = self._margins.margins
        self._link: str = tables.get("link", "identity")
        calibration = tables.get("calibration")
        self.answer = _load_answer(self._link, calibration)
        self._scale, self._stretch = _load_scale(self._link, calibration, tables)
        self._bases: list[list[float]] | None = None

    def score(self, vector: Vector) -> list[float]:
        """Give the outputs of one encoded row, in the order of `Contract.outputs`."""
        return self.answer(self.margins(vector))

    def score_many(self, vectors: Iterable[Vector]) -> list[list[float]]:
        """Give the outputs of many encoded rows."""
        margins, answer = self.margins, self.answer
        return [answer(margins(vector)) for vector in vectors]

    @property
    def masks(self) -> MaskedForest | None:
        """Give the trees as masks; None for other families, and for trees too large for them."""
        return self._margins.masks if isinstance(self._margins, _Forest) else None

    def explain(self, vector: Vector) -> Explanation:
        """Attribute one row's margins to its columns, against the model's baseline.

        With several baseline rows the attributions are averaged over them.
        Raises EngineError if the model carries no baseline or the row has another width.
        """
        rows = self.header.baseline
        if not rows:
            raise EngineError("this model was exported without a baseline: it cannot explain")
        if len(vector) != self._width:
            raise EngineError(f"a row has {len(vector)} features, the model {self._width}")
        if self._bases is None:
            self._bases = [self.margins(row) for row in rows]
        count = len(self._names)
        outputs = len(self._bases[0])
        base = [math.fsum(b[k] for b in self._bases) / len(rows) for k in range(outputs)]
        found = [self._margins.attribute(vector, row, self._players, count) for row in rows]
        contributions = found[0]
        if len(rows) > 1:
            contributions = [
                [math.fsum(f[k][p] for f in found) / len(rows) for p in range(count)]
                for k in range(outputs)
            ]
        if self._stretch is not None:
            base = [
                b * factor + shift for b, (factor, shift) in zip(base, self._stretch, strict=True)
            ]
            contributions = [
                [c * factor for c in row]
                for row, (factor, _) in zip(contributions, self._stretch, strict=True)
            ]
        if self.header.task == "binary" and self.header.positive == 0 and outputs == 1:
            base = [1.0 - base[0] if self._scale == "probability" else -base[0]]
            contributions = [[-c for c in contributions[0]]]
        return Explanation(self._scale, self._explained(outputs), self._names, base, contributions)

    def _explained(self, outputs: int) -> tuple[str, ...]:
        """Name what the margins are about."""
        header = self.header
        if header.classes and outputs == len(header.classes):
            return header.classes
        if header.task == "binary":
            return (header.classes[header.positive if header.positive is not None else -1],)
        return ("score",) if header.task == "anomaly" else ("value",)


def _parse(model_json: bytes | str) -> dict[str, Any]:
    try:
        document = json.loads(model_json)
    except ValueError as error:
        raise EngineError(f"model.json is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise EngineError(f"model.json has format {found!r}; this release reads {FORMAT}")
    return document


def _header(document: dict[str, Any]) -> Header:
    try:
        features = tuple(document["features"])
        return Header(
            task=document["task"],
            family=document["family"],
            classes=tuple(document["classes"]),
            positive=document.get("positive"),
            threshold=document.get("threshold"),
            features=features,
            columns=tuple(document.get("columns") or features),
            baseline=tuple(
                tuple(math.nan if v is None else v for v in row) for row in document["baseline"]
            ),
        )
    except (KeyError, TypeError) as error:
        raise EngineError(f"model.json: its header is incomplete ({error!r})") from error


def _load_margins(family: str, tables: dict[str, Any]) -> _Margins:
    if family == "constant":
        return _Constant(tables["base"])
    if family == "linear":
        return _Linear(tables)
    if family == "trees":
        return _Forest(tables)
    if family == "distances":
        return _Distances(tables)
    raise ValueError(f"unknown family {family!r}")


# Margins to outputs.


def expit(margin: float) -> float:
    """Give the logistic function, without overflow."""
    if margin >= 0.0:
        return 1.0 / (1.0 + math.exp(-margin))
    power = math.exp(margin)
    return power / (1.0 + power)


def softmax(margins: Sequence[float]) -> list[float]:
    """Give probabilities proportional to the exponentials of the margins."""
    top = max(margins)
    if math.isinf(top):
        powers = [float(margin == top) for margin in margins]
    else:
        powers = [math.exp(margin - top) for margin in margins]
    total = sum(powers)
    return [power / total for power in powers]


def _load_answer(
    link: str, calibration: dict[str, Any] | None
) -> Callable[[list[float]], list[float]]:
    """Choose the function from margins to outputs."""
    if calibration is None:
        return _LINKS[link]
    method = calibration["method"]
    if method == "temperature":
        return _load_temperature(link, calibration["beta"])
    if method == "sigmoid":
        platt = list(zip(calibration["a"], calibration["b"], strict=True))

        def calibrate(margins: list[float]) -> list[float]:
            return [expit(-(a * m + b)) for m, (a, b) in zip(margins, platt, strict=True)]

    elif method == "isotonic":
        curves = [
            _load_curve(x, y) for x, y in zip(calibration["x"], calibration["y"], strict=True)
        ]

        def calibrate(margins: list[float]) -> list[float]:
            return [curve(m) for m, curve in zip(margins, curves, strict=True)]

    else:
        raise ValueError(f"unknown calibration {method!r}")
    return lambda margins: _share(calibrate(margins))


def _share(scores: list[float]) -> list[float]:
    """Turn one-versus-rest probabilities into a distribution, as CalibratedClassifierCV does."""
    if len(scores) == 1:
        return [1.0 - scores[0], scores[0]]
    total = sum(scores)
    if total == 0.0:
        return [1.0 / len(scores)] * len(scores)
    return [score / total for score in scores]


def _load_curve(x: list[float], y: list[float]) -> Callable[[float], float]:
    """Interpolate between the points of an isotonic regression, level beyond its ends."""
    last = len(x) - 1

    def curve(margin: float) -> float:
        if margin >= x[last]:
            return y[last]
        if margin <= x[0]:
            return y[0]
        i = bisect_left(x, margin)
        if x[i] == margin:
            return y[i]
        slope = (y[i] - y[i - 1]) / (x[i] - x[i - 1])
        return slope * (margin - x[i - 1]) + y[i - 1]

    return curve


def _load_temperature(link: str, beta: float) -> Callable[[list[float]], list[float]]:
    def calibrate(margins: list[float]) -> list[float]:
        if link == "proportion":
            shares = margins if len(margins) > 1 else [1.0 - margins[0], margins[0]]
            return softmax([beta * math.log(share + _LOG_EPSILON) for share in shares])
        logits = margins if len(margins) > 1 else [-margins[0], margins[0]]
        return softmax([beta * logit for logit in logits])

    return calibrate


def _answer_logistic(margins: list[float]) -> list[float]:
    probability = expit(margins[0])
    return [1.0 - probability, probability]


def _answer_proportion(margins: list[float]) -> list[float]:
    return margins if len(margins) > 1 else [1.0 - margins[0], margins[0]]


def _answer_exponential(margins: list[float]) -> list[float]:
    try:
        return [math.exp(margins[0])]
    except OverflowError:
        return [math.inf]


def _answer_isolation(margins: list[float]) -> list[float]:
    return [2.0 ** margins[0]]


def _answer_nearest(margins: list[float]) -> list[float]:
    """Name the nearest centre, then minus the distance to each."""
    return [float(margins.index(max(margins))), *(-math.sqrt(-m) for m in margins)]


def _answer_responsibility(margins: list[float]) -> list[float]:
    """Name the likeliest component, then the probability of each."""
    return [float(margins.index(max(margins))), *softmax(margins)]


_LINKS: dict[str, Callable[[list[float]], list[float]]] = {
    "identity": lambda margins: margins,
    "logistic": _answer_logistic,
    "softmax": softmax,
    "proportion": _answer_proportion,
    "exponential": _answer_exponential,
    "isolation": _answer_isolation,
    "nearest": _answer_nearest,
    "responsibility": _answer_responsibility,
}

_SCALES = {
    "identity": "value",
    "logistic": "log-odds",
    "softmax": "log-odds",
    "proportion": "probability",
    "exponential": "logarithm of the value",
    "isolation": "base-2 logarithm of the score",
    "nearest": "minus the squared distance",
    "responsibility": "log density",
}


def _load_scale(
    link: str, calibration: dict[str, Any] | None, tables: dict[str, Any]
) -> tuple[str, list[tuple[float, float]] | None]:
    """Name the scale of explanations, and the factor and shift of each margin that lead to it.

    Sigmoid and temperature calibration are linear in the margin, so attributions pass through them;
    isotonic calibration is not, and its explanations are those of the score that it is given.
    """
    scale = str(tables.get("scale") or _SCALES[link])
    if calibration is None:
        return scale, None
    method = calibration["method"]
    if method == "sigmoid":
        return "log-odds", [
            (-a, -b) for a, b in zip(calibration["a"], calibration["b"], strict=True)
        ]
    if method == "temperature" and link == "logistic":
        return "log-odds", [(2.0 * calibration["beta"], 0.0)]
    if method == "temperature" and link == "softmax":
        return "log-odds", [(calibration["beta"], 0.0)] * len(tables["base"])
    return f"{scale} before calibration", None


# Constants.


class _Constant:
    """A model that answers every row alike."""

    def __init__(self, base: list[float]) -> None:
        self._base = base

    def margins(self, vector: Vector) -> list[float]:
        return list(self._base)

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        return [[0.0] * count for _ in self._base]


# Linear models.


class _Term:
    """A vector-valued function of one feature.

    `missing` where the feature is; the value listed for its code where one is;
    `other + weight * (value - centre)` elsewhere.
    """

    __slots__ = ("centre", "codes", "feature", "missing", "other", "weight")

    def __init__(self, table: dict[str, Any]) -> None:
        self.feature: int = table["feature"]
        self.centre: float = table["centre"]
        self.weight: list[float] | None = table["weight"]
        self.other: list[float] = table["other"]
        self.missing: list[float] = table["missing"]
        self.codes: dict[float, list[float]] = dict(
            zip(table["codes"], table["values"], strict=True)
        )

    def __call__(self, vector: Vector) -> list[float]:
        value = vector[self.feature]
        if value != value:
            return self.missing
        found = self.codes.get(value)
        if found is not None:
            return found
        if self.weight is None:
            return self.other
        offset = value - self.centre
        return [o + w * offset for o, w in zip(self.other, self.weight, strict=True)]


class _Linear:
    """Sums of one term a feature."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self._base: list[float] = tables["base"]
        self._terms = [_Term(table) for table in tables["terms"]]
        if len(self._base) == 1:
            # One margin: plain tuples are several times faster than calls.
            self._numbers = [
                (t.feature, t.centre, t.weight[0], t.other[0], t.missing[0])
                for t in self._terms
                if t.weight is not None and not t.codes
            ]
            self._codes = [
                (t.feature, {c: v[0] for c, v in t.codes.items()}.get, t.other[0], t.missing[0])
                for t in self._terms
                if t.weight is None
            ]
            self._mixed = [t for t in self._terms if t.weight is not None and t.codes]

    def margins(self, vector: Vector) -> list[float]:
        if len(self._base) > 1:
            totals = list(self._base)
            for term in self._terms:
                for k, value in enumerate(term(vector)):
                    totals[k] += value
            return totals
        total = self._base[0]
        for feature, centre, weight, other, missing in self._numbers:
            value = vector[feature]
            total += missing if value != value else other + weight * (value - centre)
        for feature, find, other, missing in self._codes:
            value = vector[feature]
            total += missing if value != value else find(value, other)
        for term in self._mixed:
            total += term(vector)[0]
        return [total]

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        found = [[0.0] * count for _ in self._base]
        for term in self._terms:
            player = players[term.feature]
            for k, (mine, theirs) in enumerate(zip(term(vector), term(baseline), strict=True)):
                found[k][player] += mine - theirs
        return found


# Distances: k-means, Gaussian mixtures, robust covariance.


class _Distances:
    """Quadratic forms around centres, of coordinates that the terms give."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self._terms = [_Term(table) for table in tables["terms"]]
        self._centres: list[list[float]] = tables["centres"]
        self._constants: list[float] = tables["base"]
        self._factor: float = tables["factor"]
        self._precisions: list[Any] = tables["precisions"]
        # Of each margin: "unit" (identity), "diagonal" or "full" precision.
        self._shape: str = tables["shape"]

    def _coordinates(self, vector: Vector) -> list[float]:
        return [value for term in self._terms for value in term(vector)]

    def _pulls(self, k: int, offsets: list[float]) -> list[float]:
        """Multiply offsets from centre k by its precision."""
        if self._shape == "unit":
            return offsets
        precision = self._precisions[k]
        if self._shape == "diagonal":
            return [p * o for p, o in zip(precision, offsets, strict=True)]
        return [sum(map(float.__mul__, row, offsets)) for row in precision]

    def margins(self, vector: Vector) -> list[float]:
        at = self._coordinates(vector)
        found = []
        for k, centre in enumerate(self._centres):
            offsets = [a - c for a, c in zip(at, centre, strict=True)]
            form = sum(map(float.__mul__, offsets, self._pulls(k, offsets)))
            found.append(self._constants[k] + self._factor * form)
        return found

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        """Use the closed form for quadratics: half of each interaction goes to each side.

        With d = x - b and P the precision, the Shapley value of coordinate i is
        d_i (P(x - c) + P(b - c))_i, and coordinates of one column add up.
        """
        mine, theirs = self._coordinates(vector), self._coordinates(baseline)
        owners = [players[t.feature] for t in self._terms for _ in t.other]
        found = []
        for k, centre in enumerate(self._centres):
            here = self._pulls(k, [a - c for a, c in zip(mine, centre, strict=True)])
            there = self._pulls(k, [b - c for b, c in zip(theirs, centre, strict=True)])
            row = [0.0] * count
            for i, owner in enumerate(owners):
                row[owner] += self._factor * (mine[i] - theirs[i]) * (here[i] + there[i])
            found.append(row)
        return found


# Trees.

# A split is (position in the widened vector, threshold, child where at most, child elsewhere); a
# leaf is its value, or a list of one value a class.
_Node = Any


class _Forest:
    """Sums of leaves, over trees whose tests read the encoded vector."""

    def __init__(self, tables: dict[str, Any]) -> None:
        trees = tables["trees"]
        self._feature: list[int] = trees["feature"]
        self._test: list[int] = trees["test"]
        self._value: list[float] = trees["value"]
        self._other: list[int] = trees["right"]
        self._roots: list[int] = trees["roots"]
        self._outputs: list[int] = trees["outputs"]
        self._sets: list[frozenset[float]] = [frozenset(codes) for codes in trees["sets"]]
        self._rows: list[list[float]] | None = trees["leaves"]
        self._base: list[float] = tables["base"]
        self._divisor: float = tables["divisor"]
        if self._rows is None and sorted(self._outputs) != self._outputs:
            raise ValueError("trees are not in the order of their outputs")
        # Where the trees of each margin begin and end.
        self._spans = [
            (bisect_left(self._outputs, k), bisect_left(self._outputs, k + 1))
            for k in range(len(self._base))
        ]
        self._nodes: list[_Node] | None = None
        self._prepared: dict[tuple[float, ...], list[_Node]] = {}
        masks = _Masks.build(self)
        self.masks = (
            None if masks is None else masks.describe(self._outputs, self._base, self._divisor)
        )
        self.margins: Callable[[Vector], list[float]] = (
            self._margins_walked if masks is None else self._margins_from(masks)
        )

    # Both ways of finding leaves end here.

    def _margins_from(self, masks: _Masks) -> Callable[[Vector], list[float]]:
        """Bind the lookup of leaves by masks to the sum that this forest needs."""
        find, divisor = masks.find, self._divisor
        if self._rows is None and len(self._base) == 1:
            base = self._base[0]

            def margins(vector: Vector) -> list[float]:
                total = base
                for leaf in find(vector):
                    total += leaf
                return [total / divisor]

            return margins
        return lambda vector: self._add(list(find(vector)))

    def _margins_walked(self, vector: Vector) -> list[float]:
        if self._nodes is None:
            self._nodes = self._link(None, ())
        x = self._plan.widen(vector)
        leaves: list[Any] = []
        found = leaves.append
        for node in self._nodes:
            while node.__class__ is tuple:
                feature, threshold, at_most, above = node
                node = at_most if x[feature] <= threshold else above
            found(node)
        return self._add(leaves)

    def _add(self, leaves: list[Any]) -> list[float]:
        """Add leaves one by one, as scikit-learn does (`sum` compensates rounding from 3.12 on)."""
        divisor = self._divisor
        totals = []
        if self._rows is not None:
            for base, column in zip(self._base, zip(*leaves, strict=True), strict=True):
                total = base
                for leaf in column:
                    total += leaf
                totals.append(total / divisor)
            return totals
        for base, (start, stop) in zip(self._base, self._spans, strict=True):
            total = base
            for leaf in leaves[start:stop]:
                total += leaf
            totals.append(total / divisor)
        return totals

    def leaf(self, node: int) -> Any:
        """Give the value of a leaf, or its list of values."""
        value = self._value[node]
        return value if self._rows is None else self._rows[int(value)]

    @cached_property
    def _plan(self) -> _Plan:
        return _Plan(self)

    @cached_property
    def _depth(self) -> int:
        """Count the splits on the longest path."""
        depth = [0] * len(self._feature)
        for i in range(len(depth) - 1, -1, -1):
            if self._feature[i] >= 0:
                depth[i] = 1 + max(depth[i + 1], depth[self._other[i]])
        return max(depth, default=0)

    def _link(self, baseline: Vector | None, players: Sequence[int]) -> list[_Node]:
        """Link the trees as nested tuples and give their roots.

        With a baseline, a split also has its side (does the test hold?) and its column's player.
        """
        plan = self._plan
        b = None if baseline is None else plan.widen(baseline)
        owners = [players[feature] for feature in plan.owners] if players else []
        nodes: list[_Node] = [None] * len(self._feature)
        for i in range(len(nodes) - 1, -1, -1):
            if self._feature[i] < 0:
                nodes[i] = self.leaf(i)
                continue
            position = plan.positions[i]
            threshold = self._value[i] if self._test[i] <= AT_MOST_OR_MISSING else 0.5
            split = (position, threshold, nodes[i + 1], nodes[self._other[i]])
            if b is not None:
                split += (b[position] <= threshold, owners[position])  # type: ignore[assignment]
            nodes[i] = split
        return [nodes[root] for root in self._roots]

    def attribute(
        self, vector: Vector, baseline: tuple[float, ...], players: Sequence[int], count: int
    ) -> list[list[float]]:
        """Give exact interventional Shapley values against one baseline row.

        Only splits where the row and the baseline part matter. Below such a split, a leaf on the
        row's side counts for its column and a leaf on the baseline's side against it, with the
        weight of a player among a + c of whom a must be the row's and c the baseline's.
        """
        if baseline not in self._prepared:
            self._prepared[baseline] = self._link(baseline, players)
        roots = self._prepared[baseline]
        x = self._plan.widen(vector)
        weights = _shapley_weights(min(count, self._depth) + 1)
        if self._rows is None:
            found = []
            for start, stop in self._spans:
                credit = [0.0] * count
                _attribute_trees(roots[start:stop], x, credit, weights, None)
                found.append(credit)
        else:
            found = []
            for k in range(len(self._base)):
                credit = [0.0] * count
                _attribute_trees(roots, x, credit, weights, k)
                found.append(credit)
        return [[value / self._divisor for value in credit] for credit in found]


class _Plan:
    """Widens a vector so that every test of a forest reads `x[position] <= threshold`.

    Missing values that take the first child become minus infinity at a position of their own; a
    test on a set of codes becomes 0 (a member) or 1, compared with 0.5. `owners` has the feature
    that each position comes from, `positions` the position that each node reads.
    """

    def __init__(self, forest: _Forest) -> None:
        width = 1 + max(forest._feature, default=-1)
        lows: dict[int, int] = {}
        members: dict[tuple[int, int, bool], int] = {}
        places = []
        nodes = list(zip(forest._feature, forest._test, forest._value, strict=True))
        for feature, test, value in nodes:
            if feature < 0 or test == AT_MOST:
                places.append(feature)
            elif test == AT_MOST_OR_MISSING:
                places.append(width + lows.setdefault(feature, len(lows)))
            else:
                key = (feature, int(value), test == AMONG_OR_MISSING)
                places.append(-2 - members.setdefault(key, len(members)))
        # Sets come last, after as many positions as there turned out to be.
        after = width + len(lows)
        self.positions = [after - 2 - place if place < -1 else place for place in places]
        self.owners = [*range(width), *lows, *(feature for feature, _, _ in members)]
        self._width = width
        self._lows = list(lows)
        self._members = [(f, forest._sets[s], missing) for f, s, missing in members]

    def widen(self, vector: Vector) -> list[float]:
        """Give the vector with the positions that tests read."""
        x = list(vector[: self._width])
        for feature in self._lows:
            value = vector[feature]
            x.append(value if value == value else -math.inf)
        for feature, codes, missing in self._members:
            value = vector[feature]
            x.append(0.0 if (missing if value != value else value in codes) else 1.0)
        return x


def _attribute_trees(
    roots: list[_Node],
    x: list[float],
    credit: list[float],
    weights: tuple[list[list[float]], list[list[float]]],
    output: int | None,
) -> None:
    """Add the Shapley values of some trees to `credit`; `output` picks from leaves with lists."""
    gains, losses = weights
    sides = [0] * len(
        credit
    )  # of each column on the path: 0 undecided, 1 the row's, 2 the baseline's

    def visit(node: _Node, mine: int, theirs: int) -> tuple[float, float]:
        while node.__class__ is tuple:
            position, threshold, at_most, above, baseline_at_most, player = node
            if x[position] <= threshold:
                if baseline_at_most:
                    node = at_most
                    continue
                here, there = at_most, above
            elif baseline_at_most:
                here, there = above, at_most
            else:
                node = above
                continue
            side = sides[player]
            if side == 0:
                sides[player] = 1
                gain, loss = visit(here, mine + 1, theirs)
                sides[player] = 2
                other_gain, other_loss = visit(there, mine, theirs + 1)
                sides[player] = 0
                credit[player] += gain - other_loss
                return gain + other_gain, loss + other_loss
            node = here if side == 1 else there
        value = node if output is None else node[output]
        return value * gains[mine][theirs], value * losses[mine][theirs]

    for root in roots:
        visit(root, 0, 0)


@cache
def _shapley_weights(size: int) -> tuple[list[list[float]], list[list[float]]]:
    """Tabulate (a-1)! c! / (a+c)! and a! (c-1)! / (a+c)!, with 0 where there is no such player."""
    factorial = [math.factorial(n) for n in range(2 * size)]
    gains = [
        [factorial[a - 1] * factorial[c] / factorial[a + c] if a else 0.0 for c in range(size)]
        for a in range(size)
    ]
    losses = [
        [factorial[a] * factorial[c - 1] / factorial[a + c] if c else 0.0 for c in range(size)]
        for a in range(size)
    ]
    return gains, losses


class _Masks:
    """Finds the leaves of all trees at once, by bitwise or."""

    def __init__(self, lookups: list[Lookup], layout: _Layout) -> None:
        self._lookups = lookups
        self._leaves = layout.leaves
        self._widths = layout.widths
        self._split = layout.words.unpack
        self._bytes = layout.words.size
        self._all = layout.all

    def find(self, vector: Vector) -> Iterable[Any]:
        """Give the leaf that the row reaches in each tree, in order."""
        ruled = 0
        for feature, missing, cuts, masks, codes in self._lookups:
            value = vector[feature]
            if value != value:
                ruled |= missing
            elif codes is None:
                ruled |= masks[bisect_left(cuts, value)]
            else:
                known = codes.get(value)
                ruled |= masks[bisect_left(cuts, value)] if known is None else known
        # One bit is left in the word of each tree; its position is the leaf's, counted from 1.
        words = self._split((self._all ^ ruled).to_bytes(self._bytes, "little"))
        return map(getitem, self._leaves, map(int.bit_length, words))

    def describe(self, outputs: list[int], base: list[float], divisor: float) -> MaskedForest:
        """Give the masks with all that the sum of the leaves needs."""
        return MaskedForest(
            self._lookups, self._widths, self._all, self._leaves, outputs, base, divisor
        )

    @classmethod
    def build(cls, forest: _Forest) -> _Masks | None:
        """Work out the masks, or give None where they would take too much memory."""
        layout = _Layout(forest)
        if layout.largest > MASK_LEAVES:
            return None
        splits: dict[int, list[int]] = {}
        for node, feature in enumerate(forest._feature):
            if feature >= 0:
                splits.setdefault(feature, []).append(node)
        cells = sum(len(nodes) + 2 for nodes in splits.values())
        cells += sum(len(codes) for codes in forest._sets)
        if cells * layout.bits // 8 > MASK_BYTES:
            return None
        lookups = [_build_lookup(forest, layout, f, nodes) for f, nodes in sorted(splits.items())]
        return cls(lookups, layout)


_WORDS = {8: "B", 16: "H", 32: "I", 64: "Q"}


class _Layout:
    """Which bit each leaf is: trees one after another, each in the smallest word that holds it."""

    def __init__(self, forest: _Forest) -> None:
        feature, other, roots = forest._feature, forest._other, forest._roots
        size = len(feature)
        counts = [1] * size
        for i in range(size - 1, -1, -1):
            if feature[i] >= 0:
                counts[i] = counts[i + 1] + counts[other[i]]
        self.largest = max((counts[root] for root in roots), default=0)
        if self.largest > MASK_LEAVES:
            return
        self.widths = [next(w for w in _WORDS if w >= counts[root]) for root in roots]
        self.words = struct.Struct("<" + "".join(_WORDS[width] for width in self.widths))
        self.leaves: list[list[Any]] = []
        self.tree_of = [0] * size
        self._offset = list(accumulate(self.widths, initial=0))
        self._place = [0] * size
        # The leaves below a node, as bits of its tree's word.
        self._word = [0] * size
        place, word = self._place, self._word
        for tree, (root, end) in enumerate(zip(roots, [*roots[1:], size], strict=True)):
            leaves: list[Any] = [None]
            for i in range(root, end):
                self.tree_of[i] = tree
                count, at = counts[i], place[i]
                word[i] = ((1 << count) - 1) << at
                if feature[i] >= 0:
                    place[i + 1] = at
                    place[other[i]] = at + counts[i + 1]
                else:
                    leaves.append(forest.leaf(i))
            self.leaves.append(leaves)
        self.all = self.join([word[root] for root in roots])
        self.bits = self._offset[-1]

    def word(self, node: int) -> int:
        """Give the leaves below a node as bits of its tree's word."""
        return self._word[node]

    def below(self, node: int) -> int:
        """Give the leaves below a node as bits of all trees' words."""
        return self._word[node] << self._offset[self.tree_of[node]]

    def join(self, words: list[int]) -> int:
        """Put one word a tree together."""
        return int.from_bytes(self.words.pack(*words), "little")


def _build_lookup(forest: _Forest, layout: _Layout, feature: int, nodes: list[int]) -> Lookup:
    """Work out, for one feature, the leaves that each value rules out."""
    test, value, other, sets = forest._test, forest._value, forest._other, forest._sets
    below = layout.below
    ordered = sorted((n for n in nodes if test[n] <= AT_MOST_OR_MISSING), key=value.__getitem__)
    grouped = [n for n in nodes if test[n] > AT_MOST_OR_MISSING]
    # Tests turn over tree by tree: what a tree's tests rule out together fits its small word.
    missed = [0] * len(layout.widths)
    for n in nodes:
        holds = test[n] in (AT_MOST_OR_MISSING, AMONG_OR_MISSING)
        missed[layout.tree_of[n]] |= layout.word(other[n] if holds else n + 1)
    missing = layout.join(missed)
    # Below every cut all tests hold and rule out their other child; each cut that a value has
    # passed turns its test over. Of equal cuts the first is found, and the cells between are idle.
    cuts = [value[n] for n in ordered]
    passed = accumulate((below(n + 1) for n in ordered), or_, initial=0)
    ahead = list(accumulate((below(other[n]) for n in reversed(ordered)), or_, initial=0))
    by_order = list(map(or_, passed, reversed(ahead)))
    if not grouped:
        return feature, missing, cuts, by_order, None
    by_tree: dict[int, list[int]] = {}
    touched: dict[float, set[int]] = {}
    unlisted = [0] * len(layout.widths)
    for n in grouped:
        tree = layout.tree_of[n]
        by_tree.setdefault(tree, []).append(n)
        unlisted[tree] |= layout.word(n + 1)
        for code in sets[int(value[n])]:
            touched.setdefault(code, set()).add(tree)
    # A listed code differs from an unlisted one only in the trees whose sets have it.
    codes = {}
    for code, changed in touched.items():
        words = unlisted.copy()
        for tree in changed:
            word = 0
            for n in by_tree[tree]:
                word |= layout.word(other[n] if code in sets[int(value[n])] else n + 1)
            words[tree] = word
        codes[code] = by_order[bisect_left(cuts, code)] | layout.join(words)
    rest = layout.join(unlisted)
    return feature, missing, cuts, [ruled | rest for ruled in by_order], codes
