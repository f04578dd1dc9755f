"""The shock rule: what one window shows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from core import drift
from core.contract import Column, Contract
from core.drift.shock import _test_shape, find_shocks
from tests.core.drift.traffic import (
    HOURLY,
    answers,
    count,
    draw,
    judge_one,
    kinds,
    make_baseline,
    shift,
)


def _widen(columns: dict[str, list[Any]]) -> None:
    columns["size"] = [10 + (value - 10) * 1.8 for value in columns["size"]]


def _lose(columns: dict[str, list[Any]]) -> None:
    columns["weight"] = [None if i % 4 == 0 else v for i, v in enumerate(columns["weight"])]


def _rename(columns: dict[str, list[Any]]) -> None:
    columns["city"] = ["Gotham" if i % 8 == 0 else v for i, v in enumerate(columns["city"])]


def _swap(columns: dict[str, list[Any]]) -> None:
    columns["city"] = ["c9" if v == "c0" else v for v in columns["city"]]


def _unit(columns: dict[str, list[Any]]) -> None:
    columns["size"] = [v * 1000 if i % 10 == 0 else v for i, v in enumerate(columns["size"])]


def _sign(columns: dict[str, list[Any]]) -> None:
    columns["size"] = [-v if i % 10 == 0 else v for i, v in enumerate(columns["size"])]


def _text(columns: dict[str, list[Any]]) -> None:
    columns["count"] = ["n/a" if i % 10 == 0 else v for i, v in enumerate(columns["count"])]


@pytest.mark.parametrize(
    ("change", "column", "kind"),
    [
        (shift, "size", "location"),
        (_widen, "size", "spread"),
        (_lose, "weight", "missing"),
        (_rename, "city", "unseen"),
        (_swap, "city", "shape"),
        (_unit, "size", "above"),
        (_sign, "size", "below"),
        (_text, "count", "unseen"),
    ],
)
def test_a_change_is_found_in_the_first_window_and_named(
    change: Any, column: str, kind: str
) -> None:
    """300 rows, hourly windows, one false alarm a year."""
    baseline = make_baseline()
    columns = draw(np.random.default_rng(11), 300)
    change(columns)
    verdict = judge_one(baseline, columns)
    assert verdict.alarm
    assert (column, kind) in kinds(verdict)
    finding = next(f for f in verdict.findings if (f.column, f.kind) == (column, kind))
    assert column in finding.describe()
    assert finding.evidence >= finding.threshold
    assert json.loads(json.dumps(verdict.to_dict()))["alarm"] is True


def test_predictions_are_watched_like_a_column() -> None:
    baseline = make_baseline()
    columns = draw(np.random.default_rng(12), 300)
    outputs = answers(columns)[:, ::-1] ** 3
    window = drift.summarise_columns(baseline, columns, outputs)
    verdict, _ = drift.judge(baseline, window, HOURLY)
    assert verdict.prediction_shift
    assert not verdict.data_quality


def test_a_broken_relation_is_found_though_each_column_keeps_its_distribution() -> None:
    baseline = make_baseline()
    generator = np.random.default_rng(13)
    columns = draw(generator, 300)
    columns["weight"] = generator.permutation(np.asarray(columns["weight"])).tolist()
    verdict = judge_one(baseline, columns)
    assert verdict.alarm
    assert {column for column, _ in kinds(verdict)} == {drift.DISTANCE}


def test_missing_values_that_double_are_found_in_the_first_thousand_rows() -> None:
    """Columns that missed values in training have a share of the budget of their own for that."""
    found = 0
    baseline = make_baseline(n=10_000)
    for seed in range(20):
        generator = np.random.default_rng([7, seed])
        columns = draw(generator, 1000)
        lost = generator.random(1000) < 0.05 / 0.95
        columns["weight"] = [
            math.nan if gone else value for value, gone in zip(columns["weight"], lost, strict=True)
        ]
        verdict = judge_one(baseline, columns)
        found += ("weight", "missing") in kinds(verdict)
    assert found >= 17


def test_the_budget_is_spent_once() -> None:
    """The levels of all tests of a window add up to no more than their half of the budget."""
    for baseline in (make_baseline(), make_baseline(n=300)):
        window = count(baseline, draw(np.random.default_rng(1), 500))
        verdict_levels = [10.0**-test.threshold for test in find_shocks(baseline, window, 0.001)]
        assert 0.0009 < sum(verdict_levels) <= 0.001 * (1 + 1e-9)


@pytest.mark.parametrize("share", [0.03, 0.05, 0.1, 0.3, 0.5])
def test_the_shape_test_keeps_its_level_far_in_the_tail(share: float) -> None:
    """Exact: the binomial probability of all windows that pass at 1 in 100,000.

    Pearson's statistic alone passes 5 to 9 times as many at shares of 3% to 5%, the likelihood
    ratio alone twice as many at 5%.
    """
    from scipy.stats import binom

    level, before, rows = 1e-5, 3500, 200
    centre = round(before * share)
    passed = 0.0
    seen = range(centre - 50, centre + 51, 5)
    weights = binom.pmf(seen, before, share)
    for k0, weight in zip(seen, weights / weights.sum(), strict=True):
        column = drift.ColumnBaseline(
            "c", "category", "input", (k0, before - k0, 0, 0, 0), labels=("a", "b")
        )

        def passes(k: int, column: drift.ColumnBaseline = column) -> bool:
            tested = _test_shape(column, np.array([k, rows - k, 0, 0, 0]), None)
            return tested is not None and tested[0] < level

        middle = round(rows * k0 / before)
        high = next((k for k in range(middle, rows + 1) if passes(k)), rows + 1)
        low = next((k for k in range(middle, -1, -1) if passes(k)), -1)
        passed += weight * (binom.sf(high - 1, rows, share) + binom.cdf(low, rows, share))
    assert level / 20 < passed < 1.1 * level


def test_a_little_beyond_the_range_is_not_out_of_it() -> None:
    """The next year's oldest is a year older; a wrong unit is far out."""
    contract = Contract(task="anomaly", columns=(Column("age", "number"),))
    generator = np.random.default_rng(23)
    ages = generator.integers(0, 95, 20_000).astype(float)
    baseline = drift.build_baseline(contract, {"age": ages})
    window = generator.integers(0, 95, 5000).astype(float)
    for value, out in ((95.0, False), (200.0, True), (-1.0, False), (-60.0, True)):
        changed = np.where(np.arange(5000) % 150 == 0, value, window)
        counted = drift.summarise_columns(baseline, {"age": changed})
        verdict, _ = drift.judge(baseline, counted, HOURLY)
        assert (kinds(verdict) & {("age", "above"), ("age", "below")} != set()) is out
        assert out or not verdict.alarm
