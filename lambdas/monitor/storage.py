"""What the monitor keeps in the bucket: how objects are named, listed, read and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from core.errors import StorageError

Record = dict[str, Any]

SUMMARIES = "monitor/summaries/"
READ_AHEAD = 10
"""How many objects are read at once: as many as a client of boto3 has connections."""


class Entry(NamedTuple):
    """An object of the bucket."""

    key: str
    size: int
    tag: str

    @property
    def summary(self) -> str:
        """Name the object that holds this one's counts."""
        return f"{SUMMARIES}{self.key}.{self.tag[:8]}.json"

    @property
    def summary_without_repeats(self) -> str:
        """Name the counts that leave out rows of other objects, where others had counted them."""
        return f"{SUMMARIES}{self.key}.{self.tag[:8]}.without-repeats.json"


class Source(Protocol):
    """The part of the bucket that counting needs."""

    def list(self, prefix: str, after: str = "") -> Sequence[Entry]:
        """Return the objects whose keys start with `prefix` and sort after `after`."""

    def read(self, key: str) -> bytes | None:
        """Return an object, or nothing when there is none."""

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in chunks."""

    def write(self, key: str, body: bytes, content_type: str = ...) -> None:
        """Write an object."""

    def write_new(self, key: str, body: bytes) -> bool:
        """Write an object unless there is one; says if it was written."""


class Store(Source, Protocol):
    """The bucket."""

    def list_folder(self, prefix: str) -> Sequence[Entry]:
        """Return the objects right under `prefix`."""

    def read_tagged(self, key: str) -> tuple[bytes | None, str]:
        """Return an object and its tag."""

    def write_over(self, key: str, body: bytes, tag: str) -> str:
        """Write an object if it still has this tag; raises StorageError otherwise."""


def names_key(key: str) -> str:
    """Name the object that holds the hashed names of a captured object's rows."""
    return f"monitor/names/{key}.u64"


def read_names(raw: bytes | None) -> NDArray[np.uint64]:
    """Read the names of rows (n, 2): of request and prediction, and of the prediction alone."""
    return np.frombuffer(raw or b"", dtype=np.uint64).reshape(-1, 2)


def dump(document: object) -> bytes:
    """Write JSON as the monitor keeps it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def parse_summary(stored: bytes) -> Record:
    """Read a summary object; raises StorageError for anything else."""
    try:
        document = json.loads(stored)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise StorageError("an object under monitor/summaries/ is no summary: delete it")
    return document


def read_ahead(read: Callable[[str], bytes | None], keys: Iterable[str]) -> Iterator[bytes | None]:
    """Yield objects in order; a few are read at once, since most of the time is waiting."""
    following = iter(keys)
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        while some := list(islice(following, READ_AHEAD)):
            yield from pool.map(read, some)
