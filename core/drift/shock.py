"""The shock rule: one window against the baseline."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from core.drift.arrays import Counts, Floats
from core.drift.baseline import MEANS, Baseline
from core.drift.budget import FLOORS, TESTS
from core.drift.columns import ColumnBaseline, Kind
from core.drift.dispersion import Dispersion, design_effect
from core.drift.findings import Finding, show_number, weigh
from core.drift.joint import Joint, shrink_correlation
from core.drift.summary import Summary
from core.drift.tails import (
    exceedance_tail,
    f_tail,
    hypergeometric_tail,
    normal_tail,
    normal_two_sided,
    t_two_sided,
)

_SMALLEST_EXPECTED = 5.0


def find_shocks(baseline: Baseline, window: Summary, share: float) -> list[Finding]:
    """Test every column of a window, and their mean ranks together.

    `share` is the probability that any of the tests may alarm on a window without drift.
    """
    shares = baseline.shares
    tests: list[Finding] = []
    for column, counts in zip(baseline.columns, window.counts, strict=True):
        if counts.sum() == 0:
            continue
        dispersion = baseline.dispersion_of(column)
        for kind, part in TESTS[column.kind].items():
            level = share * shares[column.group] * part
            if kind == "missing" and column.misses:
                level += share * shares["missing"]
            tested = _TESTERS[kind](column, counts, dispersion)
            if tested is not None:
                p, size, before, after, where = tested
                tests.append(
                    Finding(
                        column.name,
                        column.group,
                        kind,
                        "shock",
                        size,
                        FLOORS[kind],
                        weigh(p),
                        weigh(level),
                        before,
                        after,
                        where,
                    )
                )
    if baseline.joint is not None:
        tests.append(_test_means(baseline, baseline.joint, window, share * shares["means"]))
    return tests


_Tested = tuple[float, float, float, float, str]


def _test_scores(
    column: ColumnBaseline,
    counts: Counts,
    dispersion: Dispersion | None,
    statistic: Literal["location", "spread"],
) -> _Tested | None:
    """Compare mean ranks: for location as Mann and Whitney, for spread as Ansari and Bradley."""
    scores = column.locations if statistic == "location" else column.spreads
    before = column.seen
    after = counts[: column.values].astype(np.float64)
    n0, n1 = column.present, float(after.sum())
    if n0 < 10 or n1 < 10:
        return None
    size = float(after @ scores / n1)
    pooled = (before + after) / (n0 + n1)
    effect = design_effect(dispersion, statistic, n1)
    p = _mean_difference(scores, pooled, n1 / effect, n0 / effect, size)
    if effect > 1.0 and dispersion is not None:
        variance = float(pooled @ scores**2 - (pooled @ scores) ** 2)
        t = size / math.sqrt(max(variance, 1e-12) * effect * (1 / n0 + 1 / n1))
        p = max(p, t_two_sided(t, max(dispersion.degrees(n1), 1.0)))
    if p > 0.05:  # not reported: save the time
        return p, size, math.nan, math.nan, ""
    if statistic == "location":
        return p, size, column.quantile(column.counts, 0.5), column.quantile(counts, 0.5), ""
    middle = [column.quantile(c, 0.75) - column.quantile(c, 0.25) for c in (column.counts, counts)]
    return p, size, middle[0], middle[1], ""


def _mean_difference(scores: Floats, shares: Floats, n1: float, n0: float, d: float) -> float:
    """Give the two-sided probability of a difference `d` of means of n1 and n0 draws.

    Barndorff-Nielsen's form of the saddlepoint approximation (Lugannani and Rice 1980); close in
    the far tails and for skewed scores, where the normal approximation is not.
    """
    used = shares > 0
    scores, shares = scores[used], shares[used]
    centre = float(shares @ scores)
    scores = scores - centre
    variance = float(shares @ scores**2)
    if variance <= 1e-15:
        return 1.0
    z = d / math.sqrt(variance * (1.0 / n1 + 1.0 / n0))
    if abs(z) < 2.0:
        return normal_two_sided(z)
    if d < 0.0:
        scores, d = -scores, -d

    def cumulants(theta: float) -> tuple[float, float, float]:
        exponent = theta * scores
        top = float(exponent.max())
        weights = shares * np.exp(exponent - top)
        total = float(weights.sum())
        mean = float(weights @ scores) / total
        return top + math.log(total), mean, float(weights @ scores**2) / total - mean**2

    theta = d / (variance * (1.0 / n1 + 1.0 / n0))
    low, high = 0.0, math.inf
    value = slope = curve = 0.0
    for _ in range(60):
        one, other = cumulants(theta / n1), cumulants(-theta / n0)
        value = n1 * one[0] + n0 * other[0]
        slope = one[1] - other[1]
        curve = one[2] / n1 + other[2] / n0
        if abs(slope - d) < 1e-10:
            break
        low, high = (theta, high) if slope < d else (low, theta)
        step = theta + (d - slope) / curve if curve > 1e-300 else math.inf
        if not low < step < high:
            step = (low + high) / 2.0 if math.isfinite(high) else 2.0 * theta
        if step > 1e12:
            break
        theta = step
    w = math.sqrt(max(2.0 * (theta * d - value), 1e-12))
    u = theta * math.sqrt(max(curve, 1e-300))
    return min(1.0, 2.0 * normal_tail(w + math.log(max(u, 1e-12) / w) / w))


def _test_location(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    return _test_scores(column, counts, dispersion, "location")


def _test_spread(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    return _test_scores(column, counts, dispersion, "spread")


def _test_shape(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    """Compare shares by chi-square and likelihood ratio, in bins pooled to 5 expected rows.

    Plain numbers, not arrays: there are some 20 bins, and this is called for every column.
    """
    before, after = column.seen.tolist(), counts[: column.values].tolist()
    if column.kind == "category":
        before[-1] += column.counts[-1]
        after[-1] += int(counts[-1])
    n0, n1 = float(sum(before)), float(sum(after))
    if n0 < 10 or n1 < 10:
        return None
    pools = _pool(column.kind, before, after, min(n0, n1) / (n0 + n1))
    if len(pools) < 2:
        return None
    df = len(pools) - 1
    effect = design_effect(dispersion, "shape", n1)
    weight = n0 * n1 / (n0 + n1)
    pearson = ratio = inverses = largest = 0.0
    moved = pools[0]
    for pool in pools:
        _, a, b = pool
        p0, p1, pooled = a / n0, b / n1, (a + b) / (n0 + n1)
        part = (p1 - p0) ** 2 / pooled
        if part > largest:
            largest, moved = part, pool
        pearson += weight * part
        ratio += (b * math.log(p1 / pooled) if b else 0.0) + (
            a * math.log(p0 / pooled) if a else 0.0
        )
        inverses += 1.0 / pooled
    size = math.sqrt(max(pearson - df * effect, 0.0) / weight)
    # Far out in the tail either statistic alone is too large: Pearson's for an excess of rare
    # values (9 times as many windows pass 1 in 100,000 as should, with 6 rows expected), the
    # likelihood ratio with Williams' correction for their absence (twice as many, with 10).
    uneven = (1.0 / weight - 1.0 / (n0 + n1)) * (inverses - 1.0)
    squares = min(pearson, 2.0 * ratio / (1.0 + effect * uneven / (6.0 * df)))
    if squares <= 1.3 * df * effect:  # about what chance alone gives: not reported
        return 1.0, size, math.nan, math.nan, ""
    slots, a, b = moved
    where = _slot_name(column, slots[0], slots[-1])
    # The bins come from the same few rows as their counts, which widens the statistic: F with the
    # baseline's rows as its degrees of freedom (chi-square for a large baseline) covers that.
    degrees = n0 / effect
    if effect > 1.0 and dispersion is not None:
        degrees = min(degrees, max(dispersion.degrees(n1), 1.0))
    p = f_tail(squares / effect / df, df, degrees)
    return p, size, a / n0, b / n1, where


_Pool = tuple[list[int], float, float]
"""Slots, and their counts before and after."""


def _pool(kind: Kind, before: list[float], after: list[int], smaller: float) -> list[_Pool]:
    """Pool slots until both sides expect 5: neighbours of a number, a category's rare values."""
    pools: list[_Pool] = []
    rest: _Pool = ([], 0.0, 0.0)
    for slot, (a, b) in enumerate(zip(before, after, strict=True)):
        enough = (a + b) * smaller >= _SMALLEST_EXPECTED
        if kind == "category" and enough and slot < len(before) - 1:
            pools.append(([slot], a, b))
            continue
        rest = ([*rest[0], slot], rest[1] + a, rest[2] + b)
        if kind == "number" and (rest[1] + rest[2]) * smaller >= _SMALLEST_EXPECTED:
            pools.append(rest)
            rest = ([], 0.0, 0.0)
    if (rest[1] + rest[2]) * smaller >= _SMALLEST_EXPECTED or not pools:
        pools.append(rest)
    elif rest[0]:
        # Too few of their own: a number's last neighbours, or the most frequent category.
        into = -1 if kind == "number" else max(range(len(pools)), key=lambda i: sum(pools[i][1:]))
        slots, held, drawn = pools[into]
        named = [*slots, *rest[0]] if kind == "number" else slots
        pools[into] = (named, held + rest[1], drawn + rest[2])
    return pools


def _slot_name(column: ColumnBaseline, first: int, last: int) -> str:
    if column.kind == "category":
        return column.labels[first] if first < len(column.labels) else "all other values"
    low = "below" if first == 0 else show_number(column.edges[first - 1])
    high = "above" if last >= len(column.edges) else show_number(column.edges[last])
    return f"{low} to {high}"


def _test_rate(
    before: tuple[int, int], after: tuple[int, int], effect: float
) -> tuple[float, float, float, float, str]:
    (k0, n0), (k1, n1) = before, after
    size = k1 / n1 - k0 / n0
    if size <= 0.0:
        return 1.0, size, k0 / n0, k1 / n1, ""
    # Dependent rows count for less: `effect` of them say what one says.
    marks0, marks1 = math.ceil(k0 / effect), math.floor(k1 / effect)
    rows0, rows1 = max(math.floor(n0 / effect), marks0), max(math.floor(n1 / effect), marks1)
    p = hypergeometric_tail(marks1, marks0 + marks1, rows1, rows0 + rows1)
    return p, size, k0 / n0, k1 / n1, ""


def _test_missing(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    rows = int(counts.sum())
    effect = design_effect(dispersion, "missing", rows)
    return _test_rate(
        (column.counts[column.values], column.rows), (int(counts[column.values]), rows), effect
    )


def _test_unseen(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    if column.unseen_of[1] == 0:
        return None
    rows = int(counts.sum())
    effect = design_effect(dispersion, "unseen", rows)
    return _test_rate(column.unseen_of, (int(counts[column.values + 1]), rows), effect)


def _test_beyond(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None, side: str
) -> _Tested | None:
    seen = int(column.present)
    k = int(counts[0] if side == "below" else counts[column.values - 1])
    rows = int(counts[: column.values].sum())
    if seen < 10 or rows == 0:
        return None
    if k == 0:
        return 1.0, 0.0, 0.0, 0.0, ""
    effect = design_effect(dispersion, side, rows)
    p = exceedance_tail(math.floor(k / effect), math.ceil(rows / effect), math.floor(seen / effect))
    return p, k / rows, 0.0, k / rows, ""


def _test_below(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    return _test_beyond(column, counts, dispersion, "below")


def _test_above(
    column: ColumnBaseline, counts: Counts, dispersion: Dispersion | None
) -> _Tested | None:
    return _test_beyond(column, counts, dispersion, "above")


_TESTERS = {
    "location": _test_location,
    "spread": _test_spread,
    "shape": _test_shape,
    "missing": _test_missing,
    "unseen": _test_unseen,
    "below": _test_below,
    "above": _test_above,
}


def _test_means(baseline: Baseline, joint: Joint, window: Summary, level: float) -> Finding:
    """Test all mean ranks at once (Hotelling's T-square with the baseline's correlation)."""
    means = np.array(
        [
            float(window.counts[i][: baseline.columns[i].values] @ baseline.columns[i].locations)
            for i in joint.columns
        ]
    ) / (window.rows * np.asarray(joint.deviations))
    solved = np.linalg.solve(shrink_correlation(joint), means)
    d = len(means)
    effect = design_effect(joint.dispersion, "means", window.rows)
    weight = window.rows * joint.rows / (window.rows + joint.rows) / effect
    squares = weight * float(means @ solved)
    rows = joint.rows / effect
    if effect > 1.0 and joint.dispersion is not None:
        rows = min(rows, joint.dispersion.degrees(window.rows))
    degrees = max(rows - d, 4.0)
    p = f_tail(squares * degrees / (d * max(rows - 1.0, degrees)), d, degrees)
    size = math.sqrt(max(squares - d, 0.0) / weight)
    most = []
    for i in np.argsort(-np.abs(means))[:3] if p <= 0.05 else ():
        column, counts = baseline.columns[joint.columns[i]], window.counts[joint.columns[i]]
        before, after = (column.quantile(c, 0.5) for c in (column.counts, counts))
        most.append(f"{column.name} (median {show_number(before)} -> {show_number(after)})")
    where = ", ".join(most)
    return Finding(
        MEANS,
        "joint",
        "means",
        "shock",
        size,
        FLOORS["means"],
        weigh(p),
        weigh(level),
        0.0,
        size,
        where,
    )
