"""The creep rule: all windows since the baseline, by a Shiryaev-Roberts detector."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from core.drift.arrays import Floats
from core.drift.baseline import Baseline
from core.drift.budget import FLOORS
from core.drift.findings import Finding, weigh
from core.drift.summary import Summary
from core.errors import DriftError

_PRIOR_SCALES = (0.1, 0.3)  # of a creeping shift, in standard deviations
_RATE_RATIOS = (1.5, 2.0, 4.0)
_LARGEST_JUMP = 0.35  # a single row's largest pull on a mean, in standard errors
_HISTORY = 250


@dataclass(frozen=True)
class Creep:
    """What the creep rule remembers: for each window and component the sum of scores, and the rows.

    `before` are the sums of windows that have left the history.
    """

    baseline: str
    sums: tuple[tuple[float, ...], ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()
    before: tuple[tuple[float, ...], tuple[int, ...]] = ((), ())

    def add(self, baseline: Baseline, window: Summary) -> Creep:
        """Give the state with one more window."""
        sums, rows = [], []
        totals = [int(counts.sum()) for counts in window.counts]
        for component in baseline.followed.components:
            column, counts = baseline.columns[component.column], window.counts[component.column]
            if component.kind == "location":
                sums.append(round(float(counts[: column.values] @ column.locations), 4))
                rows.append(totals[component.column] - int(counts[-2]) - int(counts[-1]))
            else:
                sums.append(float(counts[component.slot]))
                rows.append(totals[component.column])
        all_sums, all_rows = (*self.sums, tuple(sums)), (*self.rows, tuple(rows))
        before = self.before
        if len(all_sums) > _HISTORY:
            held = before if before[0] else (tuple([0.0] * len(sums)), tuple([0] * len(sums)))
            before = (
                tuple(a + b for a, b in zip(held[0], all_sums[0], strict=True)),
                tuple(a + b for a, b in zip(held[1], all_rows[0], strict=True)),
            )
            all_sums, all_rows = all_sums[1:], all_rows[1:]
        return Creep(self.baseline, all_sums, all_rows, before)

    def to_json(self) -> bytes:
        """Write the state."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> Creep:
        """Read a state; raises DriftError if it is none."""
        try:
            raw = json.loads(text)
            return cls(
                raw["baseline"],
                tuple(map(tuple, raw["sums"])),
                tuple(map(tuple, raw["rows"])),
                (tuple(raw["before"][0]), tuple(raw["before"][1])),
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DriftError(f"this is not a state of the creep rule: {error!r}") from error


def find_creep(baseline: Baseline, state: Creep, share: float) -> list[Finding]:
    """Judge the windows so far; gives the three strongest components, the first for all."""
    followed = baseline.followed
    sums, rows = np.asarray(state.sums), np.asarray(state.rows, dtype=np.float64)
    s1 = np.cumsum(sums[::-1], axis=0)[::-1]  # starts x components
    n1 = np.cumsum(rows[::-1], axis=0)[::-1]
    total_sums, total_rows = followed.sums + s1[0], followed.rows + n1[0]
    if state.before[0]:
        total_sums = total_sums + np.asarray(state.before[0])
        total_rows = total_rows + np.asarray(state.before[1])
    s0, n0 = total_sums - s1, total_rows - n1
    safe1, safe0 = np.maximum(n1, 1.0), np.maximum(n0, 1.0)
    effect = np.ones_like(safe1)
    for c, component in enumerate(followed.components):
        dispersion = baseline.dispersion_of(baseline.columns[component.column])
        if dispersion is not None:
            effect[:, c] = dispersion.effect(component.kind, safe1[:, c])
    ratios = np.zeros_like(safe1)
    r = followed.rates
    # The rate before is known from few rows of its kind: count it at its upper bound of 3 sigma.
    ceiling = (s0[:, r] + 2.0 + 3.0 * np.sqrt(s0[:, r] + 1.0)) / safe0[:, r]
    each = [
        (s1[:, r] * math.log(q) - n1[:, r] * ceiling * (q - 1.0)) / effect[:, r]
        for q in _RATE_RATIOS
    ]
    ratios[:, r] = _log_mean(each)
    g = ~r & (followed.variances > 0.0)
    # A share's variance from all rows there are: at the baseline's own share, a baseline that has
    # too few of a kind by chance would take it to be sure of that.
    share_of = np.clip(total_sums / np.maximum(total_rows, 1.0), 0.0, 1.0)
    pooled = np.where(followed.shares, share_of * (1.0 - share_of), followed.variances)
    variance = np.maximum(pooled[g], 1e-12)
    information = 1.0 / (effect[:, g] * (1.0 / safe1[:, g] + 1.0 / safe0[:, g]))
    shift = s1[:, g] / safe1[:, g] - s0[:, g] / safe0[:, g]
    squares = shift**2 / variance * information
    each = []
    for scale in _PRIOR_SCALES:
        prior = information * scale**2
        each.append(squares * prior / (2.0 * (1.0 + prior)) - 0.5 * np.log1p(prior))
    mixed = _log_mean(each)
    # Few rows of a rare value are far from normal: they say nothing until there are more.
    fewer = np.minimum(safe1[:, g], safe0[:, g])
    pull = followed.pulls[g] / np.sqrt(variance * fewer / effect[:, g])
    mixed[pull > _LARGEST_JUMP] = 0.0
    ratios[:, g] = mixed

    highest = ratios.max(axis=0)
    logs = np.log(followed.weights) + highest + np.log(np.exp(ratios - highest).sum(axis=0))
    peak = float(logs.max())
    total = peak + math.log(float(np.exp(logs - peak).sum()))
    starts = ratios.argmax(axis=0)
    threshold = weigh(share)
    findings = []
    for rank, c in enumerate(np.argsort(-logs)[:3]):
        component, start = followed.components[c], starts[c]
        column = baseline.columns[component.column]
        before = float(s0[start, c] / safe0[start, c])
        after = float(s1[start, c] / safe1[start, c])
        size = after - before
        if component.kind == "location":
            # The sums hold mean ranks: give the value at the mean rank in place of the median.
            before, after = (
                column.quantile(column.counts, min(1.0, max(0.0, 0.5 + mean)))
                for mean in (before, after)
            )
        evidence = (total if rank == 0 else float(logs[c])) / math.log(10.0)
        findings.append(
            Finding(
                column.name,
                column.group,
                component.kind,
                "creep",
                size,
                FLOORS["location" if component.kind == "shape" else component.kind],
                max(evidence, 0.0),
                threshold,
                before,
                after,
                column.labels[component.slot] if component.kind == "shape" else "",
                len(state.sums) - int(start),
            )
        )
    return findings


def _log_mean(values: Sequence[Floats]) -> Floats:
    """Give the logarithm of the mean of exponentials, entry by entry."""
    top = np.maximum.reduce(list(values))
    total = sum(np.exp(value - top) for value in values)
    return np.asarray(top + np.log(total / len(values)), dtype=np.float64)
