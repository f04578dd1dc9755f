"""`python -m ops init`: from a table to a project.toml that needs no edit."""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError, OperationError
from core.settings import load_settings, read_settings, settings_schema
from ops import init
from training.data.inspection import infer_contract, resolve_contract
from training.data.reading import read_table
from training.data.tables import check_table, encode_table

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


def run(*arguments: str) -> int:
    """Run the command as `python -m ops` does."""
    parser = argparse.ArgumentParser()
    init.add_parser(parser.add_subparsers())
    args = parser.parse_args(["init", *arguments])
    return int(args.func(args))


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a small table into an empty folder, and go there."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = 60
    pd.DataFrame(
        {
            "id": range(rows),
            "größe, in [cm]": rng.normal(170, 10, rows).round(1),
            'say "hi"\\': rng.choice(["a\nb", 'c"d', "tab\there"], rows),
            "note #1": [None if i % 7 == 0 else "yes" if i % 2 else "no" for i in range(rows)],
            "churned": rng.choice(["stay", "leave"], rows),
        }
    ).to_csv(tmp_path / "My Customers.csv", index=False)
    return tmp_path / "My Customers.csv"


def test_the_written_file_is_all_that_training_needs(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The contract read back from the file and the data is the one that was inferred."""
    assert run(str(table), "--target", "churned", "--positive", "leave") == 0

    loaded = load_settings("project.toml")
    frame = read_table(loaded.data.file)
    inferred, _ = infer_contract(frame, "churned", positive="leave")
    assert loaded.project.name == "my-customers"
    assert resolve_contract(loaded, frame) == inferred
    assert encode_table(check_table(frame, inferred).frame, inferred).shape == (60, 3)
    assert load_settings("project.toml", "local").retraining.debounce_seconds == 5
    assert load_settings("project.toml", "prod").gates.approval == "manual"
    jsonschema.validate(tomllib.loads(Path("project.toml").read_text()), settings_schema())

    shown = capsys.readouterr().out
    for words in (
        "60 rows",
        "binary of churned",
        "größe, in",
        "boolean",
        "by heart",
        "project.toml",
    ):
        assert words in shown
    text = Path("project.toml").read_text()
    assert '# id = {type = "integer"}  # left out: names the row' in text


def test_an_existing_file_is_kept_unless_told(table: Path) -> None:
    """Nobody's edits are lost."""
    Path("project.toml").write_text("mine")

    with pytest.raises(OperationError, match="--force"):
        run(str(table), "--target", "churned")
    assert Path("project.toml").read_text() == "mine"
    assert run(str(table), "--target", "churned", "--output", "other.toml") == 0
    assert run(str(table), "--target", "churned", "--force", "--name", "mine") == 0
    assert load_settings("project.toml").project.name == "mine"
    assert sorted(p.name for p in Path().iterdir()) == [
        "My Customers.csv", "other.toml", "project.toml",
    ]  # fmt: skip


def test_every_column_is_shown_by_name_in_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Long examples give way, not the names."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    words = ["Bank transfer (automatic)", "Electronic check by mail", "Cash on delivery"]
    frame = pd.DataFrame({f"payment method {i}": rng.choice(words, 50) for i in range(3)})
    frame["y"] = [0.5, 1.5] * 25
    frame.to_csv("t.csv", index=False)
    run("t.csv", "--target", "y")

    shown = capsys.readouterr().out
    assert all(f"payment method {i}" in shown for i in range(3))


def test_nothing_is_written_where_the_table_is_refused(table: Path) -> None:
    """A wrong target leaves the folder as it was."""
    with pytest.raises(DataError, match="no column 'churn'"):
        run(str(table), "--target", "churn")
    with pytest.raises(OperationError, match="cannot write"):
        run(str(table), "--target", "churned", "--output", "no/such/folder.toml")
    assert [p.name for p in Path().iterdir()] == ["My Customers.csv"]


def test_json_tells_scripts_what_was_found(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Types, roles and warnings, as one document."""
    run(str(table), "--target", "churned", "--json")
    found = json.loads(capsys.readouterr().out)

    assert (found["written"], found["task"], found["rows"]) == ("project.toml", "binary", 60)
    assert {c["name"]: c["role"] for c in found["columns"]}["id"] == "id"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--task", "clustering"], {"task": "clustering"}),
        (["--task", "anomaly"], {"task": "anomaly"}),
        (["--target", "y", "--task", "regression"], {"task": "regression", "target": "y"}),
        (["--target", "y"], {"task": "multiclass"}),
        (["--target", "y", "--time", "t"], {"time_column": "t"}),
        (["--target", "y", "--group", "g"], {"group_column": "g"}),
        (["--target", "y", "--id", "x"], {"id_column": "x"}),
    ],
)
def test_every_task_and_role_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: dict[str, Any]
) -> None:
    """What is told is believed, and ends in a file that training can use."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=90),
            "z": rng.normal(size=90),
            "g": rng.integers(0, 30, 90),
            "t": rng.permutation(90),
            "y": rng.integers(0, 4, 90),
        }
    )
    frame.to_parquet("t.parquet")
    assert run("t.parquet", *options) == 0

    loaded = load_settings("project.toml")
    problem = loaded.problem.model_dump()
    assert {key: problem[key] for key in expected} == expected
    roles = {problem[key] for key in ("id_column", "time_column", "group_column")} - {None}
    assert not roles & set(loaded.columns)
    contract = resolve_contract(loaded, frame)
    assert len(encode_table(frame, contract)) == 90


def test_dialects_without_a_header_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What init was told about the file, training is told too."""
    monkeypatch.chdir(tmp_path)
    lines = [f"{i * 1.5}\t{'ü' if i % 3 else 'ä'}\t{i % 2}" for i in range(30)]
    Path("bare.txt").write_bytes("\n".join(lines).encode("latin-1"))
    run(
        "bare.txt",
        "--target",
        "y",
        "--columns",
        "x, c, y",
        "--separator",
        "\\t",
        "--encoding",
        "latin-1",
    )

    data = load_settings("project.toml").data
    frame = read_table(
        data.file, separator=data.separator, encoding=data.encoding, columns=data.columns
    )
    assert list(frame.columns) == ["x", "c", "y"]
    assert load_settings("project.toml").columns["c"].categories == ("ä", "ü")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Telco Churn.csv.gz", "telco-churn"),
        ("2024_data.csv", "data"),
        ("ÜÜ.csv", "model"),
        ("a" * 40, "a" * 20),
    ],
)
def test_a_projects_name_comes_from_the_file(file: str, name: str) -> None:
    """Whatever the file is called, the name fits AWS."""
    assert init.derive_name(Path(file)) == name


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tables are not on this machine")
@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("telco_churn.csv", "Churn"),
        ("elec2.csv.gz", "class"),
        ("employment_reference.parquet", "employed"),
    ],
)
def test_real_tables_need_no_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, target: str
) -> None:
    """Init, then the table passes its own contract."""
    monkeypatch.chdir(tmp_path)
    assert run(str(SHARED / file), "--target", target) == 0
    loaded = load_settings("project.toml")
    frame = read_table(loaded.data.file)
    contract = resolve_contract(loaded, frame)

    assert len(check_table(frame, contract).frame) == len(frame)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name.strip() != "" and name.strip() == name
)
columns = st.one_of(
    st.lists(st.none() | st.integers(-5, 5), min_size=30, max_size=30),
    st.lists(st.none() | st.floats(-1e9, 1e9), min_size=30, max_size=30),
    st.lists(st.none() | st.text(max_size=4), min_size=30, max_size=30),
    st.lists(st.none() | st.booleans(), min_size=30, max_size=30),
    st.lists(st.none() | st.datetimes(), min_size=30, max_size=30),
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(names, columns, min_size=1, max_size=5),
    st.sampled_from(["clustering", "anomaly", "binary", "regression"]),
)
def test_any_table_becomes_a_file_or_one_clear_error(data: dict[str, list[Any]], task: Any) -> None:
    """Whatever the names and values: what is written can be read back, and the table fits it."""
    data["target!"] = [i % 2 for i in range(30)]
    frame = pd.DataFrame(data)
    target = None if task in ("clustering", "anomaly") else "target!"
    try:
        contract, findings = infer_contract(frame, target, task=task)
    except DataError:
        return
    text = init.write_settings(contract, findings, name="any", file="any.csv")
    loaded = read_settings(tomllib.loads(text))
    assert resolve_contract(loaded, frame) == contract
    matrix = encode_table(check_table(frame, contract).frame, contract)
    assert matrix.shape == (30, len(contract.features))
