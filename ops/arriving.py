"""Compares tables that are to be sent with those in the bucket, by the ids of bounded samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.arrival import Overlap, natural_order
from core.data_objects import recognise
from core.id_samples import File, compare_files, explain_all
from ops.deployment import Deployment

PREFIX = "data/"


@dataclass(frozen=True)
class Upload:
    """A file that is to be sent; `source` is what it was converted from, if anything."""

    path: Path
    key: str
    source: Path | None = None

    @property
    def name(self) -> str:
        """Give the key, as messages name it."""
        return self.key

    @property
    def snapshot(self) -> str:
        """Name the topmost folder below `data/`, or the file."""
        return _name_snapshot(self.key)

    @property
    def size(self) -> int:
        """Give the size in bytes."""
        return self.path.stat().st_size

    def read_start(self, limit: int) -> bytes:
        """Read the first bytes."""
        with self.path.open("rb") as file:
            return file.read(limit)


@dataclass(frozen=True)
class Stored:
    """A table in the bucket."""

    key: str
    size: int
    modified: datetime
    s3: Any
    bucket: str

    @property
    def name(self) -> str:
        """Give the key."""
        return self.key

    @property
    def snapshot(self) -> str:
        """Name the topmost folder below `data/`, or the object."""
        return _name_snapshot(self.key)

    def read_start(self, limit: int) -> bytes:
        """Read the first bytes."""
        answer = self.s3.get_object(
            Bucket=self.bucket, Key=self.key, Range=f"bytes=0-{max(limit, 1) - 1}"
        )
        return bytes(answer["Body"].read())


@dataclass(frozen=True)
class _Table:
    id_column: str
    separator: str
    encoding: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """What files will do once they are sent, and why they should not be, if so."""

    effect: str
    misfit: str | None


def list_stored(deployment: Deployment) -> list[Stored]:
    """List the tables under `data/` in the order in which they arrived."""
    s3, bucket = deployment.client("s3"), deployment.bucket
    found = [
        Stored(entry["Key"], entry["Size"], entry["LastModified"].astimezone(UTC), s3, bucket)
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
        for entry in page.get("Contents", ())
        if recognise(entry["Key"].removeprefix(PREFIX), entry["Size"]).kind == "table"
    ]
    return sorted(found, key=lambda stored: (stored.modified, natural_order(stored.key)))


def compare_with_stored(deployment: Deployment, uploads: Sequence[Upload]) -> Comparison:
    """Compare tables with those that are there, as Plan will; reads the start of each at most."""
    data, id_column = deployment.settings.data, deployment.settings.problem.id_column or ""
    sent = {upload.key for upload in uploads}
    before = [stored for stored in list_stored(deployment) if stored.key not in sent]
    files: list[File] = [*before, *uploads]
    found: list[Overlap] = []
    misfit = None
    if id_column:
        table = _Table(id_column, data.separator, data.encoding, data.columns)
        new = set(range(len(before), len(files)))
        found = compare_files(files, new, arrival=data.arrival, table=table)
        misfit = explain_all(found, files, arrival=data.arrival, id_column=id_column)
    return Comparison(_describe_effect(data.arrival, id_column, before, found), misfit)


def _describe_effect(
    arrival: str, id_column: str, before: Sequence[Stored], found: Sequence[Overlap]
) -> str:
    """Say what a run will make of the files, under the arrival that is set."""
    older = f"{len(before)} older file{'' if len(before) == 1 else 's'}"
    shares = [
        f"of the ids in {overlap.name}, {overlap.known_share:.0%} are known"
        + (f", most from {overlap.other}" if overlap.known else "")
        for overlap in found
    ]
    effect = {
        "append": f"rows add up with those of {older}, and equal rows count once",
        "snapshot": f"the newest file is the table, and {older} no longer count",
        "merge": f"the newest row of each {id_column!r} counts, beside those of {older}",
    }[arrival]
    if not before:
        effect = "it is the first table under data/"
    elif not id_column:
        shares = ["not compared with them: project.toml has no [problem] id_column"]
    return "; ".join([f'arrival = "{arrival}": {effect}', *shares])


def _name_snapshot(key: str) -> str:
    return PREFIX + key.removeprefix(PREFIX).split("/")[0]
