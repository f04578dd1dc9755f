"""Champion against challenger: the worse is refused, luck is rare, drift turns the burden."""

import numpy as np
import pytest

from training.judge.decision import (
    Decision,
    decide,
    decide_against_nothing,
    limit_in_errors,
)
from training.judge.duel import Duel, duel
from training.metrics import Answers


def answers(random: np.random.Generator, labels: np.ndarray, noise: float) -> Answers:
    logits = 2.0 * (2 * labels - 1) + random.normal(scale=noise, size=len(labels))
    p = 1 / (1 + np.exp(-logits))
    return Answers("binary", labels, np.column_stack([1 - p, p]), 1, 0.5)


def judge(
    champion: Answers, challenger: Answers, metric: str = "log_loss", **options: object
) -> Decision:
    rows = np.arange(len(champion.labels))
    found = duel(champion, challenger, metric, rows, 7)
    given = {"trigger": "data", "max_regression": 0.0, **options}
    return decide(found, None, found, **given)  # type: ignore[arg-type]


def test_a_worse_challenger_is_refused() -> None:
    """A challenger with noisier answers is not promoted, whatever started the run."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400).astype(float)
    good, bad = answers(random, labels, 1.0), answers(random, labels, 4.0)
    for trigger in ("data", "schedule", "manual", "drift"):
        decision = judge(good, bad, trigger=trigger)
        assert not decision.promote
        assert "champion" in decision.reason


def test_a_clearly_better_challenger_is_promoted() -> None:
    """A challenger that is better by more than noise takes over, and the reason has the figures."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400).astype(float)
    decision = judge(answers(random, labels, 4.0), answers(random, labels, 1.0))
    assert decision.promote
    assert "better than the champion by more than noise" in decision.reason
    assert "400 rows" in decision.reason


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc", "accuracy"])
def test_luck_is_no_more_frequent_than_stated(metric: str) -> None:
    """Of challengers of the same quality, no more are promoted than `LUCKY_RATE` allows for chance.

    150 pairs; the limit is the 99.9% point of the binomial at the stated rate.
    """
    random = np.random.default_rng(11)
    promoted = 0
    for _ in range(150):
        labels = random.integers(0, 2, 100).astype(float)
        promoted += judge(
            answers(random, labels, 2.0), answers(random, labels, 2.0), metric
        ).promote
    assert promoted <= 17


def test_luck_stays_rare_however_often_it_is_tried() -> None:
    """An equal challenger, looked at daily for a year, passes in `LUCKY_RATE` of the years at most.

    400 years of 400 rows at first and 25 a day; the bound is the 99.9% point of the binomial. A
    limit that is meant for a single look would let it pass in more than a fifth of the years.
    """
    random = np.random.default_rng(5)
    days, sizes = 365, 400 + 25 * np.arange(365)
    steps = random.normal(size=(400, days)) * np.sqrt(np.r_[400, np.full(days - 1, 25)])
    errors = np.cumsum(steps, axis=1) / np.sqrt(sizes)  # the advantage in standard errors
    limits = np.array([limit_in_errors(int(n)) for n in sizes])
    assert (errors > limits).any(axis=1).sum() <= 35
    assert (errors > 1.645).any(axis=1).mean() > 0.2


@pytest.mark.parametrize("units", [50, 400, 1_000, 10_000, 1_000_000])
def test_a_real_gain_is_found(units: int) -> None:
    """The limit asks for about three standard errors, not for certainty."""
    assert 2.5 < limit_in_errors(units) < 4.5


def test_better_in_cross_validation_alone_is_not_enough() -> None:
    """Rows that chose the model may flatter it: those of the holdout must favour it as well."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400).astype(float)
    good, bad = answers(random, labels, 1.0), answers(random, labels, 4.0)
    rows = np.arange(400)
    everything, held = duel(bad, good, "log_loss", rows, 7), duel(good, bad, "log_loss", rows, 7)
    decision = decide(everything, held, None, trigger="data", max_regression=0.0)
    assert not decision.promote
    assert "held-out" in decision.reason


def test_a_model_must_know_something() -> None:
    """Answers that are worth no more than the class shares do not pass, useful ones do."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400).astype(float)
    shares = Answers("binary", labels, np.full((400, 2), 0.5), 1, 0.5)
    rows = np.arange(400)

    def against_nothing(noise: float) -> Decision:
        found = duel(shares, answers(random, labels, noise), "log_loss", rows, 7)
        return decide_against_nothing(found, found)

    assert against_nothing(1.0).promote
    assert not against_nothing(12.0).promote


def test_the_same_answers_are_never_promoted() -> None:
    """Retraining into the very same model changes nothing."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 100).astype(float)
    same = answers(random, labels, 2.0)
    assert not judge(same, same).promote


def test_after_drift_an_equal_challenger_takes_over() -> None:
    """Not worse on the new rows is enough when the champion is known to face other data."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 60).astype(float)
    same = answers(random, labels, 2.0)
    decision = judge(same, same, trigger="drift")
    assert decision.promote
    assert "not worse" in decision.reason


def test_max_regression_is_what_a_drift_run_may_lose() -> None:
    """`[gates] max_regression` widens what counts as not worse."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400).astype(float)
    good, bad = answers(random, labels, 1.0), answers(random, labels, 4.0)
    assert not judge(good, bad, trigger="drift", max_regression=0.01).promote
    assert judge(good, bad, trigger="drift", max_regression=5.0).promote


def test_few_new_rows_fall_back_to_the_strict_rule() -> None:
    """With fewer new rows than can tell anything, drift alone does not promote."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200).astype(float)
    good, bad = answers(random, labels, 1.0), answers(random, labels, 4.0)
    few = np.arange(10)
    everything = duel(good, bad, "log_loss", np.arange(200), 7)
    fresh = duel(good.take(few), bad.take(few), "log_loss", few, 7)
    assert not decide(everything, None, fresh, trigger="drift", max_regression=0.0).promote


def test_without_common_rows_the_champion_stays() -> None:
    """Nothing to judge by is no reason to change what is live."""
    decision = decide(None, None, None, trigger="data", max_regression=0.0)
    assert not decision.promote
    assert "0 rows" in decision.reason


def test_groups_are_resampled_whole() -> None:
    """Rows of few groups give a wider interval of the advantage than as many separate rows."""
    random = np.random.default_rng(4)
    labels = random.integers(0, 2, 300).astype(float)
    champion, challenger = answers(random, labels, 1.0), answers(random, labels, 1.0)
    outputs = challenger.outputs.copy()
    outputs[:100] = 0.5  # five of fifteen groups are answered with a shrug
    challenger = Answers("binary", labels, outputs, 1, 0.5)

    def width(units: np.ndarray) -> float:
        found: Duel = duel(champion, challenger, "brier", units, 7)
        return found.advantage.high - found.advantage.low

    assert width(np.repeat(np.arange(15), 20)) > 1.3 * width(np.arange(300))
