"""Rows of a small service, its baseline, and windows of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from core import drift
from core.contract import Column, Contract

HOURLY = drift.budget_for(1.0, 60)
# Rates that a test can see: with 1 window in 100 allowed to alarm, 200 windows show a broken rule.
OFTEN = drift.Budget(1.0, 100.0)
MIXED = Contract(
    task="binary",
    target="y",
    classes=("no", "yes"),
    columns=(
        Column("size", "number"),
        Column("weight", "number", missing=True),
        Column("count", "integer"),
        Column("flag", "boolean"),
        Column("city", "category"),
        Column("when", "timestamp"),
        Column("note", "text"),
    ),
)


def draw(generator: np.random.Generator, n: int) -> dict[str, list[Any]]:
    size = generator.normal(10, 2, n)
    weight = size * 3 + generator.normal(0, 1, n)
    weight[generator.random(n) < 0.05] = np.nan
    cities = np.array([f"c{i}" for i in range(60)])
    shares = 1 / np.arange(1, 61) ** 1.1
    return {
        "size": size.tolist(),
        "weight": weight.tolist(),
        "count": generator.poisson(2, n).tolist(),
        "flag": (generator.random(n) < 0.3).tolist(),
        "city": generator.choice(cities, n, p=shares / shares.sum()).tolist(),
        "when": ["2026-01-01T00:00:00"] * n,
        "note": ["x" * int(k) for k in generator.integers(1, 40, n)],
    }


def answers(columns: Mapping[str, list[Any]]) -> np.ndarray[Any, Any]:
    p = 1 / (1 + np.exp(-(np.asarray(columns["size"]) - 10)))
    return np.column_stack([1 - p, p])


def make_baseline(seed: int = 0, n: int = 2000, **more: Any) -> drift.Baseline:
    generator = np.random.default_rng(seed)
    columns = draw(generator, n)
    outputs = answers(draw(generator, max(100, n // 4)))
    return drift.build_baseline(MIXED, columns, outputs, seed=seed, **more)


def count(baseline: drift.Baseline, columns: dict[str, list[Any]]) -> drift.Summary:
    return drift.summarise_columns(baseline, columns, answers(columns))


def judge_one(
    baseline: drift.Baseline, columns: dict[str, list[Any]], budget: drift.Budget = HOURLY
) -> drift.Verdict:
    return drift.judge(baseline, count(baseline, columns), budget)[0]


def kinds(verdict: drift.Verdict) -> set[tuple[str, str]]:
    return {(finding.column, finding.kind) for finding in verdict.findings}


def shift(columns: dict[str, list[Any]]) -> None:
    columns["size"] = [value + 1.4 for value in columns["size"]]
