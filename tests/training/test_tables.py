"""Tables: read in their many forms, inspected, checked, and encoded as the Lambda encodes rows."""

import gzip
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contract import LARGEST_INTEGER, Column, Contract, Task
from core.contract.rows import RowAdapter
from core.errors import ContractError, DataError
from core.settings import read_settings
from training.data.columns import coerce_column, parse_dates
from training.data.inspection import MAX_LEARNED_CATEGORIES, ColumnFinding, learn_categories
from training.data.tables import (
    check_table,
    encode_table,
    encode_target,
    find_tables,
    infer_contract,
    read_table,
    resolve_contract,
    table_rows,
)

SHARED = Path(__file__).parents[3] / "shared" / "data"

COLUMNS = (
    Column("a", "number", missing=True),
    Column("b", "integer", missing=True),
    Column("c", "boolean", missing=True),
    Column("d", "category", categories=("x", "ü", "2"), missing=True),
    Column("e", "timestamp", missing=True),
    Column("f", "text", missing=True),
)
CONTRACT = Contract("anomaly", COLUMNS)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


# Reading.


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_separator_and_encoding_are_found_out(
    tmp_path: Path, separator: str, encoding: str, ending: str
) -> None:
    """The same table comes out of every dialect."""
    lines = [["größe", "name", "n"], ["1.5", "Müller, Jörg; x", "3"], ["2", 'say "hi"', "4"]]
    rows = [separator.join(f'"{c.replace(chr(34), chr(34) * 2)}"' for c in line) for line in lines]
    path = write(tmp_path / "t.csv", ending.join(rows) + ending, encoding)

    frame = read_table(path)

    assert list(frame.columns) == ["größe", "name", "n"]
    assert frame["größe"].tolist() == [1.5, 2.0]
    assert frame["name"].tolist() == ["Müller, Jörg; x", 'say "hi"']
    assert frame["n"].dtype == np.int64


def test_gzip_parquet_folders_and_headerless_files(tmp_path: Path) -> None:
    """A folder of parts is one table, matched by the columns' names."""
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"x,y\n1,u\n2,v\n"))
    pd.DataFrame({"y": ["w"], "x": [3]}).to_parquet(tmp_path / "b.parquet")
    write(tmp_path / "c.csv", "x\n4\n")
    (tmp_path / ".hidden.csv").write_text("not,a\ntable\n")
    (tmp_path / "readme.md").write_text("# no table")

    frame = read_table(tmp_path)
    assert sorted(frame["x"]) == [1, 2, 3, 4]
    assert frame["y"].isna().sum() == 1
    assert len(find_tables(tmp_path)) == 3

    bare = write(tmp_path / "bare.csv", "1,2\n3,4\n")
    assert read_table(bare, columns=["p", "q"])["q"].tolist() == [2, 4]
    assert read_table(bare, columns=["p", "q"]).columns.tolist() == ["p", "q"]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "2"], np.int64, [1, 2]),
        (["1", ""], np.float64, [1.0, None]),
        (["1.5", " ", "2"], np.float64, [1.5, None, 2.0]),
        ([" 7 ", "8"], np.int64, [7, 8]),
        (["1e3", "-.5", "+2"], np.float64, [1000.0, -0.5, 2.0]),
        (["1", "?", "NA", "N/A", "-"], np.float64, [1.0, None, None, None, None]),
        (["007", "010"], object, ["007", "010"]),
        (["0", "0.5"], np.float64, [0.0, 0.5]),
        (["12345678901234567890", "1"], object, ["12345678901234567890", "1"]),
        (["a", "NA", "null", " b "], object, ["a", None, None, "b"]),
        (["a", "-"], object, ["a", "-"]),
        (["1", "x"], object, ["1", "x"]),
        (["", ""], object, [None, None]),
    ],
)
def test_cells_are_typed_by_all_of_them(
    tmp_path: Path, cells: Sequence[str], kind: Any, values: Sequence[Any]
) -> None:
    """Numbers with stray blanks are numbers; codes with leading zeros are not."""
    text = "v,w\n" + "".join(f"{cell},0\n" for cell in cells)
    column = read_table(write(tmp_path / "t.csv", text))["v"]

    assert column.dtype == kind
    assert [None if pd.isna(v) else v for v in column] == values


def test_decimal_commas_are_numbers_where_the_comma_does_not_separate(tmp_path: Path) -> None:
    """A spreadsheet from most of Europe reads as it was meant."""
    frame = read_table(write(tmp_path / "t.csv", "a;b\n1,5;x\n-2,25;y\n"))

    assert frame["a"].tolist() == [1.5, -2.25]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["$1,234.50", "-$5", "0", ""], [1234.5, -5.0, 0.0, None]),
        (["1.234,5", "7", "n/a"], [1234.5, 7.0, None]),
        (["3,14", "2,5"], [3.14, 2.5]),
        (["12 345 678", "1 234.5"], [12345678.0, 1234.5]),
        (["5 %", "7.5%"], [5.0, 7.5]),
        (["19,90 €", "1.050,00 €"], [19.9, 1050.0]),
        (["$5", "€6"], None),
        (["5%", "6"], None),
        (["1,234", "12,34,5"], None),
        (["01,234", "5"], None),
        (["12.03.2024", "1,5"], None),
        (["555-1234", "1,000"], None),
        (["12345678901234567890", "1"], None),
    ],
)
def test_numbers_as_people_write_them_are_numbers_if_all_are_written_alike(
    tmp_path: Path, cells: list[str], values: list[float | None] | None
) -> None:
    """Grouped digits, decimal commas, one unit; codes, dates and mixed units stay text."""
    text = "v,w\n" + "".join(f'"{cell}",0\n' for cell in cells)
    frame = read_table(write(tmp_path / "t.csv", text))

    if values is None:
        assert frame["v"].tolist() == cells
        return
    assert [None if pd.isna(v) else v for v in frame["v"]] == values
    many = pd.concat([frame] * 20, ignore_index=True)
    many["y"] = np.random.default_rng(0).normal(size=len(many))
    many.attrs = frame.attrs
    _, findings = infer_contract(many, "y")
    assert f"{cells[0]!r} is read as {values[0]:.15g}" in find(findings.columns, "v").warnings[0]


def test_a_header_may_stand_below_blank_lines_and_hold_line_breaks(tmp_path: Path) -> None:
    """What spreadsheets export is read; a column without a name gets one."""
    frame = read_table(write(tmp_path / "t.csv", '\n\n"net\namount",,c\n1,2,"x\ny"\n'))

    assert list(frame.columns) == ["net\namount", "column_2", "c"]
    assert frame.iloc[0].tolist() == [1, 2, "x\ny"]


def test_numbers_are_read_exactly(tmp_path: Path) -> None:
    """The float that Python reads in JSON is the float that training reads in CSV."""
    numbers = np.random.default_rng(1).normal(size=500) * 10.0 ** np.arange(-250, 250)
    path = write(tmp_path / "t.csv", "v,w\n" + "".join(f"{x!r},0\n" for x in numbers.tolist()))

    assert read_table(path)["v"].tolist() == numbers.tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"a,a\n1,2\n", "more than one column is named 'a'"),
        (b"a,b\n1,2\n3\n", "1 rows do not have 2 fields; line 3 has 1"),
        (b"a,b\n1,2\n3,4,5\n", "do not have 2 fields"),
        (b"# exported\na,b\n1,2\n", "The header is read as '# exported': check"),
        (b'[{"a": 1}, {"a": 2}]', "is JSON"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"PAR1 but not really", "Parquet"),
        (b"\x1f\x8bbroken", "cannot be read"),
        (b"\x00\x01\x02\x03\xff\xfe\x80", "not a text file"),
        (b"a\x00b,c\n1,2\n", "not a text file"),
    ],
)
def test_what_is_no_table_is_one_clear_error(tmp_path: Path, content: bytes, words: str) -> None:
    """The error names the file."""
    path = tmp_path / "t.csv"
    path.write_bytes(content)

    with pytest.raises(DataError, match=words) as caught:
        read_table(path)
    assert "t.csv" in str(caught.value)


def test_files_that_are_not_there_and_tables_without_rows(tmp_path: Path) -> None:
    """No file, no table in a folder, a header without rows: each is said as it is."""
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no table here"):
        read_table(tmp_path)
    frame = read_table(write(tmp_path / "t.csv", "a,b\n"))
    assert list(frame.columns) == ["a", "b"]
    with pytest.raises(DataError, match="no rows"):
        infer_contract(frame, "b")
    with pytest.raises(DataError, match="no rows"):
        check_table(frame, CONTRACT)


# Inspecting.


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


def find(findings: Sequence[ColumnFinding], name: str) -> ColumnFinding:
    return next(found for found in findings if found.name == name)


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


def test_durations_of_parquet_are_seconds(tmp_path: Path) -> None:
    """A timedelta is a number; a missing one is missing."""
    waits = pd.to_timedelta([90, None, 0.5], unit="s")
    pd.DataFrame({"wait": waits}).to_parquet(tmp_path / "t.parquet")

    assert read_table(tmp_path / "t.parquet")["wait"].tolist()[::2] == [90.0, 0.5]
    assert read_table(tmp_path / "t.parquet")["wait"].isna().tolist() == [False, True, False]


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


# Completing the contract of project.toml.


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


# Checking.


@pytest.mark.parametrize(
    ("column", "values", "code", "words"),
    [
        (
            Column("v", "number"),
            [1.0, "x", "y"],
            "wrong_type",
            "2 of 3 rows hold no number, e.g. 'x'",
        ),
        (Column("v", "number"), [1.0, None, 2.0], "missing", "1 of 3 rows have no value"),
        (
            Column("v", "number"),
            [1.0, np.inf, -np.inf],
            "not_finite",
            "2 of 3 rows hold an infinite",
        ),
        (Column("v", "number", min=0), [1.0, -3.5, 2.0], "too_small", "below the minimum of 0"),
        (Column("v", "number", max=9), [1.0, 10.0, 2.0], "too_large", "above the maximum of 9"),
        (Column("v", "integer"), [1, 2.5, 3], "wrong_type", "hold a fraction"),
        (Column("v", "integer"), [1, 2.0**60, 3], "too_large", "too large to be exact"),
        (Column("v", "boolean"), [0, 1, 2], "wrong_type", "neither true nor false, e.g. 2"),
        (Column("v", "boolean"), ["yes", "no", "so"], "wrong_type", "neither true nor false"),
        (Column("v", "timestamp"), ["2024-01-01", "soon", "2024-01-02"], "wrong_type", "no date"),
        (Column("v", "timestamp"), [1, 2, 3], "wrong_type", "3 of 3 rows hold no date"),
        (
            Column("v", "category", categories=("a",), unseen="refuse"),
            ["a", "b", "a"],
            "unseen_category",
            "not listed, e.g. 'b'",
        ),
        (Column("v", "category"), ["a", "x" * 1001, "a"], "wrong_type", "at most 1000 characters"),
    ],
)
def test_a_table_that_breaks_its_contract_is_refused_with_examples(
    column: Column, values: list[Any], code: str, words: str
) -> None:
    """Column, how many rows, which, and what they hold."""
    with pytest.raises(DataError) as caught:
        check_table(pd.DataFrame({"v": values}), Contract("anomaly", (column,)))

    assert [(p.column, p.code) for p in caught.value.problems] == [("v", code)]
    assert words in str(caught.value)
    assert "row" in caught.value.problems[0].message


def test_all_columns_are_judged_before_refusing() -> None:
    """One run tells everything; sensitive values are not shown; unreadable is not also missing."""
    contract = Contract(
        "binary",
        (
            Column("age", "integer", sensitive=True),
            Column("size", "number"),
            Column("gone", "text"),
        ),
        target="y",
        classes=("n", "y"),
    )
    frame = pd.DataFrame({"age": ["secret", "5"], "Size": [1, 2], "y": ["n", "other"]})

    with pytest.raises(DataError) as caught:
        check_table(frame, contract)
    assert {(p.column, p.code) for p in caught.value.problems} == {
        ("age", "wrong_type"), ("size", "no_column"), ("gone", "no_column"), ("y", "unknown_label"),
    }  # fmt: skip
    assert "secret" not in str(caught.value)
    assert "the table has 'Size'" in str(caught.value)


def test_a_checked_table_is_typed_and_described() -> None:
    """Rows without a target are left out and counted; extra columns are ignored and listed."""
    contract = Contract(
        "binary", COLUMNS[:4], target="y", classes=("no", "yes"), time_column="t", group_column="g"
    )
    frame = pd.DataFrame(
        {
            "a": ["1.5", " ", "3"],
            "b": [1, 2, 3],
            "c": ["Yes", "no", None],
            "d": [2.0, "x", "other"],
            "y": ["no", None, "yes"],
            "t": ["2024-01-02", "2024-01-01", "2024-01-03"],
            "g": [7, 7, 8],
            "extra": 0,
        }
    )
    checked = check_table(frame, contract)

    assert checked.frame["a"].tolist() == [1.5, 3.0]
    assert checked.frame["d"].tolist() == ["2", "other"]
    assert checked.frame["t"].dtype == "datetime64[us]"
    assert checked.frame["g"].tolist() == [7, 8]
    assert encode_target(checked.frame, contract).tolist() == [0, 1]
    assert checked.quality["rows_without_target"] == 1
    assert checked.quality["ignored_columns"] == ["extra"]
    assert checked.quality["classes"] == {"no": 1, "yes": 1}
    assert checked.quality["columns"]["d"]["unseen"] == 1
    assert any("no target" in warning for warning in checked.warnings)
    assert np.array_equal(
        encode_table(checked.frame, contract), encode_table(frame, contract)[[0, 2]], equal_nan=True
    )


def test_a_target_without_values_or_beside_its_classes_is_refused() -> None:
    """Labels are checked as strictly as columns."""
    contract = Contract("regression", COLUMNS[:1], target="y")

    with pytest.raises(DataError, match="no row has a value"):
        check_table(pd.DataFrame({"a": [1.0], "y": [None]}), contract)
    with pytest.raises(DataError, match="infinite"):
        check_table(pd.DataFrame({"a": [1.0], "y": [np.inf]}), contract)
    with pytest.raises(DataError, match="no target column"):
        encode_target(pd.DataFrame({"a": [1.0]}), contract)


def test_two_thousand_columns_are_no_obstacle() -> None:
    """A wide table is inspected, checked and encoded in seconds."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 2000)), columns=[f"c{i}" for i in range(2000)])
    frame["y"] = [0, 1] * 30
    contract, findings = infer_contract(frame, "y")

    assert encode_table(check_table(frame, contract).frame, contract).shape == (60, 2000)
    assert any("more features" in warning for warning in findings.warnings)


# Encoding.

cells = st.fixed_dictionaries(
    {
        "a": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "b": st.none() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER),
        "c": st.none() | st.booleans(),
        "d": st.none() | st.sampled_from(["x", "ü", "2", "unseen", "X", "0"]),
        "e": st.none() | st.datetimes() | st.datetimes(timezones=st.just(UTC)),
        "f": st.none() | st.text(max_size=20),
    }
)


@settings(max_examples=150, deadline=None)
@given(st.lists(cells, min_size=1, max_size=6))
def test_the_matrix_equals_the_lambdas_vectors_bit_for_bit(rows: list[dict[str, Any]]) -> None:
    """What training fits on is what the Lambda will compute, for any values."""
    sent = [
        {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()} for row in rows
    ]
    frame = pd.DataFrame(sent, columns=list(CONTRACT.column_names), dtype=object)

    matrix = encode_table(frame, CONTRACT)
    as_sent = table_rows(frame, CONTRACT)
    accepted = RowAdapter(CONTRACT).validate_rows(as_sent)
    vectors = np.array([CONTRACT.encode(row) for row in accepted])

    assert matrix.tobytes() == vectors.tobytes() or np.array_equal(matrix, vectors, equal_nan=True)
    for name in ("a", "b", "c", "d"):
        assert [row[name] for row in as_sent] == [row[name] for row in sent]


@pytest.mark.parametrize(
    "dtype", ["float32", "Int64", "boolean", "category", "datetime64[ns, UTC]"]
)
def test_the_dtypes_of_parquet_are_encoded_alike(tmp_path: Path, dtype: str) -> None:
    """Nullable, categorical, single precision and zoned columns give the values of their rows."""
    values: dict[str, tuple[str, list[Any]]] = {
        "float32": ("a", [0.1, None]),
        "Int64": ("b", [3, None]),
        "boolean": ("c", [True, None]),
        "category": ("d", ["x", None]),
        "datetime64[ns, UTC]": ("e", [pd.Timestamp("2024-02-29 13:30", tz="UTC"), None]),
    }
    name, data = values[dtype]
    column = next(c for c in COLUMNS if c.name == name)
    contract = Contract("anomaly", (column,))
    pd.DataFrame({name: pd.Series(data, dtype=dtype)}).to_parquet(tmp_path / "t.parquet")
    frame = read_table(tmp_path / "t.parquet")

    vectors = [contract.encode(row) for row in table_rows(frame, contract)]
    assert np.array_equal(encode_table(frame, contract), np.array(vectors), equal_nan=True)
    assert np.isnan(vectors[1]).all()
    if name == "e":
        assert vectors[0] == [2024.0, 2.0, 29.0, 3.0, 13.5]


@given(
    st.lists(
        st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)), max_size=5
    )
)
def test_iso_dates_are_read_as_python_reads_them(moments: list[datetime]) -> None:
    """To the microsecond, from year 1 to 9999, with and without a zone."""
    texts = [moment.isoformat() for moment in moments]
    for suffix in ("", "+00:00"):
        parsed, bad = parse_dates([f"{text}{suffix}" for text in texts])
        assert not bad.any()
        assert parsed.tolist() == moments


@pytest.mark.parametrize(
    "texts",
    [
        ["31.01.2024"],
        ["31/01/2024"],
        ["01/31/2024"],
        ["2024/01/31"],
        ["2024-01-31"],
        ["31-01-2024"],
        ["31 Jan 2024"],
        ["31-Jan-2024"],
        ["January 31, 2024"],
        ["Jan 31, 2024"],
        ["31.01.24"],
        ["01/31/2024 12:00 AM"],
    ],
)
def test_customary_dates_are_read(texts: list[str]) -> None:
    """A column in one customary format is a column of dates."""
    parsed, bad = parse_dates(texts)

    assert not bad.any()
    assert parsed[0] == np.datetime64("2024-01-31")
    frame = pd.DataFrame({"at": texts * 20, "x": range(7, 47, 2), "y": [0.5, 1.5] * 10})
    assert find(infer_contract(frame, "y")[1].columns, "at").type == "timestamp"


def test_lists_in_cells_are_refused() -> None:
    """Nested Parquet is named, not crashed on."""
    with pytest.raises(DataError, match="lists or objects"):
        coerce_column(pd.Series([[1], [2]], name="v"), Column("v", "category"))
    _, findings = infer_contract(
        pd.DataFrame({"v": [[1], [2]] * 10, "x": range(20, 60, 2), "y": [0.5, 1.5] * 10}), "y"
    )
    assert find(findings.columns, "v").role == "left out"


def test_encoding_costs_the_same_per_row_from_small_to_large() -> None:
    """A hundred thousand mixed rows are checked and encoded in about a second."""
    rng = np.random.default_rng(0)
    rows = 100_000
    data: dict[str, Any] = {f"n{i}": rng.normal(size=rows) for i in range(20)}
    data |= {f"c{i}": rng.choice(np.array(["a", "b", "c"], dtype=object), rows) for i in range(10)}
    columns = tuple(Column(n, "number" if n[0] == "n" else "category", categories=()) for n in data)
    frame = pd.DataFrame(data)
    contract = Contract("anomaly", columns)

    started = time.process_time()
    matrix = encode_table(frame, contract)
    assert time.process_time() - started < 10
    assert matrix.shape == (rows, 30)


def test_a_contract_of_the_wrong_task_refuses_labels() -> None:
    """A label that is none of the classes never becomes a silent index."""
    contract = Contract("binary", COLUMNS[:1], target="y", classes=("a", "b"))

    with pytest.raises(DataError, match="other than a, b"):
        encode_target(pd.DataFrame({"y": ["a", "c"]}), contract)
    with pytest.raises(DataError, match="no value"):
        encode_target(pd.DataFrame({"y": ["a", None]}), contract)
    with pytest.raises(ContractError):
        contract.parse_label("c")
