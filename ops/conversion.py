"""Reads spreadsheets and JSON on this machine, and writes them as CSV, which training reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from core.data_objects import CONVERTED
from core.errors import OperationError
from core.settings.sections import Data

_JSON = (".json", ".jsonl", ".ndjson")


def is_convertible(path: Path) -> bool:
    """Say whether a file is a spreadsheet or JSON, by its name."""
    return path.suffix.lower() in CONVERTED


def convert(path: Path, target: Path, data: Data, *, sheet: str = "") -> int:
    """Write a spreadsheet, or JSON objects, as CSV; gives the number of rows.

    `data` says how the project's tables are written. `sheet` is needed where more than one sheet of
    a workbook holds something. Raises OperationError for a file that is no table, and where the
    target cannot be written.
    """
    is_json = path.suffix.lower() in _JSON
    header, rows = read_json(path) if is_json else read_sheet(path, sheet)
    lines = [header, *rows]
    if data.columns:
        if sorted(header) != sorted(data.columns):
            raise OperationError(
                f"{path} has the columns {', '.join(header)}, but project.toml says [data] "
                f"columns = {', '.join(data.columns)}: bring the same"
            )
        places = [header.index(name) for name in data.columns]
        lines = [[row[place] for place in places] for row in rows]
    # What is called latin-1 in the wild, and read so by training.
    encoding = {"": "utf-8", "latin-1": "cp1252"}.get(data.encoding, data.encoding)
    try:
        with target.open("w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=data.separator or ",", lineterminator="\n").writerows(lines)
    except UnicodeEncodeError as error:
        raise OperationError(
            f'{path} holds {error.object[error.start]!r}, which [data] encoding = "{data.encoding}"'
            ' cannot write: set it to "utf-8" or ""'
        ) from error
    except OSError as error:
        raise OperationError(f"cannot write {target}: {error.strerror}") from error
    return len(rows)


def read_sheet(path: Path, sheet: str = "") -> tuple[list[str], list[list[str]]]:
    """Read one sheet of a workbook (.xlsx, .xls, .xlsb, .ods): its header and its rows as text."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        workbook = CalamineWorkbook.from_path(str(path))
        sheets = {name: workbook.get_sheet_by_name(name) for name in workbook.sheet_names}
        filled = {name: found for name, found in sheets.items() if found.height}
    except (CalamineError, OSError) as error:
        raise OperationError(f"{path} cannot be read as a spreadsheet: {error}") from error
    names = ", ".join(map(repr, filled))
    if sheet:
        if sheet not in filled:
            raise OperationError(f"{path} has no filled sheet {sheet!r}; it has {names or 'none'}")
    elif len(filled) != 1:
        what = f"{len(filled)} sheets hold something: {names}" if filled else "every sheet is empty"
        raise OperationError(f"{path}: {what}" + ("; name one: --sheet NAME" if filled else ""))
    else:
        (sheet,) = filled
    rows = [[_write_cell(cell) for cell in row] for row in filled[sheet].to_python()]
    return _split_header(path, [row for row in rows if any(row)])


def _split_header(path: Path, rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Take the first row for the header, and drop columns without a cell."""
    used = [place for place in range(len(rows[0])) if any(row[place] for row in rows)]
    header, *body = ([row[place] for place in used] for row in rows)
    if sum(not name for name in header) > len(header) / 2:
        raise OperationError(
            f"{path}: the first row, {', '.join(filter(None, header))!r}, names fewer than half of "
            f"the {len(header)} columns: delete the lines above the header, and save it"
        )
    if not body:
        raise OperationError(f"{path}: there is no row below the header")
    return header, body


def _write_cell(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        # Spreadsheets know no whole numbers; training does.
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, timedelta):
        return repr(cell.total_seconds())
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    return str(cell)


def read_json(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a list of flat objects, or one object a line: the members' names and the rows."""
    what = f"{path} is no list of flat JSON objects"
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            rows = _parse(text)
        else:
            rows = [_parse(line) for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise OperationError(f"{what}: {error}; save it as CSV") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise OperationError(f"{what} such as [{{...}}, {{...}}]; save it as CSV")
    header = list(dict.fromkeys(name for row in rows for name in row))
    if not header:
        raise OperationError(f"{path}: there is no row in it")
    return header, [_write_members(what, place, row, header) for place, row in enumerate(rows)]


def _parse(text: str) -> Any:
    """Parse JSON, with numbers as they are written."""
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


def _write_members(what: str, place: int, row: dict[str, Any], header: Sequence[str]) -> list[str]:
    cells = []
    for name in header:
        value = row.get(name)
        if isinstance(value, dict | list):
            raise OperationError(
                f"{what}: {name!r} of object {place + 1} holds a list or an object; flatten it"
            )
        text = str(value).lower() if isinstance(value, bool) else str(value)
        cells.append("" if value is None else text)
    return cells


def convert_beside(path: Path, data: Data, *, sheet: str = "") -> Path:
    """Write a spreadsheet or JSON as a CSV of the same name beside it, and give that.

    Raises OperationError where such a file is there already with another content.
    """
    target, partial = path.with_suffix(".csv"), path.with_name(f".{path.stem}.csv.partial")
    try:
        convert(path, partial, data, sheet=sheet)
        if target.exists() and target.read_bytes() != partial.read_bytes():
            raise OperationError(
                f"{path} would be converted to {target}, which exists: name that file, or move it"
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
