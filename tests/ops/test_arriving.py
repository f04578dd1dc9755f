"""`python -m ops data` and `init` over files that arrive one after the other."""

import argparse
import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest
from moto import mock_aws

from core.errors import OperationError
from core.settings import load_settings
from core.settings.sections import Data
from ops import data, init
from ops.__main__ import main
from ops.conversion import convert, convert_beside
from ops.deployment import Deployment
from training.data.dataset import read_data
from training.jobs import read_folder
from training.log import Log

PROJECT = """
[project]
name = "shop"
[data]
{data}
[problem]
task = "binary"
target = "churned"
{problem}
"""


class Bucket(Deployment):
    """A deployment whose bucket is given, not looked up."""

    @property
    def bucket(self) -> str:
        return "tables"


def customers(rows: int = 200, first: int = 0, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "customer": [f"c{first + i:05d}" for i in range(rows)],
            "age": random.integers(18, 80, rows),
            "plan": random.choice(["basic", "plus"], rows),
            "balance": np.round(random.lognormal(7, 1, rows), 2),
            "churned": random.choice(["yes", "no"], rows),
        }
    )


def next_day(frame: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """Move the balances by 2%, as a day does."""
    random = np.random.default_rng(seed)
    moved = np.round(frame["balance"] * np.exp(random.normal(0, 0.02, len(frame))), 2)
    return frame.assign(balance=moved)


class Desk:
    """A folder with tables and project.toml, and a bucket."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s3 = boto3.client("s3", region_name="eu-west-1")
        where: Any = {"LocationConstraint": "eu-west-1"}
        self.s3.create_bucket(Bucket="tables", CreateBucketConfiguration=where)
        self._monkeypatch = monkeypatch

    def project(self, data: str = "", problem: str = 'id_column = "customer"') -> None:
        """Write project.toml."""
        text = PROJECT.format(data=data, problem=problem)
        Path("project.toml").write_text(text)
        deployment = Bucket(load_settings("project.toml"), boto3.Session(), None)
        self._monkeypatch.setattr("ops.data.connect", lambda stage: deployment)

    def keys(self) -> list[str]:
        """List what is in the bucket."""
        found = self.s3.list_objects_v2(Bucket="tables").get("Contents", [])
        return [entry["Key"] for entry in found]

    def body(self, key: str) -> str:
        """Read an object."""
        return self.s3.get_object(Bucket="tables", Key=key)["Body"].read().decode()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield Desk(monkeypatch)


def save(frame: pd.DataFrame, name: str) -> str:
    """Write a table as a CSV file."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(name, index=False)
    return name


def test_a_full_export_is_not_sent_as_new_rows(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what it is and what to set; nothing is uploaded, and the exit status tells."""
    desk.project()
    first = customers()
    assert main(["data", save(first, "day-1.csv")]) == 0
    capsys.readouterr()
    second = pd.concat([next_day(first.iloc[4:]), customers(4, 200, 5)])
    assert main(["data", save(second, "day-2.csv")]) == 1
    told = capsys.readouterr().err
    for words in ("98% of the ids", "data/day-1.csv", "a full export?", '"snapshot"', "--anyway"):
        assert words in told
    assert desk.keys() == ["data/day-1.csv"]
    assert main(["data", "day-2.csv", "--anyway"]) == 0
    assert "will be held" in capsys.readouterr().out
    assert desk.keys() == ["data/day-1.csv", "data/day-2.csv"]


@pytest.mark.parametrize(
    ("arrival", "words"),
    [
        ("snapshot", "the newest file is the table, and 1 older file no longer count"),
        ("merge", "the newest row of each 'customer' counts"),
    ],
)
def test_what_the_run_will_do_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str], arrival: str, words: str
) -> None:
    """Under the arrival that is set, with the share of ids that are known."""
    desk.project(f'arrival = "{arrival}"')
    first = customers()
    main(["data", save(first, "day-1.csv")])
    assert "first table" in capsys.readouterr().out
    assert main(["data", save(next_day(first), "day-2.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert words in told["effect"]
    assert "100% are known, most from data/day-1.csv" in told["effect"]
    assert told["misfit"] is None
    assert [entry["uri"] for entry in told["uploaded"]] == ["s3://tables/data/day-2.csv"]


def test_a_file_that_replaces_its_older_version_is_not_compared_with_it(desk: Desk) -> None:
    """The same key is the same file; several files are compared with each other as well."""
    desk.project()
    first = customers()
    main(["data", save(first, "all.csv")])
    assert main(["data", save(next_day(first), "all.csv")]) == 0
    save(customers(first=500), "x/day-1.csv")
    save(next_day(customers(first=500)), "x/day-2.csv")
    assert main(["data", "x"]) == 1
    assert desk.keys() == ["data/all.csv"]


def test_without_an_id_nothing_is_compared_and_that_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that nothing names cannot be known again."""
    desk.project(problem="")
    main(["data", save(customers(), "day-1.csv")])
    capsys.readouterr()
    assert main(["data", save(next_day(customers()), "day-2.csv")]) == 0
    assert "no [problem] id_column" in capsys.readouterr().out


def test_a_folder_keeps_its_tables_names(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """What holds no rows stays here; what cannot be read is said; the keys are paths below it."""
    desk.project()
    save(customers(), "exports/2026/part-1.csv")
    save(customers(first=300), "exports/part-2.csv")
    for name in (".DS_Store", "README.md", "_SUCCESS", "old.sav"):
        Path("exports", name).write_text("x")
    assert main(["data", "exports"]) == 0
    assert desk.keys() == ["data/2026/part-1.csv", "data/part-2.csv"]
    told = capsys.readouterr().out
    assert "not sent: exports/old.sav is an SPSS file" in told
    assert "README" not in told


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.csv", None, "not a file"),
        ("t.sav", "x", "is an SPSS file"),
        ("t.csv", "", "is empty"),
        ("README.md", "x", "is no table"),
        ("t", "x", "a name that no table has"),
        ("t.xlsx", "x", "cannot be read as a spreadsheet"),
        ("t.json", '{"a": 1}', "no list of flat JSON objects"),
        ("t.json", '[{"a": [1]}]', "'a' of object 1 holds a list"),
    ],
)
def test_what_is_no_table_is_not_sent(
    desk: Desk, name: str, content: str | None, words: str
) -> None:
    """Named on the command line, it is refused with the reason."""
    desk.project()
    if content is not None:
        Path(name).write_text(content)
    with pytest.raises(OperationError, match=words):
        data.main(argparse.Namespace(files=[Path(name)], stage=None, sheet="", anyway=False))
    assert desk.keys() == []


PACKAGE = "http://schemas.openxmlformats.org/package/2006"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
KIND = "application/vnd.openxmlformats-"
WORKBOOK = {
    "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" '
    f'ContentType="{KIND}package.relationships+xml"/><Default Extension="xml" '
    'ContentType="application/xml"/><Override PartName="/xl/workbook.xml" '
    f'ContentType="{KIND}officedocument.spreadsheetml.sheet.main+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r" '
    f'Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><cellXfs count="2"><xf numFmtId="0"/>'
    '<xf numFmtId="14"/></cellXfs></styleSheet>',
}


def write_workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> None:
    """Write a workbook by hand, as the standard (ECMA-376) has it; ("date", n) is day n."""
    names = "".join(
        f'<sheet name="{name}" sheetId="{k}" r:id="rId{k}"/>' for k, name in enumerate(sheets, 1)
    )
    targets = "".join(
        f'<Relationship Id="rId{k}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{k}.xml"/>'
        for k in range(1, len(sheets) + 1)
    )
    styles = f'<Relationship Id="rIdS" Type="{OFFICE}/styles" Target="styles.xml"/>'
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in WORKBOOK.items():
            archive.writestr(part, text)
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{names}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships">{targets}{styles}</Relationships>',
        )
        for k, rows in enumerate(sheets.values(), 1):
            lines = ""
            for r, row in enumerate(rows, 1):
                cells = "".join(write_cell(r, c, cell) for c, cell in enumerate(row))
                lines += f'<row r="{r}">{cells}</row>'
            archive.writestr(
                f"xl/worksheets/sheet{k}.xml",
                f'<worksheet xmlns="{MAIN}"><sheetData>{lines}</sheetData></worksheet>',
            )


def write_cell(row: int, column: int, value: Any) -> str:
    """Write a cell: text in place, booleans and numbers by value, a date as a styled number."""
    where = f'r="{"ABCDEFGH"[column]}{row}"'
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c {where} t="b"><v>{int(value)}</v></c>'
    if isinstance(value, tuple):
        return f'<c {where} s="1"><v>{value[1]}</v></c>'
    if isinstance(value, str):
        return f'<c {where} t="inlineStr"><is><t>{value}</t></is></c>'
    return f"<c {where}><v>{value}</v></c>"


SHEET = [
    ["code", "count", "share", "since", "ok", None],
    ["007", 3, 0.25, ("date", 46023), True, None],
    [None, None, None, None, None, None],
    ["a,b", None, 1e-7, ("date", 46024), False, None],
]
# Day 46023 of Excel's calendar is 1 January 2026.
TEXT = 'code,count,share,since,ok\n007,3,0.25,2026-01-01,true\n"a,b",,1e-07,2026-01-02,false\n'


def test_a_spreadsheet_is_sent_as_csv(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes keep their zeros, whole numbers are whole, dates are ISO; empty lines are left out."""
    desk.project(problem="")
    write_workbook(Path("t.xlsx"), {"Data": SHEET, "Notes": []})
    assert main(["data", "t.xlsx"]) == 0
    assert desk.keys() == ["data/t.csv"]
    assert desk.body("data/t.csv") == TEXT
    assert "converted from t.xlsx" in capsys.readouterr().out


def test_a_workbook_of_several_sheets_needs_a_name(desk: Desk) -> None:
    """None is taken silently."""
    desk.project(problem="")
    write_workbook(Path("t.xlsx"), {"Data": SHEET, "Notes": [["x"], [1]]})
    with pytest.raises(OperationError, match="'Data', 'Notes'; name one: --sheet NAME"):
        convert(Path("t.xlsx"), Path("t.csv"), Data())
    assert main(["data", "t.xlsx", "--sheet", "Notes"]) == 0
    assert desk.body("data/t.csv") == "x\n1\n"
    assert main(["data", "t.xlsx", "--sheet", "Other"]) == 1


def test_lines_above_the_header_are_not_taken_for_it(tmp_path: Path) -> None:
    """A title in the first cell names no columns."""
    write_workbook(tmp_path / "t.xlsx", {"Data": [["Report of 2026"], *SHEET]})
    with pytest.raises(OperationError, match="delete the lines above the header"):
        convert(tmp_path / "t.xlsx", tmp_path / "t.csv", Data())


def test_json_is_sent_as_csv(desk: Desk) -> None:
    """A list of objects, or one a line; numbers as they are written, absent members are empty."""
    desk.project(problem="")
    Path("a.json").write_text('[{"id": "x", "n": 1.50, "ok": true}, {"id": "y", "n": null}]')
    Path("b.jsonl").write_text('{"id": "z", "n": 12345678901234567890}\n\n{"id": "ä"}\n')
    assert main(["data", "a.json", "b.jsonl"]) == 0
    assert desk.body("data/a.csv") == "id,n,ok\nx,1.50,true\ny,,\n"
    assert desk.body("data/b.csv") == "id,n\nz,12345678901234567890\nä,\n"


def test_what_is_converted_is_written_as_the_projects_tables_are(tmp_path: Path) -> None:
    """Separator, encoding and absent headers of [data] hold for it too."""
    (tmp_path / "a.json").write_text('[{"b": "ä;", "a": 1}]', encoding="utf-8")
    told = Data(separator=";", encoding="latin-1", columns=("a", "b"))
    convert(tmp_path / "a.json", tmp_path / "a.csv", told)
    assert (tmp_path / "a.csv").read_bytes() == '1;"ä;"\n'.encode("latin-1")
    with pytest.raises(OperationError, match="bring the same"):
        convert(tmp_path / "a.json", tmp_path / "a.csv", Data(columns=("a", "c")))
    (tmp_path / "a.json").write_text('[{"a": "Ω"}]', encoding="utf-8")
    with pytest.raises(OperationError, match="cannot write"):
        convert(tmp_path / "a.json", tmp_path / "a.csv", Data(encoding="latin-1"))


def test_nobodys_file_is_overwritten(tmp_path: Path) -> None:
    """`init` writes beside the spreadsheet, unless something else is there."""
    (tmp_path / "a.json").write_text('[{"a": 1}]')
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(OperationError, match="exists"):
        convert_beside(tmp_path / "a.json", Data())
    assert (tmp_path / "a.csv").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.json"]


def run_init(*arguments: str) -> dict[str, Any]:
    """Run init, and give project.toml."""
    assert main(["init", *arguments, "--target", "churned"]) == 0
    return tomllib.loads(Path("project.toml").read_text())


def test_full_exports_are_proposed_as_snapshots(desk: Desk) -> None:
    """The same customers day by day: the newest is the table, and the contract is of that."""
    frame, days = customers(), []
    for day in (9, 10, 11):
        days.append(save(frame, f"exports/day-{day}.csv"))
        frame = next_day(frame, day)
    project = run_init("exports")
    assert project["data"] == {"file": "exports", "arrival": "snapshot"}
    assert project["problem"]["id_column"] == "customer"
    assert "at least 100% of the ids (customer)" in Path("project.toml").read_text()
    job = read_folder(Path(), champion=None, trigger="manual", stage=None)
    read = read_data(job, Log(0.0))
    assert len(read.frame) == 200
    newest = pd.read_csv(days[-1])["balance"]
    assert read.frame["balance"].to_numpy() == pytest.approx(newest.to_numpy())


def test_updates_are_proposed_to_be_merged(desk: Desk) -> None:
    """Some customers again with other values, among new ones."""
    first = customers()
    save(first, "in/day-1.csv")
    save(pd.concat([next_day(first.head(40)), customers(60, 200, 3)]), "in/day-2.csv")
    project = run_init("in/day-1.csv", "in/day-2.csv")
    assert project["data"] == {"file": "in", "arrival": "merge"}
    job = read_folder(Path(), champion=None, trigger="manual", stage=None)
    assert len(read_data(job, Log(0.0)).frame) == 260


def test_row_numbers_that_start_anew_are_no_id(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file counts from 0: rows add up, and the number is neither id nor input."""
    for day in range(3):
        frame = customers(seed=day, first=1000 * day).drop(columns="customer")
        frame.insert(0, "id", np.arange(200))
        save(frame, f"in/day-{day}.csv")
    project = run_init("in")
    assert project["data"]["arrival"] == "append"
    assert "id_column" not in project["problem"]
    assert "id" not in project["columns"]
    assert "starts anew in each file" in capsys.readouterr().out
    job = read_folder(Path(), champion=None, trigger="manual", stage=None)
    assert len(read_data(job, Log(0.0)).frame) == 600


@pytest.mark.parametrize(
    ("ids", "arrival"),
    [
        ([f"c{k}" for k in range(200)], "merge"),
        (list(range(200)), "append"),
    ],
)
def test_one_file_says_what_is_safe(desk: Desk, ids: list[Any], arrival: str) -> None:
    """A text that names a row lasts; a number may start anew in the next file."""
    save(customers().assign(customer=ids).rename(columns={"customer": "id"}), "t.csv")
    project = run_init("t.csv")
    assert (project["data"]["arrival"], project["problem"]["id_column"]) == (arrival, "id")


def test_files_that_share_their_folder_are_all_named(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """[data] file is one file or folder, but never that of project.toml: init says how to go on."""
    save(customers(), "day-1.csv")
    save(customers(first=200, seed=1), "day-2.csv")
    project = run_init("day-1.csv", "day-2.csv")
    assert project["data"]["file"] == "day-2.csv"
    assert "python -m ops data day-1.csv day-2.csv" in capsys.readouterr().out


def test_init_reads_a_spreadsheet(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """It is written as CSV beside it, which is what project.toml names."""
    frame = customers(60)[["age", "plan", "balance", "churned"]]
    rows = [list(frame.columns), *frame.astype(object).to_numpy().tolist()]
    write_workbook(Path("t.xlsx"), {"Data": rows})
    project = run_init("t.xlsx")
    assert project["data"]["file"] == "t.csv"
    assert list(project["columns"]) == ["age", "plan", "balance"]
    assert pd.read_csv("t.csv").equals(frame)
    assert "written beside it" in capsys.readouterr().out
    Path("t.sav").write_text("x")
    with pytest.raises(OperationError, match="is an SPSS file"):
        init.main(init_arguments("t.sav", "--target", "churned", "--force"))


def init_arguments(*arguments: str) -> argparse.Namespace:
    """Parse the arguments of init."""
    parser = argparse.ArgumentParser()
    init.add_parser(parser.add_subparsers())
    return parser.parse_args(["init", *arguments])
