"""The stages of the training job that judge, without export and report: the job's own code."""

from __future__ import annotations

import time
from dataclasses import dataclass

from training import metrics
from training.data.dataset import Data, read_data
from training.data.holdout import split_data
from training.data.splits import Split
from training.doubts import Doubt
from training.fit.model import Model, fit_model
from training.fit.selection import Chosen, choose_model
from training.jobs import Job
from training.judge.answers import label_answers
from training.judge.comparison import Compared, compare_with_champion
from training.judge.doubting import find_doubts
from training.judge.evaluation import Evaluated, evaluate_model
from training.judge.intervals import Interval, measure_interval
from training.log import Log

UNMEASURED = Evaluated({}, {}, [], [])


@dataclass(frozen=True)
class Judged:
    """What the job's stages gave."""

    job: Job
    data: Data
    split: Split
    chosen: Chosen
    model: Model
    log: Log

    @classmethod
    def of(cls, job: Job) -> Judged:
        """Read, split, search and fit."""
        log = Log(time.monotonic())
        data = read_data(job, log)
        split = split_data(job, data, log)
        chosen = choose_model(job, data, split, log)
        return cls(job, data, split, chosen, fit_model(job, data, split, chosen, log), log)

    def claim(self) -> Interval:
        """Give the claimed interval of the metric alone, as `evaluate` would."""
        rows, job = self.split.holdout, self.job
        outputs = self.model.answer(self.data.matrix[rows])
        answers = label_answers(self.data, self.model, rows, outputs)
        return measure_interval(
            lambda weights: metrics.compute(job.settings.metric, answers, weights),
            self.split.units[rows],
            job.settings.split.seed,
        )

    def evaluate(self) -> Evaluated:
        """Measure the model on the holdout."""
        return evaluate_model(self.job, self.data, self.split, self.chosen, self.model, self.log)

    def compare(self, evaluated: Evaluated = UNMEASURED) -> Compared:
        """Compare with knowing nothing and with the champion; supervised tasks need no figures."""
        return compare_with_champion(
            self.job, self.data, self.split, self.chosen, self.model, evaluated, self.log
        )

    def doubt(self, evaluated: Evaluated, compared: Compared) -> list[Doubt]:
        """Find the doubts about the claim."""
        return find_doubts(
            self.job,
            self.data,
            self.split,
            self.chosen,
            self.model,
            evaluated,
            compared,
            self.log,
        )
