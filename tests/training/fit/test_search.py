"""The search: what it tries, when it stops, and that an interruption costs nothing."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import TrainingError
from training.data.folds import make_folds
from training.fit.candidates import Candidate
from training.fit.search import Checkpoint, plan_trials, search
from training.fit.spaces import Choice, Range


class Parabola:
    """An objective whose score is the distance of the parameter from 0.3; counts what is fitted."""

    name = "loss"
    lower_is_better = True

    def __init__(self) -> None:
        self.fitted: list[tuple[float, int]] = []

    def evaluate(self, model: Any, train: np.ndarray, validation: np.ndarray) -> np.ndarray:
        if model < 0:
            raise ValueError("a negative parameter cannot be fitted")
        self.fitted.append((model, len(train)))
        return np.full((len(validation), 1), abs(model - 0.3) + 0.001 * (validation[0] % 3))

    def score(
        self, outputs: Sequence[np.ndarray], validations: Sequence[np.ndarray]
    ) -> list[float]:
        return [float(out.mean()) for out in outputs]


def candidate(name: str = "one", start: float = 1.0, space: Any = None) -> Candidate:
    found = {"x": Range(0.0, 1.0)} if space is None else space
    return Candidate(name, lambda params: params["x"], {"x": start}, found)


def run(objective: Parabola, *candidates: Candidate, rows: int = 60, **options: Any) -> Any:
    given = {
        "draws": 20,
        "seed": 7,
        "seconds_left": lambda: math.inf,
        "report": lambda line: None,
        **options,
    }
    folds = make_folds(rows, folds=3, seed=1)
    return search({c.name: c for c in candidates}, objective, folds, **given)


def test_the_best_draw_wins() -> None:
    """The winner is the completed trial with the best score."""
    found = run(Parabola(), candidate())
    complete = [trial.score for trial in found.trials if trial.complete]
    assert found.best.score == min(complete)
    assert abs(found.best.params["x"] - 0.3) < 0.15
    assert found.outputs is not None


def test_defaults_of_every_candidate_come_first() -> None:
    """A short budget still compares all candidates; draws take turns after that."""
    planned = plan_trials({"a": candidate("a"), "b": candidate("b", 0.5)}, draws=3, seed=7)
    assert [trial.candidate for trial in planned] == ["a", "b", "a", "b", "a", "b"]
    assert [trial.params["x"] for trial in planned[:2]] == [1.0, 0.5]


def test_draws_depend_on_the_seed_only() -> None:
    """The same seed plans the same trials whatever other candidates there are."""
    alone = plan_trials({"a": candidate("a")}, draws=5, seed=7)
    both = plan_trials({"b": candidate("b"), "a": candidate("a")}, draws=5, seed=7)
    assert [t.params for t in both if t.candidate == "a"] == [t.params for t in alone]
    assert [t.params for t in alone] != [
        t.params for t in plan_trials({"a": candidate("a")}, draws=5, seed=8)
    ]


def test_a_list_of_values_is_tried_in_turn() -> None:
    """One parameter with a few values is enumerated, not drawn with gaps."""
    planned = plan_trials({"k": candidate("k", 2, {"x": Choice((2, 3, 4))})}, draws=8, seed=7)
    assert [trial.params["x"] for trial in planned] == [2, 3, 4]


def test_hopeless_trials_are_given_up() -> None:
    """A trial worse on its first fold than the best ever was is not fitted on the others."""
    objective = Parabola()
    found = run(objective, candidate(start=0.3))
    assert len(objective.fitted) < 3 * len(found.trials)
    assert all(
        not trial.complete for trial in found.trials[1:] if abs(trial.params["x"] - 0.3) > 0.1
    )


def test_candidates_that_are_far_behind_get_few_draws() -> None:
    """Two draws for a candidate whose defaults are hopeless; all draws for the others."""
    found = run(Parabola(), candidate("near", 0.3), candidate("far", 0.9), draws=10)
    tried = [trial.candidate for trial in found.trials]
    assert tried.count("near") == 10
    assert tried.count("far") == 3


def test_a_candidate_that_catches_up_gets_its_draws() -> None:
    """One good draw, be it a start, ends the rule for those that are far behind."""
    late = replace(candidate("late", 0.9), starts=({"x": 0.3},))
    found = run(Parabola(), candidate("near", 0.3), late, draws=10)
    tried = [trial.params["x"] for trial in found.trials if trial.candidate == "late"]
    assert tried[:2] == [0.9, 0.3]
    assert len(tried) == 10


def test_time_is_kept_and_said() -> None:
    """When time is up the best so far wins, and the result says that the search was cut short."""
    left = iter([1.0, 1.0, 1.0, -1.0])
    lines: list[str] = []
    found = run(Parabola(), candidate(), seconds_left=lambda: next(left), report=lines.append)
    assert len(found.trials) == 3
    assert found.stopped_early
    assert "time is up" in lines[-1]


def test_a_failing_trial_is_reported_and_skipped() -> None:
    """One bad set of hyperparameters does not end the job."""
    lines: list[str] = []
    found = run(
        Parabola(), candidate("bad", -1.0, {}), candidate("good", 0.5, {}), report=lines.append
    )
    assert found.best.candidate == "good"
    assert any("negative parameter" in line for line in lines)


def test_nothing_to_choose_from_is_one_clear_error() -> None:
    """If every trial fails, the error carries the first reason."""
    with pytest.raises(TrainingError, match="negative parameter"):
        run(Parabola(), candidate("bad", -1.0, {}))


def test_halving_spends_rows_on_survivors_only() -> None:
    """Early rungs use few rows, and only the better half reaches the next."""
    objective = Parabola()
    found = run(objective, candidate(), strategy="halving", rows=12_000, draws=16)
    sizes = sorted({rows for _, rows in objective.fitted})
    assert sizes == [500, 2000, 8000]
    finalists = {x for x, rows in objective.fitted if rows == 8000}
    assert len(finalists) <= 4
    assert found.best.complete


def test_an_interrupted_search_fits_nothing_twice(tmp_path: Path) -> None:
    """With a checkpoint of the same job, the second attempt ends the same without fitting."""
    first, second, other = Parabola(), Parabola(), Parabola()
    before = run(first, candidate(), checkpoint=Checkpoint(tmp_path, "job"))
    with (tmp_path / "search.jsonl").open("a") as file:
        file.write('{"fingerprint": "job", "key": "cut sho')
    after = run(second, candidate(), checkpoint=Checkpoint(tmp_path, "job"))
    assert after.best == before.best
    assert second.fitted == []
    assert after.outputs is None
    run(other, candidate(), checkpoint=Checkpoint(tmp_path, "another job"))
    assert len(other.fitted) == len(first.fitted)
