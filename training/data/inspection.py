"""Looks at a table and says what it holds: types, roles, and what a person should know about it.

`infer_contract` is what `ops init` writes project.toml from; `resolve_contract` completes the
contract that project.toml declares with what only the data can tell: classes and categories.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.contract import LARGEST_INTEGER, Column, ColumnType, Contract, Task
from core.contract.cells import FALSE_WORDS, MISSING, TRUE_WORDS
from core.contract.rows import MAX_CATEGORY_CHARACTERS, MAX_TEXT_CHARACTERS
from core.errors import DataError
from core.settings import Settings
from training.data.columns import (
    Series,
    coerce_column,
    count_duplicates,
    order_values,
    parse_dates,
    spell_value,
)
from training.data.reading import WRITTEN
from training.data.splits import ALIKE, MIN_CLASS_ROWS, measure_likeness
from training.data.splits import Strategy as SplitStrategy

Role: TypeAlias = Literal["input", "target", "id", "time", "group", "left out"]

MAX_CLASSES = 100
# A category column learns at most this many values, the most frequent; all others count as unseen.
MAX_LEARNED_CATEGORIES = 100
# A whole-number target with at most this many values is read as classes.
MAX_WHOLE_NUMBER_CLASSES = 10
# Text with more distinct values than this is called high-cardinality.
MANY_CATEGORIES = 50

_ID_NAME = re.compile(
    r"(^|[_\s.-])(id|uuid|guid|key|index|idx|rowid|row[_ ]?(number|no|num)|serial)$|^unnamed: ?\d+$"
    r"|[a-z](ID|Id|UUID|Uuid|Key)$|^id[_\s.-]",
)
_GROUP_NAME = re.compile(
    r"^(customer|client|user|patient|subject|account|person|member|household|device|machine|sensor"
    r"|vehicle|session|group|company|store|site|student|employee)"
    r"[_\s.-]?(id|ids|no|number|num|key|code|uuid|guid)?$",
    re.IGNORECASE,
)
_TIME_NAME = re.compile(
    r"(^|[_\s.-])(date|time|timestamp|datetime|created|created_at|updated_at|ts|event_time|when|day)$"
    r"|(Date|Time|Timestamp)$",
    re.IGNORECASE,
)
# A number that counts time, where its values rise from row to row or are seconds since 1970.
_TICK_NAME = re.compile(
    r"(^|[_\s.-])(epoch|unix|year|month|week|step|tick|t|period|round|sequence|seq)$", re.IGNORECASE
)
_EPOCH_SECONDS = (5e8, 2.5e9)
_DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}[- ][A-Z][a-z]+[- ]\d{4}$|[A-Z][a-z]+ \d{1,2}, \d{4}$"
)
_POSITIVE_WORDS = {
    *TRUE_WORDS,
    *("positive", "pos", "malignant", "fraud", "churn", "churned", "default", "bad", "failed"),
    *("failure", "anomaly", "outlier", "spam", "sick", "ill", "dead", "died", "win", "won"),
    *("up", "high"),
}
_ANSWER_NAME = re.compile(r"(^|[_\s.-])(prediction|predicted|predicted_probability|y_pred|y_prob)$")
_LEAK_SAMPLE_ROWS = 100_000
_BOOLEAN_PAIRS = tuple(frozenset(pair) for pair in zip(TRUE_WORDS, FALSE_WORDS, strict=True))


@dataclass(frozen=True)
class ColumnFinding:
    """What one column of a table holds, and what is made of it.

    `column` is the column as the contract could list it, also where it is left out. `low` and
    `high` are texts; `warnings` are sentences for people.
    """

    name: str
    role: Role
    column: Column | None
    missing: int
    distinct: int
    low: str = ""
    high: str = ""
    examples: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """Name the type, or "" of a column without values."""
        return self.column.type if self.column is not None else ""


@dataclass(frozen=True)
class Findings:
    """What a table holds, column by column and as a whole, and the honest way to split it."""

    rows: int
    columns: tuple[ColumnFinding, ...]
    duplicates: int
    split: SplitStrategy
    classes: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Write the findings as JSON-ready members."""
        return {
            "rows": self.rows,
            "duplicate_rows": self.duplicates,
            "split": self.split,
            "classes": dict(self.classes),
            "warnings": list(self.warnings),
            "columns": [
                {
                    "name": found.name,
                    "role": found.role,
                    "type": found.type,
                    "missing": found.missing,
                    "distinct": found.distinct,
                    "low": found.low,
                    "high": found.high,
                    "examples": list(found.examples),
                    "warnings": list(found.warnings),
                }
                for found in self.columns
            ],
        }


def infer_contract(
    frame: pd.DataFrame,
    target: str | None = None,
    *,
    task: Task | None = None,
    positive: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    group_column: str | None = None,
    clusters: int = 0,
) -> tuple[Contract, Findings]:
    """Infer the contract of a table, and say what was found on the way.

    Columns that are named are believed; other identifiers, constants, empty columns and copies of
    the target are left out. Raises DataError where no model can be made: no such column, no rows,
    one class.
    """
    _check_named(frame, target, id_column, time_column, group_column)
    if task is None:
        task = _infer_task(frame, target)
    supervised = task not in ("anomaly", "clustering")
    if supervised and target is None:
        raise DataError(f"a {task} task needs a target; name the column to predict")
    classes, counts, positive = _infer_classes(frame, target, task, positive)
    labelled = frame
    if supervised and target is not None:
        labelled = frame[~_is_blank(frame[target])]
        if labelled.empty:
            raise DataError(f"no row has a value of the target {target!r}")
    labels = _label_codes(labelled, target, task)
    roles: dict[str, Role] = {}
    for name, role in ((target, "target"), (id_column, "id"), (time_column, "time")):
        if name is not None:
            roles[name] = role  # type: ignore[assignment]
    if group_column is not None:
        roles[group_column] = "group"
    findings = [
        _inspect_column(labelled[name], str(name), roles.get(str(name)), labels, task)
        for name in frame.columns
    ]
    findings = [_add_note(found, frame.attrs.get(WRITTEN, {})) for found in findings]
    findings = _assign_roles(labelled, findings, explicit=set(roles.values()))
    found_by_role = {
        found.role: found.name for found in findings if found.role in ("id", "time", "group")
    }
    columns = tuple(f.column for f in findings if f.role == "input" and f.column is not None)
    if not columns:
        raise DataError(
            "no column is left to learn from: "
            + "; ".join(
                f"{f.name!r} {f.warnings[0] if f.warnings else f'is the {f.role}'}"
                for f in findings[:10]
            )
        )
    duplicates = count_duplicates(labelled[[column.name for column in columns]])
    split: SplitStrategy = "random"
    about_order: list[str] = []
    if "time" in found_by_role and supervised:
        split = "time"
    elif "group" in found_by_role:
        split = "group"
    elif labels is not None:
        is_ordered, about_order = _judge_order(labelled, findings, labels, task)
        split = "order" if is_ordered else "random"
    contract = Contract(
        task=task,
        columns=columns,
        target=None if task == "clustering" else target,  # it is kept from the model, no more
        classes=classes,
        positive=positive,
        time_column=found_by_role.get("time"),
        group_column=found_by_role.get("group"),
        id_column=found_by_role.get("id"),
    )
    warnings = (*about_order, *_warn_about_table(frame, labelled, contract, counts, duplicates))
    return contract, Findings(len(frame), tuple(findings), duplicates, split, counts, warnings)


def resolve_contract(settings: Settings, frame: pd.DataFrame) -> Contract:
    """Complete the contract that the settings declare with what only the data can tell.

    Without `[columns]` everything is inferred. Otherwise, classes that are not listed are the
    target's values, and categories that are not listed are the most frequent values of the column.
    Raises DataError or ContractError.
    """
    problem = settings.problem
    if not settings.columns:
        contract, _ = infer_contract(
            frame,
            problem.target,
            task=problem.task,
            positive=problem.positive,
            id_column=problem.id_column,
            time_column=problem.time_column,
            group_column=problem.group_column,
        )
        return contract
    _check_named(frame, problem.target if problem.task not in ("anomaly", "clustering") else None)
    target = problem.target if problem.target in frame.columns else None
    classes, positive = problem.classes, problem.positive
    if not classes and target is not None:
        classes, _, positive = _infer_classes(frame, target, problem.task, positive)
    columns = []
    for name, declared in settings.columns.items():
        members = declared.model_dump()
        if declared.type == "category" and not declared.categories and name in frame.columns:
            members["categories"] = learn_categories(frame[name])
        columns.append(Column(name=name, **members))
    return Contract(
        task=problem.task,
        columns=tuple(columns),
        target=None if problem.task == "clustering" else problem.target,
        classes=classes,
        positive=positive,
        time_column=problem.time_column,
        group_column=problem.group_column,
        id_column=problem.id_column,
    )


def learn_categories(values: Series) -> tuple[str, ...]:
    """List the values of a category, the most frequent ones if there are many, in sorted order."""
    texts = coerce_column(values, Column(str(values.name), "category", missing=True))
    counts = pd.Series(texts).value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    return tuple(sort_labels([str(name) for name, _ in ordered[:MAX_LEARNED_CATEGORIES]]))


def sort_labels(names: Sequence[str]) -> list[str]:
    """Sort labels as people expect: numbers by size, then texts."""

    def key(name: str) -> tuple[int, float, str]:
        try:
            number = float(name)
        except ValueError:
            return (1, 0.0, name)
        return (0, number, name) if math.isfinite(number) else (1, 0.0, name)

    return sorted(names, key=key)


def _check_named(frame: pd.DataFrame, *names: str | None) -> None:
    for name in names:
        if name is not None and name not in frame.columns:
            known = ", ".join(repr(str(column)) for column in frame.columns[:30])
            more = ", ..." if len(frame.columns) > 30 else ""
            raise DataError(f"the table has no column {name!r}; it has {known}{more}")
    if frame.empty:
        raise DataError("the table has no rows")


def _is_blank(values: Series) -> NDArray[np.bool_]:
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
    found: NDArray[np.bool_] = np.array([*says_so, True], dtype=bool)[codes]
    return found


def _infer_task(frame: pd.DataFrame, target: str | None) -> Task:
    if target is None:
        raise DataError(
            "there is no target: name the column to predict, or say task anomaly or clustering"
        )
    values = frame[target][~_is_blank(frame[target])]
    distinct = values.nunique()
    if distinct == 2:
        return "binary"
    if pd.api.types.is_bool_dtype(values.dtype):
        return "binary"
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy(dtype=np.float64)
        whole = bool(np.all(numbers == np.floor(numbers)))
        return "multiclass" if whole and distinct <= MAX_WHOLE_NUMBER_CLASSES else "regression"
    return "multiclass"


def _infer_classes(
    frame: pd.DataFrame, target: str | None, task: Task, positive: str | None
) -> tuple[tuple[str, ...], dict[str, int], str | None]:
    """Give the classes in order, how many rows each has, and the positive one."""
    if target is None or task in ("regression", "clustering"):
        return (), {}, None
    values = frame[target][~_is_blank(frame[target])]
    counted = values.value_counts()
    counts: dict[str, int] = {}
    for value, rows in counted.items():
        name = spell_value(value)
        counts[name] = counts.get(name, 0) + int(rows)
    if task == "anomaly" and len(counts) != 2:
        raise DataError(
            f"the target {target!r} of an anomaly task marks rows as normal or not; it has "
            f"{len(counts)} values: leave the target out, or name a column with two"
        )
    if not counts:
        raise DataError(f"no row has a value of the target {target!r}")
    if len(counts) < 2:
        only = next(iter(counts))
        raise DataError(
            f"the target {target!r} has one class only, {only!r}: there is nothing to tell apart"
        )
    if task == "binary" and len(counts) != 2:
        shown = ", ".join(repr(name) for name in list(counts)[:5])
        raise DataError(
            f"the target {target!r} has {len(counts)} values ({shown}, ...), a binary task has 2; "
            "use task multiclass"
        )
    if len(counts) > MAX_CLASSES:
        raise DataError(
            f"the target {target!r} has {len(counts)} classes, more than {MAX_CLASSES}; "
            "if it is a quantity, use task regression; otherwise name another column"
        )
    names = sort_labels(list(counts))
    if len(names) == 2 and task in ("binary", "anomaly"):
        chosen = positive or _guess_positive(names, counts)
        if chosen not in names:
            raise DataError(
                f"the positive class {chosen!r} is none of {', '.join(map(repr, names))}"
            )
        names = [*(name for name in names if name != chosen), chosen]
        return tuple(names), {name: counts[name] for name in names}, chosen
    return tuple(names), {name: counts[name] for name in names}, None


def _guess_positive(names: Sequence[str], counts: Mapping[str, int]) -> str:
    """Take the class that says yes, else the rarer one."""
    for name in names:
        if name.lower() in _POSITIVE_WORDS:
            return name
    return min(reversed(names), key=lambda name: counts[name])


def _label_codes(frame: pd.DataFrame, target: str | None, task: Task) -> NDArray[np.float64] | None:
    """Give labels as numbers, to look for copies of them; None without labels."""
    if target is None or task in ("anomaly", "clustering"):
        return None
    values = frame[target]
    if task == "regression":
        return coerce_column(values, Column(target, "number", missing=True)).astype(np.float64)
    codes, _ = pd.factorize(values.map(spell_value))
    return codes.astype(np.float64)


# What one column holds.


def _inspect_column(
    values: Series,
    name: str,
    role: Role | None,
    labels: NDArray[np.float64] | None,
    task: Task,
) -> ColumnFinding:
    blank = _is_blank(values)
    present = values[~blank]
    missing = int(blank.sum())
    try:
        distinct = int(present.nunique())
    except TypeError:
        note = "holds lists or objects, which no model here reads"
        return ColumnFinding(name, role or "left out", None, missing, 0, warnings=(note,))
    examples = tuple(_show(value) for value in present.head(1000).drop_duplicates().head(3))
    if not len(present):
        return ColumnFinding(
            name, role or "left out", None, missing, 0, warnings=("has no values",)
        )
    kind, notes = _infer_type(present, distinct)
    if kind == "category" and role is None:
        longest = max(len(spell_value(value)) for value in pd.unique(present))
        if longest > MAX_CATEGORY_CHARACTERS:
            kind = "text"
        if longest > MAX_TEXT_CHARACTERS:
            note = f"holds texts of up to {longest} characters, a request may hold "
            notes = [f"{note}{MAX_TEXT_CHARACTERS}; shorten it to use it"]
            return ColumnFinding(name, "left out", None, missing, distinct, warnings=tuple(notes))
    categories: tuple[str, ...] = ()
    if kind == "category" and not _is_identifier(present, name, kind, distinct, len(values)):
        categories = learn_categories(present)
    coerced = coerce_column(values, Column(name, kind, missing=True))
    missing = int(pd.isna(coerced).sum())
    column = Column(name, kind, missing=missing > 0, categories=categories)
    low, high = _range(coerced, kind)
    if role is None and distinct == 1 and not missing:
        role, note = "left out", "has the same value in every row"
        notes.insert(0, note)
    if role is None and _is_identifier(present, name, kind, distinct, len(values)):
        role = "id"
        notes.insert(0, "names the row: it would be learned by heart")
    if role is None and labels is not None:
        evidence, copied = _find_leak(coerced, kind, labels, task)
        if evidence:
            notes.insert(0, evidence)
            role = "left out" if copied else None
    if role is None and kind == "category" and distinct > MANY_CATEGORIES:
        rest = distinct - len(categories)
        kept = f"; the rarest {rest} count as one" if rest else ""
        notes.append(f"has {distinct} distinct values{kept}")
    if role is None and _ANSWER_NAME.search(name.lower()):
        notes.append("looks like another model's answer: is it known when predicting?")
    if role is None and missing > 0.95 * len(values):
        notes.append(f"is missing in {missing / len(values):.1%} of the rows")
    return ColumnFinding(
        name, role or "input", column, missing, distinct, low, high, examples, tuple(notes)
    )


def _infer_type(present: Series, distinct: int) -> tuple[ColumnType, list[str]]:
    """Give the type that fits every value, and what to say about it."""
    if isinstance(present.dtype, pd.CategoricalDtype):
        return "category", []
    if pd.api.types.is_bool_dtype(present.dtype):
        return "boolean", []
    if pd.api.types.is_datetime64_any_dtype(present.dtype):
        return "timestamp", []
    if pd.api.types.is_numeric_dtype(present.dtype):
        numbers = present.to_numpy(dtype=np.float64)
        if distinct == 2 and set(np.unique(numbers)) == {0.0, 1.0}:
            return "boolean", []
        whole_type = pd.api.types.is_integer_dtype(present.dtype)
        if whole_type and np.abs(numbers).max() > LARGEST_INTEGER:
            return "category", ["holds whole numbers too long to be exact: taken for codes"]
        return ("integer" if whole_type else "number"), []
    texts = [spell_value(value) for value in pd.unique(present)]
    words = {text.lower() for text in texts}
    if len(words) == 2 and frozenset(words) in _BOOLEAN_PAIRS:
        return "boolean", []
    numbers_found = _count_numbers(texts)
    if numbers_found == len(texts) and not any(_is_code(text) for text in texts):
        return "number", ["holds numbers as text"]
    dates = _infer_dates(texts)
    if dates is not None:
        return "timestamp", dates
    notes = []
    if numbers_found >= 0.5 * len(texts) and numbers_found >= 10 and numbers_found < len(texts):
        odd = [text for text in texts if not _is_number(text)][:3]
        notes.append(
            f"holds numbers in most rows, and {', '.join(map(repr, odd))}; clean it to use numbers"
        )
    if distinct > MANY_CATEGORIES and np.mean([len(text.split()) for text in texts[:1000]]) >= 3:
        return "text", notes
    return "category", notes


def _count_numbers(texts: Sequence[str]) -> int:
    if not any(map(_is_number, texts[:1000])):
        return 0
    return sum(map(_is_number, texts))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _is_code(text: str) -> bool:
    return bool(re.match(r"[+-]?0\d", text)) or bool(re.fullmatch(r"[+-]?\d{16,}", text))


def _infer_dates(texts: Sequence[str]) -> list[str] | None:
    """Say, where all texts are dates, what to know about them; None where they are not."""
    sample = texts[:50]
    if not all(map(_DATE.match, sample)):
        return None
    if parse_dates(sample)[1].any() or parse_dates(texts)[1].any():
        return None
    if re.match(r"\d{1,2}/\d{1,2}/\d{2}", texts[0]) and all(
        int(part) <= 12 for text in texts for part in text.split("/")[:2]
    ):
        return ["day and month could be either; read as day first. Write dates as 2026-01-31"]
    return []


def _is_identifier(present: Series, name: str, kind: ColumnType, distinct: int, rows: int) -> bool:
    """Say whether a column names rows rather than describing them."""
    if distinct < len(present) or rows < 10:
        likely = kind in ("category", "integer") and bool(_ID_NAME.search(name))
        return likely and distinct > 0.9 * rows and rows >= 10
    if kind == "integer":
        numbers = present.to_numpy(dtype=np.float64)
        consecutive = numbers.max() - numbers.min() == len(numbers) - 1
        return bool(_ID_NAME.search(name)) or bool(consecutive)
    if kind == "category":
        return True
    return kind in ("number", "text") and bool(_ID_NAME.search(name))


def _find_leak(
    coerced: NDArray[Any], kind: ColumnType, labels: NDArray[np.float64], task: Task
) -> tuple[str, bool]:
    """Say how a column tells the target, if it does, and whether it is a plain copy of it."""
    if len(labels) > _LEAK_SAMPLE_ROWS:
        step = -(-len(labels) // _LEAK_SAMPLE_ROWS)
        coerced, labels = coerced[::step], labels[::step]
    if len(labels) < 20:
        return "", False
    known = ~pd.isna(coerced) & ~np.isnan(labels)
    if known.sum() < 0.5 * len(labels):
        return _find_leak_in_gaps(coerced, labels, task)
    if kind in ("text", "timestamp"):
        return "", False
    if kind == "category":
        codes = pd.factorize(coerced[known])[0].astype(np.float64)
    else:
        codes = coerced[known].astype(np.float64)
    targets = labels[known]
    if np.isinf(codes).any() or len(np.unique(targets)) < 2:
        return "", False
    if task == "regression":
        return ("", False) if kind == "category" else _compare_numbers(codes, targets)
    classes = len(np.unique(targets))
    distinct = len(np.unique(codes))
    few = distinct <= max(2 * classes, classes + 2)
    if few and len(np.unique(codes + 1j * targets)) == distinct:
        return "tells the target in every row: a copy of it, or known only after it", True
    if kind in ("number", "integer") and distinct > 2 * classes and classes == 2:
        area = _rank_area(codes, targets)
        if area >= 0.995:
            return (
                f"tells the target almost alone (ROC-AUC {area:.3f}): is it known when predicting?"
            ), False
    return "", False


def _find_leak_in_gaps(
    coerced: NDArray[Any], labels: NDArray[np.float64], task: Task
) -> tuple[str, bool]:
    """Say whether being filled in tells the class, as a cancellation date does."""
    if task == "regression":
        return "", False
    filled = ~pd.isna(coerced)
    if not filled.any() or filled.all() or filled.sum() < 5:
        return "", False
    inside, outside = set(labels[filled]), set(labels[~filled])
    if len(inside) == 1 and not inside & outside:
        return "is filled in exactly where the target has one class: known only after it", True
    return "", False


def _compare_numbers(codes: NDArray[np.float64], targets: NDArray[np.float64]) -> tuple[str, bool]:
    if np.ptp(codes) == 0 or np.ptp(targets) == 0:
        return "", False
    correlation = abs(float(np.corrcoef(codes, targets)[0, 1]))
    if correlation > 1 - 1e-9:
        return "is the target in other units: a copy of it", True
    ranks = abs(float(np.corrcoef(pd.Series(codes).rank(), pd.Series(targets).rank())[0, 1]))
    if max(correlation, ranks) >= 0.999:
        return (
            f"tells the target almost alone (correlation {correlation:.4f}): known beforehand?",
            False,
        )
    return "", False


def _rank_area(codes: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Give the ROC-AUC of a column as it stands, in the better of its two directions."""
    ranks = pd.Series(codes).rank().to_numpy()
    positive = targets == targets.max()
    ones, zeros = int(positive.sum()), int((~positive).sum())
    area = (ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros)
    return float(max(area, 1 - area))


def _range(coerced: NDArray[Any], kind: ColumnType) -> tuple[str, str]:
    present = coerced[~pd.isna(coerced)]
    if not len(present) or kind in ("category", "text", "boolean"):
        return "", ""
    return _show(present.min()), _show(present.max())


def _show(value: Any) -> str:
    if isinstance(value, np.datetime64 | pd.Timestamp):
        text = pd.Timestamp(value).isoformat()
        return text.removesuffix("T00:00:00")
    if isinstance(value, float | np.floating):
        return f"{float(value):.6g}"
    text = spell_value(value)
    return text if len(text) <= 40 else text[:37] + "..."


# What the columns are together.


def _assign_roles(
    frame: pd.DataFrame, findings: list[ColumnFinding], explicit: set[Role]
) -> list[ColumnFinding]:
    """Keep one id, and find the time and the group where none was named."""
    found = _keep_one(findings, "id") if "id" not in explicit else _keep_none(findings, "id")
    if "time" not in explicit:
        time = _find_time(frame, found)
        found = [
            _with_role(f, "time", "orders the rows in time") if f.name == time else f for f in found
        ]
    if "group" not in explicit:
        group = _find_group(frame, found)
        note = "rows of one value belong together and stay on one side of the split"
        found = [_with_role(f, "group", note) if f.name == group else f for f in found]
    return found


def _add_note(finding: ColumnFinding, written: Mapping[str, str]) -> ColumnFinding:
    if finding.name not in written:
        return finding
    note = f"{written[finding.name]}; requests must give plain numbers"
    return replace(finding, warnings=(*finding.warnings, note))


def _with_role(finding: ColumnFinding, role: Role, note: str) -> ColumnFinding:
    return replace(finding, role=role, warnings=(note, *finding.warnings))


def _keep_one(findings: list[ColumnFinding], role: Role) -> list[ColumnFinding]:
    """Keep the likeliest column of a role that was inferred, and leave the others out."""
    holders = [f.name for f in findings if f.role == role]
    named = [name for name in holders if _ID_NAME.search(name)]
    keeper = next(iter([*named, *holders]), None)
    return [
        replace(f, role="left out") if f.role == role and f.name != keeper else f for f in findings
    ]


def _keep_none(findings: list[ColumnFinding], role: Role) -> list[ColumnFinding]:
    marked = [f for f in findings if f.role == role and any("by heart" in w for w in f.warnings)]
    return [replace(f, role="left out") if f in marked else f for f in findings]


def _find_time(frame: pd.DataFrame, findings: list[ColumnFinding]) -> str | None:
    """Find the column that says when a row happened: sorted, or named so and the only one."""
    moments = [f for f in findings if f.role == "input" and f.type == "timestamp" and not f.missing]
    for finding in moments:
        values = order_values(frame[finding.name])
        if finding.distinct > 10 and _is_sorted(values):
            return finding.name
    named = [f.name for f in moments if _TIME_NAME.search(f.name) and f.distinct > 10]
    if moments:
        return named[0] if len(named) == 1 and len(moments) == 1 else None
    for finding in findings:
        numeric = finding.role in ("input", "id") and finding.type in ("number", "integer")
        if numeric and finding.column and not finding.missing and finding.distinct > 10:
            values = coerce_column(frame[finding.name], finding.column)
            is_time = bool(_TIME_NAME.search(finding.name))
            if (is_time or _TICK_NAME.search(finding.name)) and _is_sorted(values):
                return finding.name
            seconds = values / (1000.0 if values.min() > _EPOCH_SECONDS[1] else 1.0)
            low, high = _EPOCH_SECONDS
            if is_time and low < seconds.min() and seconds.max() < high:
                return finding.name
    return None


def _is_sorted(values: NDArray[Any]) -> bool:
    return len(values) >= 20 and bool((values[1:] >= values[:-1]).all())


def _judge_order(
    frame: pd.DataFrame,
    findings: Sequence[ColumnFinding],
    labels: NDArray[np.float64],
    task: Task,
) -> tuple[bool, list[str]]:
    """Say whether the rows are in the order of time, though no column says so, and what to know.

    They are taken to be where neighbours have like targets and no column or class explains it by
    having been sorted by.
    """
    classes = task != "regression"
    likeness = measure_likeness(labels, classes=classes)
    if likeness < ALIKE or len(labels) < 200:
        return False, []
    alike = f"neighbouring rows have like targets (correlation {likeness:.2f})"
    if classes:  # a fifth is what the last fold or the holdout is left with
        known = len(np.unique(labels))
        is_sorted = any(len(np.unique(part)) < known for part in np.array_split(labels, 5))
    else:
        is_sorted = float(np.mean(labels[1:] >= labels[:-1])) > 0.95
    if is_sorted:
        return False, [f"{alike}: the table is sorted by its target, or its start and end differ"]
    for finding in findings:
        if finding.role == "target" or finding.distinct < 2 or finding.distinct > len(labels) // 2:
            continue
        codes = pd.factorize(frame[finding.name])[0]
        if int((codes[1:] != codes[:-1]).sum()) < 2 * finding.distinct:
            name = finding.name
            return False, [
                f"{alike} and the table is sorted by {name!r}: if that is time, set time_column = "
                f'"{name}" and [split] strategy = "time"; if its values own their rows, '
                f'group_column and "group"'
            ]
    for finding in findings:
        if finding.column and finding.role == "input" and finding.type in ("number", "integer"):
            values = coerce_column(frame[finding.name], finding.column)
            if _is_sorted(values) or _is_sorted(-values):
                return False, [
                    f"{alike} and the table is sorted by {finding.name!r}: if that is time, set "
                    f'time_column = "{finding.name}" and [split] strategy = "time"'
                ]
    return True, [
        f"{alike}, as rows in time order have: the last rows judge. If their order means nothing, "
        'set [split] strategy = "random"'
    ]


def _find_group(frame: pd.DataFrame, findings: list[ColumnFinding]) -> str | None:
    """Find the column of repeated owners of rows: customers, machines, patients."""
    rows = len(frame)
    for finding in findings:
        repeated = 20 <= finding.distinct <= 0.9 * rows and finding.distinct >= 0.01 * rows
        usable = finding.role == "input" and finding.type in ("integer", "category")
        if usable and repeated and _GROUP_NAME.match(finding.name):
            return finding.name
    return None


def _warn_about_table(
    frame: pd.DataFrame,
    labelled: pd.DataFrame,
    contract: Contract,
    counts: Mapping[str, int],
    duplicates: int,
) -> Iterator[str]:
    rows = len(frame)
    if len(labelled) < 200:
        yield f"{len(labelled)} rows are few: every figure will have wide intervals"
    if len(labelled) < rows:
        yield f"{rows - len(labelled)} of {rows} rows have no target and will not be learned from"
    if duplicates:
        share = duplicates / max(1, len(labelled))
        yield f"{duplicates} rows ({share:.1%}) repeat an earlier row in every input column"
    total = sum(counts.values())
    if counts and contract.task != "anomaly":
        name, least = min(counts.items(), key=lambda item: item[1])
        if least < 0.1 * total / max(1, len(counts) / 2):
            yield f"class {name!r} is rare: {least} of {total} rows ({least / total:.1%})"
        if least < MIN_CLASS_ROWS:
            yield (
                f"class {name!r} has {least} rows, training needs {MIN_CLASS_ROWS}: bring more, "
                "merge it, or leave its rows out"
            )
        elif least < 10:
            yield f"class {name!r} has {least} rows; too few to judge a model of it"
    if len(contract.features) > len(labelled):
        yield f"there are more features ({len(contract.features)}) than rows ({len(labelled)})"
