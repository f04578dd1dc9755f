"""Messages that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.drift import Finding, Verdict
from lambdas.monitor.quality import Quality

SHOWN = 8
SHOWN_BESIDE = 4
NOTICEABLE = 0.5
"""From which part of the evidence that alarms a column is worth a line beside those that do."""


def describe_window(
    window: Mapping[str, Any],
    verdict: Verdict,
    links: Mapping[str, str],
    *,
    helped: bool | None = None,
    also: Sequence[str] = (),
) -> tuple[str, str]:
    """Give subject and text of a drift alarm.

    `also` names the columns that joined an alarm that people have been told of; `helped` is False
    where a retrain for an earlier alarm did not end it.
    """
    first = next((f for f in verdict.findings if f.column in also), verdict.findings[0])
    word = "drift, now also" if also else "drift"
    subject = f"[{window['deployment']}] {word}: {_headline(first)}"
    lines = [
        f"The rows that {window['deployment']} serves differ from those of its model's training.",
    ]
    if also:
        lines.append(f"The alarm stands since {window['since']}; new in it: {', '.join(also)}.")
    lines += [
        "",
        "What moved, strongest first:",
        *(f"  - {finding.describe()}" for finding in verdict.findings[:SHOWN]),
    ]
    if len(verdict.findings) > SHOWN:
        lines.append(f"  - and {len(verdict.findings) - SHOWN} more: see the report")
    beside = _beside(verdict)
    if beside:
        lines += [
            "",
            "Moved as well, though not enough to alarm alone:",
            *(f"  - {finding.describe()}" for finding in beside),
        ]
    if helped is False:
        lines += [
            "",
            "The model was retrained for an earlier alarm, and alarms again: more of the same",
            "is unlikely to help. Look at where these rows come from.",
        ]
    estimated, expected = window["estimated_quality"], window["expected_quality"]
    lines += [
        "",
        f"Since:   {window['since']}",
        f"Rows:    {window['rows']} predictions from {window['start']} to {window['end']}, in",
        *(f"         {key}" for key in window["objects"][:5]),
        *(
            [f"         and {len(window['objects']) - 5} more"]
            if len(window["objects"]) > 5
            else []
        ),
        f"Model:   {window['model_uri']}",
        f"Predictions moved: {'yes' if verdict.prediction_shift else 'no'}",
    ]
    if estimated is not None:
        lines.append(
            f"Estimated accuracy: {estimated:.3f}"
            + (f" (holdout: {expected:.3f})" if expected is not None else "")
            + "; an estimate, blind to a change of what the label means"
        )
    lines += [
        f"Basis:   {verdict.calibration}",
        f"Report:  {links['report']}",
        f"         {links['console']}",
        f"Runbook: {links['runbook']}",
        "",
        "Consider:",
        f"  python -m ops drift --stage {window['stage']}  what moved, now and before",
        f"  python -m ops train --stage {window['stage']} --reason drift  train on what there is",
    ]
    return subject, "\n".join(lines) + "\n"


def _headline(finding: Finding) -> str:
    """Say what moved and by how much within the 100 characters of a subject."""
    if finding.kind == "means":
        return f"columns together, most {finding.where}"
    return finding.describe()


def _beside(verdict: Verdict) -> list[Finding]:
    """Give the strongest changes of columns that do not alarm themselves."""
    told = {finding.column for finding in verdict.findings}
    return [
        finding
        for finding in verdict.ranking
        if finding.column not in told
        and abs(finding.size) >= finding.floor
        and finding.evidence >= NOTICEABLE * finding.threshold
    ][:SHOWN_BESIDE]


def describe_quality(
    deployment: str, stage: str, model_uri: str, run: str, quality: Quality, runbook: str
) -> tuple[str, str]:
    """Give subject and text of a quality alarm."""
    subject = f"[{deployment}] quality: {quality.metric} {quality.value:.3f}"
    text = (
        f"The model of {deployment} does worse on labelled predictions than on its holdout.\n\n"
        f"{quality.metric}: {quality.value:.4f} (95% interval {quality.low:.4f} to "
        f"{quality.high:.4f}) over {quality.rows} labelled predictions; the holdout showed "
        f"{quality.expected:.4f}.\n"
        f"Probability of such a difference by chance: {quality.probability:.1g}\n\n"
        f"Model:   {model_uri}\n"
        f"Labels:  monitor/quality/{run}.json\n"
        f"Runbook: {runbook}\n\n"
        "Consider:\n"
        f"  python -m ops train --stage {stage} --reason quality  train on what there is\n"
        f"  python -m ops rollback --stage {stage}  serve the version before\n"
    )
    return subject, text
