"""The baseline: what it counts of training, and what it leaves out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from core import drift
from core.contract import Column, Contract
from tests.core.drift.traffic import (
    HOURLY,
    MIXED,
    answers,
    draw,
    kinds,
    make_baseline,
)


def test_a_baseline_survives_json_and_the_same_rows_give_the_same_bytes() -> None:
    one, other = make_baseline(), make_baseline()
    assert one.to_json() == other.to_json()
    again = drift.Baseline.from_json(one.to_json())
    assert again.to_json() == one.to_json()
    assert again.digest == one.digest
    assert again.contract == MIXED.digest


def test_quantiles_come_back_from_the_counts() -> None:
    baseline = make_baseline(n=5000)
    size = baseline.columns[0]
    assert size.quantile(size.counts, 0.5) == pytest.approx(10.0, abs=0.15)
    assert math.isnan(size.quantile([0] * len(size.counts), 0.5))


def test_odd_columns_are_counted_not_refused() -> None:
    """Constant, empty, infinite and identifier-like columns are the normal case."""
    contract = Contract(
        task="regression",
        target="y",
        columns=(
            Column("same", "number"),
            Column("none", "number"),
            Column("wild", "number"),
            Column("key", "category"),
        ),
    )
    n = 400
    table: dict[str, list[Any]] = {
        "same": [1.0] * n,
        "none": [None] * n,
        "wild": [math.inf if i % 50 == 0 else float(i) for i in range(n)],
        "key": [f"k{i}" for i in range(n)],
    }
    baseline = drift.build_baseline(contract, table, [[float(i)] for i in range(100)])
    window = drift.summarise_columns(baseline, table, np.arange(100.0).repeat(4).reshape(-1, 1))
    verdict, _ = drift.judge(baseline, window, HOURLY)
    assert not {f.column for f in verdict.findings} & {"same", "none", "wild"}
    changed = {**table, "same": [2.0] * n}
    verdict, _ = drift.judge(baseline, drift.summarise_columns(baseline, changed), HOURLY)
    assert ("same", "above") in kinds(verdict)


def test_sensitive_columns_are_not_counted() -> None:
    """They are never captured: a baseline that held them would take that for missing values."""
    generator = np.random.default_rng(0)
    columns = tuple(
        Column(c.name, c.type, missing=c.missing, sensitive=c.name in ("size", "city"))
        for c in MIXED.columns
    )
    contract = Contract(task="binary", target="y", classes=("no", "yes"), columns=columns)
    table = draw(generator, 2000)
    baseline = drift.build_baseline(contract, table, answers(table))
    assert [c.name for c in baseline.columns if c.group == "input"] == [
        "weight", "count", "flag", "when", "note",
    ]  # fmt: skip
    window = draw(generator, 400)
    served = {k: v for k, v in window.items() if k not in ("size", "city")}
    counted = drift.summarise_columns(baseline, served, answers(window))
    verdict, _ = drift.judge(baseline, counted, HOURLY)
    assert not verdict.alarm


def test_a_table_of_sensitive_columns_alone_still_has_its_predictions_watched() -> None:
    contract = Contract(
        task="binary", target="y", classes=("no", "yes"),
        columns=(Column("size", "number", sensitive=True),),
    )  # fmt: skip
    table = draw(np.random.default_rng(0), 2000)
    baseline = drift.build_baseline(contract, {"size": table["size"]}, answers(table))
    assert [column.name for column in baseline.columns] == ["prediction"]
    window = draw(np.random.default_rng(1), 400)
    same = drift.summarise(baseline, [{}] * 400, answers(window).tolist())
    assert same.rows == 400
    assert not drift.judge(baseline, same, HOURLY)[0].alarm
    window["size"] = [value + 1.0 for value in window["size"]]
    moved = drift.summarise(baseline, [{}] * 400, answers(window).tolist())
    assert drift.judge(baseline, moved, HOURLY)[0].prediction_shift
