"""Tables: reading them, finding out what is in them, and turning them into a matrix.

`read_table` takes CSV in its many forms and Parquet. `check_table` brings a table to the contract's
types or refuses it, naming the columns, how many rows, and examples. `encode_table` is
`Contract.encode` for a whole table, equal to it bit for bit.
"""

import codecs
import csv
import difflib
import gzip
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from core.contract import (
    LARGEST_INTEGER,
    TEXT_BUCKETS,
    Column,
    Contract,
    count_words,
    spell_label,
)
from core.errors import ContractError, DataError, Problem
from core.rows import MAX_CATEGORY_CHARACTERS, MAX_TEXT_CHARACTERS

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
ObjectArray: TypeAlias = NDArray[np.object_]
Series: TypeAlias = "pd.Series[Any]"

SEPARATORS = (",", ";", "\t", "|")

# Cells that mean "no value", whatever the column holds (compared in lower case, without blanks).
MISSING = ("", "na", "n/a", "nan", "null", "none", "#n/a", "<na>", "nat", "\\n", "missing")
# Cells that mean "no value" in a column of numbers or dates.
MISSING_AMONG_NUMBERS = (*MISSING, "?", "-", "--", ".", "unknown", "#value!", "#div/0!", "#ref!")

TRUE_WORDS = ("true", "t", "yes", "y", "on", "1")
FALSE_WORDS = ("false", "f", "no", "n", "off", "0")

# A category column learns at most this many values, the most frequent; all others count as unseen.
MAX_LEARNED_CATEGORIES = 100

_BLANKS = " \t\r\n\u00a0\u2007\u202f\ufeff"
_CODE = r"^0\d"  # 007 is a code, not the number 7
_LONG_CODE = r"^[+-]?\d{16,}$"
_SAMPLE_BYTES = 200_000
_DECIMAL_COMMA = r"^[+-]?\d+(,\d+)?$"
_ISO_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}.*)?$"
_DATE_FORMATS = (
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%Y/%m/%d",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%Y/%m/%d %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
)


# Reading.


def find_tables(source: Path | str | Iterable[Path | str]) -> list[Path]:
    """List the table files that `source` means: files, and what folders hold, sorted by path.

    Raises DataError if there are none, or a file does not exist.
    """
    sources = [source] if isinstance(source, str | Path) else list(source)
    found: list[Path] = []
    for item in map(Path, sources):
        if item.is_dir():
            inside = sorted(
                p for p in item.rglob("*") if p.is_file() and not p.name.startswith(".")
            )
            found += [path for path in inside if _is_table_name(path.name)]
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


def _is_table_name(name: str) -> bool:
    return name.lower().endswith(
        (".csv", ".tsv", ".txt", ".parquet", ".pq", ".csv.gz", ".tsv.gz", ".gz")
    )


def read_table(
    source: Path | str | Iterable[Path | str],
    *,
    separator: str = "",
    encoding: str = "",
    columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Read one table from files or folders of CSV (also gzipped) and Parquet.

    Separator and encoding are found out unless given; `columns` names the columns of CSV files
    without a header. Values are typed by looking at every row: whole numbers, numbers, or text;
    cells that say "NA" or nothing are missing. Several files are put one below the other, matched
    by column name. Raises DataError, naming the file, for anything that is not a table.
    """
    texts: list[pa.Table] = []
    frames: list[pd.DataFrame] = []
    decimal_commas = False
    for path in find_tables(source):
        content = _read_bytes(path)
        if content[:4] == b"PAR1":
            frames.append(_read_parquet(path, content))
            continue
        text = _to_utf8(path, content, encoding)
        used = separator or find_separator(text[:_SAMPLE_BYTES].decode("utf-8", "ignore"))
        decimal_commas |= used != ","
        texts.append(_read_csv(path, text, used, columns))
    if texts:
        joined = pa.concat_tables(texts, promote_options="default")
        frames.insert(0, _type_columns(joined, decimal_commas))
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    if len(filled) == 1:
        return filled[0]
    return pd.concat(filled, ignore_index=True)


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name}: cannot be read: {error}") from error
    if not content.strip():
        raise DataError(f"{path.name}: is empty")
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
        if values.dtype == object and len(values) and values.map(_is_decimal).all():
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


def find_separator(text: str) -> str:
    """Find the separator that splits the first lines most evenly; a comma for a single column."""
    sample = text[: text.rfind("\n") + 1] or text
    best, best_score = ",", (0.0, 0)
    for candidate in SEPARATORS:
        try:
            rows = csv.reader(io.StringIO(sample, newline=""), delimiter=candidate)
            widths = [len(row) for row, _ in zip(rows, range(200), strict=False) if row]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        score = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
        if score > best_score:
            best, best_score = candidate, score
    return best


def _read_csv(path: Path, text: bytes, separator: str, columns: Sequence[str]) -> pa.Table:
    """Read every cell as text; raises DataError naming a row with too many or too few fields."""
    header = list(columns) or _read_header(path, text, separator)
    _check_names(path, header)
    ragged: list[tuple[int | None, int, int]] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        ragged.append((row.number, row.expected_columns, row.actual_columns))
        return "skip"

    try:
        table = pa.csv.read_csv(
            pa.BufferReader(text),
            read_options=pa.csv.ReadOptions(
                column_names=header,
                skip_rows=0 if columns else 1,
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
        number, expected, actual = ragged[0]
        row = "a row" if number is None else f"row {number - 1}"
        raise DataError(
            f"{path.name}: {len(ragged)} rows do not have {expected} fields; {row} has {actual}. "
            "Check the separator and quotes"
        )
    return table


def _read_header(path: Path, text: bytes, separator: str) -> list[str]:
    """Read the names of the columns, and rename what has none as column_1, column_2, ..."""
    head = io.StringIO(text[: 1 << 20].decode("utf-8", "ignore"), newline="")
    try:
        names = next(row for row in csv.reader(head, delimiter=separator) if row)
    except (StopIteration, csv.Error) as error:
        raise DataError(f"{path.name}: has no header") from error
    return [name.strip(_BLANKS) or f"column_{i + 1}" for i, name in enumerate(names)]


def _check_names(path: Path, names: list[str]) -> None:
    twice = (
        sorted({name for name in names if names.count(name) > 1})
        if len(set(names)) < len(names)
        else []
    )
    if twice:
        raise DataError(f"{path.name}: more than one column is named {', '.join(map(repr, twice))}")


def _type_columns(table: pa.Table, decimal_commas: bool) -> pd.DataFrame:
    """Type columns of text: whole numbers, numbers, or text; a missing cell is NaN or None."""
    typed: dict[str, Any] = {}
    for name, cells in zip(table.column_names, table.columns, strict=True):
        typed[name] = type_cells(cells, decimal_commas=decimal_commas)
    return pd.DataFrame(typed, index=pd.RangeIndex(table.num_rows))


def type_cells(cells: pa.ChunkedArray, *, decimal_commas: bool = False) -> NDArray[Any]:
    """Type one column of text cells as int64, float64 (missing: NaN) or object (missing: None)."""
    numbers = _cast_numbers(cells)
    if numbers is not None:
        return numbers
    cells = pc.utf8_trim(cells, characters=_BLANKS)
    lowered = pc.utf8_lower(cells)
    absent = pc.is_in(lowered, value_set=pa.array(MISSING_AMONG_NUMBERS))
    numbers = _cast_numbers(pc.if_else(absent, pa.scalar(None, pa.string()), cells))
    if numbers is None and decimal_commas:
        filled = pc.if_else(absent, pa.scalar(None, pa.string()), cells)
        if pc.all(pc.match_substring_regex(filled, _DECIMAL_COMMA)).as_py():
            numbers = _cast_numbers(pc.replace_substring(filled, ",", "."))
    if numbers is not None:
        return numbers
    missing = pc.is_in(lowered, value_set=pa.array(MISSING))
    return _share_texts(pc.if_else(missing, pa.scalar(None, pa.string()), cells))


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
    finite = numbers[np.isfinite(numbers)]
    if len(finite) and np.abs(finite).max() > LARGEST_INTEGER:
        if pc.any(pc.match_substring_regex(cells, _LONG_CODE)).as_py():
            return None  # digits beyond float64: a code, not a quantity
    elif not cells.null_count:
        with suppress(pa.ArrowInvalid):
            return cast("IntArray", cells.cast(pa.int64()).to_numpy())
    return cast("FloatArray", numbers.astype(np.float64))


def _share_texts(texts: pa.ChunkedArray) -> ObjectArray:
    """Turn text cells into Python objects, one object for each distinct text."""
    encoded = pc.dictionary_encode(texts.combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    places = pc.fill_null(encoded.indices, len(words) - 1).to_numpy(zero_copy_only=False)
    return cast("ObjectArray", words[places])


# Bringing columns to the contract's types.


class _Problems:
    """Collects what is wrong with a table, a column at a time."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.found: list[Problem] = []

    def add(
        self, column: Column, mask: NDArray[np.bool_], values: Series, what: str, code: str
    ) -> None:
        """Note that the rows of `mask` are wrong, with their number and examples."""
        places = np.flatnonzero(mask)
        if not len(places):
            return
        examples = ""
        if not column.sensitive and code != "missing":
            shown = dict.fromkeys(_shorten(values.iloc[place]) for place in places[:1000])
            examples = f", e.g. {', '.join(list(shown)[:3])}"
        first = ", ".join(str(place) for place in places[:3])
        where = (
            f"{'row' if len(places) == 1 else 'rows'} {first}{', ...' if len(places) > 3 else ''}"
        )
        message = f"{len(places)} of {self.rows} rows {what}{examples} ({where})"
        self.found.append(Problem(None, column.name, message, code))


def _shorten(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 40 else text[:37] + "..."


def coerce_column(
    values: Series, column: Column, problems: _Problems | None = None
) -> NDArray[Any]:
    """Bring one column to the contract's type.

    number, integer and boolean become float64 (missing: NaN); timestamp becomes datetime64[us] in
    UTC (missing: NaT); category and text become objects (missing: None). Raises DataError for
    values that are not of the type, beyond a limit, unseen where that is refused, or missing where
    they must not be; with `problems` given, notes them there instead.
    """
    noted = problems if problems is not None else _Problems(len(values))
    result, unreadable = _COERCE[column.type](values)
    what = {
        "number": "hold no number",
        "integer": "hold no number",
        "boolean": "hold neither true nor false",
        "timestamp": "hold no date",
        "category": f"hold no text of at most {MAX_CATEGORY_CHARACTERS} characters",
        "text": f"hold no text of at most {MAX_TEXT_CHARACTERS} characters",
    }[column.type]
    noted.add(column, unreadable, values, what, "wrong_type")
    missing = pd.isna(result)
    if column.type in ("number", "integer"):
        _note_numbers(cast("FloatArray", result), column, values, noted)
    elif column.type == "category" and column.unseen == "refuse":
        unseen = ~missing & ~pd.Series(result).isin(column.categories).to_numpy()
        noted.add(column, unseen, values, "hold a value that is not listed", "unseen_category")
    if not column.missing:
        noted.add(column, missing & ~unreadable, values, "have no value", "missing")
    if problems is None and noted.found:
        raise DataError("the table does not fit the contract", noted.found)
    return result


def _note_numbers(numbers: FloatArray, column: Column, values: Series, noted: _Problems) -> None:
    infinite = np.isinf(numbers)
    noted.add(column, infinite, values, "hold an infinite value", "not_finite")
    finite = ~infinite & ~np.isnan(numbers)
    if column.type == "integer":
        fractional = finite & (numbers != np.floor(numbers))
        noted.add(column, fractional, values, "hold a fraction, not a whole number", "wrong_type")
        large = finite & (np.abs(numbers) > LARGEST_INTEGER)
        noted.add(column, large, values, "hold a number too large to be exact", "too_large")
    if column.min is not None:
        low = finite & (numbers < column.min)
        noted.add(column, low, values, f"are below the minimum of {column.min:.15g}", "too_small")
    if column.max is not None:
        high = finite & (numbers > column.max)
        noted.add(column, high, values, f"are above the maximum of {column.max:.15g}", "too_large")


_Coerced: TypeAlias = tuple[NDArray[Any], NDArray[np.bool_]]


def _convert_distinct(
    values: Series, convert: Callable[[Any], Any], dtype: Any, empty: Any
) -> _Coerced:
    """Convert each distinct value once; `convert` gives None if missing, raises if unreadable."""
    try:
        codes, distinct = pd.factorize(values.astype(object), use_na_sentinel=True)
    except TypeError as error:
        raise DataError(
            f"column {values.name!r} holds lists or objects, not plain values"
        ) from error
    converted = np.empty(len(distinct) + 1, dtype=dtype)
    converted[-1] = empty
    bad = np.zeros(len(distinct) + 1, dtype=bool)
    for place, value in enumerate(distinct):
        try:
            result = convert(value)
        except (ValueError, OverflowError):
            result, bad[place] = None, True
        converted[place] = empty if result is None else result
    return converted[codes], bad[codes]


def _coerce_numbers(values: Series) -> _Coerced:
    if _is_numeric(values):
        return values.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(values), dtype=bool)
    return _convert_distinct(values, _read_number, np.float64, np.nan)


def _is_numeric(values: Series) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_complex_dtype(
        values.dtype
    )


def _read_number(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip(_BLANKS)
        if text.lower() in MISSING_AMONG_NUMBERS:
            return None
        if "_" in text:
            raise ValueError(text)
        return float(text)
    if isinstance(value, int | float | np.number | np.bool_) or type(value).__name__ == "Decimal":
        return float(value)
    raise ValueError(type(value).__name__)


def _coerce_booleans(values: Series) -> _Coerced:
    if _is_numeric(values):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        bad = ~np.isnan(numbers) & (numbers != 0) & (numbers != 1)
        return np.where(bad, np.nan, numbers), bad
    return _convert_distinct(values, _read_boolean, np.float64, np.nan)


def _read_boolean(value: Any) -> float | None:
    word = str(value).strip(_BLANKS).lower()
    if word in MISSING_AMONG_NUMBERS:
        return None
    if word in TRUE_WORDS or word == "1.0":
        return 1.0
    if word in FALSE_WORDS or word == "0.0":
        return 0.0
    raise ValueError(word)


def _coerce_texts(values: Series) -> _Coerced:
    return _convert_distinct(values, _read_category, object, None)


def _coerce_long_texts(values: Series) -> _Coerced:
    return _convert_distinct(values, _read_text, object, None)


def _read_category(value: Any) -> str | None:
    text = spell_value(value)
    if text.lower() in MISSING:
        return None
    if len(text) > MAX_CATEGORY_CHARACTERS:
        raise ValueError(text)
    return text


def _read_text(value: Any) -> str | None:
    text = spell_value(value)
    if text.lower() in MISSING:
        return None
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ValueError(text)
    return text


def spell_value(value: Any) -> str:
    """Write a cell as text, as categories and classes are named: 2.0 is "2", True is "true"."""
    if type(value) is str:
        return value.strip(_BLANKS)
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bytes):
        plain = plain.decode("utf-8", "replace")
    if isinstance(plain, datetime):
        return plain.isoformat()
    return spell_label(plain)[0].strip(_BLANKS)


def _coerce_timestamps(values: Series) -> _Coerced:
    none_bad = np.zeros(len(values), dtype=bool)
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        if values.dt.tz is not None:
            values = values.dt.tz_convert("UTC").dt.tz_localize(None)
        return values.to_numpy().astype("datetime64[us]"), none_bad
    if _is_numeric(values):
        missing = values.isna().to_numpy(dtype=bool)
        return np.full(len(values), np.datetime64("NaT"), dtype="datetime64[us]"), ~missing
    codes, distinct = pd.factorize(values.astype(object), use_na_sentinel=True)
    parsed, bad = parse_dates([str(v).strip(_BLANKS) for v in distinct])
    return np.append(parsed, np.datetime64("NaT", "us"))[codes], np.append(bad, False)[codes]


def parse_dates(texts: Sequence[str]) -> tuple[NDArray[np.datetime64], NDArray[np.bool_]]:
    """Read dates, each in ISO 8601 or all in one of the customary formats, as UTC.

    Gives datetime64[us] and which texts hold no date. Where day and month could be either, the day
    comes first.
    """
    cells = pa.array(texts, pa.string())
    iso = pc.match_substring_regex(cells, _ISO_DATE).to_numpy(zero_copy_only=False)
    # pandas is fast and agrees with datetime.fromisoformat, but only for the years 1678 to 2261.
    moments = pd.to_datetime(
        pd.Series(texts, dtype=object).where(iso), format="ISO8601", utc=True, errors="coerce"
    )
    parsed = moments.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    rest: list[int] = []
    for place in np.flatnonzero(np.isnat(parsed)):
        text = texts[place]
        if text.lower() in MISSING_AMONG_NUMBERS:
            continue
        if iso[place]:
            with suppress(ValueError):
                parsed[place] = _in_utc(datetime.fromisoformat(text))
                continue
        rest.append(int(place))
    bad = np.zeros(len(texts), dtype=bool)
    bad[rest] = ~_parse_customary_dates(texts, rest, parsed)
    return parsed, bad


def _parse_customary_dates(
    texts: Sequence[str], places: list[int], parsed: NDArray[np.datetime64]
) -> bool:
    """Fill in the dates at `places` if one customary format fits them all; say whether one did."""
    for form in _DATE_FORMATS:
        try:
            moments = [datetime.strptime(texts[place], form) for place in places]
        except ValueError:
            continue
        parsed[places] = np.array(moments, dtype="datetime64[us]")
        return True
    return False


def _in_utc(moment: datetime) -> datetime:
    """Bring a moment to UTC the way `Contract.encode` does, without its offset."""
    offset = moment.utcoffset()
    if offset:
        with suppress(OverflowError):
            moment = moment - offset
    return moment.replace(tzinfo=None)


_COERCE: dict[str, Callable[[Series], _Coerced]] = {
    "number": _coerce_numbers,
    "integer": _coerce_numbers,
    "boolean": _coerce_booleans,
    "timestamp": _coerce_timestamps,
    "category": _coerce_texts,
    "text": _coerce_long_texts,
}


# Checking a table against a contract.


@dataclass(frozen=True)
class CheckedTable:
    """A table that fits its contract, and figures about it.

    `frame` holds the contract's columns as `coerce_column` gives them, then, where the table has
    them, the target, the time (datetime64[us] or float64), the group and the id. Rows without a
    target are left out of a supervised task's. `quality` is JSON-ready.
    """

    frame: pd.DataFrame
    quality: dict[str, Any]

    @property
    def warnings(self) -> list[str]:
        """Say what is unusual about the table but does not stop training."""
        return cast("list[str]", self.quality["warnings"])


def check_table(frame: pd.DataFrame, contract: Contract) -> CheckedTable:
    """Bring a table to the contract's types, or refuse it.

    Raises DataError with one problem a column and kind: the column, how many rows, examples.
    Columns that the contract does not name are ignored, and listed under `quality`.
    """
    problems = _Problems(len(frame))
    if frame.empty:
        raise DataError("the table has no rows")
    supervised = contract.target is not None and contract.task not in ("anomaly", "clustering")
    needed = (*contract.column_names, *((contract.target,) if supervised else ()))
    _check_presence(frame, [name for name in needed if name is not None], problems)
    present = [column for column in contract.columns if column.name in frame.columns]
    cleaned: dict[str, Any] = {
        column.name: coerce_column(frame[column.name], column, problems) for column in present
    }
    labelled = np.ones(len(frame), dtype=bool)
    if contract.target is not None and contract.target in frame.columns:
        labels = _coerce_target(frame[contract.target], contract, problems)
        cleaned[contract.target] = labels
        if supervised:
            labelled = ~pd.isna(labels)
    if problems.found:
        raise DataError("the table does not fit the contract", problems.found)
    for role in (contract.time_column, contract.group_column, contract.id_column):
        if role is not None and role in frame.columns and role not in cleaned:
            is_time = role == contract.time_column
            cleaned[role] = order_values(frame[role]) if is_time else frame[role].to_numpy()
    if not labelled.any():
        raise DataError(f"no row has a value of the target {contract.target!r}")
    table = pd.DataFrame(cleaned, index=pd.RangeIndex(len(frame)))
    if not labelled.all():
        table = table[labelled].reset_index(drop=True)
    return CheckedTable(table, _measure_quality(frame, table, contract, labelled))


def _check_presence(frame: pd.DataFrame, needed: Iterable[str], problems: _Problems) -> None:
    names = [str(name) for name in frame.columns]
    for name in needed:
        if name not in frame.columns:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
            hint = f"; the table has {close[0]!r}" if close else ""
            problems.found.append(Problem(None, name, f"is not in the table{hint}", "no_column"))


def order_values(values: Series) -> NDArray[Any]:
    """Bring a time column to what can be sorted: datetime64[us], or float64 where it holds numbers.

    Raises DataError where it holds neither.
    """
    if _is_numeric(values):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    moments, bad = _coerce_timestamps(values)
    if bad.any():
        problems = _Problems(len(values))
        column = Column(str(values.name), "timestamp")
        problems.add(column, bad, values, "hold neither a date nor a number", "wrong_type")
        raise DataError("the time column cannot be put in order", problems.found)
    return moments


def _coerce_target(values: Series, contract: Contract, problems: _Problems) -> NDArray[Any]:
    """Bring labels to class names (objects, missing: None) or float64 (missing: NaN)."""
    name = str(contract.target)
    column = Column(name, "number" if contract.task == "regression" else "category", missing=True)
    if contract.task == "regression":
        return coerce_column(values, column, problems)

    def read(value: Any) -> str | None:
        plain = value.item() if isinstance(value, np.generic) else value
        if spell_value(plain).lower() in MISSING:
            return None
        try:
            return str(contract.parse_label(plain))
        except ContractError as error:
            raise ValueError from error

    labels, unknown = _convert_distinct(values, read, object, None)
    names = ", ".join(contract.label_names[:20])
    problems.add(column, unknown, values, f"hold a class other than {names}", "unknown_label")
    return labels


def _measure_quality(
    raw: pd.DataFrame, table: pd.DataFrame, contract: Contract, labelled: NDArray[np.bool_]
) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    warnings: list[str] = []
    for column in contract.columns:
        values = table[column.name]
        missing = int(values.isna().sum())
        figures: dict[str, Any] = {"missing": missing, "distinct": int(values.nunique())}
        if column.type == "category" and column.categories:
            known = values.isin(column.categories) | values.isna()
            figures["unseen"] = int((~known).sum())
        if column.type in ("number", "integer", "timestamp") and missing < len(values):
            figures["low"], figures["high"] = _plain(values.min()), _plain(values.max())
        columns[column.name] = figures
        if missing == len(values):
            warnings.append(f"column {column.name!r} has no values")
        elif figures["distinct"] == 1 and not missing:
            warnings.append(f"column {column.name!r} has the same value in every row")
    known_names = {*contract.column_names, contract.target, contract.time_column}
    known_names |= {contract.group_column, contract.id_column}
    ignored = [str(name) for name in raw.columns if str(name) not in known_names]
    duplicates = count_duplicates(table[list(contract.column_names)])
    if duplicates:
        warnings.append(f"{duplicates} of {len(table)} rows repeat an earlier row")
    unlabelled = int((~labelled).sum())
    if unlabelled:
        warnings.append(f"{unlabelled} of {len(raw)} rows have no target and are left out")
    quality: dict[str, Any] = {
        "rows": len(raw),
        "rows_without_target": unlabelled,
        "duplicate_rows": duplicates,
        "ignored_columns": ignored,
        "columns": columns,
        "warnings": warnings,
    }
    if contract.is_classification:
        counts = table[contract.target].value_counts()
        quality["classes"] = {name: int(counts.get(name, 0)) for name in contract.classes}
    return quality


def _plain(value: Any) -> float | str:
    return value.isoformat() if isinstance(value, pd.Timestamp) else float(value)


def count_duplicates(frame: pd.DataFrame) -> int:
    """Count the rows that repeat an earlier row in every column."""
    if not len(frame.columns) or not len(frame):
        return 0
    return int(pd.util.hash_pandas_object(frame, index=False).duplicated().sum())


# Encoding.


def encode_table(frame: pd.DataFrame, contract: Contract) -> FloatArray:
    """Turn a table into the matrix (rows, len(contract.features)) that models are functions of.

    Equal, bit for bit, to `Contract.encode` of each row. Takes a raw table or a checked one; raises
    DataError for values that the contract refuses and columns that are not there.
    """
    problems = _Problems(len(frame))
    _check_presence(frame, contract.column_names, problems)
    if problems.found:
        raise DataError("the table does not fit the contract", problems.found)
    matrix = np.empty((len(frame), len(contract.features)), dtype=np.float64, order="F")
    at = 0
    for column in contract.columns:
        values = coerce_column(frame[column.name], column, problems)
        block = _encode_column(values, column)
        width = block.shape[1] if block.ndim == 2 else 1
        matrix[:, at : at + width] = block.reshape(len(frame), width)
        at += width
    if problems.found:
        raise DataError("the table does not fit the contract", problems.found)
    return matrix


def _encode_column(values: NDArray[Any], column: Column) -> FloatArray:
    if column.type == "category":
        codes, distinct = pd.factorize(values, use_na_sentinel=True)
        index = {name: float(place) for place, name in enumerate(column.categories)}
        unseen = float(len(column.categories))
        table = np.array([*(index.get(name, unseen) for name in distinct), np.nan])
        return cast("FloatArray", table[codes])
    if column.type == "text":
        codes, distinct = pd.factorize(values, use_na_sentinel=True)
        counts = np.full((len(distinct) + 1, TEXT_BUCKETS), np.nan)
        for place, text in enumerate(distinct):
            counts[place] = count_words(text)
        return cast("FloatArray", counts[codes])
    if column.type == "timestamp":
        return _encode_timestamps(cast("NDArray[np.datetime64]", values))
    return cast("FloatArray", values)


def _encode_timestamps(moments: NDArray[np.datetime64]) -> FloatArray:
    """Split moments (datetime64[us], UTC) into the parts that `core.contract` names."""
    missing = np.isnat(moments)
    filled = np.where(missing, np.datetime64(0, "us"), moments)
    days = filled.astype("datetime64[D]")
    months = filled.astype("datetime64[M]")
    years = filled.astype("datetime64[Y]")
    microseconds = (filled - days).astype(np.int64)
    parts = np.column_stack(
        [
            years.astype(np.int64) + 1970,
            months.astype(np.int64) - years.astype("datetime64[M]").astype(np.int64) + 1,
            (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
            (days.astype(np.int64) + 3) % 7,
            microseconds / 3_600_000_000,
        ]
    ).astype(np.float64)
    parts[missing] = np.nan
    return parts


def encode_target(frame: pd.DataFrame, contract: Contract) -> FloatArray | IntArray:
    """Turn the labels into class indices (int64) or values (float64; missing: NaN).

    Raises DataError for a label that is missing (in a classification) or none of the classes.
    """
    if contract.target is None or contract.target not in frame.columns:
        raise DataError(f"the table has no target column {contract.target!r}")
    problems = _Problems(len(frame))
    labels = _coerce_target(frame[contract.target], contract, problems)
    if contract.is_classification:
        column = Column(contract.target, "category")
        problems.add(column, pd.isna(labels), frame[contract.target], "have no value", "missing")
    if problems.found:
        raise DataError("the target does not fit the contract", problems.found)
    if contract.task == "regression":
        return labels.astype(np.float64)
    names = contract.label_names
    index = {name: place for place, name in enumerate(names)}
    codes, distinct = pd.factorize(labels, use_na_sentinel=True)
    places = np.array([*(index[name] for name in distinct), -1], dtype=np.int64)[codes]
    if contract.is_classification:
        return cast("IntArray", places)
    return np.where(places < 0, np.nan, places).astype(np.float64)


def table_rows(frame: pd.DataFrame, contract: Contract) -> list[dict[str, Any]]:
    """Write the rows of a table as a caller of the API would send them; missing values are None."""
    members: list[list[Any]] = []
    for column in contract.columns:
        values = coerce_column(frame[column.name], replace(column, missing=True))
        members.append(_as_json_values(values, column))
    return [
        dict(zip(contract.column_names, row, strict=True)) for row in zip(*members, strict=True)
    ]


def _as_json_values(values: NDArray[Any], column: Column) -> list[Any]:
    missing = pd.isna(values)
    plain = values.tolist()
    if column.type == "integer":
        plain = [None if gone else int(v) for v, gone in zip(plain, missing, strict=True)]
    elif column.type == "boolean":
        plain = [None if gone else bool(v) for v, gone in zip(plain, missing, strict=True)]
    elif column.type == "timestamp":
        plain = [None if v is None else f"{v.isoformat()}Z" for v in plain]
    else:
        plain = [None if gone else v for v, gone in zip(plain, missing, strict=True)]
    return plain
