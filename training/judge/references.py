"""What service is held against: the monitor's baseline, and the rows that the canary replays."""

from typing import Any

import numpy as np

from core import drift
from training.data.dataset import Data
from training.data.splits import Split
from training.data.tables import encode_table, table_rows
from training.fit.model import Model

GOLDEN_ROWS = 24
GOLDEN_TOLERANCE = 1e-9


def build_baseline(data: Data, split: Split, model: Model) -> bytes:
    """Summarise the training rows, and the model's answers for rows that it was not fitted on."""
    contract = model.contract
    columns = {name: data.frame[name].to_numpy()[split.train] for name in contract.column_names}
    times = None
    order = data.positions if split.record["strategy"] == "order" else data.times
    if order is not None and np.isfinite(order[split.train]).all():
        times = order[split.train].tolist()
    baseline = drift.build_baseline(
        contract,
        columns,
        model.answer(data.matrix[split.holdout]),
        times=times,
        seed=int(split.record["seed"]),
    )
    return baseline.to_json()


def choose_golden_rows(data: Data, split: Split, model: Model) -> dict[str, Any]:
    """Choose rows that the canary replays: spread over the answers, with missing values among them.

    Values of sensitive columns are shuffled among the rows, so that no row is a person's.
    """
    outputs = model.answer(data.matrix[split.holdout])
    order = np.argsort(outputs[:, -1 if model.contract.is_classification else 0], kind="stable")
    spread = order[
        np.unique(np.linspace(0, len(order) - 1, GOLDEN_ROWS * 3 // 4).round().astype(np.intp))
    ]
    gaps = np.flatnonzero(np.isnan(data.matrix[split.holdout]).any(axis=1))[: GOLDEN_ROWS // 4]
    rows = split.holdout[np.unique(np.r_[spread, gaps])]
    frame = data.frame.iloc[rows].reset_index(drop=True)
    random = np.random.default_rng([int(split.record["seed"]), 4])
    for column in model.contract.columns:
        if column.sensitive:
            frame[column.name] = frame[column.name].to_numpy()[random.permutation(len(frame))]
    answers = model.answer(encode_table(frame, model.contract))
    return {
        "rows": table_rows(frame, model.contract),
        "answers": answers.tolist(),
        "tolerance": GOLDEN_TOLERANCE,
    }
