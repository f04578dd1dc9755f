"""Findings: the outcome of one test of one column, and how it is told."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One test of one column.

    `evidence` and `threshold` are -log10 of its probability and of its share of the budget; `size`
    is the effect in the unit of its `floor` (FLOORS); `before` and `after` are what a person
    compares: the median, or the share of rows, or the most changed category's share (named by
    `where`).
    """

    column: str
    group: str
    kind: str
    rule: Literal["shock", "creep"]
    size: float
    floor: float
    evidence: float
    threshold: float
    before: float
    after: float
    where: str = ""
    windows: int = 1

    @property
    def alarms(self) -> bool:
        """Say whether the change is both significant and large enough."""
        return self.evidence >= self.threshold and abs(self.size) >= self.floor

    def describe(self) -> str:
        """Say in one line what moved and by how much."""
        before, after = show_number(self.before), show_number(self.after)
        percent = f"{100 * self.before:.2f}% -> {100 * self.after:.2f}% of rows"
        since = f" over the last {self.windows} windows" if self.rule == "creep" else ""
        text = {
            "location": f"median {before} -> {after} ({'up' if self.size > 0 else 'down'})",
            "spread": f"spread {'wider' if self.size > 0 else 'narrower'}: "
            f"middle half {before} -> {after}",
            "shape": f"distribution changed, most at {self.where}: {percent}",
            "missing": f"missing values: {percent}",
            "unseen": f"values never seen in training: {percent}",
            "below": f"below the range seen in training: {percent}",
            "above": f"above the range seen in training: {percent}",
            "means": f"moved by {self.size:.2f} standard deviations, most: {self.where}",
        }[self.kind]
        if math.isnan(self.before):
            text = f"{self.kind} much as in training"
        return f"{self.column}: {text}{since}"


def show_number(value: float) -> str:
    """Write a number for people: four digits, and no exponent below a billion."""
    return f"{value:.0f}" if 9999.5 <= abs(value) < 1e9 else f"{value:.4g}"


def to_json_number(value: float) -> float | None:
    """Give a number as a report holds it; None where JSON has no such number."""
    return round(value, 6) if math.isfinite(value) else None


def describe_finding(finding: Finding) -> dict[str, Any]:
    """Give a finding as JSON-ready members."""
    raw = {k: to_json_number(v) if isinstance(v, float) else v for k, v in asdict(finding).items()}
    return {**raw, "alarms": finding.alarms, "text": finding.describe()}


def ratio(finding: Finding) -> float:
    """Give the evidence in units of its threshold."""
    return finding.evidence / finding.threshold


def weigh(p: float) -> float:
    """Give a probability as evidence: -log10 of it."""
    return -math.log10(max(p, 1e-300))
