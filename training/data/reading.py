"""Reading tables: CSV in its many forms, and Parquet."""

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from core.contract import (
    LARGEST_INTEGER,
)
from core.contract.cells import BLANKS, MISSING, MISSING_AMONG_NUMBERS
from core.data_objects import DataObject, recognise
from core.delimited import find_separator
from core.errors import DataError
from training.arrays import FloatArray, IntArray

_CODE = r"^0\d"  # 007 is a code, not the number 7
_LONG_CODE = r"^[+-]?\d{16,}$"
_SAMPLE_BYTES = 200_000
_PLAIN_DECIMAL_COMMA = r"^[+-]?\d+(,\d+)?$"
# Numbers as people write them: 1,234.5 or 1.234,5, with one unit before or behind, as in $5 or 5 %.
_UNIT = r"[$€£¥₹%]|USD|EUR|GBP|CHF|JPY|INR|"
_WRITTEN = re.compile(
    rf"([+-]?)({_UNIT})[ \u00a0]?(-?)(\d(?:[\d.,' \u00a0\u202f]*\d)?)[ \u00a0]?({_UNIT})"
)
_PLAIN = re.compile(r"\d+(\.\d+)?")
_BLANK_GROUPS = r"\d{1,3}(?:[' \u00a0\u202f]\d{3})+|\d+"
_DECIMAL_POINT = re.compile(rf"(\d{{1,3}}(,\d{{3}})+|{_BLANK_GROUPS})(\.\d+)?")
_DECIMAL_COMMA = re.compile(rf"(\d{{1,3}}(\.\d{{3}})+|{_BLANK_GROUPS})(,\d+)?")
# Where `read_table` keeps, in the frame's `attrs`, how such a column was read, by its name.
WRITTEN = "written"


def find_tables(source: Path | str | Iterable[Path | str]) -> list[Path]:
    """List the table files that `source` means: files, and what folders hold, sorted by path.

    Raises DataError if there are none, or a file does not exist.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    found: list[Path] = []
    for item in map(Path, sources):
        if item.is_dir():
            found += [path for path, what in _look_inside(item) if what.kind == "table"]
        elif item.is_file():
            found.append(item)
        else:
            raise DataError(f"{item}: there is no such file")
    if not found:
        shown = ", ".join(str(item) for item in sources) or "nothing"
        raise DataError(
            f"{shown}: no table here; a table ends in .csv, .tsv, .txt, .gz or .parquet"
        )
    return found


def find_unread(source: Path) -> list[DataObject]:
    """List the files of a folder whose rows cannot be read, each with what to do about it."""
    if not source.is_dir():
        return []
    return [what for _, what in _look_inside(source) if what.kind == "unread"]


def _look_inside(folder: Path) -> list[tuple[Path, DataObject]]:
    """List a folder's files by path, each with what `core.data_objects` takes it for."""
    inside = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        (path, recognise(path.relative_to(folder).as_posix(), path.stat().st_size))
        for path in inside
    ]


def read_table(
    source: Path | str | Iterable[Path | str],
    *,
    separator: str = "",
    encoding: str = "",
    columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Read one table from files or folders; see `read_files`."""
    return read_files(source, separator=separator, encoding=encoding, columns=columns)[0]


def read_files(
    source: Path | str | Iterable[Path | str],
    *,
    separator: str = "",
    encoding: str = "",
    columns: Sequence[str] = (),
) -> tuple[pd.DataFrame, IntArray]:
    """Read one table from files or folders of CSV (also gzipped) and Parquet.

    Gives the rows, and for each the position of its file among `find_tables(source)`.

    Separator and encoding are found out unless given; `columns` names the columns of CSV files
    without a header. Values are typed by looking at every row: whole numbers, numbers, or text;
    cells that say "NA" or nothing are missing. Several files are put one below the other, matched
    by column name. Raises DataError, naming the file, for anything that is not a table.
    """
    texts: list[pa.Table] = []
    frames: list[pd.DataFrame] = []
    from_texts: list[IntArray] = []
    places: list[IntArray] = []
    decimal_commas = False
    for place, path in enumerate(find_tables(source)):
        content = _read_bytes(path)
        if content[:4] == b"PAR1":
            frames.append(_read_parquet(path, content))
            places.append(np.full(len(frames[-1]), place, dtype=np.intp))
            continue
        text = _to_utf8(path, content, encoding)
        used = separator or find_separator(text[:_SAMPLE_BYTES].decode("utf-8", "ignore"))
        decimal_commas |= used != ","
        texts.append(_read_csv(path, text, used, columns))
        from_texts.append(np.full(len(texts[-1]), place, dtype=np.intp))
    if texts:
        joined = pa.concat_tables(texts, promote_options="default")
        frames.insert(0, _type_columns(joined, decimal_commas))
    whose = np.concatenate([*from_texts, *places])
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    if len(filled) == 1:
        return filled[0], whose
    return pd.concat(filled, ignore_index=True), whose


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name}: cannot be read: {error}") from error
    if not content.strip():
        raise DataError(f"{path.name}: is empty")
    if re.match(rb"(\xef\xbb\xbf)?\s*(\[\s*)?\{", content):
        raise DataError(f"{path.name}: is JSON; save it as CSV or Parquet")
    if content[:2] == b"PK" or content[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise DataError(f"{path.name}: is a spreadsheet or an archive; save it as CSV")
    return content


def _read_parquet(path: Path, content: bytes) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pa.parquet.read_table(pa.BufferReader(content)).to_pandas()
    except (pa.ArrowException, ValueError, OSError) as error:
        raise DataError(f"{path.name}: is not a readable Parquet file: {error}") from error
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    frame.columns = [str(name) for name in frame.columns]
    _check_names(path, list(frame.columns))
    for name in frame.columns:
        values = frame[name]
        if pd.api.types.is_timedelta64_dtype(values.dtype):
            frame[name] = values.dt.total_seconds()
        elif values.dtype == object and len(values) and values.map(_is_decimal).all():
            frame[name] = values.astype(np.float64)
    return frame


def _is_decimal(value: Any) -> bool:
    return value is None or type(value).__name__ == "Decimal"


def _to_utf8(path: Path, content: bytes, encoding: str) -> bytes:
    """Bring a text file to UTF-8 without a byte-order mark; raises DataError if it is no text."""
    if content.startswith(codecs.BOM_UTF8):
        content = content[3:]
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    if encoding in ("", "utf-8"):
        if _is_utf8(content):
            if b"\x00" in content[:65536]:
                raise DataError(f"{path.name}: is not a text file; give CSV or Parquet")
            return content
        if encoding == "utf-8":
            raise DataError(f'{path.name}: is not UTF-8; set [data] encoding, e.g. "latin-1"')
        if _is_binary(content[:65536]):
            raise DataError(f"{path.name}: is not a text file; give CSV or Parquet")
        encoding = "cp1252"  # what is called latin-1 in the wild
    try:
        if encoding == "latin-1":
            encoding = "cp1252" if not _has_c1(content) else "latin-1"
        return content.decode(encoding).encode()
    except (UnicodeDecodeError, LookupError):
        return content.decode("latin-1").encode()


def _is_utf8(content: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), 1 << 22):
            decoder.decode(content[start : start + (1 << 22)])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_binary(head: bytes) -> bool:
    """Say whether bytes hold control characters that no text has."""
    return any(byte < 32 and byte not in b"\t\n\r\f\v\x1b" for byte in head)


def _has_c1(content: bytes) -> bool:
    """Say whether bytes are in use that Windows-1252 leaves undefined."""
    return any(byte in content for byte in (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d"))


def _read_csv(path: Path, text: bytes, separator: str, columns: Sequence[str]) -> pa.Table:
    """Read every cell as text; raises DataError naming a row with too many or too few fields."""
    header, header_lines = (list(columns), 0) if columns else _read_header(path, text, separator)
    _check_names(path, header)
    ragged: list[pa.csv.InvalidRow] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = pa.csv.read_csv(
            pa.BufferReader(text),
            read_options=pa.csv.ReadOptions(
                column_names=header,
                skip_rows=header_lines,
                block_size=1 << 24,
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=separator,
                newlines_in_values=b'"' in text,
                ignore_empty_lines=len(header) > 1,
                invalid_row_handler=skip,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types={name: pa.string() for name in header}, strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, ValueError) as error:
        if "Empty CSV file" in str(error):
            return pa.table({name: pa.array([], pa.string()) for name in header})
        raise DataError(f"{path.name}: cannot be read as CSV: {error}") from error
    if ragged:
        raise DataError(
            f"{path.name}: {len(ragged)} rows do not have {len(header)} fields; "
            f"{_find_ragged(text, separator, len(header))}. The header is read as "
            f"{', '.join(map(repr, header))[:80]}: check the separator, quotes and lines above it"
        )
    return table


def _find_ragged(text: bytes, separator: str, fields: int) -> str:
    """Say where the first row with another number of fields ends; Arrow's threads do not know."""
    lines = io.TextIOWrapper(io.BytesIO(text), "utf-8", newline="")
    rows = csv.reader(lines, delimiter=separator)
    with suppress(csv.Error):
        for row in rows:
            if row and len(row) != fields:
                return f"line {rows.line_num} has {len(row)}"
    return "one has more or fewer"


def _read_header(path: Path, text: bytes, separator: str) -> tuple[list[str], int]:
    """Read the columns' names (column_3 for the third without one), and count their lines."""
    head = io.StringIO(text[: 1 << 20].decode("utf-8", "ignore"), newline="")
    rows = csv.reader(head, delimiter=separator)
    try:
        names = next(row for row in rows if row)
    except (StopIteration, csv.Error) as error:
        raise DataError(f"{path.name}: has no header") from error
    named = [name.strip(BLANKS) or f"column_{i + 1}" for i, name in enumerate(names)]
    return named, rows.line_num


def _check_names(path: Path, names: list[str]) -> None:
    twice = (
        sorted({name for name in names if names.count(name) > 1})
        if len(set(names)) < len(names)
        else []
    )
    if twice:
        shown = ", ".join(map(repr, twice[:5])) + (", ..." if len(twice) > 5 else "")
        raise DataError(
            f"{path.name}: more than one column is named {shown}; "
            "rename all but one in the file's header"
        )


def _type_columns(table: pa.Table, decimal_commas: bool) -> pd.DataFrame:
    """Type columns of text: whole numbers, numbers, or text; a missing cell is NaN or None."""
    typed: dict[str, Any] = {}
    written: dict[str, str] = {}
    for name, cells in zip(table.column_names, table.columns, strict=True):
        typed[name] = type_cells(cells, decimal_commas=decimal_commas)
        if typed[name].dtype == object:
            found = _read_written_numbers(cast("NDArray[np.object_]", typed[name]))
            if found is not None:
                typed[name], written[name] = found
    frame = pd.DataFrame(typed, index=pd.RangeIndex(table.num_rows))
    frame.attrs[WRITTEN] = written
    return frame


def type_cells(cells: pa.ChunkedArray, *, decimal_commas: bool = False) -> NDArray[Any]:
    """Type one column of text cells as int64, float64 (missing: NaN) or object (missing: None)."""
    numbers = _cast_numbers(cells)
    if numbers is not None:
        return numbers
    cells = pc.utf8_trim(cells, characters=BLANKS)
    lowered = pc.utf8_lower(cells)
    absent = pc.is_in(lowered, value_set=pa.array(MISSING_AMONG_NUMBERS))
    numbers = _cast_numbers(pc.if_else(absent, pa.scalar(None, pa.string()), cells))
    if numbers is None and decimal_commas:
        filled = pc.if_else(absent, pa.scalar(None, pa.string()), cells)
        if pc.all(pc.match_substring_regex(filled, _PLAIN_DECIMAL_COMMA)).as_py():
            numbers = _cast_numbers(pc.replace_substring(filled, ",", "."))
    if numbers is not None:
        return numbers
    missing = pc.is_in(lowered, value_set=pa.array(MISSING))
    return _share_texts(pc.if_else(missing, pa.scalar(None, pa.string()), cells))


def _read_written_numbers(cells: NDArray[np.object_]) -> tuple[FloatArray, str] | None:
    """Read numbers with grouped digits, decimal commas or a unit, if all cells are written alike.

    Gives float64 (missing: NaN) and an example of how a cell was read.
    """
    codes, distinct = pd.factorize(cells, use_na_sentinel=True)
    parts: dict[int, tuple[str, ...]] = {}
    for place, text in enumerate(distinct):
        match = _WRITTEN.fullmatch(text)
        if match is not None:
            parts[place] = match.groups()
        elif text.lower() not in MISSING_AMONG_NUMBERS:
            return None
    digits = [part[3] for part in parts.values()]
    units = {part[1] + part[4] for part in parts.values() if part[3].strip("0.,")}
    is_code = any(re.match(r"0\d", text) for text in digits)
    if len(units) != 1 or is_code or (units == {""} and all(map(_PLAIN.fullmatch, digits))):
        return None
    if all(map(_DECIMAL_POINT.fullmatch, digits)):
        plain = [re.sub(r"[,' \u00a0\u202f]", "", text) for text in digits]
    elif all(map(_DECIMAL_COMMA.fullmatch, digits)):
        plain = [re.sub(r"[.' \u00a0\u202f]", "", text).replace(",", ".") for text in digits]
    else:
        return None
    numbers = np.full(len(distinct) + 1, np.nan)
    for (place, (sign, _, minus, _, _)), text in zip(parts.items(), plain, strict=True):
        numbers[place] = float(f"-{text}" if "-" in sign + minus else text)
    first = next(iter(parts))
    return numbers[codes], f"{distinct[first]!r} is read as {numbers[first]:.15g}"


def _cast_numbers(cells: pa.ChunkedArray) -> NDArray[Any] | None:
    """Read text cells as exact numbers; None if one is no number or a code, or all are missing."""
    if cells.null_count == len(cells):
        return None
    try:
        numbers = cells.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return None
    zeros = cells.filter(pc.starts_with(cells, "0"))
    if pc.any(pc.match_substring_regex(zeros, _CODE)).as_py():
        return None
    if (np.abs(numbers) > LARGEST_INTEGER).any():
        if pc.any(pc.match_substring_regex(cells, _LONG_CODE)).as_py():
            return None  # digits beyond float64: a code, not a quantity
    elif not cells.null_count:
        with suppress(pa.ArrowInvalid):
            return cast("NDArray[np.int64]", cells.cast(pa.int64()).to_numpy())
    return cast("FloatArray", numbers.astype(np.float64))


def _share_texts(texts: pa.ChunkedArray) -> NDArray[np.object_]:
    """Turn text cells into Python objects, one object for each distinct text."""
    encoded = pc.dictionary_encode(texts.combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    places = pc.fill_null(encoded.indices, len(words) - 1).to_numpy(zero_copy_only=False)
    return cast("NDArray[np.object_]", words[places])
