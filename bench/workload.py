"""The table and the model that serving and batch scoring are measured with.

A generated table of 15 mixed columns, and one histogram gradient boosting model of 200 trees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core import bundle
from core.contract import Column, Contract

TREES = 200
NUMBERS, CATEGORIES, LEVELS = 10, 5, 12
TRAINING_ROWS = 20_000
UNSEEN_SHARE = 0.01

Matrix = npt.NDArray[np.float64]


def make_contract() -> Contract:
    """Describe the table: numbers and categories, all of which may be missing."""
    numbers = [Column(f"number {i}", "number", missing=True) for i in range(NUMBERS)]
    levels = tuple(f"level {i}" for i in range(LEVELS))
    categories = [
        Column(f"category {i}", "category", categories=levels, missing=True)
        for i in range(CATEGORIES)
    ]
    return Contract(
        task="binary",
        columns=(*numbers, *categories),
        target="target",
        classes=("no", "yes"),
        positive="yes",
    )


def draw_rows(count: int, *, seed: int) -> tuple[Matrix, npt.NDArray[np.int64]]:
    """Draw encoded rows (3% of values missing) and a target with interactions."""
    draw = np.random.default_rng(seed)
    numbers = draw.normal(size=(count, NUMBERS)) * 10.0 ** draw.integers(-2, 4, NUMBERS)
    codes = draw.integers(0, LEVELS, size=(count, CATEGORIES)).astype(np.float64)
    unit = numbers / numbers.std(axis=0)
    signal = (
        2 * unit[:, 0] * unit[:, 1]
        + unit[:, 2]
        + 2 * np.isin(codes[:, 0], [1, 5, 7])
        + unit[:, 3] * (codes[:, 2] > 5)
        + draw.normal(size=count)
    )
    rows = np.column_stack([numbers, codes])
    rows[draw.random(rows.shape) < 0.03] = np.nan
    return rows, (signal > np.median(signal)).astype(np.int64)


def add_unseen(rows: Matrix) -> Matrix:
    """Return the rows with a share of their categories replaced by one unseen in training."""
    unseen = np.random.default_rng(2).random((len(rows), CATEGORIES)) < UNSEEN_SHARE
    return np.column_stack([rows[:, :NUMBERS], np.where(unseen, LEVELS, rows[:, NUMBERS:])])


def fit_model(contract: Contract, rows: Matrix, target: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    """Fit the model on encoded rows; return it, and a pipeline around it that takes a DataFrame."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    positions = list(range(NUMBERS, NUMBERS + CATEGORIES))
    model = HistGradientBoostingClassifier(
        max_iter=TREES, categorical_features=positions, early_stopping=False, random_state=0
    ).fit(rows, target)
    names = [column.name for column in contract.columns]
    encoder = OrdinalEncoder(
        categories=[list(column.categories) for column in contract.columns[NUMBERS:]],
        handle_unknown="use_encoded_value",
        unknown_value=LEVELS,
        encoded_missing_value=np.nan,
    )
    prepare = ColumnTransformer(
        [("numbers", "passthrough", names[:NUMBERS]), ("categories", encoder, names[NUMBERS:])]
    )
    prepare.fit(make_frame(contract, [decode_row(contract, row) for row in rows[:2_000]]))
    return model, Pipeline([("prepare", prepare), ("model", model)])


def make_frame(contract: Contract, rows: Sequence[dict[str, Any]]) -> Any:
    """Make a DataFrame of decoded rows, numbers as float64."""
    import pandas

    frame = pandas.DataFrame(rows, columns=[column.name for column in contract.columns])
    numbers = [column.name for column in contract.columns[:NUMBERS]]
    frame[numbers] = frame[numbers].astype("float64")
    return frame


def decode_row(contract: Contract, encoded: Matrix) -> dict[str, Any]:
    """Decode an encoded row into the object that a caller would send."""
    row: dict[str, Any] = {}
    for column, value in zip(contract.columns, encoded.tolist(), strict=True):
        if math.isnan(value):
            row[column.name] = None
        else:
            row[column.name] = column.categories[int(value)] if column.categories else value
    return row


def write_bundle(folder: Path, contract: Contract, model_json: bytes, onnx: bytes) -> None:
    """Write the files that serving needs as a bundle."""
    bundle.write_bundle(
        folder,
        {
            bundle.MODEL: model_json,
            bundle.ONNX: onnx,
            bundle.CONTRACT: contract.to_json(),
            bundle.EVALUATION: b"{}",
            bundle.LINEAGE: b"{}",
        },
    )
