"""The tables that a job reads: the project's own, and labelled rows that came back from service."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.arrival import natural_order
from core.data_objects import DataObject
from training.arrays import IntArray
from training.data.arrival import Arrived, Files, combine, drop_known
from training.data.reading import find_tables, find_unread, read_files, read_table
from training.jobs import Job


@dataclass(frozen=True)
class Sources:
    """The tables as they were read, and for each file its name, hash, size, version and rows.

    `labelled` holds the columns of captured rows that the table has too; None where there are none.
    `origins` has for each row of the table its file's place among `files`; `unread` lists what lies
    beside the tables and holds rows that training cannot take.
    """

    table: pd.DataFrame
    labelled: pd.DataFrame | None
    origins: IntArray
    files: tuple[Mapping[str, Any], ...]
    unread: tuple[DataObject, ...]

    @property
    def labelled_origin(self) -> int:
        """Give the origin that labelled rows have."""
        return len(self.files)

    def join(self) -> tuple[pd.DataFrame, IntArray]:
        """Give all rows as one table, the labelled ones last, and the origin of each."""
        if self.labelled is None:
            return self.table, self.origins
        joined = pd.concat([self.table, self.labelled], ignore_index=True)
        back = np.full(len(self.labelled), self.labelled_origin, dtype=np.intp)
        return joined, np.r_[self.origins, back]


def read_sources(job: Job) -> Sources:
    """Read every table of the job; raises DataError where one cannot be read."""
    settings = job.settings.data
    described = [(path, _describe_file(path, job)) for path in find_tables(job.data)]
    described.sort(key=lambda entry: _arrival_order(entry[1]))
    paths = [path for path, _ in described]
    table, places = read_files(
        paths,
        separator=settings.separator,
        encoding=settings.encoding,
        columns=settings.columns,
    )
    names = tuple(str(entry["key"]) for _, entry in described)
    arrived = combine(
        Files(table, places, names, tuple(_name_snapshot(path, job.data) for path in paths)),
        arrival=settings.arrival,
        id_column=job.settings.problem.id_column,
        deleted=settings.deleted or None,
    )
    labelled_paths = find_tables(job.labelled) if job.labelled else []
    labelled = _read_labelled(labelled_paths, arrived, job) if labelled_paths else None
    files = [
        entry | dict(count) for (_, entry), count in zip(described, arrived.counts, strict=True)
    ]
    files += [_describe_file(path, job) for path in labelled_paths]
    return Sources(arrived.table, labelled, arrived.files, tuple(files), tuple(_list_unread(job)))


def _list_unread(job: Job) -> list[DataObject]:
    """List what is not read: beside the tables of a folder, or as Plan saw it in the bucket."""
    planned = [
        DataObject(str(entry["key"]), "unread", str(entry["reason"]))
        for entry in job.plan.get("unread", ())
    ]
    return [*find_unread(job.data), *planned]


def _name_snapshot(path: Path, data: Path) -> str:
    """Name the snapshot of which a file is a part: the topmost folder below the data, or itself."""
    return path.relative_to(data).parts[0] if data.is_dir() else path.name


def _arrival_order(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort files by when they arrived, as Plan saw it; on a laptop by their names."""
    return (str(entry.get("modified", "")), natural_order(str(entry["key"])))


def _read_labelled(paths: list[Path], arrived: Arrived, job: Job) -> pd.DataFrame:
    """Read captured rows joined with their labels; the newest label of a prediction counts.

    A row that the table holds as well, answer included, counts once.
    """
    found, frame = read_table(paths), arrived.table
    # The monitor's own two columns; named with an underscore where the table has such a column.
    prediction, answered = (
        f"{name}_" if f"{name}_" in found.columns else name
        for name in ("prediction_id", "prediction_time")
    )
    if prediction in found.columns:
        found = found.drop_duplicates(prediction, keep="last", ignore_index=True)
    own = {prediction, answered}
    known = [name for name in found.columns if name in set(frame.columns) - own]
    moment = job.settings.problem.time_column
    if moment and moment in frame.columns and moment not in known and answered in found.columns:
        if not pd.api.types.is_numeric_dtype(frame[moment]):
            stamps = pd.to_datetime(found[answered], unit="ms", utc=True)
            found[moment] = stamps.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            # The table counts time in a unit of its own; what came back since then came later.
            found[moment] = float(frame[moment].max()) + 1.0 + found[answered].rank(method="dense")
        known.append(moment)
    return drop_known(found[known], frame)


def _describe_file(path: Path, job: Job) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    try:
        key = path.resolve().relative_to(job.root.resolve()).as_posix()
    except ValueError:
        key = path.name
    entry: dict[str, Any] = {"key": key, "sha256": digest.hexdigest(), "bytes": path.stat().st_size}
    for pinned in job.plan.get("inputs", ()):
        if isinstance(pinned, Mapping) and pinned.get("key") == key:
            entry |= {
                name: pinned[name] for name in ("version_id", "etag", "modified") if name in pinned
            }
    return entry
