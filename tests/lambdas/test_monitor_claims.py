"""What labels say of a claim: it never was true, or quality fell; by terms simulated from truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from core.contract import Column, Contract
from lambdas.monitor.claims import FELL, NEVER, UNCLEAR, WRONG_CAUSE, Term, find_rise, judge_term
from lambdas.monitor.metrics import METRICS, Answers
from lambdas.monitor.quality import Claim, compare, measure, read_claim

COLUMNS = (Column("x", "number"),)
BINARY = Contract(task="binary", target="y", classes=("no", "yes"), positive="yes", columns=COLUMNS)
MULTI = Contract(task="multiclass", target="y", classes=("a", "b", "c"), columns=COLUMNS)
REGRESSION = Contract(task="regression", target="y", columns=COLUMNS)

LEVEL = 1 / 8766  # a window's budget at one false alarm a year
MIN_ROWS = 100
HOUR = 3_600_000


class Service:
    """A model that answers p for rows whose true probability is p, or p drawn towards a half.

    `known` is the share of the log odds that is true: 1 is a calibrated model.
    """

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def draw(self, rows: int, known: float) -> tuple[np.ndarray, np.ndarray]:
        odds = self.random.normal(0.0, 2.0, rows)
        true = 1.0 / (1.0 + np.exp(-known * odds))
        return self.random.random(rows) < true, 1.0 / (1.0 + np.exp(-odds))

    def claim(self, known: float = 1.0, rows: int = 400) -> Claim:
        """Claim the log loss of a holdout, with the interval of a mean."""
        truth, p = self.draw(rows, known)
        losses = -np.log(np.where(truth, p, 1.0 - p))
        half = 1.96 * losses.std() / math.sqrt(rows)
        shown = {"value": losses.mean(), "low": losses.mean() - half, "high": losses.mean() + half}
        claim = read_claim(BINARY, {"metric": "log_loss", "metrics": {"log_loss": shown}})
        assert claim is not None
        return claim

    def serve(self, *parts: tuple[int, float]) -> Answers:
        """Serve an hour a row; each part is so many rows of which so much is known."""
        drawn = [self.draw(rows, known) for rows, known in parts]
        truth, p = (np.concatenate(side) for side in zip(*drawn, strict=True))
        labels = np.where(truth, "yes", "no").tolist()
        times = (np.arange(len(p)) * HOUR).tolist()
        return Answers.read(BINARY, None, labels, np.column_stack([1 - p, p]).tolist(), times)


def judge(claim: Claim, answers: Answers, **changes: Any) -> Term:
    dropped = compare(claim, answers, max_drop=0.05, level=LEVEL).dropped
    options = {"from_start": True, "min_rows": MIN_ROWS, "max_drop": 0.05, "dropped": dropped}
    return judge_term(claim, answers, **{**options, **changes})


def test_a_claim_false_from_the_start_never_was_what_was_claimed() -> None:
    """40 models that know a tenth of what their holdout showed: all of them are told so."""
    causes = []
    for seed in range(40):
        service = Service(seed)
        causes.append(judge(service.claim(), service.serve((600, 0.1))).cause)
    assert causes.count(NEVER) == 40


def test_a_claim_that_was_true_fell_and_the_time_is_told() -> None:
    """200 models as good as claimed for 700 rows: `never was` is as rare as is stated.

    1 in 100 is stated; more than 6 of 200 would come by chance once in 200 times.
    """
    causes, places = [], []
    for seed in range(200):
        service = Service(seed)
        found = judge(service.claim(), service.serve((700, 1.0), (500, 0.0)))
        causes.append(found.cause)
        places.append(found.first.rows)
    assert WRONG_CAUSE == 0.01
    assert causes.count(NEVER) <= 6
    assert causes.count(FELL) >= 190
    assert 690 <= np.median(places) <= 720


def test_a_fall_among_the_first_rows_is_not_taken_for_a_false_claim() -> None:
    """100 models, right for as few rows as a claim is judged by: 1 in 100 is stated, 4 let pass."""
    causes = []
    for seed in range(100):
        service = Service(seed)
        causes.append(judge(service.claim(), service.serve((100, 1.0), (900, 0.3))).cause)
    assert causes.count(NEVER) <= 4
    assert set(causes) <= {NEVER, FELL, UNCLEAR}


def test_a_claim_that_holds_is_not_called_false_in_200_terms() -> None:
    """A label batch at a time, from 100 rows to 1,500: no alarm, so no cause.

    Were an alarm on for another reason, the first rows would be blamed as rarely as is stated.
    """
    alarmed = blamed = 0
    for seed in range(200):
        service = Service(seed)
        claim, answers = service.claim(), service.serve((1500, 1.0))
        for rows in (100, 300, 700, 1500):
            alarmed += judge(claim, answers.take(slice(rows))).cause != ""
        blamed += judge(claim, answers, dropped=True).cause == NEVER
    assert alarmed == 0
    assert blamed <= 6


def test_a_model_that_is_better_than_claimed_is_no_alarm() -> None:
    for seed in range(20):
        service = Service(seed)
        claim = service.claim(known=0.3)
        found = judge(claim, service.serve((800, 1.0)))
        assert (found.cause, found.sentence) == ("", "")
        assert found.first.value < claim.low


def test_a_false_claim_that_became_worse_still_is_a_false_claim() -> None:
    service = Service(1)
    found = judge(service.claim(), service.serve((800, 0.3), (800, -0.6)))
    assert found.cause == NEVER
    assert "It has become worse still since 1970-02-0" in found.sentence


def test_sentences_say_what_was_promised_shown_and_when() -> None:
    service = Service(3)
    claim = service.claim()
    promise = f"the holdout promised log_loss {claim.value:.4g} ({claim.low:.4g} to"
    never = judge(claim, service.serve((150, -0.5)))
    assert promise in never.sentence
    assert (
        f"the first {never.first.rows} labelled predictions, made 1970-01-01 00:00 UTC to "
        in never.sentence
    )
    assert f"showed {never.first.value:.4g}" in never.sentence
    assert "Training again on the same data will claim the same again." in never.sentence
    fell = judge(claim, service.serve((480, 1.0), (300, -0.5)))
    assert promise in fell.sentence
    assert fell.recent is not None
    assert "until 1970-01-2" in fell.sentence  # 480 hours are 20 days
    assert f"The {fell.recent.rows} since then show {fell.recent.value:.4g}" in fell.sentence
    assert fell.first.rows + fell.recent.rows == 780


def test_too_few_early_rows_are_said() -> None:
    """A fall after 60 rows says nothing of the claim, which 100 are needed to judge."""
    service = Service(4)
    found = judge(service.claim(), service.serve((60, 1.0), (600, -1.0)))
    assert found.cause == UNCLEAR
    assert found.first.rows < MIN_ROWS
    assert "judged by the first 100 at least ([monitoring] min_labels)" in found.sentence


def test_first_rows_that_were_lost_are_said() -> None:
    """A release before kept the last 5,000 rows only; what came before them is not guessed."""
    service = Service(5)
    claim, answers = service.claim(), service.serve((600, 0.1))
    found = judge(claim, answers, from_start=False)
    assert found.cause == UNCLEAR
    assert "were not kept" in found.sentence
    fallen = service.serve((700, 1.0), (500, 0.1))
    assert judge(claim, fallen, from_start=False).cause == FELL


def test_a_difference_of_no_interest_is_no_false_claim() -> None:
    """First rows below the claim by less than `max_quality_drop` do not explain a large drop."""
    claim = read_claim(
        REGRESSION, {"metric": "mae", "metrics": {"mae": {"value": 1.0, "low": 0.99, "high": 1.01}}}
    )
    assert claim is not None
    errors = np.r_[np.tile([0.9, 1.18], 1000), np.tile([1.9, 2.1], 500)]
    answers = Answers.read(REGRESSION, None, [0.0] * 3000, errors.reshape(-1, 1).tolist())
    first = measure(claim.metric, answers.take(slice(2000)))
    assert claim.chance(first) < WRONG_CAUSE
    assert judge(claim, answers).cause == FELL
    assert judge(claim, answers, max_drop=0.01).cause == NEVER


def test_the_chance_of_a_rise_is_what_it_says() -> None:
    """In series of one level a chance below 0.1 comes in at most a tenth of them."""
    random = np.random.default_rng(0)
    chances = [find_rise(random.exponential(1.0, 400))[1] for _ in range(1000)]
    assert np.mean(np.array(chances) < 0.1) <= 0.1
    assert np.mean(np.array(chances) < 0.1) >= 0.05
    steps = np.r_[np.zeros(300), np.ones(100)]
    place, chance = find_rise(steps)
    assert place == 300
    assert chance == pytest.approx(math.exp(-2 * 400 * (0.25 * 0.75)))
    assert find_rise(np.ones(50)) == (50, 1.0)
    assert find_rise(-steps)[1] == 1.0  # better, not worse


@pytest.mark.parametrize(("task", "name"), [(t, n) for t, names in METRICS.items() for n in names])
def test_losses_follow_the_metric(task: str, name: str) -> None:
    """Every metric is scikit-learn's, and has losses whose mean rises where it becomes worse."""
    random = np.random.default_rng(7)
    rows = 500
    if task == "regression":
        truth = random.normal(1e6, 3.0, rows)
        outputs = (truth + random.normal(0, 1, rows)).reshape(-1, 1)
        answers = Answers.read(REGRESSION, None, truth.tolist(), outputs.tolist())
        expected = {
            "mae": sk.mean_absolute_error,
            "rmse": sk.root_mean_squared_error,
            "r2": sk.r2_score,
        }[name](truth, outputs[:, 0])
        worse = Answers.read(REGRESSION, None, truth.tolist(), (outputs + 2).tolist())
    else:
        contract = BINARY if task == "binary" else MULTI
        outputs = np.round(random.dirichlet([1.0] * len(contract.classes), rows), 2)
        outputs[:, 0] = 1 - outputs[:, 1:].sum(axis=1)
        codes = (outputs.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1)
        codes = np.minimum(codes, len(contract.classes) - 1)
        labels = [contract.classes[code] for code in codes]
        answers = Answers.read(contract, 0.3, labels, outputs.tolist())
        worse = Answers.read(contract, 0.3, labels, np.roll(outputs, 1, axis=0).tolist())
        clipped = np.clip(outputs, 1e-15, 1)
        guesses = outputs[:, 1] >= 0.3 if task == "binary" else outputs.argmax(axis=1)
        expected = {
            "roc_auc": lambda: sk.roc_auc_score(codes, outputs[:, 1]),
            "accuracy": lambda: sk.accuracy_score(codes, guesses),
            "log_loss": lambda: sk.log_loss(codes, clipped / clipped.sum(axis=1, keepdims=True)),
            "brier": lambda: sk.brier_score_loss(
                codes,
                outputs[:, 1] if task == "binary" else outputs,
                scale_by_half=task == "binary",
            ),
        }[name]()
    metric = METRICS[task][name]
    assert metric.value(answers) == pytest.approx(expected, rel=1e-9)
    assert metric.losses(worse).mean() > metric.losses(answers).mean()
    sign = 1 if metric.better == "higher" else -1
    assert sign * metric.value(worse) < sign * metric.value(answers)


def test_a_metric_that_cannot_be_computed_here_gives_way_to_one_that_can() -> None:
    """Of several classes there is no ROC-AUC here; accuracy is compared with its own claim."""
    shown = {name: {"value": 0.9} for name in ("roc_auc", "f1", "accuracy")}
    claim = read_claim(MULTI, {"metric": "roc_auc", "metrics": shown})
    assert claim is not None
    assert claim.name == "accuracy"
    assert read_claim(BINARY, {"metric": "roc_auc", "metrics": shown}).name == "roc_auc"  # type: ignore[union-attr]


def test_rows_whose_outputs_cannot_be_used_are_left_out() -> None:
    """Captures may hold anything: too few outputs, too many, none that is a number."""
    outputs = [[0.2, 0.8], [0.5], [], [0.1, 0.2, 0.7], [math.nan, 0.5], [0.9, 0.1]]
    answers = Answers.read(BINARY, None, ["yes"] * 5 + ["no"], outputs, range(6))
    assert answers.outputs.tolist() == [[0.2, 0.8], [0.9, 0.1]]
    assert answers.truth.tolist() == [1.0, 0.0]
    assert answers.times.tolist() == [0.0, 5.0]
