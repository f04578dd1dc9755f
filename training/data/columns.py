"""Columns of a table: bringing them to the contract's types, and saying what is wrong with them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
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
    Column,
    spell_label,
)
from core.contract.cells import BLANKS, FALSE_WORDS, MISSING, MISSING_AMONG_NUMBERS, TRUE_WORDS
from core.contract.rows import MAX_CATEGORY_CHARACTERS, MAX_TEXT_CHARACTERS
from core.errors import DataError, Problem
from training.arrays import BoolArray, FloatArray

Series: TypeAlias = "pd.Series[Any]"

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
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d %b %Y",
    "%d %B %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%B %d, %Y",
)


class TableProblems:
    """Collects what is wrong with a table, a column at a time."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.found: list[Problem] = []

    def add(self, column: Column, mask: BoolArray, values: Series, what: str, code: str) -> None:
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
    values: Series, column: Column, problems: TableProblems | None = None
) -> NDArray[Any]:
    """Bring one column to the contract's type.

    number, integer and boolean become float64 (missing: NaN); timestamp becomes datetime64[us] in
    UTC (missing: NaT); category and text become objects (missing: None). Raises DataError for
    values that are not of the type, beyond a limit, unseen where that is refused, or missing where
    they must not be; with `problems` given, notes them there instead.
    """
    noted = problems if problems is not None else TableProblems(len(values))
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


def _note_numbers(
    numbers: FloatArray, column: Column, values: Series, noted: TableProblems
) -> None:
    infinite = np.isinf(numbers)
    what = "hold an infinite value (leave such a cell empty)"
    noted.add(column, infinite, values, what, "not_finite")
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


_Coerced: TypeAlias = tuple[NDArray[Any], BoolArray]


def convert_distinct(
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
    return convert_distinct(values, _read_number, np.float64, np.nan)


def _is_numeric(values: Series) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_complex_dtype(
        values.dtype
    )


def _read_number(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip(BLANKS)
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
    return convert_distinct(values, _read_boolean, np.float64, np.nan)


def _read_boolean(value: Any) -> float | None:
    word = str(value).strip(BLANKS).lower()
    if word in MISSING_AMONG_NUMBERS:
        return None
    if word in TRUE_WORDS or word == "1.0":
        return 1.0
    if word in FALSE_WORDS or word == "0.0":
        return 0.0
    raise ValueError(word)


def _coerce_texts(values: Series) -> _Coerced:
    return convert_distinct(values, _read_category, object, None)


def _coerce_long_texts(values: Series) -> _Coerced:
    return convert_distinct(values, _read_text, object, None)


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
        return value.strip(BLANKS)
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bytes):
        plain = plain.decode("utf-8", "replace")
    if isinstance(plain, datetime):
        return plain.isoformat()
    return spell_label(plain)[0].strip(BLANKS)


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
    parsed, bad = parse_dates([str(v).strip(BLANKS) for v in distinct])
    return np.append(parsed, np.datetime64("NaT", "us"))[codes], np.append(bad, False)[codes]


def parse_dates(texts: Sequence[str]) -> tuple[NDArray[np.datetime64], BoolArray]:
    """Read dates, each in ISO 8601 or all in one of the customary formats, as UTC.

    Gives datetime64[us] and which texts hold no date. Where day and month could be either, the day
    comes first.
    """
    cells = pa.array(list(texts), pa.string())
    iso = pc.match_substring_regex(cells, _ISO_DATE).to_numpy(zero_copy_only=False)
    # pandas is fast and agrees with datetime.fromisoformat, but only for the years 1678 to 2261.
    moments = pd.to_datetime(
        pd.Series(list(texts), dtype=object).where(iso), format="ISO8601", utc=True, errors="coerce"
    )
    parsed = moments.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    rest: list[int] = []
    for place in np.flatnonzero(np.isnat(parsed)).tolist():
        text = texts[place]
        if text.lower() in MISSING_AMONG_NUMBERS:
            continue
        if iso[place]:
            with suppress(ValueError):
                parsed[place] = _in_utc(datetime.fromisoformat(text))
                continue
        rest.append(place)
    bad = np.zeros(len(texts), dtype=bool)
    bad[rest] = not _parse_customary_dates(texts, rest, parsed)
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


def order_values(values: Series) -> NDArray[Any]:
    """Bring a time column to what can be sorted: datetime64[us], or float64 where it holds numbers.

    Raises DataError where it holds neither.
    """
    if _is_numeric(values):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    moments, bad = _coerce_timestamps(values)
    if bad.any():
        problems = TableProblems(len(values))
        column = Column(str(values.name), "timestamp")
        problems.add(column, bad, values, "hold neither a date nor a number", "wrong_type")
        raise DataError("the time column cannot be put in order", problems.found)
    return moments


def count_duplicates(frame: pd.DataFrame) -> int:
    """Count the rows that repeat an earlier row in every column."""
    if not len(frame.columns) or not len(frame):
        return 0
    return int(pd.util.hash_pandas_object(frame, index=False).duplicated().sum())


def is_blank(values: Series) -> BoolArray:
    """Say which cells hold no value, or a word that stands for none."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    blank = values.isna().to_numpy(dtype=bool)
    if values.dtype != object:
        return blank
    try:
        codes, distinct = pd.factorize(values, use_na_sentinel=True)
    except TypeError:
        return blank
    says_so = [isinstance(v, str) and v.strip().lower() in MISSING for v in distinct]
    found: BoolArray = np.array([*says_so, True], dtype=bool)[codes]
    return found
