"""The stages of a training job, in the order in which `training/train.py` calls them."""

import hashlib
import io
import json
import math
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core import drift
from core.contract import Contract
from core.errors import TrainingError
from training import metrics
from training.data import tables
from training.data.splits import (
    ALIKE,
    MIN_CLASS_ROWS,
    Split,
    make_folds,
    measure_likeness,
    split_rows,
    unseen_by,
)
from training.export.proof import (
    Exported,
    ParityReport,
    export_model,
    prove_parity,
    reference_outputs,
)
from training.fit import calibration
from training.fit.candidates import Candidate, build_candidates, choose_candidates
from training.fit.objectives import (
    DETECTION,
    MAX_SEPARATION_ROWS,
    MAX_SILHOUETTE_ROWS,
    AnomalyObjective,
    ClusteringObjective,
    LabelledObjective,
    fit_rows,
    make_unreal_rows,
    prepared,
    silhouettes,
)
from training.fit.search import Checkpoint, Folds, Searched, search
from training.jobs import Job
from training.judge import comparison
from training.judge.comparison import Champion, Decision, Duel
from training.judge.evaluation import (
    Interval,
    Threshold,
    choose_threshold,
    draw_weights,
    evaluate_metrics,
    interval_of,
    mean_interval,
    measure_importance,
    measure_slices,
    replicates_for,
    summarise_clusters,
    to_metric_dicts,
    trace_curves,
)
from training.metrics import Answers

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.intp]

FOLDS = 3
MANY_ROWS = 20_000  # from here on one validation block says enough, and is searched on
SEARCH_ROWS = 60_000
SMALL_CELLS = 500_000  # below, threads cost more than they save
LARGEST_TARGET = 1e100  # in size; sums of squared errors must stay finite
GOLDEN_ROWS = 24
GOLDEN_TOLERANCE = 1e-9
MIN_BASELINE_ROWS = 20  # to train on; the monitor's baseline refuses fewer
SUPERVISED = ("binary", "multiclass", "regression")

# USD an hour on demand, us-east-1, list prices of 2025 (Amazon SageMaker pricing page, training).
HOURLY_USD = {
    "ml.t3.medium": 0.05,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.c5.4xlarge": 0.816,
}
SPOT_SHARE = 0.3  # of the on-demand price; what is paid changes with demand
PRICES_OF = "us-east-1, list prices of 2025, Spot taken as 30% of on demand; not a bill"


@dataclass
class Log:
    """Progress lines with the seconds since the start, and how long each stage took."""

    started: float
    seconds: dict[str, float] = field(default_factory=dict)

    def say(self, message: str) -> None:
        """Print one line."""
        print(f"[{self.elapsed():6.1f} s] {message}", flush=True)

    def elapsed(self) -> float:
        """Give the seconds since the job started."""
        return time.monotonic() - self.started

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Keep how long a stage took."""
        began = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - began, 3)


@dataclass(frozen=True)
class Data:
    """The checked table and everything that is read off it, one entry a row."""

    contract: Contract
    frame: pd.DataFrame
    matrix: FloatArray
    labels: FloatArray | None
    positions: FloatArray
    times: FloatArray | None
    groups: NDArray[Any] | None
    fresh: NDArray[np.bool_]
    quality: Mapping[str, Any]
    inputs: tuple[Mapping[str, Any], ...]

    @property
    def strata(self) -> IntArray | None:
        """Give the class of each row, to stratify by."""
        if not self.contract.is_classification or self.labels is None:
            return None
        return self.labels.astype(np.intp)

    def order(self, strategy: str) -> FloatArray | None:
        """Give what a split by `strategy` puts the rows in order by, or None."""
        if strategy in ("random", "group"):
            return None
        return self.positions if strategy == "order" else self.times


@dataclass(frozen=True)
class Chosen:
    """What the search settled on, and the answers that it gave in cross-validation."""

    searched: Searched
    metric: str
    candidate: Candidate
    outputs: FloatArray | None
    raw: FloatArray | None
    rows: IntArray
    calibrates: bool


@dataclass(frozen=True)
class Model:
    """The fitted model, with the contract that it was fitted for and its threshold."""

    estimator: Any
    contract: Contract
    threshold: float | None
    threshold_reason: str

    def answer(self, matrix: FloatArray) -> FloatArray:
        """Answer encoded rows, as scikit-learn does."""
        return reference_outputs(self.estimator, matrix, self.contract)


@dataclass(frozen=True)
class ExportedModel:
    """The exported files and the proof that they answer as scikit-learn does."""

    model_json: bytes
    onnx: bytes
    family: str
    parity: ParityReport
    bound: float


@dataclass(frozen=True)
class Evaluated:
    """What the holdout showed."""

    metrics: Mapping[str, Interval]
    curves: Mapping[str, Any]
    slices: list[dict[str, Any]]
    importance: list[dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """How champion and challenger did on rows that neither was trained on."""

    champion: Champion | None
    everything: Duel | None
    fresh: Duel | None
    decision: Decision


def read_data(job: Job, log: Log) -> Data:
    """Read and check the tables; raises DataError with every problem of the table."""
    settings = job.settings
    paths = tables.find_tables(job.data)
    frame = tables.read_table(
        paths,
        separator=settings.data.separator,
        encoding=settings.data.encoding,
        columns=settings.data.columns,
    )
    labelled_paths = tables.find_tables(job.labelled) if job.labelled else []
    fresh_frame = _read_labelled(labelled_paths, frame, job) if labelled_paths else None
    if fresh_frame is not None:
        frame = pd.concat([frame, fresh_frame], ignore_index=True)
    contract = tables.resolve_contract(settings, frame)
    checked = tables.check_table(frame, contract)
    fresh_rows = 0
    if fresh_frame is not None:
        fresh_rows = len(tables.check_table(fresh_frame, contract).frame)
    table = checked.frame
    fresh = np.arange(len(table)) >= len(table) - fresh_rows
    for warning in checked.warnings:
        log.say(f"warning: {warning}")
    labels = None
    if contract.task in SUPERVISED:
        labels = np.asarray(tables.encode_target(table, contract), dtype=np.float64)
    log.say(
        f"read {len(table)} rows ({fresh_rows} of them fresh), {len(contract.columns)} columns, "
        f"task {contract.task}"
    )
    return Data(
        contract=contract,
        frame=table,
        matrix=tables.encode_table(table, contract),
        labels=labels,
        positions=checked.positions.astype(np.float64),
        times=_read_times(table, contract),
        groups=_read_groups(table, contract),
        fresh=fresh,
        quality=checked.quality,
        inputs=tuple(_describe_input(path, job) for path in (*paths, *labelled_paths)),
    )


def _read_labelled(paths: list[Path], frame: pd.DataFrame, job: Job) -> pd.DataFrame:
    """Read captured rows joined with their labels; the newest label of a prediction counts."""
    found = tables.read_table(paths)
    # The monitor's own two columns; named with an underscore where the table has such a column.
    prediction, answered = (
        f"{name}_" if f"{name}_" in found.columns else name
        for name in ("prediction_id", "prediction_time")
    )
    if prediction in found.columns:
        found = found.drop_duplicates(prediction, keep="last", ignore_index=True)
    own = {prediction, answered}
    known = [name for name in found.columns if name in set(frame.columns) - own]
    moment = job.settings.problem.time_column
    if moment and moment in frame.columns and moment not in known and answered in found.columns:
        if not pd.api.types.is_numeric_dtype(frame[moment]):
            stamps = pd.to_datetime(found[answered], unit="ms", utc=True)
            found[moment] = stamps.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            # The table counts time in a unit of its own; what came back since then came later.
            found[moment] = float(frame[moment].max()) + 1.0 + found[answered].rank(method="dense")
        known.append(moment)
    return found[known]


def _read_times(table: pd.DataFrame, contract: Contract) -> FloatArray | None:
    if contract.time_column is None or contract.time_column not in table.columns:
        return None
    values = table[contract.time_column]
    if pd.api.types.is_datetime64_any_dtype(values):
        stamps = values.to_numpy(dtype="datetime64[us]")
        seconds = stamps.astype(np.int64) / 1e6
        return np.where(np.isnat(stamps), np.nan, seconds)
    return values.to_numpy(dtype=np.float64)


def _read_groups(table: pd.DataFrame, contract: Contract) -> NDArray[Any] | None:
    if contract.group_column is None or contract.group_column not in table.columns:
        return None
    values = table[contract.group_column]
    names = values.astype(str).to_numpy(dtype=object)
    lone = values.isna().to_numpy()
    names[lone] = [
        f"row {i}" for i in np.flatnonzero(lone)
    ]  # a row without a group is one of its own
    return names


def _describe_input(path: Path, job: Job) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    try:
        key = path.resolve().relative_to(job.root.resolve()).as_posix()
    except ValueError:
        key = path.name
    entry: dict[str, Any] = {"key": key, "sha256": digest.hexdigest(), "bytes": path.stat().st_size}
    for pinned in job.plan.get("inputs", ()):
        if isinstance(pinned, Mapping) and pinned.get("key") == key:
            entry |= {name: pinned[name] for name in ("version_id", "etag") if name in pinned}
    return entry


def split_data(job: Job, data: Data, log: Log) -> Split:
    """Set the holdout apart; raises TrainingError if a side or a class would be too small."""
    settings = job.settings.split
    if data.strata is not None:
        counts = np.bincount(data.strata, minlength=len(data.contract.classes))
        for name, count in zip(data.contract.classes, counts, strict=True):
            if count < MIN_CLASS_ROWS:
                raise TrainingError(
                    f"class {name!r} of {data.contract.target!r} has {count} rows; at least "
                    f"{MIN_CLASS_ROWS} are needed: bring more, merge it, or leave it out"
                )
    if data.labels is not None and len(data.labels) and float(np.ptp(data.labels)) == 0.0:
        raise TrainingError(
            f"the target {data.contract.target!r} has the same value in every row: nothing to learn"
        )
    if data.contract.task == "regression" and data.labels is not None and len(data.labels):
        low, high = float(data.labels.min()), float(data.labels.max())
        if max(abs(low), abs(high)) > LARGEST_TARGET or high - low < 1 / LARGEST_TARGET:
            raise TrainingError(
                f"the target {data.contract.target!r} goes from {low:.6g} to {high:.6g}, of which "
                "float64 cannot square the errors: give it in another unit"
            )
    needed = math.ceil(MIN_BASELINE_ROWS / (1.0 - settings.holdout))
    if len(data.frame) < needed:
        raise TrainingError(
            f"the table has {len(data.frame)} usable rows; at least {needed} are needed, "
            f"{MIN_BASELINE_ROWS} of them to train on: bring more"
        )
    split = split_rows(
        data.matrix,
        strategy=settings.strategy,
        holdout=settings.holdout,
        seed=settings.seed,
        strata=data.strata,
        times=data.order(settings.strategy),
        groups=data.groups,
    )
    if settings.strategy == "random" and data.labels is not None:
        likeness = measure_likeness(data.labels, classes=data.contract.is_classification)
        if likeness >= ALIKE:
            log.say(
                f"warning: neighbouring rows have like targets (correlation {likeness:.2f}): if "
                'the rows are in time order, [split] strategy = "order" judges as service will'
            )
    if len(split.train) < MIN_BASELINE_ROWS:
        raise TrainingError(
            f"the split leaves {len(split.train)} rows to train on; at least {MIN_BASELINE_ROWS} "
            "are needed: bring more rows, or change [split]"
        )
    if data.strata is not None:
        _check_classes(data, split, settings.strategy)
    log.say(
        f"split {settings.strategy}: {len(split.train)} rows to train on, {len(split.holdout)} "
        f"held out"
    )
    return split


def _check_classes(data: Data, split: Split, strategy: str) -> None:
    """Refuse a split by which a class cannot be learned, or nothing told apart."""
    assert data.strata is not None
    hint = 'use another [split] strategy, e.g. "random"'
    for code, name in enumerate(data.contract.classes):
        if not (data.strata[split.train] == code).any():
            raise TrainingError(
                f"all rows of class {name!r} of {data.contract.target!r} are held out by the split "
                f"(strategy {strategy!r}), so it cannot be learned: {hint}, or leave the class out"
            )
    held = np.unique(data.strata[split.holdout])
    if len(held) < 2:
        raise TrainingError(
            f"all {len(split.holdout)} rows held out by the split (strategy {strategy!r}) are of "
            f"class {data.contract.classes[held[0]]!r}, which judges no model: {hint}"
        )


def choose_model(job: Job, data: Data, split: Split, log: Log) -> Chosen:
    """Search candidates and hyperparameters within the training rows."""
    settings, contract = job.settings, data.contract
    seed = settings.split.seed
    rows = _search_rows(split.train, seed)
    known = _candidates(job, contract, len(rows))
    names = (job.candidate,) if job.candidate else settings.training.candidates
    competing = choose_candidates(known, names)
    if job.search_seed is not None:  # of the jobs that share a search each draws for itself
        competing = {name: replace(kept, starts=()) for name, kept in competing.items()}
    metric = settings.metric
    folds = _folds(job, data, rows)
    objective = _objective(job, data, rows, folds, metric)
    deadline = settings.training.time_budget_seconds
    fingerprint = hashlib.sha256(
        json.dumps([settings.training_digest, [dict(entry) for entry in data.inputs]]).encode()
    ).hexdigest()
    with _threads(data.matrix[rows]):
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
        if contract.is_classification and searched.outputs is None:
            outputs = [objective.evaluate(candidate.build(best.params), *fold) for fold in folds]
    _publish(objective.name, best.score, objective.lower_is_better)
    if not isinstance(objective, LabelledObjective) or contract.task == "regression":
        return Chosen(searched, metric, candidate, None, None, rows, False)
    validations = [validation for _, validation in folds]
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


def _candidates(job: Job, contract: Contract, rows: int) -> dict[str, Candidate]:
    return build_candidates(
        contract,
        seed=job.settings.split.seed,
        rows=rows,
        clusters=job.settings.problem.clusters,
        anomaly_share=job.settings.problem.anomaly_share,
    )


def _folds(job: Job, data: Data, rows: IntArray) -> list[tuple[IntArray, IntArray]]:
    strategy = job.settings.split.strategy
    order = data.order(strategy)
    folds = FOLDS
    if data.strata is not None:
        folds = max(2, min(FOLDS, int(np.bincount(data.strata[rows]).min())))
    made = make_folds(
        len(rows),
        folds=folds,
        seed=job.settings.split.seed,
        strata=None if data.strata is None else data.strata[rows],
        order=None if order is None else order[rows],
        groups=data.groups[rows] if strategy == "group" and data.groups is not None else None,
    )
    if len(rows) <= MANY_ROWS:
        return made
    # In order of time the last two: does what calibrates one model also calibrate the next?
    return made[-1:] if order is None else made[-2:]


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
    truth = _truth(data)
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


def _truth(data: Data) -> FloatArray | None:
    """Give, for an anomaly task, 1 for known anomalies, 0 for ordinary rows, NaN for the rest."""
    target = data.contract.target
    if target is None or target not in data.frame.columns:
        return None
    return np.asarray(tables.encode_target(data.frame, data.contract), dtype=np.float64)


def _log_loss(contract: Contract, labels: FloatArray, outputs: list[FloatArray]) -> float:
    answers = Answers(contract.task, labels, np.vstack(outputs), contract.positive_index)
    return metrics.compute_one("log_loss", answers)


def _publish(name: str, score: float, lower_is_better: bool) -> None:
    """Print the metric as the lines that the template's regular expressions read."""
    print(f"metric:{name}={score:.10g}", flush=True)
    print(f"metric:objective={-score if lower_is_better else score:.10g}", flush=True)


@contextmanager
def _threads(matrix: FloatArray) -> Iterator[None]:
    """Keep small work on one thread: starting and joining more costs more than they save."""
    if matrix.size >= SMALL_CELLS:
        yield
        return
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):
        yield


def fit_model(job: Job, data: Data, split: Split, chosen: Chosen, log: Log) -> Model:
    """Fit the chosen model on all training rows, calibrate it, and choose its threshold."""
    contract, best = data.contract, chosen.searched.best
    candidate = _candidates(job, contract, len(split.train))[best.candidate]
    estimator = candidate.build(best.params)
    train = data.matrix[split.train]
    with _threads(train):
        if contract.task in ("anomaly", "clustering"):
            fit_rows(estimator, train)
        else:
            assert data.labels is not None
            labels = data.labels[split.train]
            codes = labels.astype(np.intp) if contract.is_classification else labels
            fit_rows(estimator, train, codes)
    if chosen.calibrates and chosen.raw is not None and data.labels is not None:
        estimator = calibration.calibrate(estimator, chosen.raw, data.labels[chosen.rows])
    if contract.task == "clustering":
        fits = reference_outputs(estimator, train[:1], contract).shape[1] - 1
        contract = replace(contract, classes=tuple(str(i) for i in range(fits)))
    threshold = _threshold(job, data, split, chosen, estimator)
    log.say(
        f"fitted {best.candidate} on {len(train)} rows"
        + (", calibrated" if chosen.calibrates else "")
        + (f", threshold {threshold.value:.4g}" if threshold else "")
    )
    return Model(
        estimator,
        contract,
        threshold.value if threshold else None,
        threshold.reason if threshold else "",
    )


def _threshold(
    job: Job, data: Data, split: Split, chosen: Chosen, estimator: Any
) -> Threshold | None:
    contract = data.contract
    if contract.task == "binary":
        assert chosen.outputs is not None
        assert data.labels is not None
        positive = contract.positive_index
        if chosen.searched.best.candidate == "dummy":
            return Threshold(0.5, "the model answers every row alike, so it stays at 0.5")
        return choose_threshold(
            data.labels[chosen.rows] == positive,
            chosen.outputs[:, positive],
            contract.classes[positive],
        )
    if contract.task == "anomaly":
        share = job.settings.problem.anomaly_share
        scores = reference_outputs(estimator, data.matrix[split.train], contract)[:, 0]
        return Threshold(
            float(np.quantile(scores, 1 - share)),
            f"the score that {share:.3g} of the training rows exceed ([problem] anomaly_share)",
        )
    return None


def export_with_proof(data: Data, split: Split, model: Model, log: Log) -> ExportedModel:
    """Export to tables and ONNX; raises ExportError unless both answer as scikit-learn does."""
    exported: Exported = export_model(
        model.estimator, model.contract, _background(data, split), model.threshold
    )
    parity = prove_parity(model.estimator, exported, data.matrix[split.holdout], model.contract)
    log.say(
        f"exported as {exported.family}: {parity.rows} rows agree with scikit-learn within "
        f"{parity.max_abs_diff:.2g} (bound {exported.bound:g}), {parity.flips} labels differ"
    )
    return ExportedModel(
        exported.model_json, exported.onnx, exported.family, parity, exported.bound
    )


def _background(data: Data, split: Split) -> FloatArray:
    """Give the row that explanations start from: medians, and the commonest code of a category."""
    train = data.matrix[split.train]
    row = np.full(train.shape[1], np.nan)
    for position, feature in enumerate(data.contract.features):
        known = train[:, position][~np.isnan(train[:, position])]
        if 2 * len(known) < len(train):
            continue  # the column is mostly missing: so is its background
        if feature.kind in ("category", "boolean"):
            values, counts = np.unique(known, return_counts=True)
            row[position] = values[np.argmax(counts)]
        else:
            row[position] = np.quantile(known, 0.5, method="lower")
    return row[None, :]


def evaluate_model(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, log: Log
) -> Evaluated:
    """Measure the model on the holdout."""
    seed = job.settings.split.seed
    matrix, units = data.matrix[split.holdout], split.units[split.holdout]
    outputs = model.answer(matrix)
    if model.contract.task == "anomaly":
        evaluated = _evaluate_anomalies(job, data, split, chosen, model, outputs)
    elif model.contract.task == "clustering":
        evaluated = _evaluate_clusters(job, data, split, chosen, model, outputs)
    else:
        answers = _answers(data, model, split.holdout, outputs)
        evaluated = Evaluated(
            evaluate_metrics(answers, units, seed),
            trace_curves(answers, model.contract.classes),
            measure_slices(model.contract, matrix, answers, chosen.metric, units, seed),
            measure_importance(model.contract, matrix, model.answer, answers, chosen.metric, seed),
        )
    for name, found in evaluated.metrics.items():
        limits = f" [{found.low:.4f}, {found.high:.4f}]" if math.isfinite(found.low) else ""
        log.say(f"holdout {name} {found.value:.4f}{limits}")
    return evaluated


def _answers(data: Data, model: Model, rows: IntArray, outputs: FloatArray) -> Answers:
    assert data.labels is not None
    contract = model.contract
    return Answers(
        contract.task,
        data.labels[rows],
        outputs,
        contract.positive_index if contract.is_classification else 0,
        0.5 if model.threshold is None else model.threshold,
    )


def _evaluate_anomalies(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, outputs: FloatArray
) -> Evaluated:
    seed = job.settings.split.seed
    held = data.matrix[split.holdout][:MAX_SEPARATION_ROWS]
    unreal = model.answer(make_unreal_rows(held, seed))[:, 0]
    scores = np.r_[outputs[: len(held), 0], unreal]
    hits = np.arange(len(scores)) >= len(held)
    units = split.units[split.holdout][: len(held)]
    drawn = [
        metrics.weighted_auc(scores, hits, np.hstack([weights, np.ones((len(weights), len(held)))]))
        for weights in draw_weights(units, replicates_for(len(units)), seed)
    ]
    value = float(metrics.weighted_auc(scores, hits, np.ones((1, len(scores))))[0])
    found = {"separation_auc": interval_of(value, np.concatenate(drawn))}
    # Stability: do two fits, each on half of the training rows, put the holdout in one order?
    first, second = (scores[:, 0] for scores in _answer_by_halves(job, data, split, chosen, held))
    found["stability"] = Interval(_rank_correlation(first, second), math.nan, math.nan)
    edges = np.quantile(scores, [0.0, 1.0])
    bins = np.linspace(edges[0], edges[1] if edges[1] > edges[0] else edges[0] + 1, 31)
    flagged = float((outputs[:, 0] >= (model.threshold or math.inf)).mean())
    curves = {
        "anomalies": {
            "edges": bins.tolist(),
            "real": np.histogram(scores[~hits], bins)[0].tolist(),
            "unreal": np.histogram(scores[hits], bins)[0].tolist(),
            "flagged_share": flagged,
        }
    }
    labels = _truth(data)
    if labels is not None:
        labels = labels[split.holdout]
        known = np.isfinite(labels)
        truth = labels[known] == 1
        if truth.any() and not truth.all():
            curve = outputs[known, 0]
            units = split.units[split.holdout][known]
            ones = np.ones((1, len(curve)))
            for name, measure in DETECTION.items():
                parts = [
                    measure(curve, truth, weights)
                    for weights in draw_weights(units, replicates_for(len(units)), seed)
                ]
                value = float(measure(curve, truth, ones)[0])
                found[name] = interval_of(value, np.concatenate(parts))
    return Evaluated(found, curves, [], [])


def _evaluate_clusters(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, outputs: FloatArray
) -> Evaluated:
    from sklearn.metrics import adjusted_rand_score, davies_bouldin_score

    seed = job.settings.split.seed
    held = data.matrix[split.holdout]
    shown = np.arange(min(len(held), MAX_SILHOUETTE_ROWS))
    points, labels = prepared(model.estimator, held[shown]), outputs[shown, 0]
    found = {
        "silhouette": mean_interval(
            silhouettes(points, labels), split.units[split.holdout][shown], seed
        )
    }
    if 2 <= len(np.unique(labels)) < len(labels):
        found["davies_bouldin"] = Interval(
            float(davies_bouldin_score(points, labels)), math.nan, math.nan
        )
    # Stability: fit the same model on each half of the training rows; do they agree on the holdout?
    agreed = [answers[:, 0] for answers in _answer_by_halves(job, data, split, chosen, held)]
    found["stability"] = Interval(float(adjusted_rand_score(*agreed)), math.nan, math.nan)
    curves = {"clusters": summarise_clusters(model.contract, held, outputs[:, 0])}
    return Evaluated(found, curves, [], [])


def _answer_by_halves(
    job: Job, data: Data, split: Split, chosen: Chosen, rows: FloatArray
) -> list[FloatArray]:
    """Fit the chosen model on either half of the training rows; give what each answers."""
    shuffled = np.random.default_rng([job.settings.split.seed, 3]).permutation(split.train)
    answers = []
    for half in np.array_split(shuffled, 2):
        candidate = _candidates(job, data.contract, len(half)).get(chosen.searched.best.candidate)
        refitted = (candidate or chosen.candidate).build(chosen.searched.best.params)
        fit_rows(refitted, data.matrix[np.sort(half)])
        answers.append(reference_outputs(refitted, rows, data.contract))
    return answers


def _rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Spearman's rank correlation; 0 where a side is constant."""
    from scipy.stats import rankdata

    ranks = rankdata(first), rankdata(second)
    if min(float(np.ptp(side)) for side in ranks) == 0.0:
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def compare_with_champion(job: Job, data: Data, split: Split, model: Model, log: Log) -> Compared:
    """Let both models answer the holdout rows that the champion was not trained on either."""
    if job.champion is None:
        return Compared(
            None, None, None, Decision(True, "the first model: there is no champion to beat")
        )
    champion = comparison.load_champion(job.champion)
    mismatch = comparison.explain_mismatch(champion.contract, model.contract)
    if mismatch:
        reason = f"cannot be compared with the champion ({mismatch}), so the gates alone decide"
        return Compared(champion, None, None, Decision(True, reason))
    frame = data.frame.iloc[split.holdout]
    lacking = [name for name in champion.contract.column_names if name not in frame.columns]
    if lacking:
        reason = (
            f"the champion needs columns that the data no longer has ({', '.join(lacking[:5])})"
        )
        return Compared(
            champion, None, None, Decision(True, f"{reason}, so the gates alone decide")
        )
    unseen = _unseen_rows(champion, data, split)
    everything = _duel(job, data, split, model, champion, split.holdout[unseen])
    fresh_rows = split.holdout[unseen & data.fresh[split.holdout]]
    fresh = _duel(job, data, split, model, champion, fresh_rows)
    decision = comparison.decide(
        everything, fresh, trigger=job.trigger, max_regression=job.settings.gates.max_regression
    )
    log.say(
        f"champion {champion.run}: {'promote' if decision.promote else 'keep'}: {decision.reason}"
    )
    return Compared(champion, everything, fresh, decision)


def _champion_matrix(champion: Champion, data: Data, rows: IntArray) -> FloatArray:
    """Encode rows as the champion was taught to, without the limits that it had."""
    relaxed = replace(
        champion.contract,
        columns=tuple(
            replace(column, min=None, max=None, missing=True, unseen="accept")
            for column in champion.contract.columns
        ),
    )
    return tables.encode_table(data.frame.iloc[rows].reset_index(drop=True), relaxed)


def _unseen_rows(champion: Champion, data: Data, split: Split) -> NDArray[np.bool_]:
    """Say which holdout rows the champion was not trained on, by the cut that its bundle keeps.

    Whether a repeated row was held out may depend on how often it came before, so all rows are
    asked.
    """
    if not champion.split:
        return np.zeros(len(split.holdout), dtype=bool)
    every = np.arange(len(data.frame))
    strata = data.strata
    if strata is not None and champion.contract.classes != data.contract.classes:
        names = champion.contract.classes
        codes = [names.index(c) if c in names else -1 for c in data.contract.classes]
        strata = np.asarray(codes, dtype=np.intp)[strata]
    unseen = unseen_by(
        champion.split,
        _champion_matrix(champion, data, every),
        strata=strata,
        times=data.order(str(champion.split["strategy"])),
        groups=data.groups,
    )
    return unseen[split.holdout]


def _duel(
    job: Job, data: Data, split: Split, model: Model, champion: Champion, rows: IntArray
) -> Duel | None:
    rows = comparison.limit_rows(rows)
    if not len(rows):
        return None
    contract, seed = model.contract, job.settings.split.seed
    units = split.units[rows]
    theirs = champion.answer(_champion_matrix(champion, data, rows))
    ours = model.answer(data.matrix[rows])
    if contract.task in SUPERVISED:
        theirs = comparison.align_outputs(theirs, champion.contract, contract)
        challenger = _answers(data, model, rows, ours)
        threshold = 0.5 if champion.threshold is None else champion.threshold
        return comparison.duel(
            replace(challenger, outputs=theirs, threshold=threshold),
            challenger,
            job.settings.metric,
            units,
            seed,
        )
    if contract.task == "anomaly":
        truth, metric = _truth(data), job.settings.metric
        if metric in DETECTION and truth is not None:
            known = np.isfinite(truth[rows])
            hits = truth[rows][known] == 1
            if hits.all() or not hits.any():
                return None
            sides = theirs[known, 0], ours[known, 0]
            return _duel_scores(metric, *sides, hits, units[known], seed)
        unreal = make_unreal_rows(data.matrix[rows], seed)
        return _duel_scores(
            "separation_auc",
            np.r_[theirs[:, 0], champion.answer(unreal)[:, 0]],
            np.r_[ours[:, 0], model.answer(unreal)[:, 0]],
            np.arange(2 * len(rows)) >= len(rows),
            units,
            seed,
        )
    points = prepared(model.estimator, data.matrix[rows])
    mine, its = silhouettes(points, ours[:, 0]), silhouettes(points, theirs[:, 0])
    return comparison.duel_measures(
        lambda weights: (weights @ its) / weights.sum(axis=1),
        lambda weights: (weights @ mine) / weights.sum(axis=1),
        metric="silhouette",
        lower_is_better=False,
        units=units,
        seed=seed,
    )


def _duel_scores(
    metric: str,
    theirs: FloatArray,
    ours: FloatArray,
    hits: NDArray[np.bool_],
    units: IntArray,
    seed: int,
) -> Duel:
    """Compare anomaly scores; those beyond `units` are of unreal rows and never resampled."""
    area = DETECTION.get(metric, metrics.weighted_auc)

    def measure(scores: FloatArray, weights: FloatArray) -> FloatArray:
        unreal = np.ones((len(weights), len(scores) - len(units)))
        return area(scores, hits, np.hstack([weights, unreal]))

    return comparison.duel_measures(
        lambda weights: measure(theirs, weights),
        lambda weights: measure(ours, weights),
        metric=metric,
        lower_is_better=False,
        units=units,
        seed=seed,
    )


def build_baseline(data: Data, split: Split, model: Model) -> bytes:
    """Summarise the training rows, and the model's answers for rows that it was not fitted on."""
    contract = model.contract
    columns = {name: data.frame[name].to_numpy()[split.train] for name in contract.column_names}
    times = None
    order = data.positions if split.record["strategy"] == "order" else data.times
    if order is not None and np.isfinite(order[split.train]).all():
        times = order[split.train].tolist()
    baseline = drift.build_baseline(
        contract,
        columns,
        model.answer(data.matrix[split.holdout]),
        times=times,
        seed=int(split.record["seed"]),
    )
    return baseline.to_json()


def choose_golden_rows(data: Data, split: Split, model: Model) -> dict[str, Any]:
    """Choose rows that the canary replays: spread over the answers, with missing values among them.

    Values of sensitive columns are shuffled among the rows, so that no row is a person's.
    """
    outputs = model.answer(data.matrix[split.holdout])
    order = np.argsort(outputs[:, -1 if model.contract.is_classification else 0], kind="stable")
    spread = order[
        np.unique(np.linspace(0, len(order) - 1, GOLDEN_ROWS * 3 // 4).round().astype(np.intp))
    ]
    gaps = np.flatnonzero(np.isnan(data.matrix[split.holdout]).any(axis=1))[: GOLDEN_ROWS // 4]
    rows = split.holdout[np.unique(np.r_[spread, gaps])]
    frame = data.frame.iloc[rows].reset_index(drop=True)
    random = np.random.default_rng([int(split.record["seed"]), 4])
    for column in model.contract.columns:
        if column.sensitive:
            frame[column.name] = frame[column.name].to_numpy()[random.permutation(len(frame))]
    answers = model.answer(tables.encode_table(frame, model.contract))
    return {
        "rows": tables.table_rows(frame, model.contract),
        "answers": answers.tolist(),
        "tolerance": GOLDEN_TOLERANCE,
    }


def describe_evaluation(
    job: Job,
    data: Data,
    split: Split,
    chosen: Chosen,
    model: Model,
    exported: ExportedModel,
    evaluated: Evaluated,
    compared: Compared,
) -> dict[str, Any]:
    """Make evaluation.json: what the gates, the registry, the monitor and the report read."""
    task, searched = model.contract.task, chosen.searched
    champion = None
    if compared.champion is not None:
        champion = {
            "run": compared.champion.run,
            "everything": compared.everything.to_dict() if compared.everything else None,
            "fresh": compared.fresh.to_dict() if compared.fresh else None,
            "lucky_rate": comparison.LUCKY_RATE,
        }
    return {
        "format": 1,
        "task": task,
        "target": model.contract.target,
        "positive": model.contract.classes[model.contract.positive_index]
        if task == "binary"
        else None,
        "metric": chosen.metric,
        "metrics": to_metric_dicts(evaluated.metrics, task),
        "threshold": model.threshold,
        "threshold_reason": model.threshold_reason,
        "calibrated": chosen.calibrates,
        "chosen": searched.best.to_dict(),
        "candidates": [trial.to_dict() for trial in searched.trials],
        "search_stopped_early": searched.stopped_early,
        "champion": champion,
        "decision": compared.decision.to_dict(),
        "rows": {
            "total": len(data.frame),
            "train": len(split.train),
            "holdout": len(split.holdout),
            "fresh": int(data.fresh.sum()),
            "fresh_holdout": int(data.fresh[split.holdout].sum()),
            "without_target": int(data.quality.get("rows_without_target", 0)),
        },
        "split": dict(split.record),
        "quality": dict(data.quality),
        "export": {
            "family": exported.family,
            "rows": exported.parity.rows,
            "max_abs_diff": exported.parity.max_abs_diff,
            "flips": exported.parity.flips,
            "bound": exported.bound,
        },
        "curves": dict(evaluated.curves),
        "slices": evaluated.slices,
        "importance": evaluated.importance,
    }


def write_report(job: Job, data: Data, evaluation: Mapping[str, Any]) -> bytes:
    """Write report.html."""
    from training.judge.report import render_report

    return render_report(
        evaluation,
        data.contract,
        deployment=job.settings.deployment,
        run=job.run,
        trigger=job.trigger,
        gates={
            "minimum": dict(job.settings.gates.minimum),
            "maximum": dict(job.settings.gates.maximum),
        },
        inputs=data.inputs,
        commit=str(job.plan.get("commit") or "") or None,
    ).encode()


def dump_model(model: Model) -> bytes:
    """Write the fitted model with joblib, for notebooks; no function of ours ever loads it."""
    import joblib

    buffer = io.BytesIO()
    joblib.dump(model.estimator, buffer)
    return buffer.getvalue()


def describe_lineage(
    job: Job, data: Data, content: Mapping[str, bytes], log: Log
) -> dict[str, Any]:
    """Say where the model comes from; the one file of the bundle that holds times."""
    settings, plan = job.settings, job.plan
    commit = str(plan.get("commit") or "") or None
    seconds = log.elapsed()
    price = HOURLY_USD.get(settings.training.instance_type)
    cost = None
    if price is not None:
        usd = price * (SPOT_SHARE if settings.training.spot else 1.0) * seconds / 3600
        cost = float(f"{usd:.1g}")  # more digits would claim to know more
    return {
        "format": 1,
        "run": job.run,
        "trigger": job.trigger,
        "reason": job.reason,
        "fingerprint": plan.get("fingerprint"),
        "planned": plan.get("now"),
        "champion": plan.get("champion"),
        "source_uri": plan.get("source_uri"),
        "commit": commit.removesuffix("-dirty") if commit else None,
        "dirty": commit.endswith("-dirty") if commit else None,
        "inputs": [dict(entry) for entry in data.inputs],
        "sha256": {str(entry["key"]): str(entry["sha256"]) for entry in data.inputs},
        "rows": {"total": len(data.frame), "fresh": int(data.fresh.sum())},
        "settings_sha256": settings.training_digest,
        "contract_sha256": data.contract.digest,
        "model_sha256": hashlib.sha256(content["model.json"]).hexdigest(),
        "seed": settings.split.seed,
        "search_seed": job.search_seed,
        "python": platform.python_version(),
        "machine": f"{sys.platform} {platform.machine()}",
        "image": plan.get("image"),
        "packages": _package_versions(),
        "seconds": {**log.seconds, "total": round(seconds, 3)},
        "instance_type": settings.training.instance_type,
        "estimated_usd": cost,
        "prices_of": None if cost is None else PRICES_OF,
    }


def _package_versions() -> dict[str, str]:
    names = (
        "scikit-learn",
        "numpy",
        "scipy",
        "pandas",
        "pyarrow",
        "joblib",
        "onnx",
        "skl2onnx",
        "onnxruntime",
    )
    found = {}
    for name in (*names, "pydantic"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def to_json(document: Mapping[str, Any]) -> bytes:
    """Write JSON that any reader accepts: no NaN, no infinities; raises ValueError for those."""
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False, default=_plain)
    return (text + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not for JSON")
