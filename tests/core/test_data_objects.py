"""One rule for what a data object is: a table, something that is not read, or nothing."""

import pytest

from core.data_objects import recognise

TABLES = ("a.csv", "A.CSV", "day 1/part-0.csv.gz", "x/y.parquet", "t.tsv", "t.txt", "t.gz", "t.pq")
IGNORED = (
    *("", "folder/", ".DS_Store", "x/.hidden/a.csv", "_SUCCESS", "_temporary/0/part-0.csv"),
    *("README.md", "readme", "LICENSE.txt", "a.csv.crc", "~$t.xlsx", "Thumbs.db", "notes.pdf"),
    *("x/_delta_log/0.json", "report.html", "a.csv.tmp"),
)
UNREAD = {
    "t.xlsx": ("spreadsheet", "ops data t.xlsx"),
    "in/My t.ODS": ("spreadsheet", "ops data 'My t.ODS'"),
    "rows.json": ("JSON", "ops data rows.json"),
    "rows.jsonl": ("JSON lines", "ops data rows.jsonl"),
    "rows.json.gz": ("JSON", "save it as CSV or Parquet"),
    "t.csv.zip": ("archive", "save it as CSV or Parquet"),
    "t.sas7bdat": ("SAS", "save it as CSV or Parquet"),
    "part-00000": ("a name that no table has", "rename it"),
    "model.bin": ("a name that no table has", "move it out of data/"),
}


@pytest.mark.parametrize("key", TABLES)
def test_tables_go_by_their_names(key: str) -> None:
    """Upper case, folders and packing make no difference."""
    assert recognise(key, 10).kind == "table"


@pytest.mark.parametrize("key", IGNORED)
def test_what_holds_no_rows_is_ignored(key: str) -> None:
    """Folder markers, hidden files, what jobs leave beside their output, documents."""
    assert recognise(key, 10).kind == "ignored"
    assert recognise(key, 0).kind == "ignored"


@pytest.mark.parametrize(("key", "words"), UNREAD.items())
def test_rows_that_cannot_be_read_are_said(key: str, words: tuple[str, str]) -> None:
    """With why, and with what to do."""
    found = recognise(key, 10)
    assert found.kind == "unread"
    assert str(found).startswith(key)
    assert all(word in found.reason for word in words)


def test_an_empty_table_is_said_and_an_empty_object_without_a_name_is_a_folder() -> None:
    """An export that wrote nothing is a fault that nobody sees; a folder marker is none."""
    assert recognise("a.csv", 0).kind == "unread"
    assert "is empty" in recognise("a.csv", 0).reason
    assert recognise("folder_$folder", 0).kind == "ignored"
