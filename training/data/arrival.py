"""How files make one table: they add up, the newest is the table, or rows are merged by an id.

`[data] arrival` says which. What came must fit what is said: a full export a day that is taken for
new rows puts every customer on both sides of the holdout, and the score of a model that learned
them by heart looks perfect. So a claim that the ids refute stops the run, with the figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from core.arrival import MIN_PAIRS, Arrival, Overlap, are_unlike, explain_misfit
from core.contract.cells import TRUE_WORDS
from core.errors import DataError
from training.arrays import BoolArray, IntArray
from training.data.columns import Series

DELETED = "marked as deleted"
CASES = 0.5  # distinct rows of a file, as a share: fewer make a table of counts


@dataclass(frozen=True)
class Arrived:
    """The rows that count, in the order in which they were read, and what became of each file.

    `files` has a row's place among `names`; `counts` says for each file how many rows it brought,
    how many count, and why the others do not. `deleted` are the ids of which a row is marked as
    deleted and none counts.
    """

    table: pd.DataFrame
    files: IntArray
    names: tuple[str, ...]
    counts: tuple[Mapping[str, Any], ...]
    deleted: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Files:
    """Rows of several files one below the other; `names` are in the order of arrival.

    `snapshots` names for each file the snapshot that it is part of: the folder of a table that was
    written in parts, else the file itself.
    """

    table: pd.DataFrame
    files: IntArray
    names: tuple[str, ...]
    snapshots: tuple[str, ...] = ()

    def keep(self, kept: BoolArray) -> "Files":
        """Keep some of the rows."""
        table = self.table[kept].reset_index(drop=True)
        table.attrs = dict(self.table.attrs)
        return replace(self, table=table, files=self.files[kept])


def combine(
    files: Files, *, arrival: Arrival, id_column: str | None, deleted: str | None
) -> Arrived:
    """Make one table of the files, as `[data] arrival` says.

    Raises DataError where the ids do not fit that, or a column that it needs is not there.
    """
    if not len(files.table):
        return Arrived(files.table, files.files, files.names, _count(files, np.array([])))
    for name, what in ((id_column, "[problem] id_column"), (deleted, "[data] deleted")):
        if name is not None and name not in files.table.columns and arrival != "append":
            raise DataError(f"{what}: the table has no column {name!r}")
    ids = read_ids(files.table, id_column)
    rows = hash_table(files.table)
    whole = by_snapshot(files) if arrival == "snapshot" else files
    if len(whole.names) > 1:
        misfit = find_misfit(whole, ids, rows, arrival=arrival, id_column=id_column)
        if misfit:
            raise DataError(misfit)
    why = np.full(len(rows), "", dtype=object)
    if arrival == "snapshot":
        why[whole.files != whole.files.max()] = "replaced by a newer file"
    elif arrival == "merge":
        why[_find_superseded(files, ids)] = "replaced by a newer row of its id"
    else:
        why[_find_equal(files, rows)] = "equal to a row of another file"
    if deleted is not None and deleted in files.table.columns:
        why[(why == "") & _is_marked(files.table[deleted])] = DELETED
    kept = why == ""
    if not kept.any():
        raise DataError("no row is left: every row is replaced or marked as deleted")
    left = files.keep(kept)
    deleted_ids: tuple[Any, ...] = ()
    if ids is not None and (why == DELETED).any():
        values = files.table[str(id_column)]
        gone = (why == DELETED) & ids.notna().to_numpy() & ~ids.isin(ids[kept]).to_numpy()
        deleted_ids = tuple(values[gone].unique())
    return Arrived(left.table, left.files, files.names, _count(files, why), deleted_ids)


def drop_known(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Leave out rows that `table` holds as well, in every column of theirs; the index stays."""
    if not len(rows) or not len(rows.columns):
        return rows
    both = pd.concat([table[list(rows.columns)], rows], ignore_index=True)
    hashes = hash_table(both)
    mine, theirs = hashes[len(table) :], hashes[: len(table)]
    if len(np.unique(theirs)) < CASES * len(theirs):
        return rows  # a table of counts: equal rows are cases of their own
    return rows[~np.isin(mine, theirs)]


def find_misfit(
    files: Files,
    ids: "Series | None",
    rows: IntArray,
    *,
    arrival: Arrival,
    id_column: str | None,
) -> str | None:
    """Say how the ids refute what `arrival` claims, with what to set instead; None if they fit."""
    if ids is None or id_column is None:
        return None
    last = len(files.names) - 1
    for place in range(1, len(files.names)):
        found = compare_ids(files, ids, rows, place)
        if found is not None:
            misfit = explain_misfit(
                found, arrival=arrival, id_column=id_column, newest=place == last
            )
            if misfit:
                return misfit
    return None


def compare_ids(files: Files, ids: Series, rows: IntArray, place: int) -> Overlap | None:
    """Compare the ids of a file with those of the files before it, the newest row of each."""
    mine = np.flatnonzero((files.files == place) & ids.notna().to_numpy())
    before = np.flatnonzero((files.files < place) & ids.notna().to_numpy())
    if not len(mine) or not len(before):
        return None
    newest: Series = pd.Series(before, index=ids.iloc[before].to_numpy())
    newest = newest[~newest.index.duplicated(keep="last")]
    first = mine[~ids.iloc[mine].duplicated().to_numpy()]
    found = newest.reindex(ids.iloc[first].to_numpy()).to_numpy()
    known = ~np.isnan(found)
    now, then = first[known], found[known].astype(np.intp)
    changed = rows[now] != rows[then]
    same = files.files[then]
    fullest = int(np.bincount(same).argmax()) if len(same) else place - 1
    return Overlap(
        name=files.names[place],
        other=files.names[fullest],
        ids=len(first),
        known=int(known.sum()),
        changed=int(changed.sum()),
        unlike=_are_unlike(files.table, ids, now[changed], then[changed]),
    )


def _are_unlike(table: pd.DataFrame, ids: Series, now: IntArray, then: IntArray) -> bool:
    """Say whether two rows of one id have no more equal cells than two rows taken at random."""
    if len(now) < MIN_PAIRS:
        return False
    # Not the order of the table: in one that is sorted, rows at a fixed distance are alike.
    drawn = np.random.default_rng(0).permutation(len(now))[:5000]
    now, then = now[drawn], then[drawn]
    equal = chance = cells = 0.0
    for name in table.columns:
        if name == ids.name:
            continue
        codes = pd.factorize(table[name].iloc[np.r_[now, then]], use_na_sentinel=False)[0]
        left, right = codes[: len(now)], codes[len(now) :]
        equal += float((left == right).mean())
        chance += float((left == np.roll(right, len(right) // 2)).mean())
        cells += 1.0
    return are_unlike(equal=equal, chance=chance, cells=cells)


def read_ids(table: pd.DataFrame, id_column: str | None) -> "Series | None":
    """Give the ids as text, None where a row has none; None for a table without the column."""
    if id_column is None or id_column not in table.columns:
        return None
    values = table[id_column]
    texts = values.astype(str).where(values.notna(), None)
    return pd.Series(texts, name=id_column)


def hash_table(table: pd.DataFrame) -> IntArray:
    """Hash every row over all its columns."""
    if not len(table.columns):
        return np.zeros(len(table), dtype=np.uint64).astype(np.intp)
    plain = table.astype({name: object for name in table.columns if table[name].dtype == object})
    return pd.util.hash_pandas_object(plain, index=False).to_numpy().view(np.int64)


def by_snapshot(files: Files) -> Files:
    """Take the files of one snapshot for one, in the order of their newest parts."""
    labels = files.snapshots or files.names
    newest = {label: place for place, label in enumerate(labels)}
    names = sorted(newest, key=lambda label: newest[label])
    place = np.asarray([names.index(label) for label in labels], dtype=np.intp)
    return replace(files, files=place[files.files], names=tuple(names))


def _find_superseded(files: Files, ids: "Series | None") -> BoolArray:
    """Mark rows of whose id a later file, or a later line of the same file, has another."""
    if ids is None:
        return np.zeros(len(files.files), dtype=bool)
    order = np.argsort(files.files, kind="stable")
    older = np.zeros(len(order), dtype=bool)
    sorted_ids = ids.iloc[order]
    older[order] = (sorted_ids.notna() & sorted_ids.duplicated(keep="last")).to_numpy()
    return older


def _find_equal(files: Files, rows: IntArray) -> BoolArray:
    """Mark rows that a file before has as well; what a file repeats within itself is its own.

    In a table of few distinct rows equal rows are cases of their own; there only a whole file that
    is a copy of another counts once.
    """
    marked = np.zeros(len(rows), dtype=bool)
    if len(files.names) < 2:
        return marked
    repeats = pd.Series(rows).groupby([files.files, rows]).cumcount().to_numpy()
    order = np.argsort(files.files, kind="stable")
    keys = pd.MultiIndex.from_arrays([rows[order], repeats[order]])
    again = np.zeros(len(rows), dtype=bool)
    again[order] = keys.duplicated(keep="first")
    wholes: set[tuple[int, int]] = set()
    for place in range(len(files.names)):
        inside = files.files == place
        if not inside.any():
            continue
        mine = rows[inside]
        whole = (len(mine), int(np.sort(mine).view(np.uint64).sum(dtype=np.uint64)))
        if len(np.unique(mine)) >= CASES * len(mine) or whole in wholes:
            marked |= inside & (again if whole not in wholes else inside)
        wholes.add(whole)
    return marked


def _is_marked(values: Series) -> BoolArray:
    """Read a marker: a boolean, a yes, or any date or text but a no."""
    no = {"", "false", "f", "no", "n", "off", "0", "0.0"}
    texts = values.astype(str).str.strip().str.lower()
    marked = values.notna() & ~texts.isin(no)
    return np.asarray(marked | texts.isin(TRUE_WORDS), dtype=bool)


def _count(files: Files, why: Any) -> tuple[Mapping[str, Any], ...]:
    counts = []
    for place, name in enumerate(files.names):
        inside = files.files == place
        reasons = pd.Series(why[inside]).value_counts()
        left_out = {str(reason): int(rows) for reason, rows in reasons.items() if reason}
        counts.append(
            {
                "key": name,
                "rows": int(inside.sum()),
                "used": int((why[inside] == "").sum()),
                "left_out": left_out,
            }
        )
    return tuple(counts)
