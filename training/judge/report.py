"""report.html: what a person reads before approving a model; one file, no scripts, no links out."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core import charts
from core.charts import Bar, Series
from core.contract import Contract
from training.data.dataset import Data
from training.jobs import Job

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--good:#00734f;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--good:#4fd0a0;--bad:#ff8a80}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:64rem;margin:0 auto;
padding:1rem}
h1{font-size:1.5rem;margin:.2rem 0}
h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1rem 0 .3rem}p{margin:.4rem 0;max-width:46rem}
.verdict{padding:.7rem 1rem;border-left:5px solid;background:var(--soft);margin:1rem 0}
.good{border-color:var(--good)}.bad{border-color:var(--bad)}
.yes{color:var(--good);font-weight:600}.no{color:var(--bad);font-weight:600}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.4rem 0;min-width:50%}
th,td{padding:.25rem .7rem .25rem 0;text-align:left;border-bottom:1px solid var(--line);
vertical-align:top}
td.n,th.n{text-align:right}code{font-size:.9em;overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem}
figure{margin:0;break-inside:avoid}figcaption{font-size:.9em}
svg{width:100%;height:auto;max-width:40rem}
.note{opacity:.75;font-size:.9em}
@media print{body{max-width:none;font-size:10.5pt;padding:0}h2{break-after:avoid}
tr,figure,.verdict{break-inside:avoid}
.charts{grid-template-columns:1fr 1fr}.verdict,.wide{overflow:visible}}
"""

_NAMES = {
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "f1": "F1",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "log_loss": "log loss",
    "brier": "Brier score",
    "error_p90": "90% of errors are within",
    "error_p95": "95% of errors are within",
    "separation_auc": "separation AUC",
    "davies_bouldin": "Davies-Bouldin index",
}


def write_report(job: Job, data: Data, evaluation: Mapping[str, Any]) -> bytes:
    """Write report.html."""
    return render_report(
        evaluation,
        data.contract,
        deployment=job.settings.deployment,
        run=job.run,
        trigger=job.trigger,
        gates={
            "minimum": dict(job.settings.gates.minimum),
            "maximum": dict(job.settings.gates.maximum),
        },
        inputs=data.inputs,
        commit=str(job.plan.get("commit") or "") or None,
    ).encode()


def render_report(
    evaluation: Mapping[str, Any],
    contract: Contract,
    *,
    deployment: str,
    run: str,
    trigger: str,
    gates: Mapping[str, Mapping[str, float]],
    inputs: Sequence[Mapping[str, Any]],
    commit: str | None,
) -> str:
    """Render the evaluation as one HTML page; the same bytes for the same input."""
    sections = [
        _head(evaluation, contract, deployment, run, trigger, gates),
        _metrics(evaluation, gates),
        _champion(evaluation),
        _charts(evaluation, contract),
        _importance(evaluation),
        _slices(evaluation),
        _search(evaluation),
        _data(evaluation, contract, inputs, commit),
    ]
    title = f"{escape(deployment)}: evaluation of {escape(run)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body></html>\n"
    )


def name_metric(name: str) -> str:
    """Write a metric's name for people."""
    return _NAMES.get(name, name.replace("_", " "))


def _head(
    evaluation: Mapping[str, Any],
    contract: Contract,
    deployment: str,
    run: str,
    trigger: str,
    gates: Mapping[str, Mapping[str, float]],
) -> str:
    missed = find_missed_gates(evaluation, gates)
    decision = evaluation["decision"]
    passed = bool(decision["promote"]) and not missed
    rows, chosen = evaluation["rows"], evaluation["chosen"]
    what = (
        f"predicts <b>{escape(contract.target)}</b>" if contract.target else "learns without labels"
    )
    verdict = "Ready to take over" if passed else "Not to be promoted"
    reasons = [f"misses the gate: {text}" for text in missed] + [str(decision["reason"])]
    stated = "".join(f"<div>{escape(reason)}</div>" for reason in reasons)
    return (
        f"<h1>{escape(deployment)}</h1>"
        f"<p>{'An' if contract.task == 'anomaly' else 'A'} {contract.task} model that {what}: "
        f"<b>{escape(chosen['candidate'])}</b>, trained on "
        f"{rows['train']:,} rows and judged on {rows['holdout']:,} that it never saw. "
        f"Run <code>{escape(run)}</code>, started by {escape(trigger)}.</p>"
        f'<div class="verdict {"good" if passed else "bad"}"><b '
        f'class="{"yes" if passed else "no"}">'
        f"{verdict}</b>{stated}</div>"
    )


def find_missed_gates(
    evaluation: Mapping[str, Any], gates: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Say which gates the holdout metrics miss."""
    missed = []
    for kind, word in (("minimum", "below"), ("maximum", "above")):
        for name, limit in gates.get(kind, {}).items():
            value = evaluation["metrics"].get(name, {}).get("value")
            if value is None:
                missed.append(f"{name_metric(name)} was not measured")
            elif value < limit if kind == "minimum" else value > limit:
                missed.append(f"{name_metric(name)} {value:.4g} is {word} {limit:g}")
    return missed


def _metrics(evaluation: Mapping[str, Any], gates: Mapping[str, Mapping[str, float]]) -> str:
    rows = []
    for name, found in evaluation["metrics"].items():
        limits = _interval(found, 4)
        gate = ""
        for kind, sign in (("minimum", "≥"), ("maximum", "≤")):
            limit = gates.get(kind, {}).get(name)
            if limit is not None:
                value = found.get("value", math.nan)  # of which no comparison holds
                held = value >= limit if kind == "minimum" else value <= limit
                mark = (
                    '<span class="yes">passes</span>' if held else '<span class="no">misses</span>'
                )
                gate = f"{sign} {limit:g} {mark}"
        label = escape(name_metric(name)) + (
            " (competed on)" if name == evaluation["metric"] else ""
        )
        rows.append([label, _value(found), limits, f"{found['better']} is better", gate])
    text = (
        "<p class=note>Measured on the held-out rows; limits are 95% bootstrap intervals over "
        + {"group": "groups", "time": "blocks of neighbours in time"}.get(
            evaluation["split"]["strategy"], "rows"
        )
        + ".</p>"
    )
    threshold = ""
    if evaluation["threshold"] is not None:
        positive = evaluation["positive"]
        what = (
            f"<b>{escape(positive)}</b> is answered from a probability of"
            if positive
            else "Threshold"
        )
        threshold = (
            f"<p>{what} <b>{evaluation['threshold']:.4g}</b> on: "
            f"{escape(evaluation['threshold_reason'])}."
            f" Probabilities are {_say_calibration(evaluation)}"
            " (whichever had the better log loss in cross-validation).</p>"
            if positive
            else f"<p>{what} <b>{evaluation['threshold']:.4g}</b>: "
            f"{escape(evaluation['threshold_reason'])}.</p>"
        )
    return (
        "<h2>How good it is</h2>"
        + _table(["metric", "#value", "#95% interval", "", "gate"], rows)
        + text
        + threshold
    )


def _say_calibration(evaluation: Mapping[str, Any]) -> str:
    return "calibrated by sigmoids" if evaluation["calibrated"] else "the model's own"


def _champion(evaluation: Mapping[str, Any]) -> str:
    champion = evaluation["champion"]
    if champion is None:
        return ""
    rows = []
    for key, label in (
        ("everything", "rows unseen by both"),
        ("fresh", "of these, newly labelled"),
    ):
        found = champion[key]
        if found is None:
            continue
        advantage = found["advantage"]
        limits = _interval(advantage, 4)
        rows.append(
            [
                label,
                f"{found['rows']:,}",
                _value(found["champion"]),
                _value(found["challenger"]),
                limits,
                f"{found['favourable']:.1%}",
            ]
        )
    head = ["", "#rows", "#champion", "#this model", "#advantage, 95%", "#resamples ahead"]
    table = _table(head, rows) if rows else "<p>There are no rows that neither has seen.</p>"
    return (
        "<h2>Against the champion</h2>"
        f"<p>The live model is of run <code>{escape(champion['run'])}</code>; both answered the "
        f"same rows, "
        f"compared by {escape(name_metric(evaluation['metric']))}. A model of the same quality is "
        f"promoted by "
        f"luck in at most about {champion['lucky_rate']:.0%} of runs.</p>{table}"
    )


def _charts(evaluation: Mapping[str, Any], contract: Contract) -> str:
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
                "limits). "
                "On the diagonal, a probability means what it says.",
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
                f"Residuals (actual minus predicted); their mean is {_figure(found['bias'], 4)}.",
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


def _importance(evaluation: Mapping[str, Any]) -> str:
    found = evaluation["importance"]
    if not found:
        return ""
    bars = [
        Bar(
            item["column"],
            item["drop"],
            item["drop"] - 2 * item["spread"],
            item["drop"] + 2 * item["spread"],
        )
        for item in found[:20]
    ]
    more = (
        f" The {len(found) - 20} least important columns are not shown." if len(found) > 20 else ""
    )
    return (
        "<h2>What it rests on</h2><p>How much worse "
        f"{escape(name_metric(evaluation['metric']))} gets when a column is shuffled among the "
        f"held-out rows "
        "(whiskers: two standard deviations over repeats). Columns that carry the same "
        "information share "
        f"their importance.{more}</p>"
        + charts.draw_bars(bars, title="Permutation importance", digits=3)
    )


def _slices(evaluation: Mapping[str, Any]) -> str:
    found = evaluation["slices"]
    if not found:
        return ""
    kind = "absolute error" if evaluation["task"] == "regression" else "log loss"
    other = evaluation["metric"] if evaluation["metric"] not in ("log_loss", "mae") else ""
    rows = []
    for item in found:
        metric = item["metric"]
        mark = '<span class="no">worse</span>' if item["worse"] else ""
        rows.append(
            [
                escape(item["column"]) + (" (sensitive)" if item["sensitive"] else ""),
                escape(item["group"]),
                f"{item['rows']:,}",
                *(["" if metric is None else _figure(metric, 3)] if other else []),
                _figure(item["loss"]["value"], 3),
                _interval(item["loss"], 3),
                mark,
            ]
        )
    head = ["column", "rows where it is", "#rows", *([f"#{name_metric(other)}"] if other else [])]
    marked = sum(1 for item in found if item["worse"])
    verdict = (
        f"{marked} of them are worse than the other rows by more than noise"
        if marked
        else "none is worse than the other rows by more than noise"
    )
    return (
        f"<h2>Where it is weakest</h2><p>The groups of held-out rows with the highest {kind} "
        f"against the "
        f"rest; {verdict} (5%, corrected for the number of groups looked at).</p>"
        + _table([*head, f"#mean {kind}", "#95% interval", ""], rows)
    )


def _search(evaluation: Mapping[str, Any]) -> str:
    best = evaluation["chosen"]
    by_candidate: dict[str, list[Mapping[str, Any]]] = {}
    for trial in evaluation["candidates"]:
        by_candidate.setdefault(trial["candidate"], []).append(trial)
    lower = evaluation["metrics"].get(evaluation["metric"], {}).get("better") == "lower"
    rows = []
    for name, trials in by_candidate.items():
        scored = [t for t in trials if t["score"] is not None and t["complete"]]
        if not scored:
            rows.append([escape(name), str(len(trials)), "failed", "", ""])
            continue
        top = (min if lower else max)(scored, key=lambda trial: float(trial["score"]))
        params = ", ".join(f"{key} {_param(value)}" for key, value in top["params"].items())
        shown = f"<b>{escape(name)}</b> (chosen)" if name == best["candidate"] else escape(name)
        rows.append(
            [
                shown,
                str(len(trials)),
                _figure(top["score"], 5),
                _figure(top["spread"], 2),
                escape(params),
            ]
        )
    early = (
        "<p>The search ended with its time budget.</p>"
        if evaluation["search_stopped_early"]
        else ""
    )
    head = [
        "candidate",
        "#trials",
        f"#best {name_metric(evaluation['metric'])}",
        "#± over folds",
        "with",
    ]
    return (
        "<h2>What competed</h2><p>Judged by cross-validation within the training rows; the "
        "held-out rows "
        f"took no part.</p>{_table(head, rows)}{early}"
    )


def _data(
    evaluation: Mapping[str, Any],
    contract: Contract,
    inputs: Sequence[Mapping[str, Any]],
    commit: str | None,
) -> str:
    quality, rows, export = evaluation["quality"], evaluation["rows"], evaluation["export"]
    warnings = "".join(f"<li>{escape(str(text))}</li>" for text in quality.get("warnings", ()))
    figures = quality.get("columns", {})
    columns = []
    for column in contract.columns[:60]:
        found = figures.get(column.name, {})
        span = f"{_param(found['low'])} to {_param(found['high'])}" if "low" in found else ""
        if column.type == "category":
            span = ", ".join(column.categories[:6]) + (" ..." if len(column.categories) > 6 else "")
        columns.append(
            [
                escape(column.name),
                column.type + (", sensitive" if column.sensitive else ""),
                f"{found.get('missing', 0):,}",
                f"{found.get('distinct', 0):,}",
                escape(f"{span} {column.unit}".strip()),
            ]
        )
    more = (
        f"<p>{len(contract.columns) - 60} more columns are not shown.</p>"
        if len(contract.columns) > 60
        else ""
    )
    sources = [
        [
            f"<code>{escape(str(e['key']))}</code>",
            f"<code>{escape(str(e['sha256'])[:16])}</code>",
            f"<code>{escape(str(e.get('version_id', '')))}</code>",
        ]
        for e in inputs
    ]
    split = evaluation["split"]
    return (
        "<h2>Where it comes from</h2>"
        f"<p>{rows['total']:,} rows, {rows['fresh']:,} of them captured and labelled since the "
        f"last model; "
        f"{rows['without_target']:,} without a target were left out. Split: "
        f"{escape(split['strategy'])}, "
        f"{split['holdout']:.0%} held out."
        + (f" Commit <code>{escape(commit)}</code>." if commit else "")
        + "</p>"
        + _table(["file", "SHA-256", "version"], sources)
        + f"<p>Exported as <b>{escape(export['family'])}</b>: {export['rows']:,} rows, with "
        f"missing, unseen and "
        f"threshold values among them, answered by the exported model and by scikit-learn differ "
        f"by at most "
        f"{export['max_abs_diff']:.2g} (bound {export['bound']:g}), {export['flips']} labels "
        f"differ.</p>"
        + (f"<h3>Unusual in the data</h3><ul>{warnings}</ul>" if warnings else "")
        + "<h3>Columns</h3>"
        + _table(["column", "type", "#missing", "#distinct", "values"], columns)
        + more
    )


def _curve(entry: Mapping[str, Any]) -> Series:
    points = entry["points"]
    return Series(str(entry["class"]), [p[0] for p in points], [p[1] for p in points])


def _value(interval: Mapping[str, float]) -> str:
    return _figure(interval["value"], 4) if "value" in interval else "undefined"


def _figure(value: float, digits: int) -> str:
    """Write a number with so many digits that count, and all before the point up to a million."""
    size = abs(value)
    if not 1e-4 <= size < 1e9:
        return f"{value:.{digits}g}"
    decimals = digits - 1 - math.floor(math.log10(size))
    return f"{value:,.{min(max(decimals, 0), digits)}f}"


def _interval(found: Mapping[str, float], digits: int) -> str:
    if "low" not in found:
        return ""
    return f"{_figure(found['low'], digits)} to {_figure(found['high'], digits)}"


def _param(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Make a table of cells that are HTML already; a head with # is a column of numbers."""
    numeric = [title.startswith("#") for title in head]
    classes = [' class="n"' if is_number else "" for is_number in numeric]
    top = "".join(
        f"<th{style}>{escape(title.lstrip('#'))}</th>"
        for title, style in zip(head, classes, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{style}>{cell}</td>" for cell, style in zip(row, classes, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )
