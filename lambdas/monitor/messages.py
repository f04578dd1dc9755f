"""Messages that a person can act on."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from core.drift import Finding, Verdict
from lambdas.monitor.claims import FELL, NEVER, UNCLEAR, Term
from lambdas.monitor.deployment import Deployment
from lambdas.monitor.models import Model
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
    deployment: Deployment, model: Model, quality: Quality, term: Term, *, standing: bool
) -> tuple[str, str]:
    """Give subject and text of a quality alarm.

    `standing` says that people have been told of the alarm, and not of its cause.
    """
    subject = (
        f"[{deployment.name}] quality: {quality.metric} {quality.value:.3f}, {_SHORT[term.cause]}"
    )
    stage = f"--stage {deployment.stage}"
    lines = [
        f"The model of {deployment.name} does worse on labelled predictions than on its holdout.",
    ]
    if standing:
        lines.append("This alarm has been on; labels now tell its cause.")
    lines += [
        "",
        *textwrap.wrap(term.sentence, 96),
        "",
        f"{quality.metric}: {quality.value:.4f} (95% interval {quality.low:.4f} to "
        f"{quality.high:.4f}) over {quality.rows} labelled predictions; the holdout showed "
        f"{quality.expected:.4f}.",
        f"Probability of such a difference by chance: {quality.probability:.1g}",
        "",
        f"Model:   {model.uri}",
        f"Labels:  monitor/quality/{model.run}.json",
        f"Runbook: {deployment.runbook}/quality-drop.md",
        "",
        "Consider:",
        f"  python -m ops rollback {stage}  serve the version before",
    ]
    if term.cause == NEVER:
        lines += [
            "  correct the data or the split first: see the runbook's page. A run that starts for",
            "  this alarm by itself is trained on the same data; if it claims more than labels",
            f"  show, it waits for a person (doubt refuted:{model.run}).",
        ]
    else:
        lines.append(f"  python -m ops train {stage} --reason quality  train on what there is")
    return subject, "\n".join(lines) + "\n"


_SHORT = {
    NEVER: "never was what was claimed",
    FELL: "fell",
    UNCLEAR: "below the claim",
}
