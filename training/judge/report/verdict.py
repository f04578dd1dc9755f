"""What was decided and why: the verdict, the gates, the metrics, the champion."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from core.contract import Contract
from training.judge.report.html import format_interval, format_value, make_table, name_metric


def show_head(
    evaluation: Mapping[str, Any],
    contract: Contract,
    deployment: str,
    run: str,
    trigger: str,
    gates: Mapping[str, Mapping[str, float]],
) -> str:
    """Say what the model is, whether it may take over, and why."""
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
        f"<h1>{escape(deployment)}</h1><p>{'An' if contract.task == 'anomaly' else 'A'} "
        f"{contract.task} model that {what}: <b>{escape(chosen['candidate'])}</b>, trained on "
        f"{rows['train']:,} rows and judged on {rows['holdout']:,} that it never saw. Run "
        f"<code>{escape(run)}</code>, started by {escape(trigger)}.</p>"
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


def show_metrics(evaluation: Mapping[str, Any], gates: Mapping[str, Mapping[str, float]]) -> str:
    """Show every metric with its interval and its gate."""
    rows = []
    for name, found in evaluation["metrics"].items():
        limits = format_interval(found, 4)
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
        rows.append([label, format_value(found), limits, f"{found['better']} is better", gate])
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
        + make_table(["metric", "#value", "#95% interval", "", "gate"], rows)
        + text
        + threshold
    )


def _say_calibration(evaluation: Mapping[str, Any]) -> str:
    return "calibrated by sigmoids" if evaluation["calibrated"] else "the model's own"


def show_champion(evaluation: Mapping[str, Any]) -> str:
    """Show how the model did against the champion."""
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
        limits = format_interval(advantage, 4)
        rows.append(
            [
                label,
                f"{found['rows']:,}",
                format_value(found["champion"]),
                format_value(found["challenger"]),
                limits,
                f"{found['favourable']:.1%}",
            ]
        )
    head = ["", "#rows", "#champion", "#this model", "#advantage, 95%", "#resamples ahead"]
    table = make_table(head, rows) if rows else "<p>There are no rows that neither has seen.</p>"
    return (
        "<h2>Against the champion</h2><p>The live model is of run "
        f"<code>{escape(champion['run'])}</code>; both answered the same rows, compared by "
        f"{escape(name_metric(evaluation['metric']))}. A model of the same quality is promoted by "
        f"luck in at most about {champion['lucky_rate']:.0%} of runs.</p>{table}"
    )
