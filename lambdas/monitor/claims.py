"""Tell a claim that never was true from a model that became worse.

The holdout's figure is a claim about service. A *term* is the labelled rows of one model version in
the order of their predictions. It is cut where the losses rose the most, and the rows before the
cut are the first ones:

- the first rows miss the claim by more than noise: it *never was* what was claimed;
- they do not, and the rise is more than noise: it *fell*;
- otherwise the labels do not tell (yet).

The rise is tested by the largest excess of the later losses in a cumulated sum (CUSUM), whose
limit is the supremum of a Brownian bridge: it exceeds x with the probability exp(-2 x^2) (Csorgo
and Horvath, "Limit Theorems in Change-Point Analysis", 1997). Where nothing changed the cut lies
anywhere, and the rows before it are, if anything, better than the rest: that the cut was sought
makes "never was" rarer, never more frequent. A cut that lies too late would mix rows of after the
fall into the first ones. So the first rows must miss the claim up to any rise within them as well,
even a slight one.

All of this takes labelled rows for a fair sample of those served, and for independent of each
other.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lambdas.monitor.metrics import Answers, Floats
from lambdas.monitor.quality import Claim, Measured, finite, measure
from lambdas.monitor.state import iso

WRONG_CAUSE = 0.01
"""The chance of each test to name a cause where it is not the cause."""
SLIGHT = 0.5
"""From which chance a rise within the first rows is no hint of a cut that lies too late.

With 0.2, five in a hundred falls right after the first 100 rows were taken for false claims; with
0.5 one in 300 was, and as many false claims were found (tests/lambdas/test_monitor_claims.py).
"""
LEAST_RECENT = 20
"""How many rows a part needs to be shown, where nothing changed."""

NEVER = "never-was"
FELL = "fell"
UNCLEAR = "unclear"


class Part(NamedTuple):
    """The quality over a part of a term, and when its rows were predicted (UTC; "" unknown)."""

    value: float
    low: float
    high: float
    rows: int
    since: str
    until: str

    @classmethod
    def of(cls, measured: Measured, times: Floats) -> Part:
        """Describe the rows that were measured."""
        known = times[np.isfinite(times)]
        ends = (known.min(), known.max()) if len(known) else ()
        since, until = (iso(float(end)) for end in ends) if ends else ("", "")
        return cls(*measured[:3], measured.rows, since, until)

    def to_dict(self) -> dict[str, Any]:
        """Give the members that JSON can hold."""
        return finite(self._asdict())


class Term(NamedTuple):
    """The quality over a term: of its first rows, of those since, and why an alarm is on.

    `cause` is empty without an alarm, `sentence` as well.
    """

    first: Part
    recent: Part | None
    cause: str
    sentence: str


def find_rise(losses: Floats) -> tuple[int, float]:
    """Give after how many rows losses rose the most, and the probability of that by chance."""
    rows, spread = len(losses), float(losses.std())
    if rows < 2 or spread == 0.0:
        return rows, 1.0
    excess = -np.cumsum(losses - losses.mean())[:-1]
    place = int(excess.argmax())
    height = float(excess[place]) / (spread * math.sqrt(rows))
    return (place + 1, math.exp(-2.0 * height * height)) if height > 0.0 else (rows, 1.0)


def judge_term(
    claim: Claim,
    answers: Answers,
    *,
    from_start: bool,
    min_rows: int,
    max_drop: float,
    dropped: bool,
) -> Term:
    """Divide a term, and name the cause if quality has dropped.

    `answers` are in the order of their predictions, at least one of them. `from_start` is False
    where the first ones of the term have been lost. `min_rows` is how many a claim is judged by at
    least.
    """
    rows = len(answers)
    cut, chance = find_rise(claim.metric.losses(answers))
    rose = chance < WRONG_CAUSE
    if not rose:
        cut = max(cut, min_rows)
        cut = rows if rows - cut < LEAST_RECENT else cut
    measured = measure(claim.metric, answers.take(slice(cut)))
    first = Part.of(measured, answers.times[:cut])
    recent = None
    if cut < rows:
        recent = Part.of(measure(claim.metric, answers.take(slice(cut, rows))), answers.times[cut:])
    if not dropped:
        return Term(first, recent, "", "")
    missed = all(
        claim.is_missed(part, max_drop=max_drop, level=WRONG_CAUSE)
        for part in (measured, _measure_early(claim, answers.take(slice(cut)), min_rows))
    )
    if rose and cut < min_rows:
        cause, sentence = UNCLEAR, _say_few(claim, first, recent, min_rows)
    elif missed and from_start:
        cause, sentence = NEVER, _say_never(claim, first, recent if rose else None)
    elif missed:
        cause, sentence = UNCLEAR, _say_lost(claim, first)
    elif rose:
        cause, sentence = FELL, _say_fell(claim, first, recent)
    else:
        cause, sentence = UNCLEAR, _say_unclear(claim, first, recent)
    return Term(first, recent, cause, sentence)


def _measure_early(claim: Claim, answers: Answers, min_rows: int) -> Measured:
    """Measure first rows up to the last rise within them, `min_rows` at least."""
    losses, cut = claim.metric.losses(answers), len(answers)
    while cut > min_rows:
        place, chance = find_rise(losses[:cut])
        if chance >= SLIGHT:
            break
        cut = max(place, min_rows)
    return measure(claim.metric, answers.take(slice(cut)))


def _say_never(claim: Claim, first: Part, fallen: Part | None) -> str:
    further = ""
    if fallen is not None:
        further = f" It has become worse still{_after(first)}: {_show(fallen)}."
    return (
        f"It never was what was claimed: {_promise(claim)}; the first {first.rows} labelled "
        f"predictions{_span(first)} showed {_show_value(first)}.{further} The evaluation is at "
        "fault, not the world, unless rows differed from training from the first day (drift). Look "
        "for columns that know the target, copies of rows on both sides of the split, and labels "
        "of selected rows only (docs/judge.md). Training again on the same data will claim the "
        "same again."
    )


def _say_fell(claim: Claim, first: Part, recent: Part | None) -> str:
    until = f", until {_moment(first.until)}," if first.until else ""
    now = "" if recent is None else f" The {recent.rows} since then show {_show_value(recent)}."
    return (
        f"It fell: {_promise(claim)}, and the first {first.rows} labelled predictions{until} "
        f"showed {_show_value(first)}: it was what was claimed.{now} The world has changed, or the "
        "meaning of the label has."
    )


def _say_few(claim: Claim, first: Part, recent: Part | None, min_rows: int) -> str:
    now = "" if recent is None else f", to {_show(recent)}"
    return (
        f"Whether it ever was what was claimed cannot be told: {_promise(claim)}, and quality fell "
        f"after only {first.rows} labelled predictions ({_show_value(first)}){now}. A claim is "
        f"judged by the first {min_rows} at least ([monitoring] min_labels)."
    )


def _say_lost(claim: Claim, first: Part) -> str:
    return (
        f"Whether it ever was what was claimed cannot be told: {_promise(claim)}; the oldest "
        f"labelled predictions that were kept show {_show_value(first)} on {first.rows}, but those "
        "before them were not kept (by an earlier release of the monitor)."
    )


def _say_unclear(claim: Claim, first: Part, recent: Part | None) -> str:
    since = "" if recent is None else f", and since then {_show(recent)}"
    return (
        f"It cannot be told yet whether it never was what was claimed or fell: {_promise(claim)}; "
        f"the first {first.rows} labelled predictions{_span(first)} showed {_show_value(first)}"
        f"{since}. With more labels it can be told."
    )


def _promise(claim: Claim) -> str:
    return f"the holdout promised {claim.name} {claim.value:.4g}{_range(claim.low, claim.high)}"


def _show(part: Part) -> str:
    return f"{_show_value(part)} on {part.rows} labelled predictions"


def _show_value(part: Part) -> str:
    return f"{part.value:.4g}{_range(part.low, part.high)}"


def _range(low: float, high: float) -> str:
    return f" ({low:.4g} to {high:.4g})" if math.isfinite(low) and low < high else ""


def _span(part: Part) -> str:
    return f", made {_moment(part.since)} to {_moment(part.until)}," if part.since else ""


def _after(part: Part) -> str:
    return f" since {_moment(part.until)}" if part.until else ""


def _moment(text: str) -> str:
    """Shorten `2026-01-31T12:00:00Z`."""
    return f"{text[:16].replace('T', ' ')} UTC"
