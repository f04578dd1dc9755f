"""Samples of the ids and rows of tables, small enough to keep while many tables are compared.

Of each table the rows of the ids with the smallest hashes are kept (bottom-k sampling), so that two
samples hold the same ids where two tables do; a table with fewer ids is kept whole. Only CSV is
read, plain or gzipped, as a stream and up to a limit; what is not such a table has no sample.
"""

import csv
import gzip
import hashlib
import heapq
import io
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.arrival import MIN_PAIRS, Arrival, Overlap, are_unlike, explain_misfit
from core.contract.cells import BLANKS, MISSING
from core.delimited import find_encoding, find_separator

OBJECT_BYTES = 32 << 20  # read of one file
TEXT_BYTES = 64 << 20  # read of one file after it is unpacked
TOTAL_BYTES = 256 << 20  # of all files, unpacked
MAX_FILES = 500  # each is one request to S3
MAX_IDS = 4096  # kept of one file
_HEAD_BYTES = 200_000
_CELL_BYTES = 4
_EVERY = 1 << 64

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_CODE = re.compile(r"0\d|[+-]?\d{16}")  # 007 is a code, not the number 7
_MISSING = frozenset(MISSING)


class Table(Protocol):
    """How the files of a project are written, and what names their rows."""

    @property
    def id_column(self) -> str:
        """Name the column of ids."""
        ...

    @property
    def separator(self) -> str:
        """Give what separates the fields; "" is found out."""
        ...

    @property
    def encoding(self) -> str:
        """Name the encoding; "" is found out."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """Name the columns of files without a header."""
        ...


class File(Protocol):
    """A table file, on this machine or in S3."""

    @property
    def name(self) -> str:
        """Give the name that messages use."""
        ...

    @property
    def snapshot(self) -> str:
        """Name the snapshot that the file is part of; often its own name."""
        ...

    @property
    def size(self) -> int:
        """Give its size in bytes."""
        ...

    def read_start(self, limit: int) -> bytes:
        """Read its first bytes."""
        ...


@dataclass(frozen=True)
class Sample:
    """Rows of the ids whose hash is below `limit`: of each id the first and the last row.

    A row is the hashes of its cells, in the order of `columns`. `whole` says that the file was read
    to its end, `text_bytes` how much was read.
    """

    name: str
    columns: tuple[str, ...]
    rows: dict[int, tuple[bytes, bytes]]
    limit: int
    whole: bool
    text_bytes: int


def find_misfit(
    files: Sequence[File], new: Collection[int], *, arrival: Arrival, table: Table
) -> str | None:
    """Say how new files refute what `arrival` claims; None if they fit, or nothing can be said.

    `files` are in the order of their arrival, `new` are the places of those to judge.
    """
    found = compare_files(files, new, arrival=arrival, table=table)
    return explain_all(found, files, arrival=arrival, id_column=table.id_column)


def explain_all(
    found: Sequence[Overlap], files: Sequence[File], *, arrival: Arrival, id_column: str
) -> str | None:
    """Say what the first of some overlaps refutes, if one does."""
    for overlap in found:
        newest = overlap.name == files[-1].snapshot
        misfit = explain_misfit(overlap, arrival=arrival, id_column=id_column, newest=newest)
        if misfit:
            return misfit
    return None


def compare_files(
    files: Sequence[File], new: Collection[int], *, arrival: Arrival, table: Table
) -> list[Overlap]:
    """Compare new files, by their places, with those before each; the parts of a snapshot as one.

    Files that cannot be compared are left out.
    """
    if not new or len(files) < 2:
        return []
    samples = sample_newest(files, table)
    if arrival == "snapshot":
        labels = [file.snapshot for file in files]
        last = {label: place for place, label in enumerate(labels)}
        names = sorted(last, key=lambda label: last[label])
        new = {names.index(labels[place]) for place in new}
        samples = [
            _join(name, [s for s, label in zip(samples, labels, strict=True) if label == name])
            for name in names
        ]
    overlaps = (compare(samples[place], samples[:place]) for place in sorted(new))
    return [found for found in overlaps if found is not None]


def sample_newest(files: Sequence[File], table: Table) -> list[Sample | None]:
    """Sample files from the newest to the oldest, until as much is read as may be."""
    samples: list[Sample | None] = [None] * len(files)
    left = TOTAL_BYTES
    for place in range(len(files) - 1, -1, -1):
        if left <= 0 or len(files) - place > MAX_FILES:
            break
        file = files[place]
        start = file.read_start(min(file.size, OBJECT_BYTES))
        sample = take_sample(file.name, start, whole=len(start) >= file.size, table=table)
        left -= sample.text_bytes if sample is not None else len(start)
        samples[place] = sample
    return samples


def take_sample(name: str, start: bytes, *, whole: bool, table: Table) -> Sample | None:
    """Sample a table by its first bytes, or all of them; None if it is no CSV with such ids."""
    if start[:4] == b"PAR1" or start[:2] == b"PK":
        return None
    text = _Text(start, whole=whole)
    try:
        return _sample_rows(name, text, table)
    except (csv.Error, UnicodeError, ValueError, OSError, EOFError, zlib.error):
        return None


def _sample_rows(name: str, text: "_Text", table: Table) -> Sample | None:
    head = text.peek(_HEAD_BYTES)
    encoding = find_encoding(head, table.encoding)
    separator = table.separator or find_separator(head.decode(encoding, "ignore"))
    lines = io.TextIOWrapper(text, encoding, errors="replace", newline="")
    rows = csv.reader(lines, delimiter=separator)
    header = list(table.columns) or [
        cell.strip(BLANKS) or f"column_{place + 1}"
        for place, cell in enumerate(next((row for row in rows if row), []))
    ]
    if header.count(table.id_column) != 1:
        return None
    at = header.index(table.id_column)
    kept: dict[int, tuple[bytes, bytes]] = {}
    largest: list[int] = []
    limit = _EVERY
    for row in _without_cut(rows, text):
        if len(row) != len(header) or not (named := _canonical(row[at])):
            continue
        key = int.from_bytes(hashlib.blake2b(named.encode(), digest_size=8).digest(), "big")
        if key >= limit:
            continue
        cells = b"".join(_hash_cell(cell) for place, cell in enumerate(row) if place != at)
        if key in kept:
            kept[key] = (kept[key][0], cells)
            continue
        kept[key] = (cells, cells)
        heapq.heappush(largest, -key)
        if len(kept) > MAX_IDS:
            limit = -heapq.heappop(largest)
            del kept[limit]
    columns = tuple(column for column in header if column != table.id_column)
    return Sample(name, columns, kept, limit, not text.is_cut, text.taken)


def _without_cut(rows: Iterator[list[str]], text: "_Text") -> Iterator[list[str]]:
    """Give rows, but not the last of a text that was cut, which may have lost its end."""
    held: list[str] = []
    for row in rows:
        if held:
            yield held
        held = row
    if held and not text.is_cut:
        yield held


def compare(new: Sample | None, before: Sequence[Sample | None]) -> Overlap | None:
    """Compare the ids of a file with those of the files before it, the newest row of each."""
    older = [sample for sample in before if sample is not None]
    if new is None or not new.rows or not any(sample.rows for sample in older):
        return None
    limit = min(new.limit, *(sample.limit for sample in older))
    # In the order of the hashes, so that rows side by side are rows at random.
    mine = sorted(key for key in new.rows if key < limit)
    if not mine:
        return None
    places = Counter[str]()
    pairs: list[tuple[Sample, bytes, bytes]] = []
    for key in mine:
        then = next((sample for sample in reversed(older) if key in sample.rows), None)
        if then is None:
            continue
        places[then.name] += 1
        now, was = new.rows[key][0], then.rows[key][1]
        if then.columns != new.columns or now != was:
            pairs.append((then, now, was))
    aligned = [_align(new, then, now, was) for then, now, was in pairs]
    changed = [(now, was) for now, was in aligned if now != was]
    other = places.most_common(1)[0][0] if places else older[-1].name
    return Overlap(
        name=new.name,
        other=other,
        ids=len(mine),
        known=places.total(),
        changed=len(changed),
        unlike=_are_unlike(changed),
        sampled=limit < _EVERY,
        whole=new.whole and all(sample is not None and sample.whole for sample in before),
    )


def _are_unlike(changed: Sequence[tuple[bytes, bytes]]) -> bool:
    """Say whether the rows of one id have no more in common than rows of different ids."""
    if len(changed) < MIN_PAIRS:
        return False
    equal = chance = 0.0
    cells = len(changed[0][0]) // _CELL_BYTES
    half = len(changed) // 2
    for at in range(0, cells * _CELL_BYTES, _CELL_BYTES):
        now = [row[at : at + _CELL_BYTES] for row, _ in changed]
        was = [row[at : at + _CELL_BYTES] for _, row in changed]
        equal += _share_equal(now, was)
        chance += _share_equal(now, was[-half:] + was[:-half])
    return are_unlike(equal=equal, chance=chance, cells=float(cells))


def _share_equal(left: Sequence[bytes], right: Sequence[bytes]) -> float:
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def _align(new: Sample, then: Sample, now: bytes, was: bytes) -> tuple[bytes, bytes]:
    """Bring two rows to the columns of both files; a column that a file lacks has no values."""
    if then.columns == new.columns:
        return now, was
    columns = (*new.columns, *(name for name in then.columns if name not in new.columns))
    return _spread(now, new.columns, columns), _spread(was, then.columns, columns)


def _spread(row: bytes, columns: tuple[str, ...], wanted: tuple[str, ...]) -> bytes:
    if columns == wanted:
        return row
    places = {name: place * _CELL_BYTES for place, name in enumerate(columns)}
    absent = _hash_cell("")
    return b"".join(
        row[places[name] : places[name] + _CELL_BYTES] if name in places else absent
        for name in wanted
    )


def _join(name: str, parts: Sequence[Sample | None]) -> Sample | None:
    """Make one sample of the parts of a snapshot, in the order in which they came."""
    read = [part for part in parts if part is not None]
    if not read:
        return None
    limit = min(part.limit for part in read)
    columns = tuple(dict.fromkeys(column for part in read for column in part.columns))
    rows: dict[int, tuple[bytes, bytes]] = {}
    for part in read:
        for key, (first, last) in part.rows.items():
            if key < limit:
                first, last = (_spread(row, part.columns, columns) for row in (first, last))
                rows[key] = (rows[key][0] if key in rows else first, last)
    whole = len(read) == len(parts) and all(part.whole for part in read)
    return Sample(name, columns, rows, limit, whole, sum(part.text_bytes for part in read))


def _canonical(cell: str) -> str:
    """Write a cell so that two spellings of one value are alike: 1 and 1.0, NA and nothing."""
    plain = cell.strip(BLANKS)
    if plain.lower() in _MISSING:
        return ""
    if _NUMBER.fullmatch(plain) and not _CODE.match(plain):
        value = float(plain)
        return str(int(value)) if value.is_integer() else repr(value)
    return plain


def _hash_cell(cell: str) -> bytes:
    return zlib.crc32(_canonical(cell).encode("utf-8", "replace")).to_bytes(_CELL_BYTES, "big")


class _Text(io.BufferedReader):
    """The bytes of a table's text, unpacked, up to a limit.

    `taken` counts them; `is_cut` says that there is more than was given or may be taken.
    """

    def __init__(self, start: bytes, *, whole: bool) -> None:
        source: io.BufferedIOBase = io.BytesIO(start)
        if start[:2] == b"\x1f\x8b":
            source = gzip.GzipFile(fileobj=source)
        self._bounded = _Bounded(source, is_cut=not whole)
        super().__init__(self._bounded, buffer_size=_HEAD_BYTES)

    @property
    def taken(self) -> int:
        return self._bounded.taken

    @property
    def is_cut(self) -> bool:
        return self._bounded.is_cut


class _Bounded(io.RawIOBase):
    """A source of bytes that ends where it is cut, or after TEXT_BYTES."""

    def __init__(self, source: io.BufferedIOBase, *, is_cut: bool) -> None:
        self._source = source
        self._was_cut = is_cut
        self.is_cut = is_cut
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        wanted = min(len(buffer), TEXT_BYTES - self.taken)
        if wanted <= 0:
            self.is_cut = self.is_cut or bool(self._read(1))
            return 0
        filled = 0
        while filled < wanted and (found := self._read(wanted - filled)):
            buffer[filled : filled + len(found)] = found
            filled += len(found)
        self.taken += filled
        return filled

    def _read(self, limit: int) -> bytes:
        """Read what comes at once: a cut archive gives what it has before it fails."""
        try:
            return self._source.read1(limit)
        except EOFError:
            if not self._was_cut:
                raise
            return b""
