"""The contract of a table: inferred as a whole, or completed where project.toml declares it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from core.contract import Column, Contract, Task
from core.errors import DataError
from core.settings import Settings
from training.arrays import FloatArray
from training.data.columns import coerce_column, count_duplicates, is_blank, spell_value
from training.data.inspection.categories import learn_categories
from training.data.inspection.columns import inspect_column
from training.data.inspection.findings import ColumnFinding, Findings, Role
from training.data.inspection.order import judge_order
from training.data.inspection.roles import assign_roles
from training.data.inspection.target import infer_classes, infer_task, label_codes
from training.data.reading import WRITTEN
from training.data.splits import MIN_CLASS_ROWS
from training.data.splits import Strategy as SplitStrategy
from training.data.variables import as_variable
from training.doubts import Doubt, Variable
from training.doubts.knowers import find_knowers


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
        task = infer_task(frame, target)
    supervised = task not in ("anomaly", "clustering")
    if supervised and target is None:
        raise DataError(f"a {task} task needs a target; name the column to predict")
    classes, counts, positive = infer_classes(frame, target, task, positive)
    labelled = frame
    if supervised and target is not None:
        labelled = frame[~is_blank(frame[target])]
        if labelled.empty:
            raise DataError(f"no row has a value of the target {target!r}")
    labels = label_codes(labelled, target, task)
    roles: dict[str, Role] = {}
    for name, role in ((target, "target"), (id_column, "id"), (time_column, "time")):
        if name is not None:
            roles[name] = role  # type: ignore[assignment]
    if group_column is not None:
        roles[group_column] = "group"
    findings = [
        inspect_column(labelled[name], str(name), roles.get(str(name)), labels, task)
        for name in frame.columns
    ]
    findings = [_add_note(found, frame.attrs.get(WRITTEN, {})) for found in findings]
    variables = list_variables(labelled, findings)
    findings = assign_roles(
        labelled,
        findings,
        explicit=set(roles.values()),
        variables=variables,
        labels=labels,
        classes=task != "regression",
    )
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
        is_ordered, about_order = judge_order(variables, labels, task)
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
    doubts = _find_doubts(labelled, contract, variables, labels)
    findings = [_add_doubts(found, doubts) for found in findings]
    warnings = (
        *about_order,
        *(doubt.sentence for doubt in doubts if len(doubt.columns) != 1),
        *_warn_about_table(frame, labelled, contract, counts, duplicates),
    )
    found = Findings(len(frame), tuple(findings), duplicates, split, counts, warnings, doubts)
    return contract, found


def list_variables(frame: pd.DataFrame, findings: Sequence[ColumnFinding]) -> list[Variable]:
    """Give every column with values but the target as plain float64."""
    return [
        as_variable(found.name, coerce_column(frame[found.name], found.column), found.column.type)
        for found in findings
        if found.column is not None and found.role != "target"
    ]


def _find_doubts(
    frame: pd.DataFrame,
    contract: Contract,
    variables: Sequence[Variable],
    labels: FloatArray | None,
) -> tuple[Doubt, ...]:
    """Find the columns for which the training job would hold a model back."""
    if labels is None:
        return ()
    classes: list[str] = []
    if contract.is_classification and contract.target is not None:
        # In the order in which they appear, as `label_codes` counts them.
        classes = [str(name) for name in frame[contract.target].map(spell_value).unique()]
    given = set(contract.column_names)
    inputs = [variable for variable in variables if variable.name in given]
    return tuple(find_knowers(inputs, labels, classes=classes))


def _add_doubts(finding: ColumnFinding, doubts: Sequence[Doubt]) -> ColumnFinding:
    notes = [
        doubt.sentence.removeprefix(f"{finding.name!r} ")
        for doubt in doubts
        if doubt.columns == (finding.name,)
    ]
    return replace(finding, warnings=(*notes, *finding.warnings)) if notes else finding


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
        classes, _, positive = infer_classes(frame, target, problem.task, positive)
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


def _check_named(frame: pd.DataFrame, *names: str | None) -> None:
    for name in names:
        if name is not None and name not in frame.columns:
            known = ", ".join(repr(str(column)) for column in frame.columns[:30])
            more = ", ..." if len(frame.columns) > 30 else ""
            raise DataError(f"the table has no column {name!r}; it has {known}{more}")
    if frame.empty:
        raise DataError("the table has no rows")


def _add_note(finding: ColumnFinding, written: Mapping[str, str]) -> ColumnFinding:
    if finding.name not in written:
        return finding
    note = f"{written[finding.name]}; requests must give plain numbers"
    return replace(finding, warnings=(*finding.warnings, note))


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
