"""The evaluation on held-out rows: metrics with intervals, curves, slices, importance, threshold.

Intervals are percentile bootstraps (Efron 1979) of the units that the split resamples: rows, whole
groups, or blocks of neighbours in time, so that an interval does not claim more than the rows
support.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.contract import Contract
from core.settings import METRICS
from training import metrics
from training.metrics import Answers

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.intp]
Answer: TypeAlias = Callable[[FloatArray], FloatArray]

LEVEL = 0.95
REPLICATES = 1000
LARGE_REPLICATES = 200
LARGE_ROWS = 5_000
_CELLS_AT_ONCE = 4_000_000

MIN_SLICE_ROWS = 20
MAX_SLICES_A_COLUMN = 12
IMPORTANCE_REPEATS = 5
MANY_COLUMNS = 300  # from here on the columns are shuffled twice, not five times
MAX_IMPORTANCE_ROWS = 2000
_IMPORTANCE_BATCH_CELLS = 2_000_000
CURVE_POINTS = 60


@dataclass(frozen=True)
class Interval:
    """A value with the limits between which it lies with 95% confidence; NaN where undefined."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Give JSON-ready members, without those that are undefined."""
        members = {"value": self.value, "low": self.low, "high": self.high}
        return {key: float(value) for key, value in members.items() if math.isfinite(value)}


def number_or_none(value: float) -> float | None:
    """Make a number fit for JSON: None for what is not finite."""
    return float(value) if math.isfinite(value) else None


def draw_weights(units: IntArray, replicates: int, seed: int) -> "Sequence[FloatArray]":
    """Draw bootstrap weights, (some replicates, n) at a time: how often each row's unit was drawn.

    The same seed and units give the same draws, which is what makes comparisons paired.
    """
    _, inverse = np.unique(units, return_inverse=True)
    count = int(inverse.max()) + 1
    at_once = max(1, _CELLS_AT_ONCE // max(len(units), 1))
    return _Draws(inverse, count, replicates, at_once, seed)


class _Draws(Sequence[FloatArray]):
    """Batches of weights, drawn when asked for, each from a stream of its own."""

    def __init__(
        self, inverse: IntArray, count: int, replicates: int, at_once: int, seed: int
    ) -> None:
        self._inverse, self._count, self._seed = inverse, count, seed
        self._sizes = [min(at_once, replicates - start) for start in range(0, replicates, at_once)]

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self._sizes):
            raise IndexError(index)
        random = np.random.default_rng([self._seed, index])
        # How often each of `count` units is drawn in `count` draws with replacement.
        drawn = random.integers(self._count, size=(self._sizes[index], self._count))
        offsets = np.arange(self._sizes[index])[:, None] * self._count
        counts = np.bincount((drawn + offsets).ravel(), minlength=self._sizes[index] * self._count)
        weights = counts.reshape(self._sizes[index], self._count).astype(np.float64)
        return weights[:, self._inverse]


def replicates_for(rows: int) -> int:
    """Choose how many replicates; intervals of many rows are smooth with fewer."""
    return REPLICATES if rows <= LARGE_ROWS else LARGE_REPLICATES


def interval_of(value: float, replicates: FloatArray) -> Interval:
    """Put percentile limits around a value; replicates where it is undefined are left out."""
    known = replicates[np.isfinite(replicates)]
    if len(known) < 20 or not math.isfinite(value):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def evaluate_metrics(answers: Answers, units: IntArray, seed: int) -> dict[str, Interval]:
    """Compute every metric of a labelled task with its interval."""
    names = list(METRICS[answers.task])
    found: dict[str, list[FloatArray]] = {name: [] for name in names}
    for weights in draw_weights(units, replicates_for(len(units)), seed):
        for name in names:
            found[name].append(metrics.compute(name, answers, weights))
    return {
        name: _doubt_perfection(
            name,
            interval_of(metrics.compute_one(name, answers), np.concatenate(found[name])),
            answers,
        )
        for name in names
    }


def _doubt_perfection(name: str, interval: Interval, answers: Answers) -> Interval:
    """Give a perfect share a lower limit: resamples of rows without an error have none either.

    Wilson's limit, for the rows that could have shown an error: those answered as positive for
    precision, all for accuracy, and of the rarest class for what is averaged over classes.
    """
    best = METRICS[answers.task][name] == "higher" and answers.task != "regression"
    if not best or not interval.value == interval.low == interval.high == 1.0:
        return interval
    if name == "accuracy":
        rows = len(answers.labels)
    elif name == "precision" and answers.task == "binary":
        rows = int((answers.predicted == answers.positive).sum())
    elif name == "recall" and answers.task == "binary":
        rows = int((answers.labels == answers.positive).sum())
    else:
        rows = int(np.unique(answers.labels, return_counts=True)[1].min())
    return Interval(1.0, _wilson(1.0, rows)[0], 1.0)


def mean_interval(values: FloatArray, units: IntArray, seed: int) -> Interval:
    """Average with its interval."""
    found = [
        (weights @ values) / weights.sum(axis=1)
        for weights in draw_weights(units, replicates_for(len(units)), seed)
    ]
    return interval_of(float(values.mean()), np.concatenate(found))


@dataclass(frozen=True)
class Threshold:
    """From which probability on the positive class is answered, and why."""

    value: float
    reason: str


def choose_threshold(labels: FloatArray, probabilities: FloatArray, positive: str) -> Threshold:
    """Choose the probability that gives the best F1 on rows that the model did not see.

    Of thresholds that are as good, the middle of the widest gap between probabilities is taken, so
    that the choice does not hang on one row. Raises nothing: with one class only it stays at 0.5.
    """
    hits = labels.astype(bool)
    if hits.all() or not hits.any():
        return Threshold(0.5, "the rows that choose it hold one class only, so it stays at 0.5")
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    right = np.cumsum(hits[order])
    answered = np.arange(1, len(ranked) + 1)
    f1 = 2 * right / (answered + hits.sum())
    last_of_ties = np.r_[ranked[1:] != ranked[:-1], True]
    f1 = np.where(last_of_ties, f1, -1.0)
    below = np.r_[ranked[1:], 0.0]
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    chosen = int(best[np.argmax(ranked[best] - below[best])])
    value = float(np.clip((ranked[chosen] + below[chosen]) / 2, 1e-6, 1.0))
    if value > ranked[chosen]:
        value = float(ranked[chosen])
    at_half = (
        2
        * float((hits & (probabilities >= 0.5)).sum())
        / max(1.0, float((probabilities >= 0.5).sum() + hits.sum()))
    )
    reason = (
        f"best F1 of {positive!r} in cross-validation of the training rows: "
        f"{float(f1[chosen]):.3f} there, {at_half:.3f} at 0.5"
    )
    return Threshold(value, reason)


def measure_slices(
    contract: Contract,
    matrix: FloatArray,
    answers: Answers,
    metric: str,
    units: IntArray,
    seed: int,
) -> list[dict[str, Any]]:
    """Measure the model within groups of rows, the worst first.

    A group is a category, a quarter of a number's range by rank, or the rows where a column is
    missing. `worse` marks groups whose loss a row is above the other rows' by more than noise: a
    one-sided z-test at 5% divided by the number of groups (Bonferroni).
    """
    losses = answers.losses()
    groups = list(_groups(contract, matrix))
    found = []
    for column, label, members in groups:
        inside, outside = losses[members], losses[~members]
        if len(inside) < MIN_SLICE_ROWS or len(outside) < MIN_SLICE_ROWS:
            continue
        gap = float(inside.mean() - outside.mean())
        error = math.sqrt(
            float(inside.var(ddof=1)) / len(inside) + float(outside.var(ddof=1)) / len(outside)
        )
        z = gap / error if error > 0 else 0.0
        found.append((z, column, label, members, gap))
    found.sort(key=lambda item: -item[0])
    limit = _normal_quantile(1 - 0.05 / max(len(found), 1))
    sensitive = {c.name for c in contract.columns if c.sensitive}
    result = []
    for rank, (z, column, label, members, gap) in enumerate(found):
        if rank >= 15 and column not in sensitive:
            continue
        rows = np.flatnonzero(members)
        part = answers.take(rows)
        result.append(
            {
                "column": column,
                "group": label,
                "rows": len(rows),
                "metric": number_or_none(metrics.compute_one(metric, part)),
                "loss": mean_interval(part.losses(), units[rows], seed).to_dict(),
                "gap": gap,
                "worse": bool(z > limit),
                "sensitive": column in sensitive,
            }
        )
    return result


def _groups(
    contract: Contract, matrix: FloatArray
) -> "Sequence[tuple[str, str, NDArray[np.bool_]]]":
    found: list[tuple[str, str, NDArray[np.bool_]]] = []
    position = 0
    features = contract.features
    for column in contract.columns:
        width = sum(1 for feature in features if feature.column == column.name)
        values = matrix[:, position]
        position += width
        missing = np.isnan(values)
        if missing.any():
            found.append((column.name, "missing", missing))
        if column.type == "category":
            codes, counts = np.unique(values[~missing], return_counts=True)
            for code in codes[np.argsort(-counts, kind="stable")][:MAX_SLICES_A_COLUMN]:
                name = column.categories[int(code)] if code < len(column.categories) else "(unseen)"
                found.append((column.name, name, values == code))
        elif column.type == "boolean":
            found += [
                (column.name, name, values == v) for v, name in ((0.0, "false"), (1.0, "true"))
            ]
        elif column.type in ("number", "integer"):
            known = values[~missing]
            edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else known
            quarter = np.searchsorted(edges, values, side="left")
            for k in range(len(edges) + 1) if len(edges) else ():
                label = _name_quarter([f"{edge:.4g}" for edge in edges], k)
                found.append((column.name, label, (quarter == k) & ~missing))
    return found


def _name_quarter(edges: Sequence[str], k: int) -> str:
    if k == 0:
        return f"up to {edges[0]}"
    if k == len(edges):
        return f"above {edges[-1]}"
    return f"above {edges[k - 1]}, up to {edges[k]}"


def _normal_quantile(share: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(share)


def measure_importance(
    contract: Contract, matrix: FloatArray, answer: Answer, answers: Answers, metric: str, seed: int
) -> list[dict[str, Any]]:
    """Measure how much the metric worsens when a column's values are shuffled among the rows.

    Permutation importance (Breiman 2001) by column, not by feature: all features made from a column
    move together. Most important first, with the spread over repeats.
    """
    random = np.random.default_rng([seed, 1])
    rows = np.arange(len(matrix))
    if len(rows) > MAX_IMPORTANCE_ROWS:
        rows = np.sort(random.choice(rows, MAX_IMPORTANCE_ROWS, replace=False))
    base, held = answers.take(rows), matrix[rows]
    reference = metrics.compute_one(metric, base)
    sign = -1.0 if METRICS[answers.task][metric] == "lower" else 1.0
    jobs = []
    repeats = 2 if len(contract.columns) > MANY_COLUMNS else IMPORTANCE_REPEATS
    places: dict[str, list[int]] = {column.name: [] for column in contract.columns}
    for place, feature in enumerate(contract.features):
        places[feature.column].append(place)
    for name, positions in places.items():
        jobs += [(name, positions) for _ in range(repeats)]
    drops: dict[str, list[float]] = {column.name: [] for column in contract.columns}
    at_once = max(1, _IMPORTANCE_BATCH_CELLS // held.size)
    for start in range(0, len(jobs), at_once):
        batch = jobs[start : start + at_once]
        stacked = np.tile(held, (len(batch), 1))
        for k, (_, positions) in enumerate(batch):
            block = stacked[k * len(held) : (k + 1) * len(held)]
            block[:, positions] = held[random.permutation(len(held))[:, None], positions]
        outputs = answer(stacked)
        for k, (name, _) in enumerate(batch):
            part = outputs[k * len(held) : (k + 1) * len(held)]
            shuffled = Answers(base.task, base.labels, part, base.positive, base.threshold)
            drops[name].append(sign * (reference - metrics.compute_one(metric, shuffled)))
    found = [
        {"column": name, "drop": float(np.mean(values)), "spread": float(np.std(values, ddof=1))}
        for name, values in drops.items()
    ]
    return sorted(found, key=lambda item: -float(str(item["drop"])))


def trace_curves(answers: Answers, classes: Sequence[str]) -> dict[str, Any]:
    """Trace what the report draws: ROC and PR curves, calibration, confusion, residuals."""
    if answers.task == "regression":
        return {"residuals": _trace_residuals(answers)}
    curves: dict[str, Any] = {"confusion": _count_confusion(answers, len(classes))}
    shown = [answers.positive] if answers.task == "binary" else range(min(len(classes), 8))
    curves["roc"], curves["pr"] = [], []
    for index in shown:
        hits = answers.labels == index
        if hits.all() or not hits.any():
            continue
        roc, pr = _trace_ranking(answers.outputs[:, index], hits)
        curves["roc"].append({"class": classes[index], "points": roc})
        curves["pr"].append({"class": classes[index], "points": pr, "share": float(hits.mean())})
    curves["calibration"] = _trace_calibration(answers)
    if answers.task == "binary":
        curves["scores"] = _count_scores(answers)
    return curves


def _trace_ranking(
    scores: FloatArray, hits: NDArray[np.bool_]
) -> tuple[list[list[float]], list[list[float]]]:
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.r_[scores[order][1:] != scores[order][:-1], True])
    right = np.cumsum(hits[order])[last]
    answered = last + 1
    fpr = np.r_[0.0, (answered - right) / (~hits).sum()]
    tpr = np.r_[0.0, right / hits.sum()]
    precision = right / answered
    keep = _thin(len(fpr))
    keep_pr = _thin(len(precision))
    roc = [[round(float(fpr[i]), 5), round(float(tpr[i]), 5)] for i in keep]
    pr = [[round(float(tpr[i + 1]), 5), round(float(precision[i]), 5)] for i in keep_pr]
    return roc, pr


def _thin(count: int) -> list[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, CURVE_POINTS))})


def _trace_calibration(answers: Answers) -> list[dict[str, float]]:
    if answers.task == "binary":
        stated, happened = answers.outputs[:, answers.positive], answers.labels == answers.positive
    else:
        stated, happened = answers.outputs.max(axis=1), answers.predicted == answers.labels
    bins = metrics.calibration_bins(stated)
    found = []
    for index in np.unique(bins):
        members = bins == index
        rows, share = int(members.sum()), float(happened[members].mean())
        low, high = _wilson(share, rows)
        found.append(
            {
                "stated": float(stated[members].mean()),
                "happened": share,
                "low": low,
                "high": high,
                "rows": rows,
            }
        )
    return found


def _wilson(share: float, rows: int) -> tuple[float, float]:
    """Give Wilson's (1927) 95% interval of a share."""
    z = 1.959963984540054
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = (
        z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / (1 + z * z / rows)
    )
    return max(0.0, centre - half), min(1.0, centre + half)


def _count_confusion(answers: Answers, classes: int) -> list[list[int]]:
    cells = answers.labels.astype(np.intp) * classes + answers.predicted.astype(np.intp)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).tolist()


def _count_scores(answers: Answers) -> dict[str, Any]:
    edges = np.linspace(0, 1, 21)
    hits = answers.labels == answers.positive
    scores = answers.outputs[:, answers.positive]
    return {
        "edges": edges.tolist(),
        "positive": np.histogram(scores[hits], edges)[0].tolist(),
        "negative": np.histogram(scores[~hits], edges)[0].tolist(),
    }


def _trace_residuals(answers: Answers) -> dict[str, Any]:
    predicted = answers.outputs[:, 0]
    residuals = answers.labels - predicted
    counts, edges = np.histogram(residuals, bins=30)
    order = np.argsort(predicted, kind="stable")
    shown = order[_thin_evenly(len(order), 400)]
    return {
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "points": [[float(predicted[i]), float(answers.labels[i])] for i in shown],
        "absolute_error_p90": float(np.quantile(np.abs(residuals), 0.9)),
        "bias": float(residuals.mean()),
    }


def _thin_evenly(count: int, limit: int) -> IntArray:
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.intp))


def summarise_clusters(
    contract: Contract, matrix: FloatArray, labels: FloatArray
) -> list[dict[str, Any]]:
    """Describe each cluster: its share of the rows and the columns in which it differs most."""
    # A column without values has no centre; neither has a cluster without values in a column.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return _describe_clusters(contract, matrix, labels)


def _describe_clusters(
    contract: Contract, matrix: FloatArray, labels: FloatArray
) -> list[dict[str, Any]]:
    described = []
    spread = np.nanstd(matrix, axis=0)
    centre = np.nanmean(matrix, axis=0)
    for index, name in enumerate(contract.classes):
        members = matrix[labels == index]
        entry: dict[str, Any] = {
            "cluster": name,
            "rows": len(members),
            "share": len(members) / len(matrix),
        }
        if len(members):
            shift = (np.nanmean(members, axis=0) - centre) / spread
            shift = np.where(np.isfinite(shift), shift, 0.0)
            top = np.argsort(-np.abs(shift), kind="stable")[:4]
            numeric = [i for i in top if contract.features[i].kind != "category"]
            entry["differs"] = [
                {"feature": contract.features[i].name, "deviations": float(shift[i])}
                for i in numeric
            ]
        described.append(entry)
    return described


def to_metric_dicts(found: Mapping[str, Interval], task: str) -> dict[str, dict[str, Any]]:
    """Make the `metrics` member of evaluation.json."""
    return {
        name: {**interval.to_dict(), "better": METRICS[task][name]}
        for name, interval in found.items()
    }
