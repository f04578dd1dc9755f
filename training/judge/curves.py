"""What the report draws of the held-out rows: curves, calibration, confusion, residuals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training import metrics
from training.arrays import BoolArray, FloatArray, IntArray
from training.judge.intervals import wilson_interval
from training.metrics import Answers

CURVE_POINTS = 60


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
    scores: FloatArray, hits: BoolArray
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
        low, high = wilson_interval(share, rows)
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
