"""The search: random draws or successive halving, within a time budget, resumable.

Each trial is judged by cross-validation inside the training rows. A trial whose folds so far are
worse than the worst fold of the best trial is given up early, and a candidate whose defaults are
that far behind gets few draws until one of them catches up, so that the budget goes to what may
win. Every draw depends on the seed, the candidate and the draw's number only; the clock decides
nothing but when to stop, and a search that was stopped says so.
"""

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from core.errors import TrainingError
from training.arrays import FloatArray, IntArray
from training.data.folds import Folds
from training.fit.candidates import Candidate
from training.fit.spaces import Choice

# Successive halving: each rung has this many times the rows of the one before, and half the trials.
RUNG_GROWTH = 4
MIN_RUNG_ROWS = 500
# A candidate whose defaults are worse than the best trial's worst fold gets only this many draws.
DRAWS_WHEN_BEHIND = 2


class Objective(Protocol):
    """What a trial is judged by: the score of a model on one fold, higher or lower being better."""

    @property
    def name(self) -> str:
        """The metric."""

    @property
    def lower_is_better(self) -> bool:
        """Which way the metric points."""

    def evaluate(self, model: Any, train: IntArray, validation: IntArray) -> FloatArray:
        """Fit on `train` and answer for `validation`: raw outputs, a row each."""

    def score(self, outputs: Sequence[FloatArray], validations: Sequence[IntArray]) -> list[float]:
        """Score what was answered, a number a fold."""


@dataclass(frozen=True)
class Trial:
    """One candidate with one set of hyperparameters, and how it did."""

    candidate: str
    params: Mapping[str, Any]
    scores: tuple[float, ...] = ()
    complete: bool = False

    @property
    def score(self) -> float:
        """Average over the folds; NaN if none was scored."""
        return float(np.mean(self.scores)) if self.scores else math.nan

    @property
    def spread(self) -> float:
        """Standard deviation over the folds."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give the trial as JSON-ready members."""
        return {
            "candidate": self.candidate,
            "params": dict(self.params),
            "score": self.score if math.isfinite(self.score) else None,
            "spread": self.spread if math.isfinite(self.spread) else None,
            "folds": len(self.scores),
            "complete": self.complete,
        }


@dataclass(frozen=True)
class Searched:
    """The best trial, all trials in the order they ran, and whether the budget ended the search.

    `outputs` are the best trial's answers for each validation fold, or None if they are only
    remembered as scores (after an interruption).
    """

    best: Trial
    trials: tuple[Trial, ...]
    stopped_early: bool
    outputs: tuple[FloatArray, ...] | None


@dataclass
class Checkpoint:
    """Scores of finished folds on disk, so that a job that was interrupted does not fit them again.

    `fingerprint` names the data and settings; scores of anything else are ignored. Without a folder
    nothing is kept.
    """

    folder: Path | None
    fingerprint: str
    _known: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what an earlier attempt at the same job left."""
        if self.folder is None or not self._file.is_file():
            return
        for line in self._file.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                if entry["fingerprint"] == self.fingerprint:
                    self._known[entry["key"]] = [float(score) for score in entry["scores"]]
            except (ValueError, KeyError, TypeError):
                continue  # the line that the interruption cut short

    @property
    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / "search.jsonl"

    def recall(self, key: str) -> list[float] | None:
        """Give the scores kept under `key`, or None."""
        return self._known.get(key)

    def keep(self, key: str, scores: Sequence[float]) -> None:
        """Append scores; they are on disk when this returns."""
        self._known[key] = list(scores)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        entry = {"fingerprint": self.fingerprint, "key": key, "scores": list(scores)}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def search(
    candidates: Mapping[str, Candidate],
    objective: Objective,
    folds: Folds,
    *,
    strategy: str = "random",
    draws: int,
    seed: int,
    seconds_left: Callable[[], float],
    report: Callable[[str], None],
    checkpoint: Checkpoint | None = None,
) -> Searched:
    """Find the best candidate and hyperparameters; of its `draws` the defaults come first.

    Raises TrainingError if no trial could be scored (each failure was reported as it happened).
    """
    runner = _Runner(objective, checkpoint or Checkpoint(None, ""), seconds_left, report)
    planned = plan_trials(candidates, draws=draws, seed=seed)
    smallest = min(len(train) for train, _ in folds)
    rungs = (
        _rungs(smallest) if strategy == "halving" and len(planned) > len(candidates) else [smallest]
    )
    if len(rungs) > 1:
        trials = _halve(runner, candidates, planned, folds, rungs, seed)
    else:
        trials = runner.run(candidates, planned, folds, label="search")
    scored = [trial for trial in trials if trial.complete and math.isfinite(trial.score)]
    if not scored:
        raise TrainingError(
            "no candidate could be fitted; the first reason: "
            + (runner.first_failure or "out of time")
        )
    sign = 1.0 if objective.lower_is_better else -1.0
    best = min(scored, key=lambda trial: sign * trial.score)  # the earliest of equals
    return Searched(best, tuple(trials), runner.out_of_time, runner.outputs_of(best))


def plan_trials(candidates: Mapping[str, Candidate], *, draws: int, seed: int) -> list[Trial]:
    """List the trials: every candidate's defaults, its starts, then draws, candidates in turn."""
    queues: list[list[Trial]] = []
    for name, candidate in candidates.items():
        params = [dict(candidate.defaults)]
        params += [{**candidate.defaults, **start} for start in candidate.starts]
        only = next(iter(candidate.space.values())) if len(candidate.space) == 1 else None
        if isinstance(only, Choice):  # one list of values: try them in turn instead of drawing
            name_of_only = next(iter(candidate.space))
            params += [{**candidate.defaults, name_of_only: value} for value in only.values][:draws]
        for number in range(1, draws if candidate.space and not isinstance(only, Choice) else 1):
            random = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
            drawn = {key: space.draw(random) for key, space in candidate.space.items()}
            params.append({**candidate.defaults, **drawn})
        distinct = [p for i, p in enumerate(params) if p not in params[:i]][:draws]
        queues.append([Trial(name, p) for p in distinct])
    longest = max((len(queue) for queue in queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


class _Runner:
    """Runs trials one by one, keeping the best and the reasons of failures."""

    def __init__(
        self,
        objective: Objective,
        checkpoint: Checkpoint,
        seconds_left: Callable[[], float],
        report: Callable[[str], None],
    ) -> None:
        self.objective = objective
        self.checkpoint = checkpoint
        self.seconds_left = seconds_left
        self.report = report
        self.first_failure: str | None = None
        self.out_of_time = False
        self._best_outputs: tuple[Trial, tuple[FloatArray, ...] | None] | None = None

    def outputs_of(self, trial: Trial) -> tuple[FloatArray, ...] | None:
        """Give what the best trial answered, if it is `trial` and was fitted here."""
        if self._best_outputs is None or self._best_outputs[0] is not trial:
            return None
        return self._best_outputs[1]

    def run(
        self,
        candidates: Mapping[str, Candidate],
        planned: Sequence[Trial],
        folds: Folds,
        *,
        label: str,
    ) -> list[Trial]:
        """Score the trials; those left when time is up are not run."""
        best: Trial | None = None
        done: list[Trial] = []
        # The draws left to candidates whose defaults were far behind.
        behind: dict[str, int] = {}
        for number, trial in enumerate(planned, 1):
            if trial.candidate in behind:
                if behind[trial.candidate] <= 0:
                    continue
                behind[trial.candidate] -= 1
            if self.seconds_left() <= 0 and best is not None:
                self.out_of_time = True
                self.report(f"{label}: time is up after {number - 1} of {len(planned)} trials")
                break
            # Defaults run to the end, so that every candidate is compared on all folds once.
            is_first = trial.candidate not in {other.candidate for other in done}
            rival = None if is_first else best
            scored, outputs = self._score(candidates[trial.candidate], trial, folds, rival)
            done.append(scored)
            if scored.complete and (best is None or self._is_better(scored.score, best.score)):
                best = scored
                self._best_outputs = (scored, outputs)
            if best is not None and self._is_far_behind(scored.scores, best):
                if is_first:
                    behind[trial.candidate] = DRAWS_WHEN_BEHIND
            elif scored.complete:
                behind.pop(trial.candidate, None)  # it has caught up
            self._tell(label, number, len(planned), scored, best)
        return done

    def _score(
        self, candidate: Candidate, trial: Trial, folds: Folds, rival: Trial | None
    ) -> tuple[Trial, tuple[FloatArray, ...] | None]:
        key = _key(trial, folds)
        known = self.checkpoint.recall(key)
        if known is not None:
            return Trial(
                trial.candidate, trial.params, tuple(known), len(known) == len(folds)
            ), None
        outputs: list[FloatArray] = []
        scores: list[float] = []
        validations = [validation for _, validation in folds]
        for number, (train, validation) in enumerate(folds, 1):
            try:
                answered = self.objective.evaluate(candidate.build(trial.params), train, validation)
                outputs.append(answered)
                scores = self.objective.score(outputs, validations[:number])
            except (ValueError, ArithmeticError, np.linalg.LinAlgError, MemoryError) as error:
                reason = f"{trial.candidate} {_show(trial.params)}: {error}".splitlines()[0]
                self.first_failure = self.first_failure or reason
                self.report(f"trial failed: {reason}")
                return Trial(trial.candidate, trial.params), None
            if number < len(folds) and rival is not None and self._is_far_behind(scores, rival):
                break
        if not all(math.isfinite(score) for score in scores):
            self.first_failure = self.first_failure or f"{trial.candidate} has no finite score"
            return Trial(trial.candidate, trial.params), None
        self.checkpoint.keep(key, scores)
        done = Trial(trial.candidate, trial.params, tuple(scores), len(scores) == len(folds))
        return done, tuple(outputs)

    def _is_better(self, score: float, other: float) -> bool:
        return score < other if self.objective.lower_is_better else score > other

    def _is_far_behind(self, scores: Sequence[float], rival: Trial) -> bool:
        if not scores:
            return True
        worst = max(rival.scores) if self.objective.lower_is_better else min(rival.scores)
        return self._is_better(worst, float(np.mean(scores)))

    def _tell(self, label: str, number: int, total: int, trial: Trial, best: Trial | None) -> None:
        shown = f"{trial.score:.5g}" if trial.scores else "failed"
        state = "" if trial.complete or not trial.scores else " (given up early)"
        leader = f"; best {best.score:.5g} {best.candidate}" if best else ""
        self.report(
            f"{label} {number}/{total}: {trial.candidate} {_show(trial.params)} "
            f"{self.objective.name} {shown}{state}{leader}"
        )


def _halve(
    runner: _Runner,
    candidates: Mapping[str, Candidate],
    planned: Sequence[Trial],
    folds: Folds,
    rungs: Sequence[int],
    seed: int,
) -> list[Trial]:
    """Run successive halving (Jamieson, Talwalkar 2016); only full rungs compete in the end."""
    survivors = list(planned)
    history: list[Trial] = []
    sign = 1.0 if runner.objective.lower_is_better else -1.0
    for level, rows in enumerate(rungs):
        last = level == len(rungs) - 1
        shortened = folds if last else [(_thin(train, rows, seed), valid) for train, valid in folds]
        label = f"rung {level + 1}/{len(rungs)} ({rows} rows)"
        scored = runner.run(candidates, survivors, shortened, label=label)
        if last:
            return [*history, *scored]
        ranked = sorted(
            (trial for trial in scored if trial.complete and math.isfinite(trial.score)),
            key=lambda trial: sign * trial.score,
        )
        if not ranked:
            return [*history, *scored]
        keep = max(1, math.ceil(len(ranked) / 2))
        kept = {id(trial) for trial in ranked[:keep]}
        history += [
            Trial(trial.candidate, trial.params, trial.scores)
            for trial in scored
            if id(trial) not in kept
        ]
        survivors = [Trial(trial.candidate, trial.params) for trial in ranked[:keep]]
    return history


def _rungs(rows: int) -> list[int]:
    rungs = [rows]
    while rungs[0] // RUNG_GROWTH >= MIN_RUNG_ROWS:
        rungs.insert(0, rungs[0] // RUNG_GROWTH)
    return rungs


def _thin(train: IntArray, rows: int, seed: int) -> IntArray:
    if len(train) <= rows:
        return train
    return np.sort(np.random.default_rng([seed, rows]).choice(train, rows, replace=False))


def _key(trial: Trial, folds: Folds) -> str:
    sizes = [[len(train), len(validation)] for train, validation in folds]
    text = json.dumps([trial.candidate, dict(trial.params), sizes], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _show(params: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{key}={value}" for key, value in params.items())
    return f"({inside})"
