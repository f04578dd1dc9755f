"""Reads a unit's rows: numbered as they come, each a row or the reason why it is none."""

import csv
import io
import itertools
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from core.cells import read_cell
from core.contract import Contract
from core.errors import DataError, Problem
from core.scoring import Job, Unit, split_uri
from lambdas.score.service import Found, Store

BLOCK_ROWS = 4096
TAIL_BYTES = 64 * 1024
LARGEST_HEADER = 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SEPARATORS = (",", ";", "\t", "|")


class Block(NamedTuple):
    """Some rows with their numbers and ids, and the problems of those that are no rows.

    Numbers count from 1 within the unit.
    """

    numbers: list[int]
    ids: list[str]
    rows: list[dict[str, Any]]
    broken: list[tuple[int, Problem]]


class Reader:
    """Reads units for one contract."""

    def __init__(self, job: Job, contract: Contract, store: Store) -> None:
        """Know which members of a row are not the model's: target, id, time and group."""
        self._bucket, _ = split_uri(job.source)
        self._contract, self._store = contract, store
        names = frozenset(contract.column_names)
        beside = (contract.target, contract.id_column, contract.time_column, contract.group_column)
        self._beside = tuple(name for name in beside if name and name not in names)
        self._known = names if job.ignore_unknown else None
        self._id = contract.id_column

    def read(self, unit: Unit) -> Iterator[Block]:
        """Give the unit's rows in blocks; raises DataError for what is no table at all."""
        if unit.format == "parquet":
            from lambdas.score.parquet import read_row_groups

            found = Found(unit.key, unit.etag, unit.size)
            records = read_row_groups(self._store, self._bucket, found, unit, self._contract)
        elif unit.format == "jsonl":
            records = _read_json_lines(self._content(unit))
        else:
            content = self._content(unit)
            header = content if unit.start == 0 else self._header(unit)
            records = _cut_blocks(self._read_csv(unit, content, header))
        return self._name(unit, records)

    def _name(self, unit: Unit, records: Iterator[list[Any]]) -> Iterator[Block]:
        """Give the rows numbers and ids, and take off what is not the model's."""
        # A row without an id is named after its place: `orders.csv:17`, or after the place of its
        # unit where the row's own is not known yet: `orders.jsonl@16777216:17`.
        first = unit.first_row
        prefix = f"{unit.name}:" if first else f"{unit.name}@{unit.start}:"
        shift = first - 1 if first else 0
        beside, known, identifier = self._beside, self._known, self._id
        count = 0
        for rows in records:
            numbers = list(range(count + 1, count + 1 + len(rows)))
            count += len(rows)
            broken: list[tuple[int, Problem]] = []
            if set(map(type, rows)) != {dict}:
                mixed = list(zip(numbers, rows, strict=True))
                broken = [(number, row) for number, row in mixed if type(row) is not dict]
                kept = [(number, row) for number, row in mixed if type(row) is dict]
                numbers, rows = [number for number, _ in kept], [row for _, row in kept]
            ids = [f"{prefix}{number + shift}" for number in numbers]
            if identifier:
                named = [row.get(identifier) for row in rows]
                ids = [i if n is None else str(n) for i, n in zip(ids, named, strict=True)]
            for name in beside:
                for row in rows:
                    row.pop(name, None)
            if known is not None:
                rows = [
                    row if row.keys() <= known else {k: v for k, v in row.items() if k in known}
                    for row in rows
                ]
            yield Block(numbers, ids, rows, broken)

    def _content(self, unit: Unit) -> bytes:
        """Read the unit's bytes; of JSON lines, those of the lines that begin in its range."""
        store, whole = self._store, (self._bucket, unit.key, unit.etag)
        if unit.packed:
            return _unpack(store.read(*whole, 0, unit.size), unit.key)
        if unit.format == "csv":
            return store.read(*whole, unit.start, unit.end)
        content = store.read(*whole, max(unit.start - 1, 0), unit.end)
        if unit.start:
            _, found, content = content.partition(b"\n")
            if not found:
                return b""
        at = unit.end
        while content and not content.endswith(b"\n") and at < unit.size:
            tail = store.read(*whole, at, min(at + TAIL_BYTES, unit.size))
            line, found, _ = tail.partition(b"\n")
            content += line + found
            at += len(tail)
        return content

    def _header(self, unit: Unit) -> bytes:
        end = min(LARGEST_HEADER, unit.size)
        return self._store.read(self._bucket, unit.key, unit.etag, 0, end)

    def _read_csv(self, unit: Unit, content: bytes, beginning: bytes) -> Iterator[Any]:
        names, separator = _read_header(beginning, unit.key)
        columns = {column.name: column for column in self._contract.columns}
        readers = [columns.get(name) for name in names]
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{unit.key} is not UTF-8 text (byte {unit.start + error.start})"
            ) from (error)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        width, number = len(names), 0
        try:
            if unit.start == 0:
                next(rows, None)
            for cells in rows:
                if not cells:
                    continue
                number += 1
                if len(cells) != width:
                    message = f"has {len(cells)} cells where the header has {width}"
                    yield Problem(None, None, message, "ragged_row")
                    continue
                yield {
                    name: cell if column is None else read_cell(column, cell)
                    for name, column, cell in zip(names, readers, cells, strict=True)
                }
        except csv.Error as error:
            raise DataError(
                f"{unit.key}: the quotes do not match after row {number} of bytes {unit.start} to "
                f"{unit.end} ({error}); write a quote inside a value twice"
            ) from error


def _cut_blocks(records: Iterator[Any]) -> Iterator[list[Any]]:
    while block := list(itertools.islice(records, BLOCK_ROWS)):
        yield block


def _read_json_lines(content: bytes) -> Iterator[list[Any]]:
    lines = [
        line
        for line in content.removeprefix(BYTE_ORDER_MARK).split(b"\n")
        if line and not line.isspace()
    ]
    for start in range(0, len(lines), BLOCK_ROWS):
        block = lines[start : start + BLOCK_ROWS]
        try:
            rows = list(map(orjson.loads, block))
        except orjson.JSONDecodeError:
            rows = [_read_json_line(line) for line in block]
        if set(map(type, rows)) != {dict}:
            refusal = Problem(None, None, "a row is an object of columns", "not_an_object")
            rows = [row if type(row) in (dict, Problem) else refusal for row in rows]
        yield rows


def _read_json_line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Problem(None, None, f"is not JSON: {error}", "invalid_json")


def _read_header(content: bytes, key: str) -> tuple[list[str], str]:
    """Give the names of a CSV object's columns and its separator, the likeliest of the usual."""
    try:
        text = content.decode("utf-8-sig", "strict" if len(content) < LARGEST_HEADER else "ignore")
    except UnicodeDecodeError as error:
        raise DataError(f"{key} is not UTF-8 text (byte {error.start})") from error
    line = text.partition("\n")[0]
    separator = max(SEPARATORS, key=_outside_quotes(line).count)
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    names = [name.strip() for name in names]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{key}: its header names the column {twice!r} twice")
    return names, separator


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _unpack(content: bytes, key: str) -> bytes:
    """Unpack gzip, of one member or several."""
    parts: list[bytes] = []
    try:
        while content:
            unpacker = zlib.decompressobj(wbits=31)
            parts.append(unpacker.decompress(content))
            if not unpacker.eof:
                raise DataError(f"{key} is cut short: it is no whole gzip file")
            content = unpacker.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise DataError(f"{key} is no gzip file: {error}") from error
    return b"".join(parts)
