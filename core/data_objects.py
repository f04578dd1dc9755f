"""What counts as a table under `data/` and `labels/`: one rule for Plan, training and `ops data`.

An object is a table that training reads, or unread (a format or state that holds rows which
training cannot take; a person is told), or ignored (folder markers, hidden files, documents: they
hold no rows and start nothing).
"""

import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["table", "unread", "ignored"]

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".csv.gz", ".tsv.gz", ".txt.gz", ".gz")

# Formats that hold rows, and how to bring them.
_UNREAD = {
    ".xlsx": "is a spreadsheet",
    ".xls": "is a spreadsheet",
    ".xlsm": "is a spreadsheet",
    ".xlsb": "is a spreadsheet",
    ".ods": "is a spreadsheet",
    ".numbers": "is a spreadsheet",
    ".json": "is JSON",
    ".jsonl": "is JSON lines",
    ".ndjson": "is JSON lines",
    ".feather": "is Feather",
    ".arrow": "is Arrow",
    ".orc": "is ORC",
    ".avro": "is Avro",
    ".zip": "is an archive",
    ".tar": "is an archive",
    ".tgz": "is an archive",
    ".7z": "is an archive",
    ".bz2": "is packed by bzip2",
    ".xz": "is packed by xz",
    ".zst": "is packed by Zstandard",
    ".sav": "is an SPSS file",
    ".dta": "is a Stata file",
    ".sas7bdat": "is a SAS file",
    ".rds": "is an R file",
    ".pkl": "is a Python pickle",
    ".pickle": "is a Python pickle",
    ".h5": "is HDF5",
    ".db": "is a database",
    ".sqlite": "is a database",
}
# What `ops data` converts on the own machine, before it sends.
CONVERTED = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".json", ".jsonl", ".ndjson")
# Files that hold no rows of a table.
_DOCUMENTS = (
    *(".md", ".rst", ".html", ".htm", ".pdf", ".doc", ".docx", ".log", ".yaml", ".yml", ".toml"),
    *(".ini", ".cfg", ".xml", ".sql", ".py", ".r", ".ipynb", ".sh", ".png", ".jpg", ".jpeg"),
    *(".gif", ".svg", ".crc", ".md5", ".sha1", ".sha256", ".asc", ".sig", ".tmp", ".part", ".bak"),
    *(".swp", ".lock"),
)
_DOCUMENT_NAMES = (
    *("readme", "readme.txt", "license", "license.txt", "notice", "changelog", "notes.txt"),
    *("manifest.txt", "thumbs.db"),
)


@dataclass(frozen=True)
class DataObject:
    """What one object is, and for an unread one, why and what to do, as the end of a sentence."""

    key: str
    kind: Kind
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.key} {self.reason}".strip()


def recognise(key: str, size: int) -> DataObject:
    """Say what an object is, by its key below `data/` (or a file's relative path) and its bytes."""
    parts = PurePosixPath(key).parts
    name = parts[-1].lower() if parts else ""
    # Spark, Hive and Athena hide what begins with "_" or "."; so do people.
    if key.endswith("/") or not parts or any(part.startswith((".", "_")) for part in parts):
        return DataObject(key, "ignored")
    suffix = PurePosixPath(name).suffix
    if name in _DOCUMENT_NAMES or suffix in _DOCUMENTS:
        return DataObject(key, "ignored")
    if name.startswith("~$"):  # what Excel writes beside an open file
        return DataObject(key, "ignored")
    if size == 0 and not suffix:
        return DataObject(key, "ignored")  # a folder, as some tools write one
    packed = suffix == ".gz"
    inner = PurePosixPath(name.removesuffix(".gz")).suffix if packed else suffix
    if inner in _UNREAD:
        todo = "save it as CSV or Parquet"
        if suffix in CONVERTED:
            todo += f", or run python -m ops data {shlex.quote(parts[-1])}, which converts it"
        why = f"{_UNREAD[inner]}, which training does not read"
        return DataObject(key, "unread", f"{why}: {todo}")
    if not name.endswith(TABLE_SUFFIXES):
        return DataObject(
            key,
            "unread",
            "has a name that no table has (.csv, .tsv, .txt, .gz, .parquet): rename it, or move it "
            "out of data/",
        )
    if size == 0:
        return DataObject(key, "unread", "is empty: write it again, or delete it")
    return DataObject(key, "table")
