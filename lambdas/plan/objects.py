"""What lies under `data/` and `labelled/`: the inputs of a run, and what cannot be one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from core.arrival import natural_order
from core.data_objects import recognise

DATA_PREFIX = "data/"
LABELLED_PREFIX = "labelled/"


@dataclass(frozen=True)
class ObjectVersion:
    """One version of one object: `size` in bytes, `modified` in ISO 8601, UTC."""

    key: str
    version_id: str
    etag: str
    size: int
    modified: str


@dataclass(frozen=True)
class Unread:
    """An object that holds rows which training cannot take; `reason` says why and what to do."""

    version: ObjectVersion
    reason: str

    @property
    def sentence(self) -> str:
        """Write it as a sentence that begins with the key."""
        return f"{self.version.key} {self.reason}"


class Versions(Protocol):
    """The objects of the project's bucket."""

    def current_versions(self, prefix: str) -> Sequence[ObjectVersion]:
        """Return the newest version of each object under a prefix that is not deleted."""
        ...


@dataclass(frozen=True)
class Objects:
    """The tables under `data/`, in order of arrival; labelled rows; and what is not read."""

    tables: tuple[ObjectVersion, ...]
    labelled: tuple[ObjectVersion, ...]
    unread: tuple[Unread, ...]

    @property
    def inputs(self) -> list[ObjectVersion]:
        """Give everything that a run reads, sorted by key."""
        return sorted((*self.tables, *self.labelled), key=lambda version: version.key)

    @property
    def tables_digest(self) -> str:
        """Name the tables in these versions by a SHA-256, in hex."""
        return digest_versions(self.tables)


def list_objects(bucket: Versions) -> Objects:
    """List what lies in the bucket; folder markers, hidden files and documents are nothing."""
    tables, unread = [], []
    for version in bucket.current_versions(DATA_PREFIX):
        found = recognise(version.key.removeprefix(DATA_PREFIX), version.size)
        if found.kind == "table":
            tables.append(version)
        elif found.kind == "unread":
            unread.append(Unread(version, found.reason))
    labelled = (v for v in bucket.current_versions(LABELLED_PREFIX) if v.size > 0)
    return Objects(
        tuple(sorted(tables, key=lambda version: (version.modified, natural_order(version.key)))),
        tuple(sorted(labelled, key=lambda version: version.key)),
        tuple(sorted(unread, key=lambda found: natural_order(found.version.key))),
    )


def digest_versions(versions: Sequence[ObjectVersion], *more: str) -> str:
    """Name versions, and further texts, by a SHA-256, in hex."""
    lines = sorted(f"{version.key} {version.version_id}" for version in versions)
    return hashlib.sha256("\n".join([*lines, *more]).encode()).hexdigest()
