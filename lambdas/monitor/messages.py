"""Messages that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.drift import Verdict
from lambdas.monitor.quality import Quality

SHOWN = 8


def describe_window(
    window: Mapping[str, Any], verdict: Verdict, links: Mapping[str, str], helped: bool | None
) -> tuple[str, str]:
    """Give subject and text of a drift alarm."""
    first = verdict.findings[0]
    subject = f"[{window['deployment']}] drift: {first.column} ({first.kind})"
    lines = [
        f"The rows that {window['deployment']} serves differ from those of its model's training.",
        "",
        "What moved, strongest first:",
        *(f"  - {finding.describe()}" for finding in verdict.findings[:SHOWN]),
    ]
    if len(verdict.findings) > SHOWN:
        lines.append(f"  - and {len(verdict.findings) - SHOWN} more: see the report")
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
        f"Runbook: {links['runbook']}",
        "",
        "Consider:",
        "  python -m ops drift                    what moved, now and before",
        "  python -m ops train --reason drift     train on what there is now",
    ]
    return subject, "\n".join(lines) + "\n"


def describe_quality(
    deployment: str, model_uri: str, run: str, quality: Quality, runbook: str
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
        "  python -m ops train --reason quality   train on what there is now\n"
        "  python -m ops rollback                 serve the version before\n"
    )
    return subject, text
