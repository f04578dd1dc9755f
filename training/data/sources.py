"""The tables that a job reads: the project's own, and labelled rows that came back from service."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from training.data.reading import find_tables, read_table
from training.jobs import Job


@dataclass(frozen=True)
class Sources:
    """The tables as they were read, and for each file its name, hash, size and version.

    `labelled` holds the columns of captured rows that the table has too; None where there are none.
    """

    table: pd.DataFrame
    labelled: pd.DataFrame | None
    files: tuple[Mapping[str, Any], ...]

    def join(self) -> pd.DataFrame:
        """Give all rows as one table, the labelled ones last."""
        if self.labelled is None:
            return self.table
        return pd.concat([self.table, self.labelled], ignore_index=True)


def read_sources(job: Job) -> Sources:
    """Read every table of the job; raises DataError where one cannot be read."""
    settings = job.settings.data
    paths = find_tables(job.data)
    table = read_table(
        paths,
        separator=settings.separator,
        encoding=settings.encoding,
        columns=settings.columns,
    )
    labelled_paths = find_tables(job.labelled) if job.labelled else []
    labelled = _read_labelled(labelled_paths, table, job) if labelled_paths else None
    files = tuple(_describe_file(path, job) for path in (*paths, *labelled_paths))
    return Sources(table, labelled, files)


def _read_labelled(paths: list[Path], frame: pd.DataFrame, job: Job) -> pd.DataFrame:
    """Read captured rows joined with their labels; the newest label of a prediction counts."""
    found = read_table(paths)
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
    return found[known]


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
            entry |= {name: pinned[name] for name in ("version_id", "etag") if name in pinned}
    return entry
