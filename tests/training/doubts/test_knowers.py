"""Columns that know the target are named; honest ones, however strong, are not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from training.data.inspection import infer_contract
from training.data.reading import read_table
from training.doubts import Variable
from training.doubts.knowers import find_knowers

SHARED = Path(__file__).parents[4] / "shared" / "data"
ROWS = 2_000


def number(name: str, values: np.ndarray) -> Variable:
    return Variable(name, "number", np.asarray(values, dtype=np.float64))


def category(name: str, values: np.ndarray) -> Variable:
    return Variable(name, "category", np.asarray(values, dtype=np.float64))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(1)


def binary(random: np.random.Generator) -> tuple[np.ndarray, list[Variable]]:
    x, g = random.normal(size=ROWS), random.integers(0, 60, ROWS)
    labels = (x + random.logistic(size=ROWS) > 0.5).astype(float)
    return labels, [number("x", x), category("g", g)]


def names(variables: list[Variable], labels: np.ndarray, *classes: str) -> list[str]:
    return [doubt.name for doubt in find_knowers(variables, labels, classes=classes)]


def test_a_date_that_only_one_class_has(random: np.random.Generator) -> None:
    """Filled in for 97% of the yes and for no other row: known only after the fact."""
    labels, variables = binary(random)
    closed = np.where((labels == 1) & (random.random(ROWS) < 0.97), random.random(ROWS), np.nan)
    assert names([*variables, number("closed", closed)], labels, "no", "yes") == ["presence:closed"]


def test_gaps_at_random_are_no_leak(random: np.random.Generator) -> None:
    """Missing values that have nothing to do with the target say nothing, be they many or few."""
    labels, variables = binary(random)
    for share in (0.02, 0.5, 0.98):
        gaps = np.where(random.random(ROWS) < share, np.nan, random.normal(size=ROWS))
        assert names([*variables, number("gaps", gaps)], labels, "no", "yes") == []


def test_a_count_known_afterwards(random: np.random.Generator) -> None:
    """A count that is nearly always zero for one class and never for the other."""
    labels, variables = binary(random)
    calls = np.where(labels == 1, random.poisson(3, ROWS) + 1, random.poisson(0.02, ROWS))
    assert names([*variables, number("calls", calls)], labels, "no", "yes") == ["alone:calls"]


def test_an_amount_that_only_one_class_has(random: np.random.Generator) -> None:
    """Zero for everybody but six in ten of the yes: set once the outcome was known."""
    labels, variables = binary(random)
    refunded = (labels == 1) & (random.random(ROWS) < 0.6)
    refund = np.where(refunded, np.round(random.lognormal(3, 1, ROWS), 2), 0.0)
    assert names([*variables, number("refund", refund)], labels, "no", "yes") == ["value:refund"]
    spent = np.where(random.random(ROWS) < 0.4, np.round(random.lognormal(3, 1, ROWS), 2), 0.0)
    assert names([*variables, number("spent", spent)], labels, "no", "yes") == []


def test_gaps_that_were_filled_in_by_class(random: np.random.Generator) -> None:
    """Missing values replaced by the mean of the row's own class; the mean of all says nothing."""
    labels, variables = binary(random)
    score, gaps = random.normal(size=ROWS), random.random(ROWS) < 0.4
    own = np.where(labels == 1, 0.2817, -0.1934)
    by_class = np.where(gaps, own, score)
    assert names([*variables, number("s", by_class)], labels, "no", "yes") == ["value:s"]
    assert names([*variables, number("s", np.where(gaps, 0.01, score))], labels, "no", "yes") == []


def test_parts_of_the_target(random: np.random.Generator) -> None:
    """Two columns whose sum, or a power of which times another, is the target."""
    casual, registered = random.poisson(50, ROWS) + 1.0, random.poisson(150, ROWS) + 1.0
    parts = [number("casual", casual), number("registered", registered)]
    noise = number("noise", random.normal(size=ROWS))
    assert names([*parts, noise], casual + registered) == ["sum:casual,registered"]
    assert names([*parts, noise], casual**2 / registered) == ["product:casual,registered"]
    assert names([*parts, noise], casual + registered + random.normal(scale=5, size=ROWS)) == []


def test_parts_that_were_rounded(random: np.random.Generator) -> None:
    """Half of two prices, all written to one decimal: what is left is rounding, no noise."""
    low = np.round(random.lognormal(2.5, 0.5, ROWS), 1)
    high = np.round(low + random.lognormal(1, 0.5, ROWS), 1)
    parts = [number("low", low), number("high", high), number("x", random.normal(size=ROWS))]
    assert names(parts, np.round((low + high) / 2, 1)) == ["sum:low,high"]
    assert names(parts, np.round((low + high) / 2 + random.normal(0, 0.3, ROWS), 1)) == []


def test_two_columns_that_tell_together(random: np.random.Generator) -> None:
    """The answer is whether one column exceeds the other: neither says much alone."""
    before, change = random.normal(100, 30, ROWS), random.normal(0, 8, ROWS)
    labels = (change > 2).astype(float)
    pair = [number("before", before), number("after", before + change)]
    assert names(
        [*pair, number("noise", change + random.normal(0, 8, ROWS))], labels, "n", "y"
    ) == ["together:before,after"]
    blurred = (change + random.normal(0, 3, ROWS) > 2).astype(float)
    assert names(pair, blurred, "n", "y") == []


def test_two_flags_that_tell_together(random: np.random.Generator) -> None:
    """One flag is the other, turned where the answer is yes; unrelated flags tell nothing."""
    labels, variables = binary(random)
    first, third = random.integers(0, 2, ROWS), random.integers(0, 2, ROWS)
    second = np.where(labels == 1, 1 - first, first)
    flags = [category("a", first), category("b", second), category("c", third)]
    assert names([*variables, *flags], labels, "no", "yes") == ["together:a,b"]
    assert names([*variables, category("a", first), category("c", third)], labels, "n", "y") == []


def encodings(labels: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    sizes = np.bincount(groups)
    sums = np.bincount(groups, weights=labels)
    means = sums / sizes
    return {
        "plain": means[groups],
        "rounded": np.round(means, 3)[groups],
        "leave one out": ((sums[groups] - labels) / (sizes[groups] - 1)),
        "shrunk": ((sums + 20 * labels.mean()) / (sizes + 20))[groups],
    }


@pytest.mark.parametrize("kind", ["plain", "rounded", "leave one out", "shrunk"])
def test_a_mean_of_the_target(kind: str, random: np.random.Generator) -> None:
    """A target encoding made over all rows, in its usual forms."""
    labels, variables = binary(random)
    encoded = encodings(labels, variables[1].values.astype(int))[kind]
    assert names([*variables, number("encoded", encoded)], labels, "no", "yes") == ["mean:encoded"]


def test_an_honest_property_of_a_group(random: np.random.Generator) -> None:
    """A column that belongs to the group and explains it, as a town's income does, is no mean."""
    for seed in range(30):
        random = np.random.default_rng(seed)
        groups = random.integers(0, 60, ROWS)
        income = random.normal(size=60)
        labels = (random.random(ROWS) < 1 / (1 + np.exp(-1.5 * income[groups]))).astype(float)
        variables = [category("town", groups), number("income", income[groups])]
        assert names(variables, labels, "no", "yes") == [], f"seed {seed}"


def test_the_file_that_a_row_came_in(random: np.random.Generator) -> None:
    """All yes from one file, all no from another: what differs between files is learned."""
    labels, variables = binary(random)
    apart = labels.astype(np.intp)
    mixed = random.integers(0, 2, ROWS)
    for files, expected in ((apart, ["files"]), (mixed, [])):
        found = find_knowers(variables, labels, classes=("no", "yes"), files=files)
        assert [doubt.name for doubt in found] == expected


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "digits", "diabetes"])
def test_well_known_tables_raise_no_doubt(name: str) -> None:
    """Strong and honest columns of scikit-learn's tables stay without a doubt."""
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame: pd.DataFrame = bunch.frame.copy()
    if name != "diabetes":
        frame["target"] = "class " + frame["target"].astype(str)
    _, findings = infer_contract(frame, "target")
    assert findings.doubts == ()


@pytest.mark.parametrize(
    ("file", "target"), [("telco_churn.csv", "Churn"), ("elec2.csv.gz", "class")]
)
def test_real_tables_raise_no_doubt(file: str, target: str) -> None:
    """Nor do the real tables that the project measures itself on."""
    if not (SHARED / file).is_file():
        pytest.skip(f"{file} is not beside the project (shared/data)")
    _, findings = infer_contract(read_table(SHARED / file), target)
    assert findings.doubts == ()
