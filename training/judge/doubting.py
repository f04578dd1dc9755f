"""The doubts about a claim: every reason for which a model waits for a person.

A score on held-out rows tells what service will see only if the holdout is like service. The checks
of `training.doubts` look for what makes it better than that; the ones here need the model.
"""

from collections.abc import Iterator

import numpy as np

from core.settings import METRICS
from training.arrays import FloatArray, IntArray
from training.data.dataset import SUPERVISED, Data
from training.data.hashing import hash_rows, hash_values
from training.data.splits import Split
from training.data.variables import as_variable, guess_variable
from training.doubts import Doubt, Variable
from training.doubts.copies import (
    RESTING,
    doubt_near_copies,
    find_drawn_again,
    find_near_copies,
    measure_rest,
)
from training.doubts.doubt import sample_rows
from training.doubts.knowers import find_knowers
from training.doubts.order import doubt_moment, find_moment, find_order, find_windows
from training.doubts.owners import doubt_joint_owner, find_joint_owner, find_owners
from training.doubts.refuted import find_refuted
from training.fit.estimators import fit_rows, reference_outputs
from training.fit.model import Model
from training.fit.selection import Chosen, list_candidates
from training.fit.threads import limit_threads
from training.jobs import Job
from training.judge.comparison import Compared
from training.judge.decision import is_sure
from training.judge.evaluation import Evaluated
from training.log import Log

PARTED = 0.01  # of an owner's rows: the share of owners on both sides that is let pass
TOO_GOOD = 3.0  # times less error than the champion's
NEARLY_ALL = 0.9
MUCH_KNOWN = 0.8
SHRUNK = 0.5
MAX_REFITTED_ROWS = 6_000


def find_doubts(
    job: Job,
    data: Data,
    split: Split,
    chosen: Chosen,
    model: Model,
    evaluated: Evaluated,
    compared: Compared,
    log: Log,
) -> list[Doubt]:
    """Find every doubt about the model's claim; most of them need no model and name a column."""
    doubts = list(_doubt_table(data, compared))
    if data.contract.task not in SUPERVISED or data.labels is None:
        return doubts
    inputs = _list_inputs(data)
    labels, classes = data.labels, data.contract.is_classification
    doubts += _doubt_owners(data, split, inputs)
    files = data.origins if len(np.unique(data.origins)) > 1 else None
    if data.fresh.any():
        files = None  # what came back from service differs from the table by its nature
    doubts += find_knowers(inputs, labels, classes=data.contract.classes, files=files)
    if classes:
        places = hash_rows(data.matrix, job.settings.split.seed)
        doubts += find_drawn_again(places, labels, data.contract.classes)
    strategy = str(split.record["strategy"])
    order_of_rows = data.order(strategy)
    if order_of_rows is not None and data.contract.task in ("binary", "regression"):
        doubts += _doubt_windows(inputs, labels, order_of_rows)
    if strategy == "random":
        order = find_order(inputs, labels, classes=classes)
        doubts += [] if order is None else [order]
        stamps = {column.name for column in data.contract.columns if column.type == "timestamp"}
        moment = find_moment([v for v in inputs if v.name in stamps], labels, classes=classes)
        doubts += [] if moment is None or order is not None else [doubt_moment(moment)]
    copies = list(_doubt_copies(job, data, split, chosen, model, log))
    doubts += copies
    if not copies and not any(doubt.name.startswith("owner:") for doubt in doubts):
        doubts += _doubt_joint_owner(job, data, split, chosen, inputs, log)
    doubts += _doubt_gain(job, evaluated, compared)
    doubts += _doubt_refuted(job, evaluated)
    return doubts


def _doubt_table(data: Data, compared: Compared) -> Iterator[Doubt]:
    """Doubt a table that lost most of its rows, and a claim that nothing was compared with."""
    champion = compared.champion
    if champion is None:
        return
    before = int((champion.lineage.get("rows") or {}).get("total") or 0)
    if len(data.frame) < SHRUNK * before:
        yield Doubt(
            "shrunk",
            f"the table has {len(data.frame)} rows, the champion's had {before}: was a file cut "
            "short, or replaced by a part of it?",
        )
    if compared.mismatch:
        yield Doubt(
            "not-compared",
            f"the model was compared with no champion ({compared.mismatch}): callers of the live "
            "model may get other answers, or none",
        )


def _list_inputs(data: Data) -> list[Variable]:
    return [
        as_variable(column.name, data.frame[column.name].to_numpy(), column.type)
        for column in data.contract.columns
    ]


def _doubt_windows(inputs: list[Variable], labels: FloatArray, order: FloatArray) -> list[Doubt]:
    """Doubt moving sums of the target, with the rows in the order in which they judge."""
    by_time = np.argsort(order, kind="stable")
    sorted_inputs = [Variable(v.name, v.kind, v.values[by_time]) for v in inputs]
    return find_windows(sorted_inputs, labels[by_time])


def _doubt_owners(data: Data, split: Split, inputs: list[Variable]) -> Iterator[Doubt]:
    """Doubt a split that parts the rows of an owner, unless it is by time, as service is."""
    if split.record["strategy"] in ("time", "order") or data.labels is None:
        return
    contract = data.contract
    named = {contract.id_column, contract.time_column, contract.group_column, contract.target}
    beside = [guess_variable(data.beside[name]) for name in data.beside.columns]
    variables = [v for v in (*inputs, *beside) if v.name not in named]
    held = np.zeros(len(data.frame), dtype=bool)
    held[split.holdout] = True
    for owner in find_owners(variables, data.labels, classes=contract.is_classification):
        values = next(v.values for v in variables if v.name == owner.name)
        known = np.isfinite(values)
        sides = np.unique(np.column_stack([values[known], held[known]]), axis=0)
        parted = len(sides) / max(1, len(np.unique(values[known]))) - 1.0
        if parted > PARTED:
            yield owner.doubt()
            return


def _doubt_copies(
    job: Job, data: Data, split: Split, chosen: Chosen, model: Model, log: Log
) -> Iterator[Doubt]:
    """Doubt a claim of which a good part rests on near copies of training rows."""
    contract, labels = data.contract, data.labels
    assert labels is not None
    if chosen.searched.best.candidate == "dummy":
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
    left = np.setdiff1d(split.train, found.copies)
    if contract.is_classification and len(np.unique(labels[left])) < len(contract.classes):
        return  # a class consists of copies alone: `find_drawn_again` says so
    log.say(
        f"{found.share:.0%} of the held-out rows have near copies; "
        "fitting once more without those copies"
    )
    rows = data.matrix[found.held]
    claimed = _row_losses(data, found.held, model.answer(rows))
    without = _row_losses(data, found.held, _answer_without(job, data, chosen, left, rows))
    base = _row_losses(data, found.held, _answer_nothing(data, split.train, len(rows)))
    doubt = doubt_near_copies(found, measure_rest(found, claimed, without, base))
    if doubt is not None:
        yield doubt


def _doubt_joint_owner(
    job: Job, data: Data, split: Split, chosen: Chosen, inputs: list[Variable], log: Log
) -> Iterator[Doubt]:
    """Doubt a claim that goes when rows that share two columns are kept together in the folds."""
    if split.record["strategy"] != "random" or chosen.outputs is None or not len(chosen.rows):
        return
    if chosen.searched.best.candidate == "dummy":
        return
    found = find_joint_owner(inputs)
    if found is None:
        return
    names, joint = found
    rows = chosen.rows[sample_rows(len(chosen.rows), MAX_REFITTED_ROWS)]
    outputs = dict(zip(chosen.rows.tolist(), chosen.outputs, strict=True))
    places = hash_values(joint[rows], job.settings.split.seed)
    log.say(f"rows share {names[0]!r} and {names[1]!r}: fitting once more with them together")
    claimed = _row_losses(data, rows, np.vstack([outputs[row] for row in rows.tolist()]))
    base = _row_losses(data, rows, _answer_nothing(data, split.train, len(rows)))
    without = np.full(len(rows), np.nan)
    for held in (places < 1 / 3, (places >= 1 / 3) & (places < 2 / 3), places >= 2 / 3):
        left = rows[~held]
        if not held.any() or len(np.unique(data.labels[left])) < 2:  # type: ignore[index]
            return
        answers = _answer_without(job, data, chosen, left, data.matrix[rows[held]])
        without[held] = _row_losses(data, rows[held], answers)
    gain, lost = float(base.mean() - claimed.mean()), float(without.mean() - claimed.mean())
    spread = float((without - claimed).std()) / np.sqrt(len(rows))
    if gain > 0 and lost > max(RESTING * gain, 3.0 * spread):
        figures = (
            f"loss {claimed.mean():.4g} becomes {without.mean():.4g}, nothing {base.mean():.4g}"
        )
        yield doubt_joint_owner(names, lost / gain, figures)


def _answer_without(
    job: Job, data: Data, chosen: Chosen, train: IntArray, rows: FloatArray
) -> FloatArray:
    best = chosen.searched.best
    assert data.labels is not None
    candidate = list_candidates(job, data.contract, len(train)).get(best.candidate)
    estimator = (candidate or chosen.candidate).build(best.params)
    labels = data.labels[train]
    codes = labels.astype(np.intp) if data.contract.is_classification else labels
    with limit_threads(data.matrix[train]):
        fit_rows(estimator, data.matrix[train], codes)
    return reference_outputs(estimator, rows, data.contract)


def _answer_nothing(data: Data, train: IntArray, rows: int) -> FloatArray:
    assert data.labels is not None
    labels = data.labels[train]
    if not data.contract.is_classification:
        return np.full((rows, 1), labels.mean())
    shares = np.bincount(labels.astype(np.intp), minlength=len(data.contract.classes)) + 0.5
    return np.tile(shares / shares.sum(), (rows, 1))


def _row_losses(data: Data, rows: IntArray, outputs: FloatArray) -> FloatArray:
    """Give the loss of each row: minus log probability, or the squared error."""
    assert data.labels is not None
    labels = data.labels[rows]
    if not data.contract.is_classification:
        return np.square(outputs[:, 0] - labels)
    given = outputs[np.arange(len(rows)), labels.astype(np.intp)]
    return -np.log(np.clip(given, 1e-6, 1.0))


def _doubt_refuted(job: Job, evaluated: Evaluated) -> Iterator[Doubt]:
    """Doubt a claim beyond what service showed, where labels have refuted the one before."""
    refuted = job.plan.get("refuted")
    metric = str(refuted["metric"]) if refuted else ""
    better = METRICS[job.settings.problem.task]
    if metric in better and metric in evaluated.metrics:
        claimed = evaluated.metrics[metric].to_dict()
        doubt = find_refuted(refuted, metric, claimed, better[metric])
        if doubt is not None:
            yield doubt


def _doubt_gain(job: Job, evaluated: Evaluated, compared: Compared) -> Iterator[Doubt]:
    """Doubt a claim far beyond the champion's, and one that rests on a single column."""
    metric, task = job.settings.metric, job.settings.problem.task
    lower = METRICS[task][metric] == "lower"
    duel = compared.everything
    if duel is not None and job.trigger != "drift" and duel.rows >= 50 and is_sure(duel):
        ours, theirs = duel.challenger.value, duel.champion.value
        errors = (ours, theirs) if lower else (1.0 - ours, 1.0 - theirs)
        if errors[0] * TOO_GOOD < errors[1]:
            yield Doubt(
                "too-good",
                f"{metric} is {ours:.4g}, the champion's is {theirs:.4g} on the same rows: what "
                "changed that could make it so much better? (a new column, rows that came twice)",
            )
    nothing = compared.nothing
    if nothing is None or len(evaluated.importance) < 3:
        return
    top, second = evaluated.importance[0], evaluated.importance[1]
    gain = abs(nothing.champion.value - nothing.challenger.value)
    perfect = 0.0 if lower else 1.0
    possible = abs(nothing.champion.value - perfect)
    if metric == "r2" or possible <= 0 or not np.isfinite(gain):
        return
    carried = float(top["drop"])
    others = float(second["drop"])
    if gain > MUCH_KNOWN * possible and carried > NEARLY_ALL * gain > 10 * others:
        yield Doubt(
            f"carries:{top['column']}",
            f"{top['column']!r} carries nearly all of what the model knows ({metric} worsens by "
            f"{carried:.4g} of a gain of {gain:.4g} without it): is it known when predicting?",
            (str(top["column"]),),
        )
