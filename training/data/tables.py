"""Tables: checking them against a contract, and turning them into a matrix.

`check_table` brings a table to the contract's types or refuses it, naming the columns, how many
rows, and examples. `encode_table` is `Contract.encode` for a whole table, equal to it bit for bit.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.contract import (
    TEXT_BUCKETS,
    Column,
    Contract,
    count_words,
)
from core.contract.cells import MISSING
from core.errors import ContractError, DataError, Problem
from training.arrays import BoolArray, FloatArray
from training.data.columns import (
    Series,
    TableProblems,
    coerce_column,
    convert_distinct,
    count_duplicates,
    order_values,
    spell_value,
)


@dataclass(frozen=True)
class CheckedTable:
    """A table that fits its contract, and figures about it.

    `frame` holds the contract's columns as `coerce_column` gives them, then, where the table has
    them, the target, the time (datetime64[us] or float64), the group and the id. Rows without a
    target are left out of a supervised task's. `positions` says which rows of the given table its
    rows were. `quality` is JSON-ready.
    """

    frame: pd.DataFrame
    positions: NDArray[np.intp]
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
    problems = TableProblems(len(frame))
    if frame.empty:
        raise DataError("the table has no rows")
    supervised = contract.target is not None and contract.task not in ("anomaly", "clustering")
    needed = (*contract.column_names, *((contract.target,) if supervised else ()))
    _check_presence(frame, [name for name in needed if name is not None], problems)
    labelled = np.ones(len(frame), dtype=bool)
    labels: NDArray[Any] | None = None
    if contract.target is not None and contract.target in frame.columns:
        labels = _coerce_target(frame[contract.target], contract, problems)
        if supervised:
            labelled = ~pd.isna(labels)
    # A row without a target is not learned from, so its other cells may hold anything.
    kept = frame if labelled.all() else frame[labelled]
    cleaned: dict[str, Any] = {
        column.name: coerce_column(kept[column.name], column, problems)
        for column in contract.columns
        if column.name in frame.columns
    }
    if labels is not None:
        cleaned[str(contract.target)] = labels[labelled]
    if problems.found:
        raise DataError("the table does not fit the contract", problems.found)
    for role in (contract.time_column, contract.group_column, contract.id_column):
        if role is not None and role in frame.columns and role not in cleaned:
            is_time = role == contract.time_column
            cleaned[role] = order_values(kept[role]) if is_time else kept[role].to_numpy()
    if not labelled.any():
        raise DataError(f"no row has a value of the target {contract.target!r}")
    table = pd.DataFrame(cleaned, index=pd.RangeIndex(len(kept)))
    quality = _measure_quality(frame, table, contract, labelled)
    return CheckedTable(table, np.flatnonzero(labelled), quality)


def _check_presence(frame: pd.DataFrame, needed: Iterable[str], problems: TableProblems) -> None:
    names = [str(name) for name in frame.columns]
    for name in needed:
        if name not in frame.columns:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
            hint = f"; the table has {close[0]!r}" if close else ""
            problems.found.append(Problem(None, name, f"is not in the table{hint}", "no_column"))


def _coerce_target(values: Series, contract: Contract, problems: TableProblems) -> NDArray[Any]:
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

    labels, unknown = convert_distinct(values, read, object, None)
    names = ", ".join(contract.label_names[:20])
    problems.add(column, unknown, values, f"hold a class other than {names}", "unknown_label")
    return labels


def _measure_quality(
    raw: pd.DataFrame, table: pd.DataFrame, contract: Contract, labelled: BoolArray
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


def encode_table(frame: pd.DataFrame, contract: Contract) -> FloatArray:
    """Turn a table into the matrix (rows, len(contract.features)) that models are functions of.

    Equal, bit for bit, to `Contract.encode` of each row. Takes a raw table or a checked one; raises
    DataError for values that the contract refuses and columns that are not there.
    """
    problems = TableProblems(len(frame))
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


def encode_target(frame: pd.DataFrame, contract: Contract) -> FloatArray | NDArray[np.int64]:
    """Turn the labels into class indices (int64) or values (float64; missing: NaN).

    Raises DataError for a label that is missing (in a classification) or none of the classes.
    """
    if contract.target is None or contract.target not in frame.columns:
        raise DataError(f"the table has no target column {contract.target!r}")
    problems = TableProblems(len(frame))
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
        return cast("NDArray[np.int64]", places)
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
