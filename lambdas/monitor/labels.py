"""Read labels that came back, keep those that wait, write the rows that have theirs."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.contract import Contract
from core.labelled import ENTITY_HASH, PREDICTION_ID, PREDICTION_TIME, name_own
from lambdas.monitor.captures import Capture, Row, is_text, unzip_chunks


class Label(NamedTuple):
    """One label: of which prediction, what, when it was given, and when it was first read."""

    id: str
    value: str | float | bool
    time: int
    arrived: int


def read_labels(chunks: Iterator[bytes], now: int) -> Iterator[Label | None]:
    """Yield the labels of a file, and None for each line that holds none.

    Reads JSON lines (`{"id", "value", "time"?}`, as POST /feedback writes them) and CSV with a
    header that names `id` and `value`, either of them gzipped or not. A label without a time counts
    as given now.
    """
    content = bytearray()
    whole = True
    for piece in unzip_chunks(chunks):
        if piece is None:
            whole = False
            break
        content += piece
    text = bytes(content).decode("utf-8-sig", "replace")
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("{"):
        yield from _read_json_lines(lines, now)
    elif first:
        reader = csv.DictReader(lines, delimiter=";" if ";" in first else ",")
        if not {"id", "value"} <= set(reader.fieldnames or ()):
            yield None
            return
        try:
            for record in reader:
                yield _label(record, now)
        except csv.Error:  # a field of over 128 KiB, say: what follows cannot be told from it
            yield None
    if not whole:
        yield None


def _read_json_lines(lines: Sequence[str], now: int) -> Iterator[Label | None]:
    for line in lines:
        if line.strip():
            try:
                document = json.loads(line)
            except (ValueError, RecursionError):
                yield None
            else:
                yield _label(document, now) if is_text(line, document) else None


def _label(document: Any, now: int) -> Label | None:
    if not isinstance(document, dict):
        return None
    name, value, time = document.get("id"), document.get("value"), document.get("time")
    if not isinstance(name, str) or not name or not isinstance(value, str | int | float | bool):
        return None
    try:
        if isinstance(value, int | float) and not math.isfinite(value):
            return None
    except OverflowError:
        return None
    try:
        moment = now if time in (None, "") else int(float(time))
    except (TypeError, ValueError, OverflowError):
        moment = now
    return Label(name, value, min(moment, now), now)


@dataclass
class PendingLabels:
    """Labels whose predictions have not been captured yet, by prediction id."""

    labels: dict[str, Label] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Write them."""
        return json.dumps([list(label) for label in self.labels.values()]).encode()

    @classmethod
    def from_json(cls, text: bytes | None) -> PendingLabels:
        """Read them; none of them where there is no file yet."""
        return cls({item[0]: Label(*item) for item in json.loads(text or b"[]")})


def write_labelled(
    contract: Contract, found: Sequence[tuple[str, str | float, Capture, Row]]
) -> bytes:
    """Write rows with their labels as a training table, gzipped CSV.

    Columns: the contract's, less the sensitive ones, which are never captured (a table that lacks a
    column says less than one that says it is missing); the target, `prediction_id` and
    `prediction_time` (in epoch milliseconds, which is what training reads it as); and, where a
    request has named the entity of a row, `entity_hash`. These get an underscore more where the
    table has a column of that name itself.
    """
    names = [column.name for column in contract.columns if not column.sensitive]
    target = str(contract.target)
    beside = (contract.time_column, contract.group_column, contract.id_column)
    taken = {*contract.column_names, target, *filter(None, beside)}
    named = any(row.entity for _, _, _, row in found)
    own = [
        name_own(name, taken)
        for name in (PREDICTION_ID, PREDICTION_TIME, *([ENTITY_HASH] if named else []))
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, target, *own])
    for prediction, value, capture, row in found:
        cells = (_cell(row.values.get(name)) for name in names)
        entity = [row.entity] if named else []
        writer.writerow([*cells, _cell(value), prediction, str(capture.time), *entity])
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
