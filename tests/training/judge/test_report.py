"""report.html: one file that stands alone, says what was decided, and escapes the data."""

import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
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


def duel(rows: int, *, theirs: float = 0.3, advantage: float = 0.1) -> dict[str, Any]:
    return {
        "metric": "log_loss",
        "rows": rows,
        "champion": interval(theirs),
        "challenger": interval(0.2),
        "advantage": interval(advantage),
        "favourable": 0.97,
        "units": rows,
        "error": 0.025,
    }


def champion(**changes: Any) -> dict[str, Any]:
    return {
        "run": "earlier",
        "everything": duel(1000),
        "held": duel(25),
        "fresh": None,
        "mismatch": None,
        "lucky_rate": 0.05,
        **changes,
    }


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
        "champion": champion(),
        "nothing": duel(25, theirs=0.69, advantage=0.49),
        "doubts": [],
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


def render(
    found: dict[str, Any],
    gates: Any = None,
    contract: Contract = CONTRACT,
    *,
    trigger: str = "manual",
    inputs: Any = ({"key": "table.csv", "sha256": "a" * 64},),
) -> str:
    return render_report(
        found,
        contract,
        deployment="trial-dev",
        run="run-1",
        trigger=trigger,
        gates=gates or {},
        inputs=inputs,
        commit="abc",
    )


def section(page: str, heading: str) -> str:
    """Take a section's text: without tags, in one line."""
    after = page.partition(f"<h2>{heading}</h2>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", after.partition("<h2>")[0])).split())


def doubt(name: str, sentence: str = "tells all", accepted: bool = False) -> dict[str, Any]:
    return {"name": name, "sentence": sentence, "columns": [], "accepted": accepted}


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


def test_a_doubted_model_waits_for_a_person() -> None:
    """The verdict says so, and the section below it names each doubt with what to do."""
    page = render(evaluation(doubts=[doubt("files", "by file"), doubt("alone:a", NASTY)]))
    assert '<b class="wait">Waits for a person</b><div>2 doubts hold it' in page
    assert "Ready to take over" not in page
    assert NASTY not in page
    headings = re.findall(r"<h2>([^<]+)</h2>", page)
    assert headings[:2] == ["Doubts", "How good it is"]
    shown = section(page, "Doubts")
    assert "They hold the version until a person has decided" in shown
    assert "files by file holds" in shown
    assert "python -m ops approve" in shown
    assert 'accepted = ["files", "alone:a"]' in shown


def test_accepted_doubts_are_shown_as_accepted() -> None:
    """They hold nothing up, and stay in sight; the key to copy keeps them."""
    page = render(evaluation(doubts=[doubt("files", accepted=True)]))
    assert "Ready to take over" in page
    assert "All of them are accepted" in section(page, "Doubts")
    assert "tells all accepted" in section(page, "Doubts")
    both = render(evaluation(doubts=[doubt("order"), doubt("files", accepted=True)]))
    assert "Waits for a person" in both
    assert "a doubt holds it" in both
    assert "One of them holds the version" in section(both, "Doubts")
    alone = section(render(evaluation(doubts=[doubt("order")])), "Doubts")
    assert "This one holds the version" in alone
    assert 'accepted = ["files", "order"]' in section(both, "Doubts")


def test_a_refused_model_with_doubts_is_refused() -> None:
    """Nobody is asked to approve what misses its gate."""
    page = render(evaluation(doubts=[doubt("files")]), {"minimum": {"roc_auc": 0.95}})
    assert "Not to be promoted" in page
    assert "Waits for a person" not in page
    assert "Doubts" in page


def test_without_doubts_there_is_no_such_section() -> None:
    """A heading above nothing would make people look."""
    assert "<h2>Doubts</h2>" not in render(evaluation())


def test_the_comparison_says_what_was_needed_and_on_which_rows() -> None:
    """The advantage, its error, the limit for every look; rows of the holdout and later ones."""
    shown = section(render(evaluation()), "Against the champion")
    assert "Of the 1,000 rows, 25 are of the holdout" in shown
    assert "975 others came after the champion was trained" in shown
    assert "cross-validation" in shown
    # 0.1 / 0.025 errors; Robbins' boundary at a thousand units is 2.9 (Decision's own table).
    assert "rows that neither was trained on 1,000 0.3000 0.2000 0.1000" in shown
    assert "0.0250 4.0 2.9 97.0%" in shown
    assert "at most 5%, however often it is challenged" in shown


def test_a_comparison_on_the_holdout_alone_speaks_of_nothing_else() -> None:
    """No later rows, no cross-validation."""
    found = evaluation(champion=champion(everything=duel(25)))
    shown = section(render(found), "Against the champion")
    assert "Of the 25 rows, 25 are of the holdout" in shown
    assert "0 others came after" in shown
    assert "cross-validation" not in shown


def test_after_drift_the_newly_labelled_rows_decide() -> None:
    """The rule is another one, and the report says which."""
    found = evaluation(champion=champion(fresh=duel(60)))
    drift = section(render(found, trigger="drift"), "Against the champion")
    assert "of these, labelled since it went live 60" in drift
    assert "takes over unless it is worse" in drift
    assert "takes over unless" not in section(render(found), "Against the champion")


@pytest.mark.parametrize(
    ("compared", "words"),
    [
        (None, "no model was live when the run began"),
        (champion(everything=None, held=None, mismatch="task is another"), "task is another"),
        (champion(everything=None, held=None), "better than the champion"),
    ],
)
def test_where_nothing_was_compared_the_report_says_why(compared: Any, words: str) -> None:
    """A claim without a comparison is not taken for one with."""
    shown = section(render(evaluation(champion=compared)), "Against the champion")
    assert words in shown
    assert "neither was trained on" not in shown
    assert ("not compared" in shown) == (compared is not None)


def test_the_comparison_with_knowing_nothing_is_shown() -> None:
    """Who reads the score sees what the class shares alone would have scored."""
    shown = section(render(evaluation()), "Against knowing nothing")
    assert "how frequent each class is" in shown
    assert "held-out rows 25 0.6900 0.2000 0.4900" in shown
    assert "0.0250 19.6 97.0%" in shown
    regression = render(evaluation(task="regression", positive=None, threshold=None))
    assert "the middle of the target" in section(regression, "Against knowing nothing")
    assert "Against knowing nothing" not in render(evaluation(nothing=None))


def test_files_show_their_rows_and_why_others_are_left_out() -> None:
    """Which rows came from which file, and what of them the model was not given."""
    brought = {
        "key": "data/day-1.csv",
        "sha256": "b" * 64,
        "rows": 1500,
        "used": 20,
        "left_out": {"replaced by a newer file": 1478, NASTY: 2},
    }
    labelled = {"key": "labelled/1.csv.gz", "sha256": "c" * 64}
    found = evaluation(quality={"unread": ["t.xlsx: a spreadsheet"]})
    page = render(found, inputs=[brought, labelled])
    shown = section(page, "Where it comes from")
    assert "data/day-1.csv 1,500 20 1,478 replaced by a newer file; 2 <script>" in shown
    assert NASTY not in page
    assert "labelled/1.csv.gz cccccccccccccccc" in shown
    assert "Not read, so that their rows are not in this model: t.xlsx: a spreadsheet" in shown


def test_tables_have_headers_that_screen_readers_use() -> None:
    """Every head of a column says something, and says that it is one."""
    page = render(evaluation(doubts=[doubt("files")]))
    heads = re.findall(r"<th\b([^>]*)>(.*?)</th>", page)
    assert heads
    assert all('scope="col"' in attributes and text for attributes, text in heads)
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def luminance(colour: str) -> float:
    """Give the relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("place", "canvas"), [(0, "#e6e6e6"), (1, "#2b2a33")])
def test_verdicts_are_legible_on_light_and_dark(place: int, canvas: str) -> None:
    """At least 4.5 to 1, on grounds less favourable than those of today's browsers."""
    page = render(evaluation())
    for name in ("good", "bad", "wait"):
        colour = re.findall(rf"--{name}:(#[0-9a-f]{{6}})", page)[place]
        ratio = sorted([luminance(colour) + 0.05, luminance(canvas) + 0.05])
        assert ratio[1] / ratio[0] >= 4.5, (name, colour)


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
    assert '<th scope="col" class="n">log loss</th>' not in render(evaluation())
    assert '<th scope="col" class="n">ROC AUC</th>' in render(evaluation(metric="roc_auc"))


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
        nothing=None,
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
