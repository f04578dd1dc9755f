"""The tables that a job reads: the project's own, and labelled rows that came back from service."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.arrival import natural_order
from core.data_objects import DataObject
from core.entities import HASH, EntityKey
from core.labelled import ENTITY_HASH, PREDICTION_ID, PREDICTION_TIME, find_own
from training.arrays import IntArray
from training.data.arrival import Arrived, Files, combine, drop_known
from training.data.entities import Texts, read_key, spell_entities
from training.data.reading import find_tables, find_unread, read_files, read_table
from training.jobs import Job


@dataclass(frozen=True)
class Sources:
    """The tables as they were read, and for each file its name, hash, size, version and rows.

    `labelled` holds the columns of captured rows that the table has too; None where there are none.
    `origins` has for each row of the table its file's place among `files`; `unread` lists what lies
    beside the tables and holds rows that training cannot take. `hashes` has for each labelled row
    the keyed hash of its entity, or None; it is None itself where no row has one.
    """

    table: pd.DataFrame
    labelled: pd.DataFrame | None
    origins: IntArray
    files: tuple[Mapping[str, Any], ...]
    unread: tuple[DataObject, ...]
    hashes: Texts | None = None

    @property
    def labelled_origin(self) -> int:
        """Give the origin that labelled rows have."""
        return len(self.files)

    @property
    def entities(self) -> Texts | None:
        """Give for each row of the joined table the hash of its entity, where it carries one."""
        if self.hashes is None:
            return None
        return np.concatenate([np.full(len(self.table), None, dtype=object), self.hashes])

    def spell(self, column: str) -> Texts:
        """Spell what a column of the joined table names; None where it names nothing.

        Read from each part by itself: whole numbers of a column that the other part lacks would
        become fractions.
        """
        parts = [spell_entities(self.table[column])]
        if self.labelled is not None and column in self.labelled.columns:
            parts.append(spell_entities(self.labelled[column]))
        elif self.labelled is not None:
            parts.append(np.full(len(self.labelled), None, dtype=object))
        return np.concatenate(parts)

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
    labelled, hashes = None, None
    if labelled_paths:
        labelled, hashes = _read_labelled(labelled_paths, arrived, job)
    files = [
        entry | dict(count) for (_, entry), count in zip(described, arrived.counts, strict=True)
    ]
    files += [_describe_file(path, job) for path in labelled_paths]
    unread = tuple(_list_unread(job))
    return Sources(arrived.table, labelled, arrived.files, tuple(files), unread, hashes)


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


def _read_labelled(
    paths: list[Path], arrived: Arrived, job: Job
) -> tuple[pd.DataFrame, Texts | None]:
    """Read captured rows joined with their labels; the newest label of a prediction counts.

    A row that the table holds as well, answer included, counts once; one whose id the table marks
    as deleted does not count. Gives the hash of each row's entity, too.
    """
    found, frame = read_table(paths), arrived.table
    prediction, answered = (
        find_own(name, found.columns) for name in (PREDICTION_ID, PREDICTION_TIME)
    )
    entity = _find_hashes(found)
    if prediction in found.columns:
        found = found.drop_duplicates(prediction, keep="last", ignore_index=True)
    found = found[~_find_deleted(found, entity, arrived, job)].reset_index(drop=True)
    own = {prediction, answered, entity}
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
    kept = drop_known(found[known], frame)
    hashes = None
    if entity is not None:
        values = found.loc[kept.index, entity].astype(object)
        hashes = values.where(values.notna(), None).to_numpy(dtype=object)
    return kept.reset_index(drop=True), hashes


def _find_hashes(found: pd.DataFrame) -> str | None:
    """Find the monitor's column of entities: a column of that name that holds hashes."""
    name = find_own(ENTITY_HASH, found.columns)
    values = found[name].dropna() if name in found.columns else pd.Series(dtype=object)
    return name if len(values) and values.astype(str).str.fullmatch(HASH.pattern).all() else None


def _find_deleted(
    found: pd.DataFrame, entity: str | None, arrived: Arrived, job: Job
) -> NDArray[np.bool_]:
    """Mark labelled rows of ids that the table marks as deleted."""
    column = job.settings.problem.id_column
    gone = np.zeros(len(found), dtype=bool)
    if column is None or not arrived.deleted:
        return gone
    deleted = spell_entities(pd.Series(arrived.deleted, dtype=object))
    if column in found.columns:
        gone |= pd.Series(spell_entities(found[column])).isin(list(deleted)).to_numpy()
    key = read_key(job)
    if entity is not None and key is not None:
        hasher = EntityKey(key, column)
        gone |= found[entity].isin([hasher.hash(text) for text in deleted]).to_numpy()
    return gone


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
