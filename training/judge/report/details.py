"""What the model rests on: important columns, weak groups of rows, candidates, data."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from core import charts
from core.charts import Bar
from core.contract import Contract
from training.judge.report.html import (
    format_figure,
    format_interval,
    format_param,
    make_table,
    name_metric,
)


def show_importance(evaluation: Mapping[str, Any]) -> str:
    """Show how much the metric owes to each column."""
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
        f"<h2>What it rests on</h2><p>How much worse {escape(name_metric(evaluation['metric']))} "
        "gets when a column is shuffled among the held-out rows (whiskers: two standard deviations "
        f"over repeats). Columns that carry the same information share their importance.{more}</p>"
        + charts.draw_bars(bars, title="Permutation importance", digits=3)
    )


def show_slices(evaluation: Mapping[str, Any]) -> str:
    """Show the groups of rows in which the model does worst."""
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
                *(["" if metric is None else format_figure(metric, 3)] if other else []),
                format_figure(item["loss"]["value"], 3),
                format_interval(item["loss"], 3),
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
        f"against the rest; {verdict} (5%, corrected for the number of groups looked at).</p>"
        + make_table([*head, f"#mean {kind}", "#95% interval", "verdict"], rows)
    )


def show_search(evaluation: Mapping[str, Any]) -> str:
    """Show the candidates, and the best trial of each."""
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
        params = ", ".join(f"{key} {format_param(value)}" for key, value in top["params"].items())
        shown = f"<b>{escape(name)}</b> (chosen)" if name == best["candidate"] else escape(name)
        rows.append(
            [
                shown,
                str(len(trials)),
                format_figure(top["score"], 5),
                format_figure(top["spread"], 2),
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
        f"held-out rows took no part.</p>{make_table(head, rows)}{early}"
    )


def show_data(
    evaluation: Mapping[str, Any],
    contract: Contract,
    inputs: Sequence[Mapping[str, Any]],
    commit: str | None,
) -> str:
    """Show the rows, the files, the export and the columns."""
    quality, rows, export = evaluation["quality"], evaluation["rows"], evaluation["export"]
    warnings = "".join(f"<li>{escape(str(text))}</li>" for text in quality.get("warnings", ()))
    figures = quality.get("columns", {})
    columns = []
    for column in contract.columns[:60]:
        found = figures.get(column.name, {})
        span = (
            f"{format_param(found['low'])} to {format_param(found['high'])}"
            if "low" in found
            else ""
        )
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
    split = evaluation["split"]
    return (
        f"<h2>Where it comes from</h2><p>{rows['total']:,} rows, {rows['fresh']:,} of them "
        f"captured and labelled since the last model; {rows['without_target']:,} without a target "
        f"were left out. Split: {escape(split['strategy'])}, {split['holdout']:.0%} held out."
        + (f" Commit <code>{escape(commit)}</code>." if commit else "")
        + "</p>"
        + _show_files(inputs, quality)
        + f"<p>Exported as <b>{escape(export['family'])}</b>: {export['rows']:,} rows, with "
        "missing, unseen and threshold values among them, answered by the exported model and by "
        f"scikit-learn differ by at most {export['max_abs_diff']:.2g} (bound {export['bound']:g}), "
        f"{export['flips']} labels differ.</p>"
        + (f"<h3>Unusual in the data</h3><ul>{warnings}</ul>" if warnings else "")
        + "<h3>Columns</h3>"
        + make_table(["column", "type", "#missing", "#distinct", "values"], columns)
        + more
    )


def _show_files(inputs: Sequence[Mapping[str, Any]], quality: Mapping[str, Any]) -> str:
    """Show how many rows each file brought, how many are used, and why the others are not."""
    rows = []
    for entry in inputs:
        left_out = entry.get("left_out") or {}
        rows.append(
            [
                f"<code>{escape(str(entry['key']))}</code>",
                f"{entry['rows']:,}" if "rows" in entry else "",
                f"{entry['used']:,}" if "used" in entry else "",
                escape("; ".join(f"{count:,} {reason}" for reason, count in left_out.items())),
                f"<code>{escape(str(entry['sha256'])[:16])}</code>",
                f"<code>{escape(str(entry.get('version_id', '')))}</code>",
            ]
        )
    head = ["file", "#rows", "#used", "why the others are not", "SHA-256", "version"]
    unread = "".join(f"<li>{escape(str(what))}</li>" for what in quality.get("unread", ()))
    return make_table(head, rows) + (
        f"<p>Not read, so that their rows are not in this model:</p><ul>{unread}</ul>"
        if unread
        else ""
    )
