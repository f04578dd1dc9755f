"""Proposes `[data] arrival` from what several files say about each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from core.arrival import FULL_EXPORT, KNOWN_AGAIN, MIN_IDS, Arrival, Overlap
from training.data.arrival import Files, by_snapshot, combine, compare_ids, hash_table, read_ids
from training.data.inspection.columns import ID_NAME, inspect_column

FULL_COVER = 0.9  # of the ids of the file before: a file that has so many is a whole table
MIN_ROWS = 10


@dataclass(frozen=True)
class Proposal:
    """How the files make one table, and that table.

    `id_column` names a row over all files; `no_ids` are columns that name rows of one file each.
    """

    arrival: Arrival
    why: str
    id_column: str | None
    table: pd.DataFrame
    no_ids: tuple[str, ...] = ()


def propose_for_files(
    files: Files, *, id_column: str | None, taken: Sequence[str | None]
) -> Proposal:
    """Propose how several files, in the order of their arrival, make one table.

    A column of `taken` has another role. An `id_column` that is named is believed to be one, unless
    the rows that it names have nothing in common from file to file.
    """
    table = files.table
    candidates = [id_column] if id_column else _find_candidates(files, taken)
    rows = hash_table(table)
    # The parts of a folder are one export; files of one folder alone are judged one by one.
    whole = by_snapshot(files)
    whole = whole if len(whole.names) > 1 else files
    no_ids: list[str] = []
    for name in candidates:
        ids = read_ids(table, name)
        assert ids is not None
        overlaps = [compare_ids(whole, ids, rows, place) for place in range(1, len(whole.names))]
        found = [overlap for overlap in overlaps if overlap is not None]
        if any(overlap.unlike for overlap in found):
            no_ids.append(name)
            continue
        arrival, why = _judge(name, found, _covers(whole, ids), is_text=table[name].dtype == object)
        kept = _drop(files, no_ids)
        arrived = combine(kept, arrival=arrival, id_column=name, deleted=None)
        return Proposal(arrival, why, name, arrived.table, tuple(no_ids))
    kept = _drop(files, no_ids)
    arrived = combine(kept, arrival="append", id_column=None, deleted=None)
    why = "rows add up, equal rows count once: no column names a row over all files"
    return Proposal("append", why, None, arrived.table, tuple(no_ids))


def propose_for_file(table: pd.DataFrame, id_column: str | None) -> tuple[Arrival, str]:
    """Propose how later files will join the one that there is."""
    if id_column is None:
        return "append", "rows of later files add up, equal rows count once"
    if table[id_column].dtype == object and table[id_column].is_unique:
        return "merge", (
            f"an id ({id_column}) that comes again in a later file is a newer row; "
            '"snapshot": the newest file is the whole table'
        )
    return "append", ('rows of later files add up; full exports: "snapshot", updated rows: "merge"')


def _find_candidates(files: Files, taken: Sequence[str | None]) -> list[str]:
    """Find the columns that name a row within each file; those that are called so come first."""
    newest = files.table[files.files == files.files.max()]
    found = []
    for name in files.table.columns:
        if name in taken or len(newest) < MIN_ROWS:
            continue
        finding = inspect_column(newest[name], str(name), None, None, "clustering")
        if finding.role == "id" and _is_unique(files, str(name)):
            found.append(str(name))
    return sorted(found, key=lambda name: not ID_NAME.search(name))


def _is_unique(files: Files, name: str) -> bool:
    values = files.table[name]
    keys = pd.DataFrame({"file": files.files, "id": values})[values.notna().to_numpy()]
    return bool(values.notna().mean() > FULL_COVER and not keys.duplicated().any())


def _covers(files: Files, ids: pd.Series[str]) -> list[float]:
    """Give, for each file but the first, the share of the ids of the file before that it has."""
    places = range(len(files.names))
    sets = [set(ids[files.files == place].dropna()) for place in places]
    return [len(after & before) / max(1, len(before)) for before, after in itertools.pairwise(sets)]


def _judge(
    name: str, found: Sequence[Overlap], covers: Sequence[float], *, is_text: bool
) -> tuple[Arrival, str]:
    """Judge by how many ids come again with other values, and how much a file has of the last."""
    again = [
        overlap
        for overlap in found
        if overlap.changed >= MIN_IDS and overlap.changed_share >= KNOWN_AGAIN
    ]
    if again and all(overlap.known_share >= FULL_EXPORT for overlap in found) and found:
        least = min(covers)
        if least >= FULL_COVER:
            return "snapshot", (
                f"each file has at least {least:.0%} of the ids ({name}) of the one before it: "
                'full exports, the newest is the table; "merge" keeps rows that it lacks'
            )
    if again:
        most = max(again, key=lambda overlap: overlap.changed_share)
        return "merge", (
            f"{most.changed_share:.0%} of the ids ({name}) in {most.name} came before with other "
            'values: the newest row of each counts; "snapshot": the newest file is the whole table'
        )
    if is_text:
        return "merge", f"an id ({name}) that comes again in a later file is a newer row"
    return "append", f"no id ({name}) comes again with other values: rows add up"


def _drop(files: Files, names: Sequence[str]) -> Files:
    if not names:
        return files
    return Files(files.table.drop(columns=list(names)), files.files, files.names, files.snapshots)
