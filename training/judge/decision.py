"""The rule that says whether a challenger replaces the champion.

Both answered the same rows, which neither was trained on. The rule: resample those rows a thousand
times (a paired bootstrap: each resample scores both models) and look at the challenger's advantage
in the metric.

- *As a rule* the challenger is promoted only if 95% of the resamples favour it: a challenger of the
  same quality is promoted by luck in about one job of twenty (`LUCKY_RATE`; a test measures it).
- *After a drift alarm* the champion is known to face data that it was not made for, so the burden
  of proof turns around: on the new rows the challenger is promoted unless it is worse, that is
  unless fewer than 5% of the resamples favour it or its score is worse by more than `[gates]
  max_regression` together with more resamples against it than for it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.judge.duel import Duel

LUCKY_RATE = 0.05
MIN_ROWS = 20


@dataclass(frozen=True)
class Decision:
    """Whether the challenger should take over, and why."""

    promote: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready members."""
        return {"promote": self.promote, "reason": self.reason}


def decide(
    everything: Duel | None, fresh: Duel | None, *, trigger: str, max_regression: float
) -> Decision:
    """Apply this module's rule; `everything` is on all rows unseen by both, `fresh` on new ones."""
    if trigger == "drift" and fresh is not None and fresh.rows >= MIN_ROWS:
        return _decide_after_drift(fresh, max_regression)
    if everything is None or everything.rows < MIN_ROWS:
        rows = everything.rows if everything else 0
        return Decision(
            False,
            f"only {rows} rows are unseen by both the champion and this model, too few to tell "
            f"them apart ({MIN_ROWS} are needed); the champion stays",
        )
    shown = _show(everything)
    if everything.favourable > 1 - LUCKY_RATE and everything.advantage.value > 0:
        return Decision(True, f"better than the champion by more than noise: {shown}")
    if everything.advantage.value > 0:
        return Decision(False, f"better than the champion, but within noise: {shown}")
    return Decision(False, f"not better than the champion: {shown}")


def _decide_after_drift(fresh: Duel, max_regression: float) -> Decision:
    shown = _show(fresh, "new rows")
    if fresh.favourable > 1 - LUCKY_RATE and fresh.advantage.value > 0:
        return Decision(True, f"after drift, clearly better than the champion: {shown}")
    if fresh.favourable < LUCKY_RATE and fresh.advantage.value < -max_regression:
        return Decision(False, f"after drift, worse than the champion: {shown}")
    return Decision(True, f"after drift, not worse than the champion: {shown}")


def _show(result: Duel, rows: str = "rows unseen by both") -> str:
    limits = ""
    if np.isfinite(result.advantage.low):
        limits = f" (advantage {result.advantage.low:.4g} to {result.advantage.high:.4g})"
    return (
        f"{result.metric} {result.challenger.value:.4g} against {result.champion.value:.4g} on "
        f"{result.rows} {rows}{limits}, ahead in {result.favourable:.1%} of resamples"
    )
