"""The rows on which an inexact export would show."""

from __future__ import annotations

import json

import numpy as np

from core.contract import Contract
from core.engine import AT_MOST_OR_MISSING
from training.arrays import FloatArray
from training.export.formats import Exported

# Rows enough to meet every threshold of the usual ensemble; larger ones are sampled evenly.
MOST_ADVERSARIAL_ROWS = 60_000
_EXTREMES = (0.0, -0.0, 5e-324, -1.0, 1e-9, 1e9, -1e9, 1e30, -1e30)


def adversarial_rows(
    exported: Exported,
    holdout: FloatArray,
    contract: Contract,
    *,
    most_rows: int = MOST_ADVERSARIAL_ROWS,
    seed: int = 0,
) -> FloatArray:
    """Craft the rows on which an inexact export would show, shape (rows, features).

    Each starts from a row of the holdout. One feature at a time: missing, an unseen category, every
    category, extremes, the float of every split threshold and its two neighbours. Then all features
    at once on thresholds, and all missing.
    """
    generator = np.random.default_rng(seed)
    features = contract.features
    sizes = {column.name: len(column.categories) for column in contract.columns}
    thresholds = _thresholds(exported)
    values: list[FloatArray] = []
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


def _thresholds(exported: Exported) -> dict[int, FloatArray]:
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
