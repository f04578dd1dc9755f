"""Fits once more, to learn how much of a claim rests on rows that are too like each other.

A check of the table alone can only suspect: rows of one day, of one person, or nearly equal rows
are harmless where the columns give the answer anyway. So the chosen model is fitted again with
those rows on one side of the cut, and beside it with as many other rows: what goes with the first
and not with the second, the claim owes to the likeness.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training.arrays import FloatArray, IntArray
from training.data.dataset import Data
from training.data.splits import Split
from training.doubts import Doubt
from training.doubts.copies import Rest, doubt_near_copies, find_near_copies, measure_rest
from training.doubts.doubt import sample_rows
from training.fit.estimators import fit_rows, reference_outputs
from training.fit.model import Model
from training.fit.selection import Chosen, list_candidates
from training.fit.threads import limit_threads
from training.jobs import Job
from training.log import Log

MAX_ROWS = 6_000


@dataclass(frozen=True)
class Refit:
    """The chosen model of a job, ready to be fitted on other rows of the training side."""

    job: Job
    data: Data
    chosen: Chosen
    train: IntArray
    log: Log

    def measure(self, parts: IntArray, what: str) -> Rest | None:
        """Cross-validate with whole parts held out, beside parts of the same sizes at random.

        `parts` has a number for each row of the table. None where nothing can be told: the model is
        the dummy, or a class is missing without one of the parts.
        """
        if self.chosen.searched.best.candidate == "dummy":
            return None
        rows = self.train[sample_rows(len(self.train), MAX_ROWS)]
        mine = parts[rows]
        self.log.say(f"fitting again with {what}")
        shuffled = np.random.default_rng(len(rows)).permutation(mine)
        claimed, without = self._losses_by(rows, shuffled), self._losses_by(rows, mine)
        if claimed is None or without is None:
            return None
        return measure_rest(claimed, without, self._losses_of_nothing(rows))

    def doubt_copies(self, split: Split, model: Model) -> Iterator[Doubt]:
        """Doubt a claim of which a good part rests on near copies of training rows."""
        data, contract, labels = self.data, self.data.contract, self.data.labels
        assert labels is not None
        if self.chosen.searched.best.candidate == "dummy":
            return
        found = find_near_copies(
            data.matrix,
            [feature.kind in ("category", "boolean") for feature in contract.features],
            labels,
            split.train,
            split.holdout,
            classes=contract.is_classification,
        )
        if found is None:
            return
        self.log.say(
            f"{found.share:.0%} of the held-out rows have near copies; fitting again without them"
        )
        without = self._losses_without(split.train, found.copies, found.held)
        control = self._losses_without(split.train, found.others, found.held)
        if without is None or control is None:
            return  # a class consists of copies alone: `find_drawn_again` says so
        claimed = self._losses(found.held, model.answer(data.matrix[found.held]))
        # What goes with as many rows that are no copies is the price of fewer rows.
        rest = measure_rest(
            claimed,
            without - np.maximum(control - claimed, 0.0),
            self._losses_of_nothing(found.held),
        )
        doubt = doubt_near_copies(found, rest)
        if doubt is not None:
            yield doubt

    def _losses_by(self, rows: IntArray, parts: IntArray) -> FloatArray | None:
        losses = np.full(len(rows), np.nan)
        for part in np.unique(parts):
            held = parts == part
            answers = self._answer(rows[~held], rows[held])
            if answers is None:
                return None
            losses[held] = self._losses(rows[held], answers)
        return losses

    def _losses_without(
        self, train: IntArray, left_out: IntArray, rows: IntArray
    ) -> FloatArray | None:
        answers = self._answer(np.setdiff1d(train, left_out), rows)
        return None if answers is None else self._losses(rows, answers)

    def _answer(self, train: IntArray, rows: IntArray) -> FloatArray | None:
        """Answer rows by the chosen model, fitted on others; None where those lack a class."""
        data, best = self.data, self.chosen.searched.best
        assert data.labels is not None
        labels = data.labels[train]
        if data.contract.is_classification:
            if len(np.unique(labels)) < len(data.contract.classes):
                return None
            labels = labels.astype(np.intp)
        candidate = list_candidates(self.job, data.contract, len(train)).get(best.candidate)
        estimator = (candidate or self.chosen.candidate).build(best.params)
        with limit_threads(data.matrix[train]):
            fit_rows(estimator, data.matrix[train], labels)
        return reference_outputs(estimator, data.matrix[rows], data.contract)

    def _losses_of_nothing(self, rows: IntArray) -> FloatArray:
        data = self.data
        assert data.labels is not None
        labels = data.labels[self.train]
        if not data.contract.is_classification:
            return self._losses(rows, np.full((len(rows), 1), labels.mean()))
        shares = np.bincount(labels.astype(np.intp), minlength=len(data.contract.classes)) + 0.5
        return self._losses(rows, np.tile(shares / shares.sum(), (len(rows), 1)))

    def _losses(self, rows: IntArray, outputs: FloatArray) -> FloatArray:
        """Give the squared error of each row: of its number, or of its probabilities (Brier 1950).

        Not the log loss: a refit is not calibrated, and a few rows it is sure of would decide.
        """
        assert self.data.labels is not None
        labels = self.data.labels[rows]
        if not self.data.contract.is_classification:
            return np.square(outputs[:, 0] - labels)
        wanted = np.eye(outputs.shape[1])[labels.astype(np.intp)]
        return np.asarray(np.square(outputs - wanted).sum(axis=1), dtype=np.float64)
