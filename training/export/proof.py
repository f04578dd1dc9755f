"""Turns a fitted scikit-learn model into `model.json` and `model.onnx`, and proves both.

Models that fold (see `folding`) are written twice from the same float64 tables: for
`core.engine` and as an ONNX graph in double. Any other classifier, regressor or anomaly detector
becomes ONNX through skl2onnx, in float32, with a weaker bound. Nothing is taken on trust:
`prove_parity` scores rows, ordinary and adversarial, through scikit-learn and through each engine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from core.contract import Contract
from core.engine import (
    AT_MOST_OR_MISSING,
    FORMAT,
    ONNX_INPUT,
    ONNX_OUTPUT,
    decide,
    load_engine,
    read_header,
)
from core.errors import ExportError
from training.export.folding import NotFoldable, Tables, fold_model, fold_preparation
from training.export.graphs import OPSET, SINGLE_ML_OPSET, build_around, build_graph
from training.fit.estimators import reference_outputs

Matrix = npt.NDArray[np.float64]

# How far an answer may be from scikit-learn's, relative to max(1, |answer|).
FOLDED_BOUND = 1e-12
# scikit-learn expands squares, (x-c)^2 = x^2 - 2xc + c^2, and loses digits that the tables keep.
DISTANCES_BOUND = 1e-9
# Steps of an isotonic curve are nearly vertical: they magnify the rounding of a linear score.
STEEP_BOUND = 1e-9
# skl2onnx computes in float32, whose numbers have 7 digits.
SINGLE_BOUND = 1e-3

# Rows enough to meet every threshold of the usual ensemble; larger ones are sampled evenly.
MOST_ADVERSARIAL_ROWS = 60_000
# Of a wide table fewer rows, for each costs as many steps as there are features.
_MOST_ADVERSARIAL_CELLS = 8_000_000
_EXTREMES = (0.0, -0.0, 5e-324, -1.0, 1e-9, 1e9, -1e9, 1e30, -1e30)
_BATCH = 20_000


@dataclass(frozen=True)
class Exported:
    """A model's two files, its family, and the bound that its answers keep to."""

    model_json: bytes
    onnx: bytes
    family: str
    bound: float
    note: str


@dataclass(frozen=True)
class ParityReport:
    """What a proof found: rows compared, the largest difference and the answers that changed.

    Differences are relative to max(1, |answer|), by engine; `refused` rows are those that
    scikit-learn itself refuses to score (missing values, where the model takes none).
    """

    rows: int
    max_abs_diff: float
    flips: int
    bound: float
    engines: dict[str, float] = field(default_factory=dict)
    refused: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON-ready members."""
        return {
            "rows": self.rows,
            "max_abs_diff": self.max_abs_diff,
            "flips": self.flips,
            "bound": self.bound,
            "engines": self.engines,
            "refused": self.refused,
        }


def export_model(
    model: Any, contract: Contract, background: Matrix, threshold: float | None = None
) -> Exported:
    """Write a fitted model as tables (where its family has them) and as ONNX.

    `background` holds the encoded rows that explanations compare with, shape (rows, features) or
    (features,): one row, as a rule. `threshold` is the decision threshold of a binary model on its
    positive class. Raises ExportError for a model that neither engine can express.
    """
    rows = np.atleast_2d(np.asarray(background, dtype=np.float64))
    features = len(contract.features)
    if rows.shape[1] != features or not len(rows):
        raise ExportError(
            f"the background has shape {rows.shape}; explanations need at least one row of "
            f"{features} features"
        )
    _check_classes(model, contract)
    tables: Tables | None = None
    note = ""
    template = _ordinary_row(rows[0])
    try:
        tables = fold_model(model, template)
    except NotFoldable as error:
        note = f"served from ONNX in float32, without tables: {error}"
    outputs = len(contract.outputs)
    if tables is None:
        onnx = _convert(model, contract, template)
        bound = SINGLE_BOUND
    else:
        onnx = build_graph(tables, features, outputs)
        bound = _bound(tables)
    family = tables.family if tables else "none"
    document = {
        "format": FORMAT,
        "task": contract.task,
        "family": family,
        "classes": list(contract.classes),
        "positive": contract.positive_index if contract.task == "binary" else None,
        "threshold": threshold,
        "features": [feature.name for feature in contract.features],
        "columns": [feature.column for feature in contract.features],
        "baseline": [[None if math.isnan(v) else v for v in row] for row in rows.tolist()],
        "tables": tables.content if tables else None,
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Exported(text.encode(), onnx, family, bound, note)


def _bound(tables: Tables) -> float:
    calibration = tables.content.get("calibration") or {}
    if tables.family == "distances":
        return DISTANCES_BOUND
    if tables.family == "linear" and calibration.get("method") == "isotonic":
        return STEEP_BOUND
    return FOLDED_BOUND


def _ordinary_row(row: Matrix) -> Matrix:
    """Give a row that every transformer accepts, to hold the columns that are not being asked."""
    return np.nan_to_num(row, nan=0.0)


def _check_classes(model: Any, contract: Contract) -> None:
    """Refuse a classifier whose outputs are not the contract's classes, in their order."""
    if not contract.is_classification:
        return
    found = list(getattr(model, "classes_", ()))
    numbered = len(found) == len(contract.classes) and all(
        not isinstance(c, str) and float(c) == i for i, c in enumerate(found)
    )
    if not numbered and [str(c) for c in found] != list(contract.classes):
        raise ExportError(
            f"the model answers the classes {found}, the contract lists {list(contract.classes)}: "
            "fit it on the codes that encode_target gives, with every class among the rows"
        )


# Models without tables.


def _convert(model: Any, contract: Contract, template: Matrix) -> bytes:
    """Convert an estimator through skl2onnx, in float32, within preprocessing in double.

    Where even the preprocessing does not fold, the whole model goes through skl2onnx.
    """
    if contract.task == "clustering":
        raise ExportError(
            f"clusters of {_name(model)} cannot be exported; use KMeans or GaussianMixture, after "
            "SimpleImputer, scalers and OneHotEncoder"
        )
    try:
        halves = fold_preparation(model, template)
    except NotFoldable:
        halves = None
    estimator = model if halves is None else halves.estimator
    width = len(contract.features) if halves is None else len(halves.order)
    scored = (
        halves is not None
        and halves.calibration is not None
        and hasattr(estimator, "decision_function")
    )
    options: dict[str, Any] = {}
    if contract.is_classification:
        options = {"zipmap": False} | ({"raw_scores": True} if scored else {})
    offset: float | None = None
    if contract.task == "anomaly":
        offset = float(np.ravel(getattr(_last(estimator), "offset_", 0.0))[0])
    proto = _run_converter(estimator, width, options)
    count = len(contract.outputs)
    return build_around(
        proto,
        len(contract.features),
        count,
        halves=halves,
        link=("logistic" if count == 2 else "softmax") if scored else "proportion",
        offset=offset,
    )


def _run_converter(estimator: Any, width: int, options: dict[str, Any]) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

    try:
        return convert_sklearn(
            estimator,
            initial_types=[("single", FloatTensorType([None, width]))],
            options={id(estimator): options} if options else None,
            target_opset={"": OPSET, "ai.onnx.ml": SINGLE_ML_OPSET},
        )
    except (
        MissingConverter,
        MissingShapeCalculator,
        NotImplementedError,
        NameError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ExportError(
            f"{_name(estimator)} can neither be folded into tables nor converted to ONNX: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error


def _last(model: Any) -> Any:
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    return model


def _name(model: Any) -> str:
    return type(_last(model)).__name__


# The proof.


def prove_parity(
    model: Any,
    exported: Exported,
    holdout: Matrix,
    contract: Contract,
    *,
    most_adversarial_rows: int | None = None,
    seed: int = 0,
) -> ParityReport:
    """Compare the exported files with scikit-learn over the holdout and adversarial rows.

    Every row goes through `model.json` (where it has tables) and through `model.onnx`. Raises
    ExportError, naming the engine, the size and the row, beyond the family's bound.
    """
    holdout = np.asarray(holdout, dtype=np.float64)
    if most_adversarial_rows is None:
        width = len(contract.features)
        affordable = max(2 * width, _MOST_ADVERSARIAL_CELLS // width)
        most_adversarial_rows = min(MOST_ADVERSARIAL_ROWS, affordable)
    crafted = adversarial_rows(
        exported, holdout, contract, most_rows=most_adversarial_rows, seed=seed
    )
    rows, expected, refused = _answerable(model, np.concatenate([holdout, crafted]), contract)
    header = read_header(exported.model_json)
    answers: dict[str, Matrix] = {"onnx": run_onnx(exported.onnx, rows)}
    if exported.family != "none":
        engine = load_engine(exported.model_json)
        answers["table"] = np.array(engine.score_many(rows.tolist())).reshape(expected.shape)
    decisions = [decide(header, row) for row in expected.tolist()]
    worst: dict[str, float] = {}
    flips = 0
    for name, found in answers.items():
        given = [decide(header, row) for row in found.tolist()]
        changed = [
            a != b if isinstance(a, str) else False for a, b in zip(given, decisions, strict=True)
        ]
        flips = max(flips, sum(changed))
        worst[name] = _compare(name, found, expected, rows, exported, contract)
    return ParityReport(
        len(rows), max(worst.values(), default=0.0), flips, exported.bound, worst, refused
    )


def _compare(
    name: str, found: Matrix, expected: Matrix, rows: Matrix, exported: Exported, contract: Contract
) -> float:
    if found.shape != expected.shape:
        raise ExportError(f"the {name} engine answers {found.shape}, not {expected.shape}")
    if not len(rows):
        return 0.0
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected) / np.maximum(1.0, np.abs(expected))
        difference[found == expected] = 0.0
    difference = np.where(np.isnan(difference), np.inf, difference)
    if contract.task == "clustering":
        # Of two clusters as near as rounding can tell, either is the right one.
        tie = difference[:, 1:].max(axis=1) <= exported.bound
        top = np.sort(expected[:, 1:], axis=1)
        near = (top[:, -1] - top[:, -2] if top.shape[1] > 1 else np.full(len(top), np.inf)) <= (
            4 * exported.bound * np.maximum(1.0, np.abs(top[:, -1]))
        )
        difference[tie & near, 0] = 0.0
    where = int(difference.max(axis=1).argmax())
    largest = float(difference[where].max())
    if largest > exported.bound:
        row = dict(zip((f.name for f in contract.features), rows[where].tolist(), strict=True))
        raise ExportError(
            f"the {name} engine differs from scikit-learn by {largest:.3g} (bound "
            f"{exported.bound:.0e}, family {exported.family}): {found[where].tolist()} instead of "
            f"{expected[where].tolist()} for the encoded row {row}"
        )
    return largest


def _answerable(model: Any, rows: Matrix, contract: Contract) -> tuple[Matrix, Matrix, int]:
    """Keep the rows that scikit-learn itself scores, with its outputs and the count of others."""
    kept, outputs = [], []
    for chunk in _chunks(rows):
        try:
            outputs.append(reference_outputs(model, chunk, contract))
            kept.append(chunk)
            continue
        except ValueError:
            pass
        complete = chunk[~np.isnan(chunk).any(axis=1)]
        # A model of float32 refuses numbers that float32 cannot hold.
        complete = complete[(np.abs(complete) < 1e29).all(axis=1)]
        if len(complete):
            try:
                outputs.append(reference_outputs(model, complete, contract))
            except ValueError as error:
                raise ExportError(f"scikit-learn cannot score the holdout: {error}") from error
            kept.append(complete)
    width = len(contract.outputs)
    if not kept:
        return np.empty((0, rows.shape[1])), np.empty((0, width)), len(rows)
    scored = np.concatenate(kept)
    return scored, np.concatenate(outputs), len(rows) - len(scored)


def run_onnx(model: bytes, rows: Matrix) -> Matrix:
    """Score encoded rows with onnxruntime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = [
        np.asarray(session.run([ONNX_OUTPUT], {ONNX_INPUT: chunk})[0]) for chunk in _chunks(rows)
    ]
    if not found:
        return np.empty((0, session.get_outputs()[0].shape[1]))
    return np.concatenate(found)


def _chunks(rows: Matrix) -> Iterator[Matrix]:
    for start in range(0, len(rows), _BATCH):
        yield np.ascontiguousarray(rows[start : start + _BATCH])


def adversarial_rows(
    exported: Exported,
    holdout: Matrix,
    contract: Contract,
    *,
    most_rows: int = MOST_ADVERSARIAL_ROWS,
    seed: int = 0,
) -> Matrix:
    """Craft the rows on which an inexact export would show, shape (rows, features).

    Each starts from a row of the holdout. One feature at a time: missing, an unseen category, every
    category, extremes, the float of every split threshold and its two neighbours. Then all features
    at once on thresholds, and all missing.
    """
    generator = np.random.default_rng(seed)
    features = contract.features
    sizes = {column.name: len(column.categories) for column in contract.columns}
    thresholds = _thresholds(exported)
    values: list[Matrix] = []
    base = holdout if len(holdout) else np.zeros((1, len(features)))
    for index, feature in enumerate(features):
        if feature.kind == "category":
            special = np.arange(sizes[feature.column] + 1, dtype=np.float64)
        elif feature.kind == "boolean":
            special = np.array([0.0, 1.0])
        elif exported.family in ("none", "distances"):
            # Far outside, float32 and expanded squares have no digits left to agree on.
            special = np.array([np.fmin.reduce(base[:, index]), np.fmax.reduce(base[:, index])])
            special = special[~np.isnan(special)]
        else:
            special = np.array(_EXTREMES)
        cuts = thresholds.get(index, np.empty(0))
        beside = [np.nextafter(cuts, -np.inf), cuts, np.nextafter(cuts, np.inf)]
        if feature.kind == "category":
            beside = []
        values.append(np.concatenate([[np.nan], special, *beside]))
    total = sum(len(v) for v in values)
    share = min(1.0, most_rows / max(total, 1))
    rows = []
    for index, asked in enumerate(values):
        if share < 1.0:
            count = max(1, int(len(asked) * share))
            asked = asked[np.linspace(0, len(asked) - 1, count).astype(np.int64)]
        block = base[generator.integers(len(base), size=len(asked))].copy()
        block[:, index] = asked
        rows.append(block)
    together = min(max((len(v) for v in values), default=0), most_rows // 4 + 1)
    mixed = np.column_stack([v[generator.integers(len(v), size=together)] for v in values])
    rows += [mixed, np.full((1, len(features)), np.nan)]
    return np.concatenate(rows)


def _thresholds(exported: Exported) -> dict[int, Matrix]:
    """List the split thresholds of each feature."""
    tables = json.loads(exported.model_json)["tables"]
    if not tables or "trees" not in tables:
        return {}
    trees = tables["trees"]
    feature = np.array(trees["feature"], dtype=np.int64)
    ordered = np.array(trees["test"]) <= AT_MOST_OR_MISSING
    value = np.array(trees["value"], dtype=np.float64)
    return {
        int(index): np.unique(value[(feature == index) & ordered])
        for index in np.unique(feature[feature >= 0])
    }
