"""Inspection: types, roles and leaks are recognised, and contracts completed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.contract import Contract, Task
from core.errors import DataError
from core.settings import read_settings
from tests.training.data.contracts import find
from training.data.inspection import (
    MAX_LEARNED_CATEGORIES,
    ColumnFinding,
    infer_contract,
    learn_categories,
    resolve_contract,
)
from training.data.reading import read_table
from training.data.tables import check_table, encode_table, encode_target

SHARED = Path(__file__).parents[4] / "shared" / "data"


def make_table(rows: int = 400) -> pd.DataFrame:
    """Make a table that has one of everything."""
    rng = np.random.default_rng(3)
    target = rng.random(rows) < 0.3
    words = np.array(["sun", "moon", "star", "sky", "sea", "wind", "rain", "snow", "sand", "fog"])
    return pd.DataFrame(
        {
            "customer_id": rng.permutation(rows) + 1000,
            "uuid": [f"{i:08x}-abcd" for i in range(rows)],
            "height": rng.normal(1.7, 0.1, rows).round(3),
            "visits": rng.integers(0, 50, rows),
            "smoker": np.where(rng.random(rows) < 0.5, "yes", "No"),
            "flag": rng.integers(0, 2, rows),
            "plan": rng.choice(["basic", "plus", "pro"], rows),
            "code": [f"Z{i % 120:03d}" for i in range(rows)],
            "signup": pd.Series(rng.integers(0, 900, rows)).map(
                lambda d: (
                    (datetime(2021, 1, 1, tzinfo=UTC) + pd.Timedelta(days=d)).date().isoformat()
                )
            ),
            "charge": [" " if i % 40 == 0 else f"{x:.2f}" for i, x in enumerate(rng.random(rows))],
            "note": [" ".join(rng.choice(words, 6)) for _ in range(rows)],
            "constant": "same",
            "empty": None,
            "copy": np.where(target, "gone", "here"),
            "ended": ["2024-05-01" if gone else None for gone in target],
            "almost": target + rng.normal(0, 0.05, rows),
            "churned": np.where(target, "Yes", "No"),
        }
    )


@pytest.fixture(scope="module")
def inspected(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Contract, dict[str, ColumnFinding]]:
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    make_table().to_csv(path, index=False)
    contract, findings = infer_contract(read_table(path), "churned")
    return contract, {found.name: found for found in findings.columns}


@pytest.mark.parametrize(
    ("name", "role", "kind"),
    [
        ("customer_id", "id", "integer"),
        ("uuid", "left out", "category"),
        ("height", "input", "number"),
        ("visits", "input", "integer"),
        ("smoker", "input", "boolean"),
        ("flag", "input", "boolean"),
        ("plan", "input", "category"),
        ("code", "input", "category"),
        ("signup", "input", "timestamp"),
        ("charge", "input", "number"),
        ("note", "input", "text"),
        ("constant", "left out", "category"),
        ("empty", "left out", ""),
        ("copy", "left out", "category"),
        ("ended", "left out", "timestamp"),
        ("almost", "input", "number"),
        ("churned", "target", "boolean"),
    ],
)
def test_every_kind_of_column_is_recognised(
    inspected: tuple[Contract, dict[str, ColumnFinding]], name: str, role: str, kind: str
) -> None:
    """Identifiers, constants, dates, flags, blanks, codes, text, and copies of the target."""
    contract, findings = inspected

    assert (findings[name].role, findings[name].type) == (role, kind)
    assert (name in contract.column_names) == (role == "input")


def test_what_a_person_should_know_is_said(
    inspected: tuple[Contract, dict[str, ColumnFinding]],
) -> None:
    """Leaks, many categories and missing values come with a sentence."""
    contract, findings = inspected

    assert "copy of it" in findings["copy"].warnings[0]
    assert "known only after" in findings["ended"].warnings[0]
    assert "almost alone" in findings["almost"].warnings[0]
    assert "120 distinct" in findings["code"].warnings[0]
    assert findings["charge"].missing == 10
    assert next(c for c in contract.columns if c.name == "charge").missing
    assert not next(c for c in contract.columns if c.name == "height").missing
    assert len(next(c for c in contract.columns if c.name == "code").categories) == (
        MAX_LEARNED_CATEGORIES
    )
    assert (contract.classes, contract.positive) == (("No", "Yes"), "Yes")


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["a", "b"] * 20, "binary", ("a", "b")),
        ([0, 1] * 20, "binary", ("0", "1")),
        ([True, False] * 20, "binary", ("false", "true")),
        ([1.0, 2.0, 3.0, 10.0] * 10, "multiclass", ("1", "2", "3", "10")),
        (["x", "y", "z", None] * 10, "multiclass", ("x", "y", "z")),
        ([i / 7 for i in range(40)], "regression", ()),
        (list(range(40)), "regression", ()),
    ],
)
def test_the_task_is_read_off_the_target(
    values: list[Any], task: str, classes: tuple[str, ...]
) -> None:
    """Two values: binary; few whole numbers or texts: multiclass; quantities: regression."""
    rng = np.random.default_rng(0)
    contract, _ = infer_contract(pd.DataFrame({"x": rng.normal(size=40), "y": values}), "y")

    assert (contract.task, contract.classes) == (task, classes)


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        ({"x": [1.5, 2], "y": ["a", "a"]}, {"target": "y"}, "one class only"),
        ({"x": [1.5, 2], "y": ["a", "b"]}, {"target": "z"}, "no column 'z'"),
        ({"x": [1.5, 2], "y": ["a", "b"]}, {"target": None}, "no target"),
        ({"x": [1, 1], "y": ["a", "b"]}, {"target": "y"}, "no column is left"),
        ({"x": [1.5, 2], "y": [None, None]}, {"target": "y", "task": "regression"}, "no row has"),
        ({"x": [1.5, 2], "y": [0, 1]}, {"target": None, "task": "binary"}, "needs a target"),
        ({"x": [1.5, 2, 3], "y": [0, 1, 2]}, {"target": "y", "task": "binary"}, "has 3 values"),
        ({"x": [1.5, 2], "y": [0, 1]}, {"target": "y", "positive": "2"}, "positive class '2'"),
        ({"x": [1.5, 2], "y": ["a", 3]}, {"target": "y", "task": "regression"}, "hold no number"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused(
    frame: dict[str, list[Any]], options: dict[str, Any], words: str
) -> None:
    """One class, no such column, nothing left: each is one clear error."""
    with pytest.raises(DataError, match=words):
        infer_contract(pd.DataFrame(frame), **options)


def test_the_target_of_a_clustering_is_kept_from_the_model() -> None:
    """It is neither an input nor learned, so that clusters can be held against it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "kind": rng.choice(["a", "b"], 60)})
    contract, _ = infer_contract(frame, "kind", task="clustering")
    assert (contract.target, contract.column_names) == (None, ("x",))
    check_table(frame, contract)


def test_unsupervised_tasks_need_no_target() -> None:
    """Anomaly detection and clustering take the table as it is; labels may mark anomalies."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=50), "bad": [0] * 45 + [1] * 5})

    assert infer_contract(frame, task="clustering")[0].column_names == ("x", "bad")
    contract, _ = infer_contract(frame, "bad", task="anomaly")
    assert (contract.column_names, contract.classes, contract.positive) == (("x",), ("0", "1"), "1")
    assert encode_target(frame, contract)[-1] == 1.0


def test_rows_in_time_order_are_split_by_time_and_owners_by_group() -> None:
    """The honest split is proposed where the table shows what it is."""
    rng = np.random.default_rng(0)
    moments = pd.date_range("2024-01-01", periods=300, freq="h")
    frame = pd.DataFrame({"at": moments, "x": rng.normal(size=300), "y": rng.normal(size=300)})
    contract, findings = infer_contract(frame, "y")
    assert (contract.time_column, findings.split) == ("at", "time")

    frame = frame.drop(columns="at").assign(patient_id=np.arange(300) // 4)
    contract, findings = infer_contract(frame, "y")
    assert (contract.group_column, findings.split) == ("patient_id", "group")
    assert contract.column_names == ("x",)


@pytest.mark.parametrize("name", ["date", "event_time", "year", "unix"])
def test_a_number_that_counts_time_is_the_time(name: str) -> None:
    """Rising from row to row under such a name, or seconds since 1970 in any order."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=300), "y": rng.normal(size=300)})
    contract, findings = infer_contract(frame.assign(**{name: np.arange(300) // 4}), "y")
    assert (contract.time_column, findings.split) == (name, "time")
    contract, _ = infer_contract(frame.assign(**{name: rng.integers(0, 30, 300)}), "y")
    assert contract.time_column is None
    contract, _ = infer_contract(frame.assign(time=rng.integers(1.6e12, 1.7e12, 300)), "y")
    assert contract.time_column == "time"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_rows_in_time_order_without_a_time_are_split_in_their_order(task: Task) -> None:
    """Neighbours with like targets say so, but not where sorting made them neighbours."""
    rng = np.random.default_rng(5)
    rows = 2000
    walk = np.zeros(rows)
    for i in range(1, rows):
        walk[i] = 0.9 * walk[i - 1] + rng.normal()
    target: Any = walk
    if task != "regression":
        cuts = {"binary": [0.0], "multiclass": [-1.0, 1.0]}[task]
        target = np.digitize(walk, cuts).astype(str)
    frame = pd.DataFrame({"x": rng.normal(size=rows), "c": rng.choice(["a", "b"], rows)})
    frame["y"] = target

    def split_of(table: pd.DataFrame) -> tuple[str, str]:
        _, findings = infer_contract(table.reset_index(drop=True), "y", task=task)
        return findings.split, " ".join(findings.warnings)

    ordered, said = split_of(frame)
    assert ordered == "order"
    assert "like targets" in said
    shuffled, said = split_of(frame.sample(frac=1.0, random_state=1))
    assert (shuffled, "like targets" in said) == ("random", False)
    by_target, said = split_of(frame.sort_values("y"))
    assert (by_target, "like targets" in said) == ("random", True)
    blocks = frame.assign(place=np.arange(rows) // 100).astype({"place": str})
    by_place, said = split_of(blocks)
    assert (by_place, "sorted by 'place'" in said) == ("random", True)
    steps = frame.assign(level=np.arange(rows) / 7.0)
    by_level, said = split_of(steps)
    assert (by_level, "sorted by 'level'" in said) == ("random", True)


def test_columns_that_no_request_may_hold_are_left_out_or_read_as_text() -> None:
    """Long texts, and whole numbers beyond float64, do not end in a refusal."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "y": ["a", "b"] * 30})
    frame["letter"] = ["w " * 600, "v " * 600, "u"] * 20
    frame["book"] = ["w" * 10_001, "v"] * 30
    frame["code"] = (2**60 + rng.integers(0, 4, 60)).astype(np.int64)
    frame["wait"] = pd.to_timedelta(rng.integers(0, 99, 60), unit="s").total_seconds()
    contract, findings = infer_contract(frame, "y")

    kinds = {column.name: column.type for column in contract.columns}
    assert kinds == {"x": "number", "letter": "text", "code": "category", "wait": "number"}
    assert "10001 characters" in find(findings.columns, "book").warnings[0]
    check_table(frame, contract)


def test_imbalance_duplicates_and_unlabelled_rows_are_reported() -> None:
    """What makes figures misleading is said before training."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=1000), "y": ["ok"] * 985 + ["bad"] * 15})
    frame = pd.concat([frame, frame.head(50)], ignore_index=True)
    frame.loc[60:69, "y"] = None
    _, findings = infer_contract(frame, "y")

    said = " | ".join(findings.warnings)
    assert "class 'bad' is rare: 15 of 1040" in said
    assert findings.duplicates == 50
    assert "10 of 1050 rows have no target" in said


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tables are not on this machine")
def test_real_tables_are_understood() -> None:
    """Telco churn, electricity and census employment need no edit."""
    telco, _ = infer_contract(read_table(SHARED / "telco_churn.csv"), "Churn")
    types = {column.name: column.type for column in telco.columns}
    assert (telco.task, telco.positive, telco.id_column) == ("binary", "Yes", "customerID")
    assert (types["SeniorCitizen"], types["TotalCharges"]) == ("boolean", "number")
    assert types["PaymentMethod"] == "category"

    elec = read_table(SHARED / "elec2.csv.gz")
    contract, findings = infer_contract(elec, "class")
    assert encode_table(elec, contract).shape == (45312, 6)
    assert findings.split == "order"  # half-hourly prices, without the time

    census, findings = infer_contract(
        read_table(SHARED / "employment_reference.parquet"), "employed"
    )
    assert census.id_column == "id"
    assert find(findings.columns, "year").role == "left out"
    assert findings.split == "random"


def test_the_declared_contract_is_completed_from_the_data() -> None:
    """Classes and categories that the file does not list are the data's; those listed stay."""
    frame = pd.DataFrame(
        {
            "x": [1, 2, 3, 4],
            "c": ["b", "a", "b", None],
            "d": ["u", "v", "u", "v"],
            "y": list("pqpq"),
        }
    )
    document: dict[str, Any] = {
        "project": {"name": "p"},
        "problem": {"task": "binary", "target": "y"},
        "columns": {
            "c": {"type": "category", "missing": True, "unseen": "refuse"},
            "d": {"type": "category", "categories": ["w", "u", "v"]},
        },
    }
    contract = resolve_contract(read_settings(document), frame)

    assert contract.columns[0].categories == ("a", "b")
    assert contract.columns[1].categories == ("w", "u", "v")
    assert contract.classes == ("q", "p")[:: 1 if contract.positive == "p" else -1]
    assert resolve_contract(read_settings({**document, "columns": {}}), frame).column_names == (
        "x", "c", "d",
    )  # fmt: skip
    with pytest.raises(DataError, match="no column 'z'"):
        resolve_contract(
            read_settings({**document, "problem": {"task": "binary", "target": "z"}}), frame
        )


def test_the_most_frequent_categories_are_learned_in_sorted_order() -> None:
    """The vocabulary does not depend on the order of the rows."""
    values = pd.Series([str(i % 150) for i in range(200)], name="c")
    learned = learn_categories(values)

    assert len(learned) == MAX_LEARNED_CATEGORIES
    assert learned[:3] == ("0", "1", "2")
    assert learn_categories(values.sample(frac=1, random_state=1)) == learned
