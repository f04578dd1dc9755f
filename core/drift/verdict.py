"""The verdict on a window, by both rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.drift.baseline import Baseline
from core.drift.budget import DATA_QUALITY, Budget
from core.drift.creep import Creep, find_creep
from core.drift.findings import Finding, describe_finding, ratio, to_json_number
from core.drift.shock import find_shocks
from core.drift.summary import Summary
from core.errors import DriftError


@dataclass(frozen=True)
class Verdict:
    """What the monitor concludes about one window.

    `findings` are the tests that alarm, strongest first; `ranking` is the strongest test of every
    column, alarming or not. `evidence` is the largest ratio of evidence to threshold: 1 is the
    line.
    """

    alarm: bool
    rows: int
    findings: tuple[Finding, ...]
    ranking: tuple[Finding, ...]
    evidence: float
    calibration: str

    @property
    def data_quality(self) -> tuple[Finding, ...]:
        """Give the findings about missing, unseen and out-of-range values."""
        return tuple(f for f in self.findings if f.kind in DATA_QUALITY and f.group == "input")

    @property
    def prediction_shift(self) -> bool:
        """Say whether the predictions themselves moved."""
        return any(f.group == "output" for f in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Give the verdict as JSON-ready members."""
        return {
            "alarm": self.alarm,
            "rows": self.rows,
            "evidence": to_json_number(self.evidence),
            "prediction_shift": self.prediction_shift,
            "data_quality": len(self.data_quality),
            "calibration": self.calibration,
            "findings": [describe_finding(f) for f in self.findings],
            "ranking": [describe_finding(f) for f in self.ranking],
        }


def judge(
    baseline: Baseline, window: Summary, budget: Budget, creep: Creep | None = None
) -> tuple[Verdict, Creep]:
    """Judge one window, and give the creep rule's state to pass with the next.

    A state of another baseline is dropped. Raises DriftError for a window of another baseline or
    without rows.
    """
    if window.baseline != baseline.digest:
        raise DriftError("the window was counted under another baseline: count its rows again")
    if window.rows == 0:
        raise DriftError("a window without rows cannot be judged")
    if creep is None or creep.baseline != baseline.digest:
        creep = Creep(baseline.digest)
    share = budget.per_window / 2.0
    tests = find_shocks(baseline, window, share)
    shocked = any(test.alarms for test in tests)
    # A window that alarms on its own is reported on its own; kept in the history it would keep the
    # creep rule up long after one bad batch.
    state = creep if shocked else creep.add(baseline, window)
    crept = [] if shocked else find_creep(baseline, state, share)
    tests += crept
    best: dict[str, Finding] = {}
    for test in tests:
        known = best.get(test.column)
        if known is None or ratio(test) > ratio(known):
            best[test.column] = test
    ranking = tuple(sorted(best.values(), key=ratio, reverse=True))
    findings = tuple(sorted((t for t in tests if t.alarms), key=ratio, reverse=True))
    evidence = max((ratio(t) for t in tests if abs(t.size) >= t.floor), default=0.0)
    return (
        Verdict(bool(findings), window.rows, findings, ranking, evidence, baseline.calibration),
        state,
    )
