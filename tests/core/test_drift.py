"""The drift rules: what they count, what they find, what they stay silent on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contract import Column, Contract
from core.drift import everything as drift
from core.errors import DriftError

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


# ------------------------------------------------------------------------------ what is counted


def test_a_baseline_survives_json_and_the_same_rows_give_the_same_bytes() -> None:
    one, other = make_baseline(), make_baseline()
    assert one.to_json() == other.to_json()
    again = drift.Baseline.from_json(one.to_json())
    assert again.to_json() == one.to_json()
    assert again.digest == one.digest
    assert again.contract == MIXED.digest


def test_rows_and_columns_are_counted_alike() -> None:
    """`summarise` of dicts is `summarise_columns` of the same table."""
    baseline = make_baseline()
    columns = draw(np.random.default_rng(5), 300)
    rows = [{name: values[i] for name, values in columns.items()} for i in range(300)]
    by_rows = drift.summarise(baseline, rows, answers(columns).tolist())
    assert by_rows == count(baseline, columns)


def test_the_slots_of_rows_add_up_to_their_summary() -> None:
    """Measuring the alarm places each row once and draws windows from the slots."""
    baseline = make_baseline()
    columns = draw(np.random.default_rng(6), 500)
    placed = drift.place_columns(baseline, columns, answers(columns))
    for slots, column, counted in zip(
        placed, baseline.columns, count(baseline, columns).counts, strict=True
    ):
        assert np.bincount(slots, minlength=len(column.counts)).tolist() == counted.tolist()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 80), min_size=1, max_size=5), st.randoms())
def test_summaries_add_up_in_any_order_and_any_cut(sizes: list[int], random: Any) -> None:
    """Counting pieces and merging them is counting the whole."""
    baseline = _SHARED
    columns = draw(np.random.default_rng(9), sum(sizes) + 1)
    whole = count(baseline, columns)
    cuts = [0, *np.cumsum(sizes).tolist(), sum(sizes) + 1]
    pieces = [
        count(baseline, {name: values[a:b] for name, values in columns.items()})
        for a, b in pairwise(cuts)
    ]
    random.shuffle(pieces)
    total = drift.Summary.empty(baseline)
    for piece in pieces:
        total = total + drift.Summary.from_json(piece.to_json())
    assert total == whole


def test_a_lacking_column_counts_as_missing_and_a_wrong_type_as_unseen() -> None:
    baseline = make_baseline()
    counted = drift.summarise(baseline, [{"size": "many", "weight": "3.5", "flag": "true"}])
    by_name = dict(zip([c.name for c in baseline.columns], counted.counts, strict=True))
    assert by_name["size"][-1] == 1
    assert by_name["weight"][-2:].sum() == 0
    assert by_name["flag"][-2:].sum() == 0
    assert by_name["count"][-2] == 1
    assert by_name["city"][-2] == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-300, 1e-9, 1.0, 1e12, 1e307]))
def test_many_values_are_placed_as_a_search_places_them(seed: int, scale: float) -> None:
    """The fast way to a value's bin gives the bin of the plain way, on the edges too."""
    generator = np.random.default_rng(seed)
    edges = np.unique(generator.standard_cauchy(generator.integers(2, 24)) * scale)
    values = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf)])
    wild = [np.nan, 1e308, -1e308]
    values = np.concatenate([values, generator.standard_cauchy(200) * scale, wild])
    absent = np.isnan(values)
    placed = drift._place(edges, values, absent)
    expected = np.searchsorted(edges, values, side="right")
    assert (placed[~absent] == expected[~absent]).all()


def test_quantiles_come_back_from_the_counts() -> None:
    baseline = make_baseline(n=5000)
    size = baseline.columns[0]
    assert size.quantile(size.counts, 0.5) == pytest.approx(10.0, abs=0.15)
    assert math.isnan(size.quantile([0] * len(size.counts), 0.5))


# ------------------------------------------------------------------------------- no false alarm


def test_windows_without_drift_keep_the_budget() -> None:
    """400 windows over 20 baselines, 1 in 100 allowed: more than 10 is a 0.3% chance."""
    alarms = 0
    for seed in range(20):
        baseline = make_baseline(seed, n=600)
        generator = np.random.default_rng([seed, 1])
        state = None
        for _ in range(20):
            window = count(baseline, draw(generator, 200))
            verdict, state = drift.judge(baseline, window, OFTEN, state)
            alarms += verdict.alarm
    assert alarms <= 10


def test_one_small_baseline_under_many_large_windows_does_not_alarm_for_its_own_error() -> None:
    """A trap: the baseline's sampling error is the same in all windows and looks like a drift."""
    alarmed = 0
    for seed in range(6):
        baseline = make_baseline(seed, n=400)
        generator = np.random.default_rng([seed, 2])
        state = None
        for _ in range(8):
            window = count(baseline, draw(generator, 5000))
            verdict, state = drift.judge(baseline, window, HOURLY, state)
            alarmed += verdict.alarm
    assert alarmed == 0


def test_rare_categories_are_not_unseen_because_the_vocabulary_came_from_the_same_rows() -> None:
    """A trap: with a long tail of values every window holds some that training never saw."""
    contract = Contract(task="anomaly", columns=(Column("id", "category"),))
    generator = np.random.default_rng(0)
    baseline = drift.build_baseline(contract, {"id": generator.zipf(1.3, 2000).astype(str)})
    for _ in range(20):
        window = drift.summarise_columns(baseline, {"id": generator.zipf(1.3, 500).astype(str)})
        assert not drift.judge(baseline, window, OFTEN)[0].alarm


def test_a_huge_window_does_not_alarm_on_a_trifle() -> None:
    """Significance is not enough: half a percent of a standard deviation is below every floor."""
    baseline = make_baseline(n=200_000)
    generator = np.random.default_rng(3)
    columns = draw(generator, 200_000)
    columns["size"] = [value + 0.03 for value in columns["size"]]
    verdict = judge_one(baseline, columns)
    size = next(finding for finding in verdict.ranking if finding.column == "size")
    assert not verdict.alarm
    assert abs(size.size) < size.floor


def test_a_timestamp_moves_without_being_drift() -> None:
    baseline = make_baseline()
    columns = draw(np.random.default_rng(4), 500)
    columns["when"] = ["2031-05-05T00:00:00"] * 500
    assert not judge_one(baseline, columns).alarm


# ------------------------------------------------------------------------------- what is found


def _shift(columns: dict[str, list[Any]]) -> None:
    columns["size"] = [value + 1.4 for value in columns["size"]]


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
        (_shift, "size", "location"),
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


def _delay(change: Any, rows: int, limit: int) -> int:
    baseline = make_baseline(n=10_000)
    generator = np.random.default_rng(14)
    state = None
    for window in range(1, limit + 1):
        columns = draw(generator, rows)
        change(columns)
        verdict, state = drift.judge(baseline, count(baseline, columns), HOURLY, state)
        if verdict.alarm:
            return window
    return limit + 1


def test_a_small_shift_is_found_by_creep_within_few_windows() -> None:
    """A quarter of a standard deviation in one column is found in a few windows of 200 rows."""

    def change(columns: dict[str, list[Any]]) -> None:
        columns["note"] = [text + "xxx" for text in columns["note"]]

    assert _delay(change, 200, 6) <= 4
    assert _delay(change, 1000, 3) == 1


def test_missing_values_that_double_are_found_within_twelve_windows() -> None:
    generator = np.random.default_rng(15)

    def change(columns: dict[str, list[Any]]) -> None:
        columns["weight"] = [
            math.nan if generator.random() < 0.053 else value for value in columns["weight"]
        ]

    assert _delay(change, 200, 14) <= 12


def test_creep_says_since_how_many_windows() -> None:
    baseline = make_baseline(n=10_000)
    generator = np.random.default_rng(16)
    state = None
    verdict = None
    for window in range(40):
        columns = draw(generator, 200)
        if window >= 10:
            columns["size"] = [value + 0.25 for value in columns["size"]]
            columns["weight"] = [value + 0.75 for value in columns["weight"]]
        verdict, state = drift.judge(baseline, count(baseline, columns), HOURLY, state)
        if verdict.alarm:
            break
    assert verdict is not None
    assert verdict.alarm
    first = verdict.findings[0]
    assert first.rule == "creep"
    assert first.column in ("size", "weight", "prediction")
    assert first.windows <= window - 10 + 6
    assert "over the last" in first.describe()


def test_one_bad_batch_does_not_keep_the_alarm_up() -> None:
    """A window that alarms on its own leaves the creep rule's history alone."""
    baseline = make_baseline()
    generator = np.random.default_rng(17)
    bad = draw(generator, 300)
    _shift(bad)
    verdict, state = drift.judge(baseline, count(baseline, bad), HOURLY)
    assert verdict.alarm
    for _ in range(5):
        verdict, state = drift.judge(baseline, count(baseline, draw(generator, 300)), HOURLY, state)
        assert not verdict.alarm


def test_the_creep_state_survives_json_and_folds_old_windows() -> None:
    baseline = make_baseline(n=300)
    window = count(baseline, draw(np.random.default_rng(18), 40))
    state = drift.Creep(baseline.digest)
    for _ in range(260):
        state = state.add(baseline, window)
    assert len(state.sums) == 250
    assert max(state.before[1]) == 400
    assert drift.Creep.from_json(state.to_json()) == state


# ----------------------------------------------------------------------------------------- time


def _hours(generator: np.random.Generator, hours: int, rows: int) -> tuple[Any, Any]:
    """Give rows whose level differs from hour to hour, as live traffic's does."""
    levels = np.repeat(generator.normal(0, 0.7, hours), rows)
    return levels + generator.normal(0, 1, hours * rows), np.arange(hours * rows) * (3600.0 / rows)


def test_dependence_in_time_enters_the_calibration() -> None:
    """With times the variance of hours is known and silent; without, many hours alarm."""
    contract = Contract(task="anomaly", columns=(Column("x", "number"), Column("y", "number")))
    generator = np.random.default_rng(20)
    x, times = _hours(generator, 100, 100)
    y, _ = _hours(generator, 100, 100)
    alarms = {}
    for known in (True, False):
        baseline = drift.build_baseline(contract, {"x": x, "y": y}, times=times if known else None)
        assert ("independent rows only" in baseline.calibration) is not known
        assert drift.Baseline.from_json(baseline.to_json()) == baseline
        alarms[known] = 0
        for _ in range(40):
            window = {name: _hours(generator, 1, 100)[0] for name in ("x", "y")}
            summary = drift.summarise_columns(baseline, window)
            alarms[known] += drift.judge(baseline, summary, HOURLY)[0].alarm
    assert alarms[True] == 0
    assert alarms[False] > 8


def test_a_real_shift_is_found_in_spite_of_dependence() -> None:
    contract = Contract(task="anomaly", columns=(Column("x", "number"), Column("y", "number")))
    generator = np.random.default_rng(21)
    x, times = _hours(generator, 200, 100)
    y, _ = _hours(generator, 200, 100)
    baseline = drift.build_baseline(contract, {"x": x, "y": y}, times=times)
    window = {"x": _hours(generator, 1, 100)[0] + 6.0, "y": _hours(generator, 1, 100)[0]}
    verdict, _ = drift.judge(baseline, drift.summarise_columns(baseline, window), HOURLY)
    assert verdict.alarm


# ------------------------------------------------------------------------------------ bad input


def test_what_cannot_be_judged_is_refused_with_a_reason() -> None:
    baseline, other = make_baseline(), make_baseline(1)
    window = count(baseline, draw(np.random.default_rng(0), 50))
    with pytest.raises(DriftError, match="another baseline"):
        drift.judge(other, window, HOURLY)
    with pytest.raises(DriftError, match="without rows"):
        drift.judge(baseline, drift.Summary.empty(baseline), HOURLY)
    with pytest.raises(DriftError, match="different baselines"):
        window + count(other, draw(np.random.default_rng(0), 50))
    with pytest.raises(DriftError, match="not a drift baseline"):
        drift.Baseline.from_json(b"{}")
    with pytest.raises(DriftError, match="format 9"):
        drift.Baseline.from_json(baseline.to_json().replace(b'"format":1', b'"format":9'))
    with pytest.raises(DriftError, match="not a drift summary"):
        drift.Summary.from_json(b"[1]")
    with pytest.raises(DriftError, match="not a state"):
        drift.Creep.from_json(b"{}")
    with pytest.raises(DriftError, match="lacks columns"):
        drift.build_baseline(MIXED, {"size": [1.0] * 50})
    with pytest.raises(DriftError, match="at least 20 rows"):
        drift.build_baseline(MIXED, draw(np.random.default_rng(0), 10))
    with pytest.raises(DriftError, match="times for"):
        drift.build_baseline(MIXED, draw(np.random.default_rng(0), 50), times=[1.0])
    with pytest.raises(DriftError, match="above 0"):
        drift.budget_for(0, 60)


def test_a_creep_state_of_another_baseline_is_dropped() -> None:
    baseline, other = make_baseline(), make_baseline(1)
    window = count(baseline, draw(np.random.default_rng(0), 50))
    foreign = drift.Creep(other.digest).add(other, count(other, draw(np.random.default_rng(1), 50)))
    _, state = drift.judge(baseline, window, HOURLY, foreign)
    assert state.baseline == baseline.digest
    assert len(state.sums) == 1


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


_SHARED = make_baseline()


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
        verdict_levels = [10.0**-test.threshold for test in drift._shock(baseline, window, 0.001)]
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
            tested = drift._test_shape(column, np.array([k, rows - k, 0, 0, 0]), None)
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
