"""Candidates: every task has its own, each fits messy rows, unknown names are refused."""

import numpy as np
import pytest

from core.contract import Column, Contract
from core.errors import TrainingError
from training.fit.candidates import build_candidates, choose_candidates
from training.fit.estimators import fit_rows

COLUMNS = (
    Column("n", "number", missing=True),
    Column("i", "integer"),
    Column("b", "boolean", missing=True),
    Column("c", "category", categories=("red", "green", "blue"), missing=True),
    Column("empty", "number", missing=True),
)


def contract(task: str) -> Contract:
    classes = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c")}.get(task, ())
    target = "y" if task in ("binary", "multiclass", "regression") else None
    return Contract(task, COLUMNS, target=target, classes=classes)  # type: ignore[arg-type]


def rows(count: int = 120) -> np.ndarray:
    random = np.random.default_rng(0)
    matrix = np.column_stack(
        [
            random.normal(size=count),
            random.integers(0, 9, count),
            random.integers(0, 2, count),
            random.integers(0, 4, count),  # 3.0 is a category that was never seen
            np.full(count, np.nan),
        ]
    ).astype(float)
    matrix[::5, 0] = np.nan
    matrix[::7, 3] = np.nan
    return matrix


UNLABELLED = ("anomaly", "clustering")
EXPECTED = {
    "binary": ["dummy", "linear", "boosting", "forest"],
    "multiclass": ["dummy", "linear", "boosting", "forest"],
    "regression": ["dummy", "linear", "boosting", "forest"],
    "anomaly": ["isolation_forest"],
    "clustering": ["kmeans", "mixture"],
}


@pytest.mark.parametrize("task", list(EXPECTED))
def test_every_candidate_fits_messy_rows(task: str) -> None:
    """Missing values, unseen categories and a column without values: each candidate takes them."""
    known = build_candidates(contract(task), seed=7, rows=120)
    assert list(known) == EXPECTED[task]
    matrix = rows()
    labels = np.arange(120) % {"binary": 2, "multiclass": 3}.get(task, 120)
    for candidate in known.values():
        model = candidate.build(candidate.defaults)
        fit_rows(model, matrix, None if task in UNLABELLED else labels)
        answer = model.score_samples if task == "anomaly" else model.predict
        assert np.isfinite(np.asarray(answer(matrix), dtype=float)).all()


@pytest.mark.parametrize("task", list(EXPECTED))
def test_every_draw_can_be_built(task: str) -> None:
    """The space names parameters that the estimator has, in ranges that it takes."""
    random = np.random.default_rng(0)
    labels = np.arange(120) % {"binary": 2, "multiclass": 3}.get(task, 120)
    for candidate in build_candidates(contract(task), seed=7, rows=120).values():
        drawn = {key: space.draw(random) for key, space in candidate.space.items()}
        model = candidate.build({**candidate.defaults, **drawn})
        fit_rows(model, rows(), None if task in UNLABELLED else labels)


def test_clusters_can_be_fixed() -> None:
    """`[problem] clusters` leaves the search no other number."""
    known = build_candidates(contract("clustering"), seed=7, rows=120, clusters=4)
    assert known["kmeans"].defaults == {"n_clusters": 4}
    assert known["kmeans"].build({"n_clusters": 4}).fit(rows())[-1].n_clusters == 4


def test_names_are_picked_in_order_and_unknown_ones_are_refused() -> None:
    """`[training] candidates` picks by name; for an unknown name the error lists them."""
    known = build_candidates(contract("binary"), seed=7, rows=120)
    assert list(choose_candidates(known, ("forest", "dummy"))) == ["forest", "dummy"]
    assert list(choose_candidates(known, ())) == list(known)
    with pytest.raises(TrainingError, match=r"kmeans.*it has dummy, linear, boosting, forest"):
        choose_candidates(known, ("kmeans",))


def test_large_tables_get_forests_that_fit_in_memory() -> None:
    """Above the limit each tree sees a part of the rows, and its depth is bounded."""
    forest = build_candidates(contract("binary"), seed=7, rows=1_000_000)["forest"]
    model = forest.build(forest.defaults)[-1]
    assert model.max_samples == pytest.approx(0.05)
    assert model.max_depth is not None


def test_an_envelope_is_offered_for_numbers_only() -> None:
    """One-hot columns sum to one, which a covariance cannot be inverted with."""
    numbers = Contract("anomaly", (Column("a", "number"), Column("b", "number")))
    assert list(build_candidates(numbers, seed=7, rows=120)) == ["isolation_forest", "envelope"]
    assert list(build_candidates(numbers, seed=7, rows=10)) == ["isolation_forest"]
