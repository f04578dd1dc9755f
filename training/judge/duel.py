"""Two models on the same rows: a paired bootstrap of the challenger's advantage."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.settings import METRICS
from training import metrics
from training.arrays import BoolArray, FloatArray, IntArray
from training.judge.intervals import (
    Interval,
    Measure,
    draw_weights,
    interval_of,
    number_or_none,
    replicates_for,
)
from training.metrics import DETECTION, Answers

ROUNDING = 1e-9


@dataclass(frozen=True)
class Duel:
    """Both models' score on the same rows, and the challenger's advantage (positive is better).

    `units` is how many independent units the rows are, `error` the advantage's standard error over
    resamples of them, `favourable` the share of resamples that favour the challenger.
    """

    metric: str
    rows: int
    champion: Interval
    challenger: Interval
    advantage: Interval
    favourable: float
    units: int
    error: float

    def to_dict(self) -> dict[str, Any]:
        """Give JSON-ready members."""
        return {
            "metric": self.metric,
            "rows": self.rows,
            "champion": self.champion.to_dict(),
            "challenger": self.challenger.to_dict(),
            "advantage": self.advantage.to_dict(),
            "favourable": self.favourable,
            "units": self.units,
            "error": number_or_none(self.error),
        }


def duel(champion: Answers, challenger: Answers, metric: str, units: IntArray, seed: int) -> Duel:
    """Score both on the same labelled rows."""
    better = METRICS[challenger.task][metric]
    return duel_measures(
        lambda weights: metrics.compute(metric, champion, weights),
        lambda weights: metrics.compute(metric, challenger, weights),
        metric=metric,
        lower_is_better=better == "lower",
        units=units,
        seed=seed,
    )


def duel_scores(
    metric: str,
    theirs: FloatArray,
    ours: FloatArray,
    hits: BoolArray,
    units: IntArray,
    seed: int,
) -> Duel:
    """Compare anomaly scores; those beyond `units` are of unreal rows and never resampled."""
    area = DETECTION.get(metric, metrics.weighted_auc)

    def measure(scores: FloatArray, weights: FloatArray) -> FloatArray:
        unreal = np.ones((len(weights), len(scores) - len(units)))
        return area(scores, hits, np.hstack([weights, unreal]))

    return duel_measures(
        lambda weights: measure(theirs, weights),
        lambda weights: measure(ours, weights),
        metric=metric,
        lower_is_better=False,
        units=units,
        seed=seed,
    )


def duel_measures(
    champion: Measure,
    challenger: Measure,
    *,
    metric: str,
    lower_is_better: bool,
    units: IntArray,
    seed: int,
) -> Duel:
    """Score both with the same bootstrap weights; each measure gives one value a row of weights."""
    sign = -1.0 if lower_is_better else 1.0
    ones = np.ones((1, len(units)))
    ours, theirs = float(challenger(ones)[0]), float(champion(ones)[0])
    drawn_ours: list[FloatArray] = []
    drawn_theirs: list[FloatArray] = []
    for weights in draw_weights(units, replicates_for(len(units)), seed):
        drawn_ours.append(challenger(weights))
        drawn_theirs.append(champion(weights))
    all_ours, all_theirs = np.concatenate(drawn_ours), np.concatenate(drawn_theirs)
    gaps = _without_rounding(sign * (all_ours - all_theirs))
    known = gaps[np.isfinite(gaps)]
    favourable = float(((known > 0) + 0.5 * (known == 0)).mean()) if len(known) else 0.5
    return Duel(
        metric,
        len(units),
        interval_of(theirs, all_theirs),
        interval_of(ours, all_ours),
        interval_of(float(_without_rounding(np.asarray([sign * (ours - theirs)]))[0]), gaps),
        favourable,
        len(np.unique(units)),
        float(known.std()) if len(known) > 1 else math.nan,
    )


def _without_rounding(gaps: FloatArray) -> FloatArray:
    """Take a gap that is mere rounding (the champion answers from other code) for none."""
    return np.where(np.abs(gaps) < ROUNDING, 0.0, gaps)
