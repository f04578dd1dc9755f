"""What a trial is judged by: an objective for labelled tasks, for anomalies, for clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.contract import Contract
from core.settings import METRICS
from training import metrics
from training.arrays import FloatArray, IntArray
from training.fit import calibration
from training.fit.estimators import fit_rows, prepared, reference_outputs

MAX_SILHOUETTE_ROWS = 1500
MAX_SEPARATION_ROWS = 5000


@dataclass
class LabelledObjective:
    """Classification and regression: the metric on held-out folds, after calibration if that helps.

    What `evaluate` gives has the probabilities first and then the raw scores that a calibrator
    maps. `ordered`: each fold comes after those before it in time.
    """

    task: str
    name: str
    matrix: FloatArray
    labels: FloatArray
    classes: int
    positive: int
    ordered: bool = False

    @property
    def lower_is_better(self) -> bool:
        """Say which way the metric points."""
        return METRICS[self.task][self.name] == "lower"

    def evaluate(self, model: Any, train: IntArray, validation: IntArray) -> FloatArray:
        """Fit on `train` and answer for `validation`."""
        if self.task == "regression":
            fit_rows(model, self.matrix[train], self.labels[train])
            return np.asarray(model.predict(self.matrix[validation]), dtype=np.float64)[:, None]
        fit_rows(model, self.matrix[train], self.labels[train].astype(np.intp))
        held = self.matrix[validation]
        known = np.asarray(model.classes_, dtype=np.intp)
        probabilities = np.zeros((len(validation), self.classes))
        probabilities[:, known] = model.predict_proba(held)
        raw = calibration.raw_scores(model, held)
        if raw.shape[1] != (1 if self.classes == 2 else self.classes):
            raw = probabilities  # a class is absent from this fold: its scores are too
        return np.hstack([probabilities, raw])

    def score(self, outputs: Sequence[FloatArray], validations: Sequence[IntArray]) -> list[float]:
        """Score each fold, by plain or calibrated answers, whichever are better overall."""
        plain = self._score_each([out[:, : max(self.classes, 1)] for out in outputs], validations)
        if self.task == "regression":
            return plain
        adjusted = self._score_each(self.calibrated(outputs, validations), validations)
        return adjusted if self.prefers(adjusted, plain) else plain

    def prefers(self, scores: Sequence[float], others: Sequence[float]) -> bool:
        """Say whether the first scores are better on average."""
        ours, theirs = float(np.mean(scores)), float(np.mean(others))
        return ours < theirs if self.lower_is_better else ours > theirs

    def calibrated(
        self, outputs: Sequence[FloatArray], validations: Sequence[IntArray]
    ) -> list[FloatArray]:
        """Calibrate each fold's answers by the other folds (a single fold by its other half).

        In order of time only by the folds before, as the refitted model will be: the first stays.
        """
        raw = np.vstack([out[:, self.classes :] for out in outputs])
        labels = np.concatenate([self.labels[rows] for rows in validations])
        sizes = [len(rows) for rows in validations]
        result = np.vstack([out[:, : self.classes] for out in outputs])
        part = np.repeat(np.arange(len(sizes)), sizes)
        if len(sizes) == 1 and not self.ordered:
            part = np.arange(len(raw)) % 2
        for held in np.unique(part):
            known = part < held if self.ordered else part != held
            if not known.any():
                continue
            sigmoids = calibration.fit_sigmoids(raw[known], labels[known])
            result[part == held] = calibration.apply_sigmoids(sigmoids, raw[part == held])
        return np.split(result, np.cumsum(sizes)[:-1])

    def _score_each(
        self, outputs: Sequence[FloatArray], validations: Sequence[IntArray]
    ) -> list[float]:
        return [
            metrics.compute_one(
                self.name, metrics.Answers(self.task, self.labels[rows], out, self.positive)
            )
            for out, rows in zip(outputs, validations, strict=True)
        ]


@dataclass
class AnomalyObjective:
    """Anomalies without labels: how well the score tells real rows from rows that cannot be.

    The unreal rows have each column drawn on its own, half of them from the column's values (which
    breaks how columns go together) and half evenly from its range (which leaves the crowded parts).
    Area under the ROC curve; the idea is that of Steinwart, Hush, Scovel (JMLR 2005), anomaly
    detection as classification against a reference distribution. With the name of another metric
    it is the known anomalies that count: `truth` is 1 for those, 0 for ordinary rows, NaN for rows
    of which nothing is known.
    """

    contract: Contract
    matrix: FloatArray
    seed: int
    name: str = "separation_auc"
    truth: FloatArray | None = None
    lower_is_better: bool = False

    def evaluate(self, model: Any, train: IntArray, validation: IntArray) -> FloatArray:
        """Fit on `train`; score the validation rows (first) and as many unreal ones."""
        fit_rows(model, self.matrix[train])
        if self.truth is not None:
            return reference_outputs(model, self.matrix[validation], self.contract)
        held = self.matrix[validation][:MAX_SEPARATION_ROWS]
        unreal = make_unreal_rows(held, self.seed)
        return reference_outputs(model, np.vstack([held, unreal]), self.contract)

    def score(self, outputs: Sequence[FloatArray], validations: Sequence[IntArray]) -> list[float]:
        """Score each fold."""
        if self.truth is None:
            return [metrics.separation_auc(out[:, 0]) for out in outputs]
        return [
            metrics.measure_detection(self.name, out[:, 0], self.truth[rows])
            for out, rows in zip(outputs, validations, strict=True)
        ]


@dataclass
class ClusteringObjective:
    """Clusters: the silhouette of held-out rows, in the space that the model measures in."""

    contract: Contract
    matrix: FloatArray
    name: str = "silhouette"
    lower_is_better: bool = False

    def evaluate(self, model: Any, train: IntArray, validation: IntArray) -> FloatArray:
        """Fit on `train`; give each validation row's own silhouette."""
        fit_rows(model, self.matrix[train])
        held = self.matrix[validation][:MAX_SILHOUETTE_ROWS]
        labels = reference_outputs(model, held, self.contract)[:, 0]
        return metrics.silhouettes(prepared(model, held), labels)[:, None]

    def score(self, outputs: Sequence[FloatArray], validations: Sequence[IntArray]) -> list[float]:
        """Score each fold."""
        return [float(out.mean()) for out in outputs]


def make_unreal_rows(rows: FloatArray, seed: int) -> FloatArray:
    """Draw as many rows as given, each column by itself; see `AnomalyObjective`."""
    random = np.random.default_rng([seed, len(rows)])
    unreal = rows.copy()
    half = len(rows) // 2
    for column in range(rows.shape[1]):
        unreal[:, column] = random.permutation(rows[:, column])
        known = rows[:, column][~np.isnan(rows[:, column])]
        if not len(known):
            continue
        low, high = float(known.min()), float(known.max())
        drawn = random.uniform(low, high, half)
        is_whole = bool((known == np.floor(known)).all())
        unreal[:half, column] = np.round(drawn) if is_whole else drawn
    return unreal
