"""The contract of one model: its task, its columns, and the vector that a row becomes.

One definition serves training, the API and its OpenAPI document, the monitor and the tests. A model
is a function of the vector that `Contract.encode` gives; `core.contract.columns` says what each
column contributes to it. `core.contract.rows` validates rows against a contract, and
`core.contract.openapi` describes the API that serves one.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, cast, get_args

from core.contract.columns import (
    Column,
    Feature,
    count_words,
    encode_timestamp,
    feature_names,
    find_contradictions,
)
from core.errors import ContractError, Problem

Task = Literal["binary", "multiclass", "regression", "anomaly", "clustering"]

TASKS: tuple[Task, ...] = get_args(Task)
CLASSIFICATION: tuple[Task, ...] = ("binary", "multiclass")

FORMAT = 1

_Expand = Callable[[Any], Sequence[float]]
_NAN = math.nan


@dataclass(frozen=True)
class Contract:
    """What a model is given and answers: task, target, classes, and columns in serving order.

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
            for message in find_contradictions(column)
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
    def entity_column(self) -> str | None:
        """Name the column that says whose row it is: the group, or else the id."""
        return self.group_column or self.id_column

    @cached_property
    def entity_member(self) -> str | None:
        """Name the member of a row that may say whose it is, where that is no input anyway."""
        name = self.entity_column
        taken = (*self.column_names, self.target, self.time_column)
        return None if name in taken else name

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
        score, higher for a rarer row. Clustering: the cluster's index, then a score a cluster.
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
            for name in feature_names(column)
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
                    len(feature_names(column)),
                )
            )
        return tuple(plan)

    def encode(self, row: Mapping[str, Any]) -> list[float]:
        """Turn a row that a `RowAdapter` accepted into the vector that models are functions of.

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
