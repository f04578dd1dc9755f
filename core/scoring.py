"""A batch scoring job: what it reads, the units it is cut into, and where each thing is written.

A unit is a whole object, a range of bytes of a large one, or some row groups of a Parquet file. It
is scored whole or not at all: its refused rows are written first, its output last, in one put, and
the output's metadata is the receipt. So a unit that was interrupted leaves nothing behind that
counts, and a unit with a receipt of the same digest is never done again.

Below the target::

    <object>/00000.jsonl                    the predictions of an object's first unit, and so on
    _driftless/<job>/job.json               what Plan found: how many units, rows unknown as yet
    _driftless/<job>/units.json             the units, which the state machine maps over
    _driftless/<job>/refused/<unit>.jsonl   the rows of a unit that the contract refuses, and why
    _driftless/<job>/given-up/<unit>.json   why a unit could not be scored at all
    _manifest/<job>-00000.jsonl             all of what failed and why, from the two above
    _manifest/<job>.json                    the summary: counts that add up
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, cast, get_args

from core.errors import DataError

Format = Literal["csv", "jsonl", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)

_SUFFIXES: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
RECEIPT = "driftless-unit"
UNIT_BYTES = 16 * 2**20
# A unit, its predictions and what is made on the way fit the function's memory.
LARGEST_UNIT_BYTES = 256 * 2**20


def recognise(key: str) -> tuple[Format, bool] | None:
    """Tell an object's format and whether it is gzipped, by its name; None for anything else."""
    name = key.lower()
    packed = name.endswith(".gz")
    name = name.removesuffix(".gz")
    for suffix, known in _SUFFIXES.items():
        if name.endswith(suffix):
            return None if packed and known == "parquet" else (known, packed)
    return None


def split_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix` into bucket and prefix; raises DataError for anything else."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise DataError(f"{uri!r} is no S3 address: write s3://bucket/prefix/")
    return bucket, key


@dataclass(frozen=True)
class Job:
    """What is asked for; the same request is the same job, and goes on where it stopped."""

    source: str
    target: str
    model_uri: str
    format: Format = "jsonl"
    ignore_unknown: bool = False
    force: bool = False
    unit_bytes: int = UNIT_BYTES
    workers: int = 100

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read a job from an execution's input; raises DataError for one that cannot be run."""
        try:
            job = cls(**{name: document[name] for name in cls.__annotations__ if name in document})
        except TypeError as error:
            raise DataError(f"a scoring job needs source, target and model_uri: {error}") from error
        if job.format not in FORMATS:
            raise DataError(f"format {job.format!r} is none of {', '.join(FORMATS)}")
        if job.unit_bytes < 1 or job.workers < 1:
            raise DataError("unit_bytes and workers are at least 1")
        if job.unit_bytes > LARGEST_UNIT_BYTES:
            raise DataError(f"a unit has at most {LARGEST_UNIT_BYTES // 2**20} MiB")
        for uri in (job.source, job.target, job.model_uri):
            split_uri(uri)
        source, target = (f"{uri.rstrip('/')}/" for uri in (job.source, job.target))
        if source == target:
            raise DataError(f"the target {job.target} is the source itself: choose another")
        if source.startswith(target):
            raise DataError(
                f"the source {job.source} is inside the target {job.target}, where predictions and "
                "tables could not be told apart: choose another"
            )
        return job

    def to_dict(self) -> dict[str, Any]:
        """Give the job as JSON-ready members."""
        return asdict(self)

    @property
    def id(self) -> str:
        """Name the job by what decides its answers; force and workers do not."""
        return _digest(
            self.source,
            self.target,
            self.model_uri,
            self.format,
            str(self.ignore_unknown),
            str(self.unit_bytes),
        )[:16]

    @property
    def folder(self) -> str:
        """Give the URI of the job's own notes, with a trailing slash."""
        return f"{self.target.rstrip('/')}/_driftless/{self.id}/"

    @property
    def manifest(self) -> str:
        """Give the URI at which the manifest's names begin."""
        return f"{self.target.rstrip('/')}/_manifest/{self.id}"


@dataclass(frozen=True)
class Unit:
    """A piece of the input that is scored at once.

    `start` and `end` are bytes of a CSV or JSON lines object, or row groups of a Parquet file. Of
    CSV, `start` is where a row begins; of JSON lines, the unit owns the lines that begin in the
    range. `first_row` counts from 1 and is 0 where it is not known before all units are done.
    """

    key: str
    name: str
    etag: str
    size: int
    format: Format
    packed: bool
    start: int
    end: int
    index: int
    first_row: int = 0

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read a unit from the list that Plan wrote."""
        return cls(**cast("dict[str, Any]", dict(document)))

    def to_dict(self) -> dict[str, Any]:
        """Give the unit as JSON-ready members."""
        return asdict(self)

    def digest(self, job: Job) -> str:
        """Name the unit by everything that decides its output."""
        place = f"{self.format} {self.packed} {self.start} {self.end} {self.index}"
        return _digest(job.id, self.key, self.etag, place)[:32]

    def output(self, job: Job) -> str:
        """Give the URI of the unit's output."""
        return f"{job.target.rstrip('/')}/{self.name}/{self.index:05d}.{job.format}"

    def refused(self, job: Job) -> str:
        """Give the URI of the list of the unit's refused rows."""
        return f"{job.folder}refused/{self.digest(job)}.jsonl"

    def given_up(self, job: Job) -> str:
        """Give the URI of the note on why the unit could not be scored."""
        return f"{job.folder}given-up/{self.digest(job)}.json"


@dataclass(frozen=True)
class Receipt:
    """What came of a unit: `rows` = `scored` + `refused`."""

    unit: str
    rows: int
    scored: int
    refused: int

    def to_metadata(self) -> dict[str, str]:
        """Write the receipt as an object's metadata."""
        return {
            RECEIPT: self.unit,
            "driftless-rows": str(self.rows),
            "driftless-scored": str(self.scored),
            "driftless-refused": str(self.refused),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """Read a receipt; None where the object has none."""
        try:
            return cls(
                metadata[RECEIPT],
                *(int(metadata[f"driftless-{name}"]) for name in ("rows", "scored", "refused")),
            )
        except (KeyError, ValueError):
            return None


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
