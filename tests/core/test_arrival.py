"""What the ids of a file say about `[data] arrival`, from every row or from a sample."""

import csv
import gzip
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import id_samples
from core.arrival import Arrival, Overlap, explain_misfit
from core.id_samples import Sample, compare, find_misfit, take_sample
from training.data.arrival import Files, compare_ids, hash_table, read_ids
from training.data.reading import read_files


@dataclass(frozen=True)
class Table:
    """How a project's tables are written."""

    id_column: str = "customer"
    separator: str = ""
    encoding: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    """A table in memory."""

    name: str
    body: bytes

    @property
    def snapshot(self) -> str:
        return self.name.split("/")[0]

    @property
    def size(self) -> int:
        return len(self.body)

    def read_start(self, limit: int) -> bytes:
        return self.body[:limit]


FULL = Overlap("b.csv", "a.csv", ids=100, known=98, changed=90, unlike=False)


def make(rows: int, first: int = 0, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "customer": [f"c{first + i:06d}" for i in range(rows)],
            "plan": random.choice(["a", "b", "c"], rows),
            "balance": random.normal(size=rows).round(4),
            "age": random.integers(18, 80, rows),
        }
    )


def write(frame: pd.DataFrame, **options: Any) -> bytes:
    return frame.to_csv(index=False, **options).encode()


def sample(body: bytes, table: Table | None = None, whole: bool = True) -> Sample | None:
    return take_sample("f.csv", body, whole=whole, table=table or Table())


@pytest.mark.parametrize(
    ("changes", "arrival", "words"),
    [
        ({}, "append", '90% of the ids .*full export.*"snapshot".*"merge"'),
        ({"known": 10, "changed": 10}, "append", 'rows that were updated.*"merge"'),
        ({"unlike": True}, "append", "starts anew in each file"),
        ({"unlike": True}, "merge", "starts anew in each file"),
        ({"known": 3, "changed": 0}, "snapshot", '3% of the ids .*other rows.*"append"'),
        ({"sampled": True}, "append", "^About 90% of the ids"),
    ],
)
def test_what_does_not_fit_is_said_with_what_to_set(
    changes: dict[str, Any], arrival: Arrival, words: str
) -> None:
    """The sentence has the share, both files, and the setting."""
    misfit = explain_misfit(replace(FULL, **changes), arrival=arrival, id_column="customer")
    assert misfit is not None
    assert re.search(words, misfit)
    assert "b.csv" in misfit
    assert "a.csv" in misfit


@pytest.mark.parametrize(
    ("changes", "arrival"),
    [
        ({"changed": 0}, "append"),  # the same rows again
        ({"known": 1, "changed": 1}, "append"),  # a corrected row
        ({"ids": 4, "known": 4, "changed": 4}, "append"),  # too few to tell
        ({}, "snapshot"),
        ({}, "merge"),
        # A sample must be sure: 2.2% in a sample may be 1.9% of all.
        ({"ids": 4000, "known": 88, "changed": 88, "sampled": True}, "append"),
        # Of the first rows alone, a few known ones say nothing of the others.
        ({"ids": 4000, "known": 1500, "changed": 1500, "whole": False}, "append"),
        ({"known": 0, "changed": 0, "whole": False}, "snapshot"),
        ({"known": 9, "changed": 0, "sampled": True}, "snapshot"),
    ],
)
def test_what_fits_or_is_not_sure_is_let_through(changes: dict[str, Any], arrival: Arrival) -> None:
    """The training job judges by every row; a run that is held in error stands still."""
    given = replace(FULL, **changes)
    assert explain_misfit(given, arrival=arrival, id_column="customer") is None


def test_only_the_newest_file_is_a_snapshot() -> None:
    """What an older file held no longer counts."""
    other = replace(FULL, known=0, changed=0)
    assert explain_misfit(other, arrival="snapshot", id_column="customer", newest=False) is None


def exact(first: pd.DataFrame, second: pd.DataFrame, folder: Path) -> Overlap:
    """Compare as the training job does, by all rows."""
    paths = [folder / "a.csv", folder / "b.csv"]
    for path, frame in zip(paths, (first, second), strict=True):
        path.write_bytes(write(frame))
    table, places = read_files(paths)
    files = Files(table, places, ("a.csv", "b.csv"))
    ids = read_ids(table, "customer")
    assert ids is not None
    found = compare_ids(files, ids, hash_table(table), 1)
    assert found is not None
    return found


CASES = {
    "new rows": (make(300), make(300, first=300)),
    "the same": (make(300), make(300).sample(frac=1, random_state=1)),
    "another day": (make(300), make(300, seed=1)),
    "some moved": (make(300), make(300).assign(balance=lambda f: f["balance"] + (f.index < 30))),
    "ids anew": (make(300), make(300, seed=1).assign(plan="z", age=-1)),
    "a missing cell makes 1 of 1.0": (make(300), make(300).assign(age=lambda f: f["age"] * 1.0)),
    "another order of columns": (make(300), make(300)[["age", "customer", "balance", "plan"]]),
    "a new column": (make(300), make(300).assign(extra=1)),
    "an id twice": (make(300), pd.concat([make(200), make(200, seed=3)])),
    "numbers for ids": (
        make(300).assign(customer=np.arange(300)),
        make(300).assign(customer=np.arange(300) + 150.0),
    ),
    "codes for ids": (
        make(200).assign(customer=[f"{i:05d}" for i in range(200)]),
        make(200).assign(customer=[f"{i:05d}" for i in range(100, 300)]),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_small_table_is_judged_as_training_judges_it(case: str, tmp_path: Path) -> None:
    """A table with few ids is kept whole: the counts are those of every row."""
    first, second = CASES[case]
    expected = exact(first, second, tmp_path)
    a = take_sample("a.csv", write(first), whole=True, table=Table())
    b = take_sample("b.csv", write(second), whole=True, table=Table())
    assert compare(b, [a]) == expected


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_a_sample_estimates_the_share(share: float) -> None:
    """Both samples keep the same ids, wherever they stand in the files."""
    rows = 30_000
    first = make(rows)
    second = make(rows, first=int(rows * (1 - share)), seed=1).sample(frac=1, random_state=2)
    a, b = sample(write(first)), sample(write(second))
    assert a is not None
    assert b is not None
    assert len(a.rows) == len(b.rows) == id_samples.MAX_IDS
    found = compare(b, [a])
    assert found is not None
    assert found.sampled
    assert found.whole
    assert found.known_share == pytest.approx(share, abs=4 * 0.5 / found.ids**0.5)


def test_how_a_file_is_written_makes_no_difference() -> None:
    """Packed, in another encoding, with other separators, or without a header."""
    frame = make(100).assign(plan="größer")
    plain = sample(write(frame))
    assert plain is not None
    named = tuple(frame.columns)
    others = {
        "gzip": (gzip.compress(write(frame)), Table()),
        "utf-16": (frame.to_csv(index=False).encode("utf-16"), Table()),
        "cp1252": (frame.to_csv(index=False).encode("cp1252"), Table()),
        "byte-order mark": (b"\xef\xbb\xbf" + write(frame), Table()),
        "semicolons": (write(frame, sep=";"), Table()),
        "no header": (write(frame, header=False), Table(columns=named)),
        "quotes": (write(frame, quoting=csv.QUOTE_ALL, lineterminator="\r\n"), Table()),
    }
    for name, (body, table) in others.items():
        found = sample(body, table)
        assert found is not None, name
        assert (found.rows, found.columns, found.whole) == (plain.rows, plain.columns, True), name


def test_rows_of_a_cut_file_are_whole_rows() -> None:
    """The last row may have lost its end: it is no row; a cut gzip is read as far as it goes."""
    frame = make(2000)
    body, everything = write(frame), sample(write(frame))
    assert everything is not None
    for start in (body[:10_003], gzip.compress(body)[:10_003]):
        found = sample(start, whole=False)
        assert found is not None
        assert not found.whole
        assert 100 < len(found.rows) < 2000
        assert found.rows.items() <= everything.rows.items()


def test_what_is_unpacked_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks into a huge one is read up to the limit."""
    monkeypatch.setattr(id_samples, "TEXT_BYTES", 1_000_000)
    bomb = gzip.compress(b"customer,x\n" + b"c1,1\n" * 2_000_000)
    found = sample(bomb)
    assert found is not None
    assert (found.text_bytes, found.whole) == (1_000_000, False)


def test_what_is_no_csv_with_such_ids_has_no_sample() -> None:
    """Parquet, spreadsheets, torn archives and tables without the column are left to training."""
    buffer = io.BytesIO()
    make(10).to_parquet(buffer)
    for body in (
        buffer.getvalue(),
        b"PK\x03\x04",
        gzip.compress(write(make(9)))[:-12],
        b"",
        b"a,b\n1,2\n",
        b"customer,customer\n1,2\n",
    ):
        assert sample(body) is None


def test_files_are_read_from_the_newest_until_it_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of many files is bounded: a known id still tells, a new one does not."""
    days = [File(f"day-{k}.csv", write(make(400, first=400 * k))) for k in range(5)]
    days.append(File("again.csv", write(make(400, first=1600, seed=9))))
    monkeypatch.setattr(id_samples, "TOTAL_BYTES", 2 * days[0].size)
    read = [s is not None for s in id_samples.sample_newest(days, Table())]
    assert read[-2:] == [True, True]
    assert read[:3] == [False, False, False]
    misfit = find_misfit(days, {5}, arrival="append", table=Table())
    assert misfit is not None
    assert "day-4.csv" in misfit
    other = [*days[:5], File("other.csv", write(make(400, first=9000)))]
    assert find_misfit(other, {5}, arrival="snapshot", table=Table()) is None
    monkeypatch.undo()
    assert find_misfit(other, {5}, arrival="snapshot", table=Table()) is not None
    monkeypatch.setattr(id_samples, "MAX_FILES", 2)
    read = [s is not None for s in id_samples.sample_newest(days, Table())]
    assert read == [False, False, False, False, True, True]


def test_the_sentence_of_the_issue() -> None:
    """A full export a day with 2% new customers, balances moving: 98% of the ids, the file."""
    first = make(1500)
    new = make(30, first=1500)
    moved = first.iloc[30:].assign(balance=lambda f: f["balance"] * 1.02 + 0.001)
    second = pd.concat([moved, new])
    files = [
        File("customers-2026-11-26.csv", write(first)),
        File("customers-2026-11-27.csv", write(second)),
    ]
    assert find_misfit(files, {1}, arrival="append", table=Table()) == (
        "98% of the ids ('customer') in customers-2026-11-27.csv are in customers-2026-11-26.csv "
        'with other values: a full export? Set [data] arrival = "snapshot" if the newest file is '
        'the whole table, or "merge" if rows of older files that it does not have still count'
    )
