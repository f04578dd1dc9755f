"""A claim like one that labels have refuted is doubted, until it is what service showed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.bundle import Bundle
from tests.training.projects import make_project
from training import jobs
from training.doubts.refuted import find_refuted
from training.log import Log
from training.train import train

REFUTED: dict[str, Any] = {
    "format": 1,
    "run": "shop-dev-1",
    "refuted": True,
    "metric": "log_loss",
    "claimed": {"value": 0.07, "low": 0.05, "high": 0.09},
    "shown": {"value": 1.2, "low": 1.0, "high": 1.4, "rows": 240},
}


def test_the_same_claim_again_is_doubted() -> None:
    """The sentence names the run, what was promised, what labels showed, and what is claimed."""
    claimed = {"value": 0.06, "low": 0.04, "high": 0.08}
    doubt = find_refuted(REFUTED, "log_loss", claimed, "lower")
    assert doubt is not None
    assert doubt.name == "refuted:shop-dev-1"
    for part in (
        "its holdout promised log_loss 0.07 (0.05 to 0.09)",
        "its first 240 labelled predictions showed 1.2 (1 to 1.4)",
        "this run claims 0.06 (0.04 to 0.08)",
    ):
        assert part in doubt.sentence


@pytest.mark.parametrize(
    ("value", "doubted"),
    # 0.1 to either side is a standard error of 0.051, 0.2 is one of 0.102: together 0.114, of which
    # 2.33 are 0.266.
    [(0.5, True), (0.92, True), (0.94, False), (1.2, False), (1.5, False)],
)
def test_a_claim_that_service_has_shown_to_be_true_is_not(value: float, doubted: bool) -> None:
    claimed = {"value": value, "low": value - 0.1, "high": value + 0.1}
    assert (find_refuted(REFUTED, "log_loss", claimed, "lower") is not None) is doubted


def test_the_other_way_round_where_higher_is_better() -> None:
    """A claim without an interval is taken as it is."""
    shown = {"value": 0.7, "low": 0.65, "high": 0.75, "rows": 300}
    refuted = {**REFUTED, "metric": "roc_auc", "shown": shown}
    assert find_refuted(refuted, "roc_auc", {"value": 0.9}, "higher") is not None
    assert find_refuted(refuted, "roc_auc", {"value": 0.72}, "higher") is None
    assert find_refuted(refuted, "roc_auc", {"value": 0.5}, "higher") is None


def test_there_is_no_doubt_without_a_refuted_claim_of_this_metric() -> None:
    assert find_refuted(None, "log_loss", {"value": 0.06}, "lower") is None
    assert find_refuted(REFUTED, "brier", {"value": 0.06}, "lower") is None
    assert find_refuted(REFUTED, "log_loss", {}, "lower") is None


def test_a_run_whose_plan_names_a_refuted_claim_has_the_doubt(tmp_path: Path) -> None:
    """In evaluation.json, where Register and people read it; a run without the note has none."""
    folder = make_project(tmp_path, extra='[training]\ncandidates = ["linear"]\n')
    names = []
    for refuted in (REFUTED, None):
        job = jobs.read_folder(folder, champion=None, trigger="drift", stage=None)
        job = replace(job, plan={**job.plan, "refuted": refuted})
        evaluation = Bundle.from_folder(train(job, Log(0.0))).evaluation()
        names.append([doubt["name"] for doubt in evaluation["doubts"]])
    assert "refuted:shop-dev-1" in names[0]
    assert not any(name.startswith("refuted") for name in names[1])
