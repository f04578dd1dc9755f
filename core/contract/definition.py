"""The contract: what a row holds, how it is checked, and how it becomes a vector of float64.

One definition serves training, the API and its OpenAPI document, the monitor and the tests. A model
is a function of the vector that `Contract.encode` gives:

==========  =========  ==========================================================================
column      features   values
==========  =========  ==========================================================================
number      1          as it is
integer     1          as it is; at most 2**53 - 1 in size, so that float64 holds it exactly
boolean     1          0.0 or 1.0
category    1          its index in `categories`; `len(categories)` for a category not listed
timestamp   5          year, month, day, weekday (Monday = 0) and hour (with its fraction), in UTC
text        64         how often each hash bucket's words occur (CRC-32 of the lower-case word)
==========  =========  ==========================================================================

A missing value (absent, null, NaN) is NaN in every feature of its column.
"""

import hashlib
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_args

from core.errors import ContractError, Problem

if TYPE_CHECKING:
    from core.contract.rows import RowAdapter

Task = Literal["binary", "multiclass", "regression", "anomaly", "clustering"]
ColumnType = Literal["number", "integer", "boolean", "category", "timestamp", "text"]
Unseen = Literal["accept", "refuse"]

TASKS: tuple[Task, ...] = get_args(Task)
COLUMN_TYPES: tuple[ColumnType, ...] = get_args(ColumnType)
CLASSIFICATION: tuple[Task, ...] = ("binary", "multiclass")

FORMAT = 1
TIMESTAMP_PARTS = ("year", "month", "day", "weekday", "hour")
TEXT_BUCKETS = 64
LARGEST_INTEGER = 2**53 - 1

_Expand = Callable[[Any], Sequence[float]]
_NAN = math.nan
_WORD = re.compile(r"\w+")
_MICROSECONDS_PER_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Column:
    """One column that the model is given.

    `min` and `max` are hard limits: a value beyond them is refused by training and by the API.
    They are for what cannot be (a negative age), not for what was not seen; the monitor watches
    that.
    """

    name: str
    type: ColumnType
    unit: str = ""
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] = ()
    missing: bool = False
    sensitive: bool = False
    unseen: Unseen = "accept"
    description: str = ""


class Feature(NamedTuple):
    """One position of the encoded vector: its name, its column, and that column's type."""

    name: str
    column: str
    kind: ColumnType


@dataclass(frozen=True)
class Contract:
    """What one model is asked and answers: task, target, classes, and columns in serving order.

    `classes` are the labels in the order of the outputs: of a classifier the values of the target,
    of a clustering the clusters' names. `time_column`, `group_column` and `id_column` describe the
    training table and are given to the model only if `columns` lists them too. Raises
    ContractError, with every problem, if it contradicts itself.
    """

    task: Task
    columns: tuple[Column, ...]
    target: str | None = None
    classes: tuple[str, ...] = ()
    positive: str | None = None
    time_column: str | None = None
    group_column: str | None = None
    id_column: str | None = None
    format: int = field(default=FORMAT)

    def __post_init__(self) -> None:
        """Refuse a contract that contradicts itself."""
        problems = [Problem(None, None, message, "contract") for message in self._contradictions()]
        problems += [
            Problem(None, column.name, message, "contract")
            for column in self.columns
            for message in _column_contradictions(column)
        ]
        if problems:
            raise ContractError("the contract contradicts itself", problems)

    def _contradictions(self) -> list[str]:
        names = [column.name for column in self.columns]
        found = []
        if self.format != FORMAT:
            found.append(f"format {self.format!r} is not the one that this release reads, {FORMAT}")
        if self.task not in TASKS:
            found.append(f"task {self.task!r} is none of {', '.join(TASKS)}")
        if not names:
            found.append("there are no columns")
        found += [
            f"column {n!r} is listed twice"
            for n in sorted({n for n in names if names.count(n) > 1})
        ]
        if self.target in names:
            found.append(f"the target {self.target!r} is also listed as a column")
        if self.target is None and self.task in ("binary", "multiclass", "regression"):
            found.append(f"task {self.task!r} needs a target")
        if len(set(self.classes)) != len(self.classes):
            found.append("a class is listed twice")
        if self.task == "binary" and len(self.classes) != 2:
            found.append(f"a binary task has 2 classes, not {len(self.classes)}")
        if self.task == "multiclass" and len(self.classes) < 2:
            found.append("a multiclass task has at least 2 classes")
        if self.positive is not None and self.positive not in self.classes:
            found.append(
                f"the positive class {self.positive!r} is none of {', '.join(self.classes)}"
            )
        return found

    @property
    def is_classification(self) -> bool:
        """Say whether the answer is one of `classes`, learned from labels."""
        return self.task in CLASSIFICATION

    @cached_property
    def positive_index(self) -> int:
        """Give the position in `classes` of the positive class (by default the last)."""
        return self.classes.index(self.positive) if self.positive else len(self.classes) - 1

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """List what a label may be: the classes, or "normal" and "anomaly" where there are none."""
        return self.classes or (() if self.task == "regression" else ("normal", "anomaly"))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Name the numbers that a model gives for a row, in order.

        Classification: the probability of each class. Regression: the value. Anomaly detection: the
        score, higher for a stranger row. Clustering: the cluster's index, then a score a cluster.
        """
        if self.is_classification:
            return self.classes
        if self.task == "clustering":
            return ("cluster", *(f"score {name}" for name in self.classes))
        return ("value",) if self.task == "regression" else ("score",)

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """Lay out the encoded vector."""
        return tuple(
            Feature(name, column.name, column.type)
            for column in self.columns
            for name in _feature_names(column)
        )

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Name the columns in serving order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def _plan(self) -> tuple[tuple[str, dict[str, float] | None, float, _Expand | None, int], ...]:
        plan = []
        for column in self.columns:
            codes = {name: float(i) for i, name in enumerate(column.categories)}
            expand = {"timestamp": encode_timestamp, "text": count_words}.get(column.type)
            plan.append(
                (
                    column.name,
                    codes if column.type == "category" else None,
                    float(len(codes)),
                    cast("_Expand | None", expand),
                    len(_feature_names(column)),
                )
            )
        return tuple(plan)

    def encode(self, row: Mapping[str, Any]) -> list[float]:
        """Turn a row that `row_adapter` accepted into the vector that models are functions of.

        A category that the contract does not list becomes `len(categories)`. Shape:
        `len(features)`. Raises ValueError or TypeError for a value that validation would have
        refused.
        """
        vector: list[float] = []
        append = vector.append
        get = row.get
        for name, codes, unseen, expand, width in self._plan:
            value = get(name)
            if value is None or value != value:
                if width == 1:
                    append(_NAN)
                else:
                    vector.extend([_NAN] * width)
            elif codes is not None:
                append(codes.get(value, unseen))
            elif expand is None:
                append(float(value))
            else:
                vector.extend(expand(value))
        return vector

    def row_adapter(self, max_rows: int | None = None) -> "RowAdapter":
        """Make the validator of rows and of requests; see `rows`. Make it once and keep it."""
        from core.contract.rows import RowAdapter

        return RowAdapter(self, max_rows)

    def parse(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Validate one row of Python values; raises ContractError with every problem."""
        return self._adapter.validate_rows([row])[0]

    @cached_property
    def _adapter(self) -> "RowAdapter":
        return self.row_adapter()

    def parse_label(self, value: Any) -> str | float:
        """Bring a label to the contract's form: a class's name, or a finite number.

        Accepts what a table or a JSON document holds: 1, 1.0 and "1" are the class "1", true is
        "true" or "1". Raises ContractError for anything that is not a label of this task.
        """
        if self.task == "regression":
            number = _finite_number(value)
            if number is None:
                raise ContractError(f"a label of {self.target!r} is a finite number, not {value!r}")
            return number
        names = self.label_names
        for spelling in spell_label(value):
            if spelling in names:
                return spelling
            if not self.classes and spelling in ("0", "1"):
                return names[int(spelling)]
        shown = str(value)[:80]
        raise ContractError(f"{shown!r} is no label of this model: use one of {', '.join(names)}")

    def to_json(self) -> bytes:
        """Write the contract as JSON, the same bytes for the same contract."""
        document: dict[str, Any] = {
            "format": self.format,
            "task": self.task,
            "target": self.target,
            "classes": list(self.classes),
            "positive": self.positive,
            "time_column": self.time_column,
            "group_column": self.group_column,
            "id_column": self.id_column,
            "columns": [
                {
                    item.name: list(value) if isinstance(value, tuple) else value
                    for item in fields(column)
                    if (value := getattr(column, item.name)) != item.default
                }
                for column in self.columns
            ],
        }
        return (json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> "Contract":
        """Read what `to_json` wrote; raises ContractError if it is anything else."""
        try:
            document = json.loads(text)
            members = {**document, "classes": tuple(document["classes"])}
            members["columns"] = tuple(
                Column(**{**column, "categories": tuple(column.get("categories", ()))})
                for column in document["columns"]
            )
            return cls(**members)
        except (ValueError, KeyError, TypeError) as error:
            raise ContractError(f"this is not a contract: {error}") from error

    @cached_property
    def digest(self) -> str:
        """Name the contract by the SHA-256 of its JSON, in hex."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def openapi(self, **options: Any) -> dict[str, Any]:
        """Describe the API that serves this contract in OpenAPI 3.1; see `openapi`."""
        from core.contract.openapi import describe_api

        return describe_api(self, **options)


def _feature_names(column: Column) -> tuple[str, ...]:
    if column.type == "timestamp":
        return tuple(f"{column.name}.{part}" for part in TIMESTAMP_PARTS)
    if column.type == "text":
        return tuple(f"{column.name}.{bucket}" for bucket in range(TEXT_BUCKETS))
    return (column.name,)


def _column_contradictions(column: Column) -> list[str]:
    found = []
    if not column.name.strip():
        found.append("a column needs a name")
    if column.type not in COLUMN_TYPES:
        found.append(f"type {column.type!r} is none of {', '.join(COLUMN_TYPES)}")
    if column.categories and column.type != "category":
        found.append(f"only a category column lists categories, not a {column.type} column")
    if len(set(column.categories)) != len(column.categories):
        found.append("a category is listed twice")
    if column.type == "category" and column.unseen == "refuse" and not column.categories:
        found.append('unseen = "refuse" needs the categories listed')
    limits = [limit for limit in (column.min, column.max) if limit is not None]
    if limits and column.type not in ("number", "integer"):
        found.append(f"only number and integer columns have limits, not a {column.type} column")
    if not all(math.isfinite(limit) for limit in limits):
        found.append("a limit is a finite number")
    if len(limits) == 2 and limits[0] > limits[1]:
        found.append(f"min {limits[0]:g} is above max {limits[1]:g}")
    return found


def encode_timestamp(value: datetime | str) -> tuple[float, float, float, float, float]:
    """Split a moment into its parts in UTC; a moment without an offset is taken as UTC."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    offset = moment.utcoffset()
    if offset:
        # Within hours of year 1 or 9999 there is no such moment in UTC: keep the local parts.
        with suppress(OverflowError):
            moment = moment - offset
    microseconds = (
        moment.hour * 3600 + moment.minute * 60 + moment.second
    ) * 1_000_000 + moment.microsecond
    return (
        float(moment.year),
        float(moment.month),
        float(moment.day),
        float(moment.weekday()),
        microseconds / _MICROSECONDS_PER_HOUR,
    )


def count_words(text: str) -> list[float]:
    """Count the words of a text into `TEXT_BUCKETS` buckets by the CRC-32 of their lower case."""
    counts = [0.0] * TEXT_BUCKETS
    for word in _WORD.findall(text.lower()):
        counts[zlib.crc32(word.encode()) % TEXT_BUCKETS] += 1.0
    return counts


def spell_label(value: Any) -> tuple[str, ...]:
    """Give the spellings under which a value may be listed as a class, the likeliest first."""
    if isinstance(value, bool):
        return ("true", "1", "True") if value else ("false", "0", "False")
    if isinstance(value, str):
        return (value, value.strip())
    if isinstance(value, int | float) and math.isfinite(value) and value == int(value):
        return (str(int(value)), str(value), f"{int(value)}.0")
    return (str(value),)


def _finite_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
