"""The charts of the report."""

from collections.abc import Mapping
from html import escape
from typing import Any

from core import charts
from core.charts import Bar, Series
from core.contract import Contract
from training.judge.report.html import format_figure


def show_charts(evaluation: Mapping[str, Any], contract: Contract) -> str:
    """Draw what was traced of the held-out rows."""
    curves = evaluation["curves"]
    figures: list[tuple[str, str]] = []
    if curves.get("roc"):
        figures.append(
            (
                "ROC curve: how many of the class are found, for how many false alarms.",
                charts.draw_lines(
                    [_curve(entry) for entry in curves["roc"]],
                    title="ROC curve",
                    x_label="false positive rate",
                    y_label="true positive rate",
                    x_range=(0, 1),
                    y_range=(0, 1),
                    diagonal=True,
                ),
            )
        )
        figures.append(
            (
                "Precision and recall: how many answers are right, for how many found.",
                charts.draw_lines(
                    [_curve(entry) for entry in curves["pr"]],
                    title="Precision-recall curve",
                    x_label="recall",
                    y_label="precision",
                    x_range=(0, 1),
                    y_range=(0, 1),
                ),
            )
        )
    if curves.get("calibration"):
        bins = curves["calibration"]
        series = Series(
            "",
            [b["stated"] for b in bins],
            [b["happened"] for b in bins],
            [b["low"] for b in bins],
            [b["high"] for b in bins],
            marks=True,
        )
        figures.append(
            (
                "Calibration: of the rows given a probability, how many it came true for (95% "
                "limits). On the diagonal, a probability means what it says.",
                charts.draw_lines(
                    [series],
                    title="Calibration",
                    x_label="stated probability",
                    y_label="share that happened",
                    x_range=(0, 1),
                    y_range=(0, 1),
                    diagonal=True,
                ),
            )
        )
    if curves.get("scores"):
        found = curves["scores"]
        positive = str(evaluation["positive"])
        other = next((name for name in contract.classes if name != positive), "other")
        figures.append(
            (
                "Probabilities given to rows of each class.",
                charts.draw_histograms(
                    found["edges"],
                    [(positive, found["positive"]), (other, found["negative"])],
                    title="Probabilities by class",
                    x_label=f"probability of {positive}",
                    y_label="share of the class",
                ),
            )
        )
    if curves.get("confusion") and len(contract.classes) <= 12:
        at_threshold = " at the threshold" if evaluation["threshold"] is not None else ""
        figures.append(
            (
                f"Confusion matrix{at_threshold}: rows by what they are and what was answered.",
                charts.draw_heat(
                    contract.classes,
                    contract.classes,
                    curves["confusion"],
                    title="Confusion matrix",
                    x_label="answered",
                    y_label="is",
                ),
            )
        )
    figures += _other_figures(curves)
    if not figures:
        return ""
    drawn = "".join(
        f"<figure>{svg}<figcaption>{escape(text)}</figcaption></figure>" for text, svg in figures
    )
    return f'<h2>What it looks like</h2><div class="charts">{drawn}</div>'


def _other_figures(curves: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = []
    if curves.get("residuals"):
        found = curves["residuals"]
        figures.append(
            (
                "Predicted against actual; on the diagonal, a prediction is exact.",
                charts.draw_scatter(
                    [Series("", [p[0] for p in found["points"]], [p[1] for p in found["points"]])],
                    title="Predicted against actual",
                    x_label="predicted",
                    y_label="actual",
                    diagonal=True,
                ),
            )
        )
        figures.append(
            (
                "Residuals (actual minus predicted); their mean is "
                f"{format_figure(found['bias'], 4)}.",
                charts.draw_histograms(
                    found["edges"],
                    [("", found["counts"])],
                    title="Residuals",
                    x_label="actual minus predicted",
                ),
            )
        )
    if curves.get("anomalies"):
        found = curves["anomalies"]
        figures.append(
            (
                f"Scores of held-out rows and of unreal rows whose columns were drawn one by one; "
                f"{found['flagged_share']:.2%} of the held-out rows are called anomalies.",
                charts.draw_histograms(
                    found["edges"],
                    [("held-out rows", found["real"]), ("unreal rows", found["unreal"])],
                    title="Anomaly scores",
                    x_label="score (higher is stranger)",
                ),
            )
        )
    if curves.get("clusters"):
        figures.append(
            (
                "Share of the held-out rows in each cluster.",
                charts.draw_bars(
                    [Bar(f"cluster {c['cluster']}", c["share"]) for c in curves["clusters"]],
                    title="Cluster sizes",
                ),
            )
        )
        rows = [
            f"cluster {c['cluster']}: "
            + ", ".join(f"{d['feature']} {d['deviations']:+.2f} sd" for d in c.get("differs", ()))
            for c in curves["clusters"]
        ]
        figures.append(("What sets each cluster apart: " + "; ".join(rows) + ".", ""))
    return figures


def _curve(entry: Mapping[str, Any]) -> Series:
    points = entry["points"]
    return Series(str(entry["class"]), [p[0] for p in points], [p[1] for p in points])
