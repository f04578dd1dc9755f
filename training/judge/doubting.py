"""The doubts about a claim: every reason for which a model waits for a person.

A score on held-out rows tells what service will see only if the holdout is like service. The checks
of `training.doubts` look for what makes it better than that; the ones here need the model.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from core.settings import METRICS
from training.arrays import FloatArray
from training.data.dataset import SUPERVISED, Data
from training.data.hashing import hash_rows, hash_values
from training.data.splits import Split
from training.data.variables import as_variable, guess_variable
from training.doubts import Doubt, Variable
from training.doubts.copies import find_drawn_again
from training.doubts.knowers import find_knowers
from training.doubts.order import doubt_moment, find_moment, find_order, find_windows
from training.doubts.owners import doubt_joint_owner, find_joint_owner, find_owners
from training.doubts.refuted import find_refuted
from training.fit.model import Model
from training.fit.selection import Chosen
from training.jobs import Job
from training.judge.comparison import Compared
from training.judge.decision import is_sure
from training.judge.evaluation import Evaluated
from training.judge.refits import Refit
from training.log import Log

PARTED = 0.01  # of an owner's rows: the share of owners on both sides that is let pass
TOO_GOOD = 3.0  # times less error than the champion's
NEARLY_ALL = 0.9
MUCH_KNOWN = 0.8
SHRUNK = 0.5
BLOCKS = 6
PARTS = 3


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
    refit = Refit(job, data, chosen, split.train, log)
    strategy = str(split.record["strategy"])
    order_of_rows = data.order(strategy)
    if order_of_rows is not None and data.contract.task in ("binary", "regression"):
        doubts += _doubt_windows(inputs, labels, order_of_rows)
    if strategy == "random":
        doubts += _doubt_order(refit, data, inputs)
    copies = list(refit.doubt_copies(split, model))
    doubts += copies
    owned = any(doubt.name.startswith("owner:") for doubt in doubts)
    if strategy == "random" and not copies and not owned:
        doubts += _doubt_joint_owner(refit, inputs)
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


def _doubt_order(refit: Refit, data: Data, inputs: list[Variable]) -> Iterator[Doubt]:
    """Doubt a random split of rows in order of time, if the claim goes where blocks of it judge."""
    assert data.labels is not None
    classes = data.contract.is_classification
    found = find_order(inputs, data.labels, classes=classes)
    order = data.positions
    if found is None:
        stamps = {column.name for column in data.contract.columns if column.type == "timestamp"}
        moments = [variable for variable in inputs if variable.name in stamps]
        name = find_moment(moments, data.labels, classes=classes)
        if name is None:
            return
        found = doubt_moment(name)
        order = next(variable.values for variable in moments if variable.name == name)
    rank = np.argsort(np.argsort(order, kind="stable"), kind="stable")
    rest = refit.measure(rank * BLOCKS // len(rank), "blocks of rows judging")
    if rest is not None and rest.doubtful:
        yield replace(found, sentence=f"{found.sentence} ({rest.figures})")


def _doubt_joint_owner(refit: Refit, inputs: list[Variable]) -> Iterator[Doubt]:
    """Doubt a claim that goes when rows that share two columns are kept together."""
    found = find_joint_owner(inputs)
    if found is None:
        return
    names, joint = found
    parts = (hash_values(joint, 0) * PARTS).astype(np.intp)
    rest = refit.measure(parts, f"rows that share {names[0]!r} and {names[1]!r} together")
    if rest is not None and rest.doubtful:
        yield doubt_joint_owner(names, rest.resting, rest.figures)


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
