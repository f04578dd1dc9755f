"""Columns that own their rows are found by what the rows share, whatever the column is called."""

import numpy as np
import pytest

from training.doubts import Variable
from training.doubts.owners import find_joint_owner, find_owners, measure_agreement


def people(
    name: str, *, alike: float = 2.0, visits: int = 4, count: int = 150
) -> tuple[list[Variable], np.ndarray]:
    """Make visits of people: two columns belong to the person, two to the visit."""
    random, count, visits, alike = np.random.default_rng(1), 150, 4, 2.0
    person = np.repeat(np.arange(count), visits)
    rows = len(person)
    effect = alike * random.normal(size=count)[person]
    labels = (effect + random.logistic(size=rows) > 0).astype(float)
    columns = {
        "row": np.arange(rows),
        name: random.permutation(count * 7)[:count][person],
        "age": random.integers(20, 80, count)[person],
        "weight": np.round(random.normal(70, 9, count)[person], 1),
        "visit": np.tile(np.arange(visits), count),
        "dose": np.round(random.normal(size=rows), 2),
    }
    return [
        Variable(key, "number", values.astype(float)) for key, values in columns.items()
    ], labels


@pytest.mark.parametrize("name", ["id", "nr", "patientID", "xyzzy"])
def test_an_owner_is_found_by_what_its_rows_share(name: str) -> None:
    """A person repeats, two columns are the person's own, and the labels are alike."""
    variables, labels = people(name)
    found = find_owners(variables, labels, classes=True)
    assert found[0].name == name
    assert set(found[0].constant) == {"age", "weight"}
    assert found[0].owners == 150
    assert f'group_column = "{name}"' in found[0].doubt().sentence


def test_a_column_that_is_declared_otherwise_is_not_proposed() -> None:
    """The time, the target and what the project names already are no owners."""
    variables, labels = people("xyzzy")
    assert not find_owners(variables, labels, classes=True, without=["xyzzy"])


def test_no_owner_in_independent_rows() -> None:
    """Integer features with repeated values (an age, a count, a strong category) own nothing.

    Forty tables of unrelated columns, with the target depending on two of them.
    """
    for seed in range(40):
        random = np.random.default_rng(seed)
        rows = 600
        age = random.integers(18, 80, rows).astype(float)
        shop = random.integers(0, 40, rows).astype(float)
        variables = [
            Variable("age", "number", age),
            Variable("shop", "category", shop),
            Variable("count", "number", random.poisson(30, rows).astype(float)),
            Variable("plan", "category", random.integers(0, 3, rows).astype(float)),
            Variable("score", "number", random.normal(size=rows)),
        ]
        labels = (0.05 * (age - 49) + (shop % 2) + random.logistic(size=rows) > 0.5).astype(float)
        assert not find_owners(variables, labels, classes=True), f"seed {seed}"


def test_agreement_is_none_by_chance_and_one_for_copies() -> None:
    """Kappa over pairs and the intraclass correlation, against values known beforehand."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(500), 3)
    own = random.normal(size=500)
    for category, values in (
        (True, random.integers(0, 4, 1500).astype(float)),
        (False, random.normal(size=1500)),
    ):
        agreement, error = measure_agreement(values, groups, category=category)
        assert abs(agreement) < 4 * error
    assert measure_agreement(own[groups], groups, category=False)[0] == pytest.approx(1.0, abs=0.01)
    # Equal parts of variance between and within: a correlation of 1/2 (of ranks a little less).
    half = own[groups] + random.normal(size=1500)
    assert measure_agreement(half, groups, category=False)[0] == pytest.approx(0.48, abs=0.06)


def test_an_owner_without_a_name_is_found_by_two_columns() -> None:
    """People measured six times, told only by age and height; unrelated columns have none."""
    random = np.random.default_rng(4)
    person = np.repeat(np.arange(250), 6)
    age, height = random.integers(18, 80, 250), np.round(random.normal(170, 9, 250), 1)
    visit = np.round(random.normal(size=(3, len(person))), 2)
    measured = [
        Variable("age", "number", age[person].astype(float)),
        Variable("height", "number", height[person]),
        *(Variable(f"v{k}", "number", column) for k, column in enumerate(visit)),
    ]
    found = find_joint_owner(measured)
    assert found is not None
    assert found[0] == ("age", "height")
    assert len(np.unique(found[1])) == pytest.approx(250, abs=5)
    fresh = [
        Variable("age", "number", random.integers(18, 80, 1500).astype(float)),
        Variable("height", "number", np.round(random.normal(170, 9, 1500), 1)),
        Variable("count", "number", random.poisson(20, 1500).astype(float)),
    ]
    assert find_joint_owner(fresh) is None
