"""Reads a unit's rows in blocks, by column; and one by one, for those that need a closer look."""

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, BinaryIO, cast

import msgspec
import orjson

from core.contract import Column, Contract
from core.contract.cells import BLANKS, MISSING, read_cell
from core.errors import DataError, Problem
from core.scoring import Job, Unit, split_uri
from lambdas.score.blocks import Block, Part
from lambdas.score.storage import Found, Store

BLOCK_ROWS = 1024
# Of JSON lines: with what is made of it, it stays in a core's cache.
BLOCK_BYTES = 512 * 1024
TAIL_BYTES = 64 * 1024
LARGEST_HEADER = 1024 * 1024
LARGEST_LINE = 8 * 2**20
# Of a gzipped object, which is one unit: what a call has the time for.
LARGEST_UNPACKED = 2**30
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SEPARATORS = (",", ";", "\t", "|")


class Reader:
    """Reads units for one contract."""

    def __init__(self, job: Job, contract: Contract, store: Store) -> None:
        """Know which members of a row are not the model's: target, id, time and group."""
        self._bucket, _ = split_uri(job.source)
        self._contract, self._store = contract, store
        names = frozenset(contract.column_names)
        beside = (contract.target, contract.id_column, contract.time_column, contract.group_column)
        self._beside = frozenset(name for name in beside if name and name not in names)
        self._known = names if job.ignore_unknown else None

    def read(self, unit: Unit) -> Iterator[Block]:
        """Give the unit's rows in blocks; raises DataError for what is no table at all."""
        if unit.format == "parquet":
            from lambdas.score.parquet import read_row_groups

            found = Found(unit.key, unit.etag, unit.size)
            parts = read_row_groups(self._store, self._bucket, found, unit, self._contract)
        elif unit.format == "jsonl":
            reader = JsonLines(self._contract, self._beside, self._known)
            file = self._open(unit)
            parts = _guard(unit.key, file, reader.read(file, unit.key))
        else:
            file = self._open(unit)
            parts = _guard(unit.key, file, self._read_csv(unit, file))
        return self._name(unit, parts)

    def _name(self, unit: Unit, parts: Iterator[Part]) -> Iterator[Block]:
        """Give the rows numbers and ids, and take off what is not the model's."""
        # A row without an id is named after its place: `orders.csv:17`, or after the place of its
        # unit where the row's own is not known yet: `orders.jsonl@16777216:17`.
        first = unit.first_row
        prefix = f"{unit.name}:" if first else f"{unit.name}@{unit.start}:"
        shift = first - 1 if first else 0
        total = 0
        for part in parts:
            numbers: Sequence[int] = range(total + 1, total + 1 + part.total)
            broken = [(numbers[place], problem) for place, problem in part.broken.items()]
            if broken:
                numbers = [n for place, n in enumerate(numbers) if place not in part.broken]
            total += part.total
            ids = [f"{prefix}{number + shift}" for number in numbers]
            if part.named is not None:
                pairs = zip(ids, part.named, strict=True)
                ids = [given if name is None else str(name) for given, name in pairs]
            odd = part.odd or self._find_odd(part)
            yield Block(numbers, ids, part.columns, part.typed, odd, self._strip(part.row), broken)

    def _find_odd(self, part: Part) -> Sequence[int]:
        """Give every row of a table that has unknown columns."""
        if self._known is not None or self._beside.issuperset(
            name for name in part.columns if name not in self._contract.column_names
        ):
            return ()
        return range(part.total - len(part.broken))

    def _strip(self, row: Callable[[int], dict[str, Any]]) -> Callable[[int], dict[str, Any]]:
        beside, known = self._beside, self._known

        def strip(place: int) -> dict[str, Any]:
            return {
                name: value
                for name, value in row(place).items()
                if (name in known if known is not None else name not in beside)
            }

        return strip

    def _open(self, unit: Unit) -> BinaryIO:
        """Open the unit's bytes; of JSON lines, those of the lines that begin in its range."""
        store, whole = self._store, (self._bucket, unit.key, unit.etag)
        if unit.packed:
            packed = io.BytesIO(store.read(*whole, 0, unit.size))
            return cast("BinaryIO", io.BufferedReader(cast("Any", gzip.GzipFile(fileobj=packed))))
        if unit.format == "csv":
            return io.BytesIO(store.read(*whole, unit.start, unit.end))
        content = store.read(*whole, max(unit.start - 1, 0), unit.end)
        if unit.start:
            _, found, content = content.partition(b"\n")
            if not found:
                return io.BytesIO()
        at = unit.end
        while content and not content.endswith(b"\n") and at < unit.size:
            if at > unit.end + LARGEST_LINE:
                raise _too_long(unit.key)
            tail = store.read(*whole, at, min(at + TAIL_BYTES, unit.size))
            line, found, _ = tail.partition(b"\n")
            content += line + found
            at += len(tail)
        return io.BytesIO(content)

    def _read_csv(self, unit: Unit, file: BinaryIO) -> Iterator[Part]:
        if unit.start == 0:
            beginning = file.read(LARGEST_HEADER)
            file.seek(0)
        else:
            end = min(LARGEST_HEADER, unit.size)
            beginning = self._store.read(self._bucket, unit.key, unit.etag, 0, end)
        names, separator = _read_header(beginning, unit.key)
        known = {column.name: column for column in self._contract.columns}
        columns = [(name, known.get(name)) for name in names]
        identifier = self._contract.id_column
        at = names.index(identifier) if identifier in names else None
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        rows = csv.reader(text, delimiter=separator, strict=True)
        records = filter(None, rows)
        number = 0
        try:
            if unit.start == 0:
                next(records, None)
            while block := list(itertools.islice(records, BLOCK_ROWS)):
                number += len(block)
                yield _read_csv_block(block, columns, len(names), at)
        except UnicodeDecodeError as error:
            place = unit.start + file.tell() - len(error.object) + error.start
            raise DataError(f"{unit.key} is not UTF-8 text (byte {place})") from error
        except csv.Error as error:
            raise DataError(
                f"{unit.key}: the quotes do not match after row {number} of bytes {unit.start} to "
                f"{unit.end} ({error}); write a quote inside a value twice"
            ) from error


def _read_csv_block(
    block: list[list[str]], columns: list[tuple[str, Column | None]], width: int, at: int | None
) -> Part:
    count, broken = len(block), {}
    for place, cells in enumerate(block):
        if len(cells) != width:
            message = f"has {len(cells)} cells where the header has {width}"
            broken[place] = Problem(None, None, message, "ragged_row")
    if broken:
        block = [cells for place, cells in enumerate(block) if place not in broken]
    values = list(zip(*block, strict=True)) or [()] * width

    def row(place: int) -> dict[str, Any]:
        return {
            name: cell if column is None else read_cell(column, cell)
            for (name, column), cell in zip(columns, block[place], strict=True)
        }

    read = {
        name: cells if column is None else _read_cells(column, cells)
        for (name, column), cells in zip(columns, values, strict=True)
    }
    named = None if at is None else [cell.strip(BLANKS) or None for cell in values[at]]
    return Part(count, read, False, named, (), row, broken)


_MISSING = frozenset(MISSING)


def _read_cells(column: Column, cells: Sequence[str]) -> list[Any]:
    """Read a column's cells, as `read_cell` does one by one."""
    if column.type in ("number", "integer") and "_" not in "".join(cells):
        try:
            return [None if cell in _MISSING else float(cell) for cell in cells]
        except ValueError:
            pass
    if column.type in ("category", "boolean"):
        read = {cell: read_cell(column, cell) for cell in set(cells)}
        return [read[cell] for cell in cells]
    return [read_cell(column, cell) for cell in cells]


# What msgspec and orjson read alike: a larger whole number would be a float to one of them.
_ID = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | float | str | bool | None
_KINDS: Mapping[str, Any] = {
    "number": float | None,
    "integer": float | None,
    "boolean": bool | int | float | str | None,
}
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class JsonLines:
    """Reads JSON lines into columns.

    A line that has exactly the contract's members and types is read by msgspec, in half of the time
    that a dictionary takes. Any other is odd, and read by itself with orjson. Both read numbers as
    Python does, to the last bit.
    """

    def __init__(
        self, contract: Contract, beside: frozenset[str], known: frozenset[str] | None
    ) -> None:
        """Make the decoder of the lines; with `known`, any other member is passed over."""
        kinds = {column.name: _KINDS.get(column.type, str | None) for column in contract.columns}
        kinds.update(dict.fromkeys(beside, Any))
        self._identifier = contract.id_column
        self._typed = self._identifier not in contract.column_names
        if self._identifier is not None:
            kinds[self._identifier] = _ID
        fields = {name: f"field_{place}" for place, name in enumerate(kinds)}
        row: Any = msgspec.defstruct(
            "Row",
            [(fields[name], kind, None) for name, kind in kinds.items()],
            rename={field: name for name, field in fields.items()},
            forbid_unknown_fields=known is None,
            gc=False,
        )
        self._blank = row()
        self._columns = {
            name: attrgetter(fields[name])
            for name in (*contract.column_names, *filter(None, [self._identifier]))
        }
        if known is None:
            self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(row).decode
        else:
            # What msgspec passes over it does not check; orjson reads all of it.
            self._decode = lambda line: msgspec.convert(orjson.loads(line), row)

    def read(self, file: BinaryIO, key: str) -> Iterator[Part]:
        """Give the rows of some lines; a line that is blank is none."""
        mark = BYTE_ORDER_MARK
        while piece := file.read(BLOCK_BYTES):
            if not piece.endswith(b"\n"):
                rest = file.readline(LARGEST_LINE)
                if len(rest) == LARGEST_LINE:
                    raise _too_long(key)
                piece += rest
            lines = piece.removeprefix(mark).split(b"\n")
            mark = b""
            if not lines[-1]:
                lines.pop()
            try:
                rows = list(map(self._decode, lines))
            except _UNREADABLE:
                yield self._look_closer([line for line in lines if line and not line.isspace()])
            else:
                yield self._part(rows, lines, {}, {})

    def _look_closer(self, lines: list[bytes]) -> Part:
        """Read lines of which some are odd or broken."""
        rows, odd, broken = [], {}, {}
        kept: list[bytes] = []
        for place, line in enumerate(lines):
            try:
                row = self._decode(line)
            except _UNREADABLE:
                found = _read_json_line(line)
                if isinstance(found, Problem):
                    broken[place] = found
                    continue
                odd[len(kept)] = found
                row = self._blank
            rows.append(row)
            kept.append(line)
        return self._part(rows, kept, odd, broken)

    def _part(
        self,
        rows: list[Any],
        lines: list[bytes],
        odd: dict[int, dict[str, Any]],
        broken: dict[int, Problem],
    ) -> Part:
        columns = {name: list(map(get, rows)) for name, get in self._columns.items()}
        named = None
        if self._identifier is not None:
            named = columns[self._identifier]
            for place, row in odd.items():
                named[place] = row.get(self._identifier)
        total = len(lines) + len(broken)
        return Part(
            total,
            columns,
            self._typed,
            named,
            list(odd),
            lambda place: orjson.loads(lines[place]),
            broken,
        )


def _read_json_line(line: bytes) -> dict[str, Any] | Problem:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Problem(None, None, f"is not JSON: {error}", "invalid_json")
    if type(row) is not dict:
        return Problem(None, None, "a row is an object of columns", "not_an_object")
    return row


def _read_header(content: bytes, key: str) -> tuple[list[str], str]:
    """Give the names of a CSV object's columns and its separator, the likeliest of the usual."""
    try:
        text = content.decode("utf-8-sig", "strict" if len(content) < LARGEST_HEADER else "ignore")
    except UnicodeDecodeError as error:
        raise DataError(f"{key} is not UTF-8 text (byte {error.start})") from error
    line = text.lstrip("\r\n").partition("\n")[0]
    separator = max(SEPARATORS, key=_outside_quotes(line).count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names = next(filter(None, rows), [])
    names = [name.strip() for name in names]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{key}: its header names the column {twice!r} twice")
    return names, separator


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _guard(key: str, file: BinaryIO, parts: Iterator[Part]) -> Iterator[Part]:
    """Pass the parts of a file on; raises DataError where its gzip is broken, or a bomb."""
    try:
        for part in parts:
            yield part
            if file.tell() > LARGEST_UNPACKED:
                raise DataError(
                    f"{key} unpacks to more than {LARGEST_UNPACKED // 2**20} MiB: write it as "
                    "several files, or unpack it"
                )
    except EOFError as error:
        raise DataError(f"{key} is cut short: it is no whole gzip file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{key} is no gzip file: {error}") from error


def _too_long(key: str) -> DataError:
    return DataError(
        f"{key} has a line of more than {LARGEST_LINE // 2**20} MiB: JSON lines hold one row a line"
    )
