"""report.html: one file that stands alone, says what was decided, and escapes the data."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from core.contract import Column, Contract
from training.judge.report import find_missed_gates, render_report

NASTY = "<script>alert('x')</script>"
VOID = {"meta", "br", "img", "rect", "line", "path", "circle", "polyline"}


class Balance(HTMLParser):
    """Checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def evaluation(**changes: Any) -> dict[str, Any]:
    trial = {
        "candidate": "linear",
        "params": {"C": 1.0},
        "score": 0.2,
        "spread": 0.01,
        "folds": 3,
        "complete": True,
    }
    return {
        "task": "binary",
        "positive": "yes",
        "metric": "log_loss",
        "metrics": {
            "log_loss": {**interval(0.2), "better": "lower"},
            "roc_auc": {**interval(0.9), "better": "higher"},
        },
        "threshold": 0.4,
        "threshold_reason": "best F1",
        "calibrated": True,
        "chosen": trial,
        "candidates": [trial, {**trial, "candidate": "forest", "score": None, "complete": False}],
        "search_stopped_early": True,
        "champion": {
            "run": "earlier",
            "everything": {
                "metric": "log_loss",
                "rows": 40,
                "champion": interval(0.3),
                "challenger": interval(0.2),
                "advantage": interval(0.1),
                "favourable": 0.97,
            },
            "fresh": None,
            "lucky_rate": 0.05,
        },
        "decision": {"promote": True, "reason": "better than the champion"},
        "rows": {"total": 100, "train": 75, "holdout": 25, "fresh": 0, "without_target": 2},
        "split": {"strategy": "random", "holdout": 0.25},
        "quality": {"warnings": [NASTY], "columns": {NASTY: {"missing": 1, "distinct": 2}}},
        "export": {
            "family": "linear",
            "rows": 99,
            "max_abs_diff": 1e-15,
            "flips": 0,
            "bound": 1e-12,
        },
        "curves": {
            "confusion": [[10, 2], [1, 12]],
            "roc": [{"class": "yes", "points": [[0, 0], [0.1, 0.9], [1, 1]]}],
            "pr": [{"class": "yes", "points": [[0.1, 1], [1, 0.5]]}],
            "calibration": [
                {"stated": 0.2, "happened": 0.25, "low": 0.1, "high": 0.4, "rows": 12},
                {"stated": 0.8, "happened": 0.7, "low": 0.5, "high": 0.9, "rows": 13},
            ],
            "scores": {"edges": [0, 0.5, 1], "positive": [1, 12], "negative": [11, 1]},
        },
        "slices": [
            {
                "column": NASTY,
                "group": NASTY,
                "rows": 20,
                "metric": 0.5,
                "loss": interval(0.5),
                "gap": 0.2,
                "worse": True,
                "sensitive": True,
            }
        ],
        "importance": [{"column": NASTY, "drop": 0.3, "spread": 0.02}],
        **changes,
    }


CONTRACT = Contract("binary", (Column(NASTY, "number"),), target=f"{NASTY}!", classes=("no", "yes"))


def render(found: dict[str, Any], gates: Any = None, contract: Contract = CONTRACT) -> str:
    return render_report(
        found,
        contract,
        deployment="trial-dev",
        run="run-1",
        trigger="manual",
        gates=gates or {},
        inputs=[{"key": "table.csv", "sha256": "a" * 64}],
        commit="abc",
    )


def test_the_report_is_one_closed_file() -> None:
    """No scripts, no links out, no loads from elsewhere; every element is closed."""
    page = render(evaluation())
    checker = Balance()
    checker.feed(page)
    assert checker.open == []
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", page)
    assert set(re.findall(r"https?://[^\"' ]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_what_the_data_says_is_escaped() -> None:
    """Names of columns and categories cannot add to the page."""
    assert NASTY not in render(evaluation())


def test_the_verdict_follows_decision_and_gates() -> None:
    """Only a model that is to be promoted and that passes its gates is ready."""
    assert "Ready to take over" in render(evaluation(), {"minimum": {"roc_auc": 0.8}})
    missed = render(evaluation(), {"minimum": {"roc_auc": 0.95}})
    assert "Not to be promoted" in missed
    assert "ROC AUC 0.9 is below 0.95" in missed
    kept = render(evaluation(decision={"promote": False, "reason": "within noise"}))
    assert "Not to be promoted" in kept
    assert "within noise" in kept


def test_gates_are_read_both_ways() -> None:
    """A floor on what should be high, a ceiling on what should be low, and the unmeasured."""
    gates = {"minimum": {"roc_auc": 0.9, "f1": 0.5}, "maximum": {"log_loss": 0.1}}
    assert find_missed_gates(evaluation(), gates) == [
        "F1 was not measured",
        "log loss 0.2 is above 0.1",
    ]


def test_figures_are_drawn() -> None:
    """Curves, calibration, scores, confusion and importance are in the page as pictures."""
    page = render(evaluation())
    for title in (
        "ROC curve",
        "Precision-recall curve",
        "Calibration",
        "Probabilities by class",
        "Confusion matrix",
        "Permutation importance",
    ):
        assert f'aria-label="{title}"' in page


def test_figures_are_written_with_the_digits_that_count() -> None:
    """A price is not given to a hundredth of a cent, nor a share as a power of ten."""
    dear = {"value": 373630.8959, "low": 6952.5493, "high": 1638792.4236, "better": "lower"}
    page = render(evaluation(metric="rmse", metrics={"rmse": dear}))
    assert '<td class="n">373,631</td>' in page
    assert "6,953 to 1,638,792" in page
    small = {"value": 0.00123456, "low": 0.0, "high": 1.0, "better": "lower"}
    page = render(evaluation(metrics={"log_loss": small}))
    assert '<td class="n">0.0012</td>' in page
    assert "0 to 1.000" in page


def test_the_loss_of_a_slice_is_shown_once() -> None:
    """Beside the mean log loss a metric has a column only if it is another."""
    assert "mean log loss</th>" in render(evaluation())
    assert '<th class="n">log loss</th>' not in render(evaluation())
    assert '<th class="n">ROC AUC</th>' in render(evaluation(metric="roc_auc"))


def test_only_a_binary_model_has_a_threshold_in_its_figures() -> None:
    """A confusion matrix of several classes is of the likeliest ones."""
    assert "Confusion matrix at the threshold:" in render(evaluation())
    assert "Confusion matrix: rows" in render(evaluation(threshold=None))


@pytest.mark.parametrize("task", ["regression", "anomaly", "clustering"])
def test_other_tasks_have_reports_of_their_own(task: str) -> None:
    """Residuals, anomaly scores, clusters: what fits the task is drawn."""
    curves = {
        "regression": {
            "residuals": {
                "edges": [0, 1, 2],
                "counts": [3, 4],
                "points": [[1, 2], [2, 2]],
                "bias": 0.1,
            }
        },
        "anomaly": {
            "anomalies": {
                "edges": [0, 1, 2],
                "real": [3, 1],
                "unreal": [1, 3],
                "flagged_share": 0.01,
            }
        },
        "clustering": {
            "clusters": [
                {
                    "cluster": "0",
                    "rows": 3,
                    "share": 0.3,
                    "differs": [{"feature": "x", "deviations": 1.2}],
                },
                {"cluster": "1", "rows": 7, "share": 0.7},
            ]
        },
    }
    titles = {
        "regression": "Predicted against actual",
        "anomaly": "Anomaly scores",
        "clustering": "Cluster sizes",
    }
    found = evaluation(
        task=task,
        positive=None,
        threshold=None,
        champion=None,
        curves=curves[task],
        metrics={"score": {"value": 0.5, "better": "higher"}},
        metric="score",
        slices=[],
        importance=[],
    )
    target = "y" if task == "regression" else None
    page = render(found, contract=Contract(task, (Column("x", "number"),), target=target))  # type: ignore[arg-type]
    assert f'aria-label="{titles[task]}"' in page
    assert f"<p>{'An' if task == 'anomaly' else 'A'} {task} model" in page
