"""The table engine: scores and explains encoded rows from `model.json`, in plain Python.

A model that training could fold into tables (linear models, tree ensembles, distances to centres,
constants) is answered from those tables alone, without numpy and without scikit-learn. The
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

"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from core.engine.distances import Distances
from core.engine.forest import Forest
from core.engine.header import Header, parse_document, parse_header
from core.engine.linear import Constant, Linear
from core.engine.links import load_answer, load_scale
from core.engine.margins import Margins, Vector
from core.engine.masks import MaskedForest
from core.errors import EngineError


class Explanation(NamedTuple):
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


def load_engine(model_json: bytes | str) -> TableEngine:
    """Build the engine of a model; `model_json` is the file `model.json` of its bundle.

    Raises EngineError if the model has no tables or they do not fit together.
    """
    document = parse_document(model_json)
    header = parse_header(document)
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
        self.answer = load_answer(self._link, calibration)
        self._scale, self._stretch = load_scale(self._link, calibration, tables)
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
        return self._margins.masks if isinstance(self._margins, Forest) else None

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


def _load_margins(family: str, tables: dict[str, Any]) -> Margins:
    if family == "constant":
        return Constant(tables["base"])
    if family == "linear":
        return Linear(tables)
    if family == "trees":
        return Forest(tables)
    if family == "distances":
        return Distances(tables)
    raise ValueError(f"unknown family {family!r}")
