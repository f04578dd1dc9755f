"""Judge a model by the labels that came back, and estimate its quality before they do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from core.contract import Contract
from core.drift.tails import normal_tail
from lambdas.monitor.metrics import METRICS, Answers, Metric

RESAMPLES = 300
BATCHES = 6  # so that 8,000 rows take some MB at a time


class Measured(NamedTuple):
    """A metric over some labelled rows: its value, a 95% interval and the standard error.

    NaN where it cannot be computed (labels of one class only, say).
    """

    value: float
    low: float
    high: float
    error: float
    rows: int


class Claim(NamedTuple):
    """What the holdout showed: a metric's value with its 95% interval."""

    name: str
    metric: Metric
    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Give the standard error that the interval stands for; 0 where there is no interval."""
        return abs(self.high - self.low) / 3.92

    def drop(self, measured: Measured) -> float:
        """Say by how much the metric is worse than was claimed; negative where it is better."""
        sign = 1.0 if self.metric.better == "higher" else -1.0
        return sign * (self.value - measured.value)

    def chance(self, measured: Measured) -> float:
        """Give the probability of such a drop by the noise of both samples."""
        if not math.isfinite(measured.value) or not math.isfinite(measured.error):
            return 1.0
        return float(normal_tail(self.drop(measured) / math.hypot(measured.error, self.error)))

    def is_missed(self, measured: Measured, *, max_drop: float, level: float) -> bool:
        """Say whether rows are worse by more than a share `max_drop`, and more than noise."""
        return bool(
            self.chance(measured) < level and self.drop(measured) > max_drop * abs(self.value)
        )


class Quality(NamedTuple):
    """A metric over labelled rows: its value with a 95% interval, and what the holdout showed."""

    metric: str
    value: float
    low: float
    high: float
    rows: int
    expected: float
    expected_low: float
    expected_high: float
    dropped: bool
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Give the members that JSON can hold."""
        return finite(self._asdict())


def finite(members: Mapping[str, Any]) -> dict[str, Any]:
    """Put None for each number that JSON cannot hold."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in members.items()
    }


def read_claim(contract: Contract, evaluation: Mapping[str, Any]) -> Claim | None:
    """Read what the holdout showed, of the metric that the model was chosen by where we can.

    None where the evaluation has no metric that can be computed here.
    """
    known = METRICS.get(contract.task, {})
    shown = evaluation.get("metrics") or {}
    for name in (str(evaluation.get("metric")), *known):
        found = shown.get(name)
        if name in known and isinstance(found, Mapping) and found.get("value") is not None:
            value = float(found["value"])
            low, high = found.get("low"), found.get("high")
            return Claim(
                name,
                known[name],
                value,
                value if low is None else float(low),
                value if high is None else float(high),
            )
    return None


def measure(metric: Metric, answers: Answers) -> Measured:
    """Compute a metric with the interval and the standard error of a bootstrap over rows."""
    rows, value = len(answers), metric.value(answers)
    if not math.isfinite(value):
        return Measured(value, math.nan, math.nan, math.nan, rows)
    generator = np.random.default_rng(rows)
    batches = []
    for _ in range(BATCHES):
        weights = np.zeros((RESAMPLES // BATCHES, rows))
        for drawn in weights:
            drawn += np.bincount(generator.integers(0, rows, rows), minlength=rows)
        batches.append(metric.values(answers, weights))
    draws = np.concatenate(batches)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Measured(value, math.nan, math.nan, math.nan, rows)
    low, high = (float(q) for q in np.quantile(draws, (0.025, 0.975)))
    # A metric at its limit (all right) resamples to itself: no sample is that certain.
    return Measured(value, low, high, max(float(draws.std()), 0.5 / rows), rows)


def measure_quality(
    contract: Contract,
    evaluation: Mapping[str, Any],
    labels: Sequence[str | float],
    outputs: Sequence[Sequence[float]],
    *,
    max_drop: float,
    level: float,
) -> Quality | None:
    """Compare labelled rows with the holdout's metric.

    It has dropped when it is worse than the holdout showed by more than the share `max_drop` of it,
    and by more than the noise of both allows at a probability of `level`. None where the evaluation
    has no metric that can be computed here, or no row has outputs that can be used.
    """
    claim = read_claim(contract, evaluation)
    if claim is None or len(labels) == 0:
        return None
    answers = Answers.read(contract, read_threshold(evaluation), labels, outputs)
    return compare(claim, answers, max_drop=max_drop, level=level) if len(answers) else None


def compare(claim: Claim, answers: Answers, *, max_drop: float, level: float) -> Quality:
    """Compare answers with a claim; see `measure_quality`."""
    measured = measure(claim.metric, answers)
    return Quality(
        claim.name,
        measured.value,
        measured.low,
        measured.high,
        measured.rows,
        claim.value,
        claim.low,
        claim.high,
        claim.is_missed(measured, max_drop=max_drop, level=level),
        claim.chance(measured),
    )


def read_threshold(evaluation: Mapping[str, Any]) -> float | None:
    """Give the probability from which the positive class is answered."""
    value = evaluation.get("threshold")
    return float(value) if isinstance(value, int | float) else None


def estimate_confidence(
    contract: Contract, threshold: float | None, outputs: Sequence[Sequence[float]]
) -> tuple[float, int]:
    """Sum the probability that each decision is right, as the model itself believes it.

    Right under covariate shift for a calibrated classifier, blind to a change of what the label
    means. Gives (sum, rows); (0, 0) for tasks without probabilities.
    """
    if not contract.is_classification or len(outputs) == 0:
        return 0.0, 0
    total, rows = 0.0, 0
    for given in outputs:
        if len(given) != len(contract.classes) or any(math.isnan(p) for p in given):
            continue
        if contract.task == "binary":
            p = given[contract.positive_index]
            total += p if p >= (0.5 if threshold is None else threshold) else 1.0 - p
        else:
            total += max(given)
        rows += 1
    return total, rows
