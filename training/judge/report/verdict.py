"""What was decided and why: the verdict, the gates, the metrics."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from core.contract import Contract
from training.judge.report.doubts import list_held
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
    held = len(list_held(evaluation))
    kind, mark, verdict = _judge(passed, held > 0)
    reasons = [f"misses the gate: {text}" for text in missed] + [str(decision["reason"])]
    if passed and held:
        doubts = "a doubt holds it" if held == 1 else f"{held} doubts hold it"
        reasons.insert(0, f"{doubts}, see below; a person decides")
    stated = "".join(f"<div>{escape(reason)}</div>" for reason in reasons)
    return (
        f"<h1>{escape(deployment)}</h1><p>{'An' if contract.task == 'anomaly' else 'A'} "
        f"{contract.task} model that {what}: <b>{escape(chosen['candidate'])}</b>, trained on "
        f"{rows['train']:,} rows and judged on {rows['holdout']:,} that it never saw. Run "
        f"<code>{escape(run)}</code>, started by {escape(trigger)}.</p>"
        f'<div class="verdict {kind}"><b class="{mark}">{verdict}</b>{stated}</div>'
    )


def _judge(passed: bool, held: bool) -> tuple[str, str, str]:
    """Give the classes of the verdict's frame and of its words, and the words."""
    if not passed:
        return "bad", "no", "Not to be promoted"
    if held:
        return "hold", "wait", "Waits for a person"
    return "good", "yes", "Ready to take over"


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
        + make_table(["metric", "#value", "#95% interval", "direction", "gate"], rows)
        + text
        + threshold
    )


def _say_calibration(evaluation: Mapping[str, Any]) -> str:
    return "calibrated by sigmoids" if evaluation["calibrated"] else "the model's own"
