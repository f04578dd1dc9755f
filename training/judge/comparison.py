"""Champion against challenger: both answer the same rows, which neither was trained on."""

from dataclasses import dataclass, replace

import numpy as np

from training import metrics
from training.arrays import BoolArray, FloatArray, IntArray
from training.data.dataset import SUPERVISED, Data
from training.data.splits import Split
from training.fit.estimators import prepared
from training.fit.model import Model
from training.fit.objectives import make_unreal_rows
from training.fit.selection import Chosen
from training.jobs import Job
from training.judge.answers import label_answers
from training.judge.champion import (
    Champion,
    align_outputs,
    encode_for,
    explain_mismatch,
    find_unseen,
    load_champion,
)
from training.judge.decision import Decision, decide, decide_against_nothing
from training.judge.duel import Duel, duel, duel_measures, duel_scores
from training.judge.evaluation import Evaluated
from training.log import Log
from training.metrics import DETECTION

MAX_ROWS = 20_000


@dataclass(frozen=True)
class Compared:
    """How the model did against the champion, and against knowing nothing.

    Duels are on rows that neither was trained on: `everything` on all of them, `held` on those of
    the holdout, `fresh` on labelled rows from service. `nothing` is against knowing nothing, on the
    holdout. `mismatch` says why there was no comparison with a champion that there is.
    """

    champion: Champion | None
    decision: Decision
    everything: Duel | None = None
    held: Duel | None = None
    fresh: Duel | None = None
    nothing: Duel | None = None
    mismatch: str = ""


@dataclass(frozen=True)
class _Evidence:
    """Rows with the challenger's answers, each by a model that was not trained on the row.

    For the holdout the model itself, for training rows the model of the fold that left them out.
    """

    rows: IntArray
    outputs: FloatArray

    def where(self, kept: BoolArray) -> "_Evidence":
        """Keep some of the rows, at most `MAX_ROWS`, evenly spread."""
        chosen = np.flatnonzero(kept)
        if len(chosen) > MAX_ROWS:
            chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, MAX_ROWS).astype(np.intp))]
        return _Evidence(self.rows[chosen], self.outputs[chosen])


def compare_with_champion(
    job: Job,
    data: Data,
    split: Split,
    chosen: Chosen,
    model: Model,
    evaluated: Evaluated,
    log: Log,
) -> Compared:
    """Compare with knowing nothing, and with the champion where there is one."""
    evidence = _gather(data, split, chosen, model)
    held = np.isin(evidence.rows, split.holdout)
    if data.contract.task in SUPERVISED:
        nothing, worth = _compare_with_nothing(job, data, split, model, evidence, held)
    else:
        nothing, worth = None, _judge_unsupervised(evaluated)
    if not worth.promote or job.champion is None:
        if worth.promote:
            worth = Decision(True, f"the first model, {worth.reason}")
        log.say(worth.reason)
        champion = None if job.champion is None else load_champion(job.champion)
        return Compared(champion, worth, nothing=nothing)
    champion = load_champion(job.champion)
    mismatch = explain_mismatch(champion.contract, model.contract)
    lacking = [name for name in champion.contract.column_names if name not in data.frame.columns]
    if lacking and mismatch is None:
        mismatch = f"the data no longer has columns that it needs: {', '.join(lacking[:5])}"
    if mismatch:
        reason = f"cannot be compared with the champion ({mismatch}); {worth.reason}"
        return Compared(champion, Decision(True, reason), nothing=nothing, mismatch=mismatch)
    unseen = find_unseen(champion, data, split)[evidence.rows]
    fresh = data.fresh[evidence.rows]
    everything, on_held, on_fresh = (
        _duel(job, data, split, model, champion, evidence.where(kept))
        for kept in (unseen, unseen & held, unseen & fresh)
    )
    decision = decide(
        everything,
        on_held,
        on_fresh,
        trigger=job.trigger,
        max_regression=job.settings.gates.max_regression,
    )
    log.say(
        f"champion {champion.run}: {'promote' if decision.promote else 'keep'}: {decision.reason}"
    )
    return Compared(champion, decision, everything, on_held, on_fresh, nothing)


def _gather(data: Data, split: Split, chosen: Chosen, model: Model) -> _Evidence:
    held = model.answer(data.matrix[split.holdout])
    if chosen.outputs is None or data.contract.task not in SUPERVISED:
        return _Evidence(split.holdout, held)
    return _Evidence(np.r_[split.holdout, chosen.rows], np.vstack([held, chosen.outputs]))


def _compare_with_nothing(
    job: Job, data: Data, split: Split, model: Model, evidence: _Evidence, held: BoolArray
) -> tuple[Duel, Decision]:
    """Compare with the class shares or the mean of the training rows."""
    assert data.labels is not None
    train = data.labels[split.train]
    if data.contract.is_classification:
        counts = np.bincount(train.astype(np.intp), minlength=len(model.contract.classes))
        base = (counts + 0.5) / (counts + 0.5).sum()
    else:
        base = np.asarray([np.median(train) if "mae" in job.settings.metric else train.mean()])
    duels = []
    for kept in (held, np.ones(len(held), dtype=bool)):
        part = evidence.where(kept)
        ours = label_answers(data, model, part.rows, part.outputs)
        theirs = replace(ours, outputs=np.tile(base, (len(part.rows), 1)), threshold=0.5)
        units = split.units[part.rows]
        duels.append(duel(theirs, ours, job.settings.metric, units, job.settings.split.seed))
    return duels[0], decide_against_nothing(*duels)


def _judge_unsupervised(evaluated: Evaluated) -> Decision:
    """Ask that anomalies, or clusters, stand out at all."""
    for name, nothing in (("separation_auc", 0.5), ("silhouette", 0.0)):
        found = evaluated.metrics.get(name)
        if found is not None:
            shown = f"{name} {found.value:.4g} from {found.low:.4g}, knowing nothing {nothing:g}"
            if found.low <= nothing:
                return Decision(False, f"not better than knowing nothing, beyond noise: {shown}")
            return Decision(True, f"better than knowing nothing: {shown}")
    return Decision(True, "not compared with knowing nothing: no metric for it")


def _duel(
    job: Job,
    data: Data,
    split: Split,
    model: Model,
    champion: Champion,
    evidence: _Evidence,
) -> Duel | None:
    rows, ours = evidence.rows, evidence.outputs
    if not len(rows):
        return None
    contract, seed = model.contract, job.settings.split.seed
    units = split.units[rows]
    theirs = champion.answer(encode_for(champion, data, rows))
    if contract.task in SUPERVISED:
        theirs = align_outputs(theirs, champion.contract, contract)
        challenger = label_answers(data, model, rows, ours)
        threshold = 0.5 if champion.threshold is None else champion.threshold
        return duel(
            replace(challenger, outputs=theirs, threshold=threshold),
            challenger,
            job.settings.metric,
            units,
            seed,
        )
    if contract.task == "anomaly":
        truth, metric = data.truth, job.settings.metric
        if metric in DETECTION and truth is not None:
            known = np.isfinite(truth[rows])
            hits = truth[rows][known] == 1
            if hits.all() or not hits.any():
                return None
            sides = theirs[known, 0], ours[known, 0]
            return duel_scores(metric, *sides, hits, units[known], seed)
        unreal = make_unreal_rows(data.matrix[rows], seed)
        return duel_scores(
            "separation_auc",
            np.r_[theirs[:, 0], champion.answer(unreal)[:, 0]],
            np.r_[ours[:, 0], model.answer(unreal)[:, 0]],
            np.arange(2 * len(rows)) >= len(rows),
            units,
            seed,
        )
    points = prepared(model.estimator, data.matrix[rows])
    mine, its = metrics.silhouettes(points, ours[:, 0]), metrics.silhouettes(points, theirs[:, 0])
    return duel_measures(
        lambda weights: (weights @ its) / weights.sum(axis=1),
        lambda weights: (weights @ mine) / weights.sum(axis=1),
        metric="silhouette",
        lower_is_better=False,
        units=units,
        seed=seed,
    )
