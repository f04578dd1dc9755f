"""Small trained models, written by hand, and the S3 that holds them."""

import json
from collections.abc import Mapping
from typing import Any

from core.bundle import (
    BASELINE,
    CONTRACT,
    EVALUATION,
    GOLDEN,
    LINEAGE,
    MANIFEST,
    MODEL,
    Bundle,
    Manifest,
)
from core.contract import Column, Contract

RUN = "shop-dev-20260101-000000-abc123"
MODEL_URI = f"s3://bucket/models/{RUN}/output/model/"

CONTRACT_OF_SHOP = Contract(
    task="binary",
    target="bought",
    classes=("no", "yes"),
    positive="yes",
    columns=(
        Column("age", "integer", unit="years", min=0, max=120),
        Column("basket total", "number", missing=True),
        Column("colour", "category", categories=("red", "green")),
        Column("size", "category", categories=("s", "m", "l"), unseen="refuse", missing=True),
        Column("salary", "number", missing=True, sensitive=True),
    ),
)


def term(
    feature: int,
    weight: float | None,
    codes: dict[float, float] | None = None,
    missing: float = 0.0,
) -> dict[str, Any]:
    """Describe what one feature adds to the margin."""
    return {
        "feature": feature,
        "centre": 0.0,
        "weight": None if weight is None else [weight],
        "other": [0.0],
        "missing": [missing],
        "codes": list(codes or {}),
        "values": [[value] for value in (codes or {}).values()],
    }


def model_document(threshold: float = 0.5, base: float = -1.0) -> dict[str, Any]:
    """Describe a logistic regression over the shop's columns."""
    features = [feature.name for feature in CONTRACT_OF_SHOP.features]
    return {
        "format": 1,
        "task": "binary",
        "family": "linear",
        "classes": ["no", "yes"],
        "positive": 1,
        "threshold": threshold,
        "features": features,
        "columns": features,
        "baseline": [[40.0, 10.0, 0.0, 1.0, 1000.0]],
        "tables": {
            "link": "logistic",
            "base": [base],
            "terms": [
                term(0, 0.02),
                term(1, 0.1, missing=0.3),
                term(2, None, {0.0: 0.5, 1.0: -0.5}),
                term(3, None, {0.0: 0.1, 1.0: 0.2, 2.0: 0.3}),
                term(4, 0.0001),
            ],
        },
    }


ROW: dict[str, Any] = {"age": 30, "basket total": 12.5, "colour": "red", "size": "m"}


def files(
    contract: Contract = CONTRACT_OF_SHOP,
    model: Mapping[str, Any] | None = None,
    **replaced: bytes,
) -> dict[str, bytes]:
    """Return the files of a bundle, manifest included."""
    evaluation = {
        "metrics": {
            "roc_auc": {"value": 0.91, "low": 0.88, "high": 0.93},
            "log_loss": {"value": 0.31, "low": None, "high": None},
        },
        "decision": {"promote": True, "reason": "better than the champion by 0.02 (roc_auc)"},
    }
    lineage = {
        "run": RUN,
        "trigger": "data",
        "fingerprint": "f" * 64,
        "commit": "c0ffee",
        "sha256": {"data/a.csv": "a" * 64},
    }
    golden = {"rows": [ROW], "answers": [[0.5, 0.5]], "tolerance": 1e-9}
    content = {
        CONTRACT: contract.to_json(),
        MODEL: json.dumps(model or model_document()).encode(),
        EVALUATION: json.dumps(evaluation).encode(),
        LINEAGE: json.dumps(lineage).encode(),
        GOLDEN: json.dumps(golden).encode(),
        BASELINE: b"{}",
    }
    content.update({name.replace("_json", ".json"): body for name, body in replaced.items()})
    return {**content, MANIFEST: Manifest.of(content).to_json()}


def bundle(**options: Any) -> Bundle:
    """Return a bundle in memory."""
    content = files(**options)
    return Bundle(content.__getitem__)
