"""Reading: tables come in many forms, and out as one."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import DataError
from tests.training.data.contracts import CONTRACT, find
from training.data.inspection import (
    infer_contract,
)
from training.data.reading import find_tables, read_table
from training.data.tables import check_table


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


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


def test_durations_of_parquet_are_seconds(tmp_path: Path) -> None:
    """A timedelta is a number; a missing one is missing."""
    waits = pd.to_timedelta([90, None, 0.5], unit="s")
    pd.DataFrame({"wait": waits}).to_parquet(tmp_path / "t.parquet")

    assert read_table(tmp_path / "t.parquet")["wait"].tolist()[::2] == [90.0, 0.5]
    assert read_table(tmp_path / "t.parquet")["wait"].isna().tolist() == [False, True, False]
