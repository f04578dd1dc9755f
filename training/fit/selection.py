"""Model selection: the candidate and its hyperparameters, chosen within the training rows."""

import hashlib
import json
import math
from dataclasses import dataclass, replace

import numpy as np

from core.contract import Contract
from core.errors import TrainingError
from training import metrics
from training.arrays import FloatArray, IntArray
from training.data.dataset import Data
from training.data.folds import Folds, fold_rows
from training.data.splits import Split
from training.fit.candidates import Candidate, build_candidates, choose_candidates
from training.fit.objectives import AnomalyObjective, ClusteringObjective, LabelledObjective
from training.fit.search import Checkpoint, Searched, search
from training.fit.threads import limit_threads
from training.jobs import Job
from training.log import Log
from training.metrics import DETECTION, Answers

SEARCH_ROWS = 60_000


@dataclass(frozen=True)
class Chosen:
    """What the search chose, and the answers that it gave in cross-validation.

    `outputs` are the answers, calibrated where that helps (`calibrates`), `raw` the scores that a
    calibrator maps, `rows` the rows of the table that both belong to; for classification only.
    """

    searched: Searched
    metric: str
    candidate: Candidate
    outputs: FloatArray | None
    raw: FloatArray | None
    rows: IntArray
    calibrates: bool


def choose_model(job: Job, data: Data, split: Split, log: Log) -> Chosen:
    """Search candidates and hyperparameters within the training rows."""
    settings, contract = job.settings, data.contract
    seed = settings.split.seed
    rows = _search_rows(split.train, seed)
    known = list_candidates(job, contract, len(rows))
    names = (job.candidate,) if job.candidate else settings.training.candidates
    competing = choose_candidates(known, names)
    if job.search_seed is not None:  # of the jobs that share a search each draws for itself
        competing = {name: replace(kept, starts=()) for name, kept in competing.items()}
    metric = settings.metric
    folds = fold_rows(job, data, rows)
    objective = _objective(job, data, rows, folds, metric)
    deadline = settings.training.time_budget_seconds
    fingerprint = hashlib.sha256(
        json.dumps([settings.training_digest, [dict(entry) for entry in data.inputs]]).encode()
    ).hexdigest()
    with limit_threads(data.matrix[rows]):
        searched = search(
            competing,
            objective,
            folds,
            strategy=settings.training.search.strategy,
            draws=_draws(job),
            seed=seed if job.search_seed is None else job.search_seed,
            seconds_left=lambda: deadline - log.elapsed(),
            report=log.say,
            checkpoint=Checkpoint(job.checkpoints, fingerprint),
        )
        best = searched.best
        candidate = competing[best.candidate]
        outputs: list[FloatArray] = list(searched.outputs or ())
        if isinstance(objective, LabelledObjective) and searched.outputs is None:
            outputs = [objective.evaluate(candidate.build(best.params), *fold) for fold in folds]
    _publish(objective.name, best.score, objective.lower_is_better)
    if not isinstance(objective, LabelledObjective):
        return Chosen(searched, metric, candidate, None, None, rows, False)
    validations = [validation for _, validation in folds]
    if contract.task == "regression":
        answered = rows[np.concatenate(validations)]
        return Chosen(searched, metric, candidate, np.vstack(outputs), None, answered, False)
    plain = [out[:, : objective.classes] for out in outputs]
    adjusted = objective.calibrated(outputs, validations)
    labels = objective.labels[np.concatenate(validations)]
    calibrates = best.candidate != "dummy" and _log_loss(contract, labels, adjusted) < _log_loss(
        contract, labels, plain
    )
    return Chosen(
        searched,
        metric,
        candidate,
        np.vstack(adjusted if calibrates else plain),
        np.vstack([out[:, objective.classes :] for out in outputs]),
        rows[np.concatenate(validations)],
        calibrates,
    )


def list_candidates(job: Job, contract: Contract, rows: int) -> dict[str, Candidate]:
    """List the candidates of the job's task; `rows` is how many train them."""
    return build_candidates(
        contract,
        seed=job.settings.split.seed,
        rows=rows,
        clusters=job.settings.problem.clusters,
        anomaly_share=job.settings.problem.anomaly_share,
    )


def _draws(job: Job) -> int:
    """Give the draws a candidate: a tuning job's training jobs share them, defaults apart."""
    asked = job.settings.training.search
    if job.search_seed is None:
        return asked.trials
    jobs = max(asked.parallel_jobs, asked.trials)
    return min(asked.trials, 1 + math.ceil((asked.trials - 1) / jobs))


def _search_rows(train: IntArray, seed: int) -> IntArray:
    if len(train) <= SEARCH_ROWS:
        return train
    return np.sort(np.random.default_rng([seed, 2]).choice(train, SEARCH_ROWS, replace=False))


def _objective(
    job: Job, data: Data, rows: IntArray, folds: Folds, metric: str
) -> LabelledObjective | AnomalyObjective | ClusteringObjective:
    task, matrix, seed = data.contract.task, data.matrix[rows], job.settings.split.seed
    if task == "anomaly":
        return AnomalyObjective(
            data.contract, matrix, seed, metric, _known_anomalies(data, rows, folds, metric)
        )
    if task == "clustering":
        return ClusteringObjective(data.contract, matrix)
    assert data.labels is not None
    return LabelledObjective(
        task,
        metric,
        matrix,
        data.labels[rows],
        classes=len(data.contract.classes) if data.contract.is_classification else 1,
        positive=data.contract.positive_index if data.contract.is_classification else 0,
        ordered=data.order(job.settings.split.strategy) is not None,
    )


def _known_anomalies(data: Data, rows: IntArray, folds: Folds, metric: str) -> FloatArray | None:
    """Give what is known of the rows if the metric asks for it; each fold must show it."""
    if metric not in DETECTION:
        return None
    truth = data.truth
    if truth is None:
        raise TrainingError(
            f"[training] metric {metric!r} needs the target {data.contract.target!r}, which the "
            "data does not have; bring it or use separation_auc"
        )
    truth = truth[rows]
    if any(len(np.unique(truth[v][np.isfinite(truth[v])])) < 2 for _, v in folds):
        raise TrainingError(
            f"[training] metric {metric!r} needs rows known to be anomalies, and others, in each "
            f"fold; {int((truth == 1).sum())} of the training rows are: bring more or use "
            "separation_auc"
        )
    return truth


def _log_loss(contract: Contract, labels: FloatArray, outputs: list[FloatArray]) -> float:
    answers = Answers(contract.task, labels, np.vstack(outputs), contract.positive_index)
    return metrics.compute_one("log_loss", answers)


def _publish(name: str, score: float, lower_is_better: bool) -> None:
    """Print the metric as the lines that the template's regular expressions read."""
    print(f"metric:{name}={score:.10g}", flush=True)
    print(f"metric:objective={-score if lower_is_better else score:.10g}", flush=True)
