"""The roles of columns: which one names the row, when it happened, and whom it belongs to."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from training.arrays import FloatArray
from training.data.columns import coerce_column, order_values
from training.data.inspection.columns import ID_NAME, IDENTIFIER_NOTE
from training.data.inspection.findings import ColumnFinding, Role
from training.data.inspection.order import is_sorted
from training.doubts import Variable
from training.doubts.order import find_moment
from training.doubts.owners import find_owners

_GROUP_NAME = re.compile(
    r"^(customer|client|user|patient|subject|account|person|member|household|device|machine|sensor"
    r"|vehicle|session|group|company|store|site|student|employee)"
    r"[_\s.-]?(id|ids|no|number|num|key|code|uuid|guid)?$",
    re.IGNORECASE,
)
_OWNER_ID = re.compile(r"(^|[_\s.-])(id|uuid|guid)$|[a-z](ID|Id)$")
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


def assign_roles(
    frame: pd.DataFrame,
    findings: list[ColumnFinding],
    *,
    explicit: set[Role],
    variables: Sequence[Variable],
    labels: FloatArray | None,
    classes: bool,
) -> list[ColumnFinding]:
    """Keep one id, and find the time and the group where none was named."""
    found = _keep_one(findings, "id") if "id" not in explicit else _keep_none(findings, "id")
    if "time" not in explicit:
        time = _find_time(frame, found)
        if time is None and labels is not None:
            stamps = {f.name for f in found if f.role == "input" and f.type == "timestamp"}
            moments = [variable for variable in variables if variable.name in stamps]
            time = find_moment(moments, labels, classes=classes)
        found = [
            _with_role(f, "time", "orders the rows in time") if f.name == time else f for f in found
        ]
    if "group" not in explicit:
        group, why = _find_group(frame, found, variables, labels, classes)
        note = f"{why}: rows of one value belong together and stay on one side of the split"
        found = [_with_role(f, "group", note) if f.name == group else f for f in found]
    return found


def _with_role(finding: ColumnFinding, role: Role, note: str) -> ColumnFinding:
    return replace(finding, role=role, warnings=(note, *finding.warnings))


def _keep_one(findings: list[ColumnFinding], role: Role) -> list[ColumnFinding]:
    """Keep the likeliest column of a role that was inferred, and leave the others out."""
    holders = [f.name for f in findings if f.role == role]
    named = [name for name in holders if ID_NAME.search(name)]
    keeper = next(iter([*named, *holders]), None)
    return [
        replace(f, role="left out") if f.role == role and f.name != keeper else f for f in findings
    ]


def _keep_none(findings: list[ColumnFinding], role: Role) -> list[ColumnFinding]:
    marked = [f for f in findings if f.role == role and IDENTIFIER_NOTE in f.warnings]
    return [replace(f, role="left out") if f in marked else f for f in findings]


def _find_time(frame: pd.DataFrame, findings: list[ColumnFinding]) -> str | None:
    """Find the column that says when a row happened: sorted, or named so and the only one."""
    moments = [f for f in findings if f.role == "input" and f.type == "timestamp" and not f.missing]
    for finding in moments:
        values = order_values(frame[finding.name])
        if finding.distinct > 10 and is_sorted(values):
            return finding.name
    named = [f.name for f in moments if _TIME_NAME.search(f.name) and f.distinct > 10]
    if moments:
        return named[0] if len(named) == 1 and len(moments) == 1 else None
    for finding in findings:
        numeric = finding.role in ("input", "id") and finding.type in ("number", "integer")
        if numeric and finding.column and not finding.missing and finding.distinct > 10:
            values = coerce_column(frame[finding.name], finding.column)
            is_time = bool(_TIME_NAME.search(finding.name))
            if (is_time or _TICK_NAME.search(finding.name)) and is_sorted(values):
                return finding.name
            seconds = values / (1000.0 if values.min() > _EPOCH_SECONDS[1] else 1.0)
            low, high = _EPOCH_SECONDS
            if is_time and low < seconds.min() and seconds.max() < high:
                return finding.name
    return None


def _find_group(
    frame: pd.DataFrame,
    findings: list[ColumnFinding],
    variables: Sequence[Variable],
    labels: FloatArray | None,
    classes: bool,
) -> tuple[str | None, str]:
    """Find the column of repeated owners of rows (customers, machines, patients), and say why.

    By what rows of one value share, whatever the name; else by the name.
    """
    rows = len(frame)
    if labels is not None:
        without = [f.name for f in findings if f.role in ("time", "target")]
        owners = find_owners(variables, labels, classes=classes, without=without)
        taken = {f.name for f in findings if f.role in ("input", "left out")}
        for owner in owners:
            if owner.name in taken:
                return owner.name, owner.explain()
    for finding in findings:
        repeated = 20 <= finding.distinct <= 0.9 * rows and finding.distinct >= 0.01 * rows
        usable = finding.role == "input" and finding.type in ("integer", "category")
        named = _GROUP_NAME.match(finding.name) or _OWNER_ID.search(finding.name)
        if usable and repeated and named:
            return finding.name, "is named like what owns rows"
    return None, ""
