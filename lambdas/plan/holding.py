"""Holds a run whose new files do not fit what `[data] arrival` says of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.arrival import Arrival
from core.id_samples import Table, find_misfit
from lambdas.plan.objects import DATA_PREFIX, ObjectVersion


class Starts(Protocol):
    """The first bytes of objects of the project's bucket."""

    def read_start(self, version: ObjectVersion, limit: int) -> bytes:
        """Return at most so many bytes of one version, from its first."""
        ...


@dataclass(frozen=True)
class _File:
    """A table in the bucket."""

    version: ObjectVersion
    bucket: Starts

    @property
    def name(self) -> str:
        return self.version.key

    @property
    def snapshot(self) -> str:
        """Name the topmost folder below `data/`, or the object: it is one snapshot."""
        return DATA_PREFIX + self.version.key.removeprefix(DATA_PREFIX).split("/")[0]

    @property
    def size(self) -> int:
        return self.version.size

    def read_start(self, limit: int) -> bytes:
        return self.bucket.read_start(self.version, limit)


def find_hold(
    tables: Sequence[ObjectVersion],
    known: Collection[tuple[str, str]],
    bucket: Starts,
    *,
    arrival: Arrival,
    table: Table,
) -> str | None:
    """Say why new tables do not fit `arrival`; None if they do, or no id tells.

    `tables` are in the order of arrival; `known` are the keys and version ids of those that the
    live model was trained on under the same settings.
    """
    if not table.id_column:
        return None
    new = {
        place
        for place, version in enumerate(tables)
        if (version.key, version.version_id) not in known
    }
    files = [_File(version, bucket) for version in tables]
    return find_misfit(files, new, arrival=arrival, table=table)
