"""Champion against challenger: both answer the same rows, which neither was trained on."""

from dataclasses import dataclass, replace

import numpy as np

from training import metrics
from training.arrays import IntArray
from training.data.dataset import SUPERVISED, Data
from training.data.splits import Split
from training.fit.estimators import prepared
from training.fit.model import Model
from training.fit.objectives import make_unreal_rows
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
from training.judge.decision import Decision, decide
from training.judge.duel import Duel, duel, duel_measures, duel_scores
from training.log import Log
from training.metrics import DETECTION

MAX_ROWS = 20_000


@dataclass(frozen=True)
class Compared:
    """How champion and challenger did on rows that neither was trained on."""

    champion: Champion | None
    everything: Duel | None
    fresh: Duel | None
    decision: Decision


def compare_with_champion(job: Job, data: Data, split: Split, model: Model, log: Log) -> Compared:
    """Let both models answer the holdout rows that the champion was not trained on either."""
    if job.champion is None:
        return Compared(
            None, None, None, Decision(True, "the first model: there is no champion to beat")
        )
    champion = load_champion(job.champion)
    mismatch = explain_mismatch(champion.contract, model.contract)
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
    unseen = find_unseen(champion, data, split)
    everything = _duel(job, data, split, model, champion, split.holdout[unseen])
    fresh_rows = split.holdout[unseen & data.fresh[split.holdout]]
    fresh = _duel(job, data, split, model, champion, fresh_rows)
    decision = decide(
        everything, fresh, trigger=job.trigger, max_regression=job.settings.gates.max_regression
    )
    log.say(
        f"champion {champion.run}: {'promote' if decision.promote else 'keep'}: {decision.reason}"
    )
    return Compared(champion, everything, fresh, decision)


def _duel(
    job: Job, data: Data, split: Split, model: Model, champion: Champion, rows: IntArray
) -> Duel | None:
    rows = _limit_rows(rows)
    if not len(rows):
        return None
    contract, seed = model.contract, job.settings.split.seed
    units = split.units[rows]
    theirs = champion.answer(encode_for(champion, data, rows))
    ours = model.answer(data.matrix[rows])
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


def _limit_rows(rows: IntArray) -> IntArray:
    """Keep at most `MAX_ROWS`, evenly spread, so that a large holdout is compared in seconds."""
    if len(rows) <= MAX_ROWS:
        return rows
    return rows[np.unique(np.linspace(0, len(rows) - 1, MAX_ROWS).round().astype(np.intp))]
