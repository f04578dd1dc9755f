"""Upper tail probabilities, in the standard library alone.

The monitor compares very small probabilities (1e-8 and below) and ships without scipy. Every
function returns P(X >= x), clipped to [0, 1]; the tests compare them with scipy far into the tails.
"""

from __future__ import annotations

import math

_TINY = 1e-300


def normal_tail(z: float) -> float:
    """Return P(Z >= z) of the standard normal."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def normal_two_sided(z: float) -> float:
    """Return P(|Z| >= |z|) of the standard normal."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def chi_square_tail(x: float, df: float) -> float:
    """Return P(X >= x) of the chi-square distribution with `df` degrees of freedom."""
    if x <= 0.0 or df <= 0.0:
        return 1.0
    a, x = df / 2.0, x / 2.0
    scale = math.exp(-x + a * math.log(x) - math.lgamma(a)) if x < 1e5 else 0.0
    if x < a + 1.0:  # the lower series converges fast here
        term = total = 1.0 / a
        n = a
        for _ in range(10_000):
            n += 1.0
            term *= x / n
            total += term
            if term < total * 1e-16:
                break
        return min(1.0, max(0.0, 1.0 - total * scale))
    b = x + 1.0 - a  # Lentz's continued fraction of the upper part
    c = 1.0 / _TINY
    d = 1.0 / b
    h = d
    for i in range(1, 10_000):
        an = -i * (i - a)
        b += 2.0
        d = an * d + b
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = b + an / c
        c = c if abs(c) > _TINY else _TINY
        step = d * c
        h *= step
        if abs(step - 1.0) < 1e-15:
            break
    return min(1.0, max(0.0, scale * h))


def beta_cdf(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    h = d
    for m in range(1, 10_000):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 + numerator * d
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = 1.0 + numerator / c
            c = c if abs(c) > _TINY else _TINY
            step = d * c
            h *= step
        if abs(step - 1.0) < 1e-15:
            break
    return min(1.0, front * h / a)


def f_tail(x: float, df1: float, df2: float) -> float:
    """Return P(X >= x) of the F distribution."""
    if x <= 0.0:
        return 1.0
    return beta_cdf(df2 / (df2 + df1 * x), df2 / 2.0, df1 / 2.0)


def t_two_sided(t: float, df: float) -> float:
    """Return P(|T| >= |t|) of Student's t distribution."""
    return beta_cdf(df / (df + t * t), df / 2.0, 0.5)


def _log_choose(n: float, k: float) -> float:
    return math.lgamma(n + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0)


def hypergeometric_tail(k: int, marked: int, drawn: int, total: int) -> float:
    """Return P(X >= k): `drawn` of `total` rows, `marked` of them of the kind that is counted."""
    low, high = max(0, drawn - (total - marked)), min(marked, drawn)
    if k <= low:
        return 1.0
    if k > high:
        return 0.0
    log_p = (
        _log_choose(marked, k) + _log_choose(total - marked, drawn - k) - _log_choose(total, drawn)
    )
    # The terms fall from k on when k is past the mode; before it, the sum below starts at the
    # mode's near side and still adds every term.
    term = tail = 1.0
    for x in range(k, high):
        term *= ((marked - x) * (drawn - x)) / ((x + 1.0) * (total - marked - drawn + x + 1.0))
        tail += term
        if term < tail * 1e-16 and x > k + 1:
            break
    return min(1.0, math.exp(min(0.0, log_p + math.log(tail))))


def exceedance_tail(k: int, window: int, reference: int) -> float:
    """Return P(at least k of `window` rows lie beyond the extreme of `reference` rows).

    Exact for exchangeable rows without ties (with ties it is an upper bound): the k most extreme of
    all rows must all be the window's.
    """
    if k <= 0:
        return 1.0
    if k > window:
        return 0.0
    total = window + reference
    return math.exp(
        math.lgamma(window + 1.0)
        - math.lgamma(window - k + 1.0)
        - math.lgamma(total + 1.0)
        + math.lgamma(total - k + 1.0)
    )
