"""Batch scoring of what people really put in a bucket: odd files and addresses, too much of it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import pytest

from core.errors import DataError
from core.scoring import LARGEST_UNIT_BYTES, Job
from lambdas.score import records
from lambdas.score.model import Model
from lambdas.score.planning import plan
from lambdas.score.service import score
from lambdas.score.storage import Found
from tests.lambdas.bundles import bundle
from tests.lambdas.test_score import (
    SOURCE,
    TARGET,
    MemoryStore,
    as_csv,
    as_json_lines,
    as_parquet,
    make_job,
    make_row,
    manifest,
    predictions,
    run,
    units_of,
)

MODEL = Model(bundle())
ROWS = [make_row(index) for index in range(5)]
HEADER = b"age,basket total,colour,size\n"


def score_object(name: str, content: bytes, **changes: Any) -> tuple[dict[str, Any], MemoryStore]:
    store, job = MemoryStore(), make_job(**changes)
    store.put(f"{SOURCE}{name}", content)
    return run(store, job, MODEL), store


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("header.csv", HEADER, 0),
        ("header.csv", HEADER.rstrip(), 0),
        ("header.csv.gz", gzip.compress(HEADER, mtime=0), 0),
        ("empty.csv", b"", 0),
        ("empty.jsonl.gz", gzip.compress(b"", mtime=0), 0),
        ("blank.csv", b"\n\r\n\n", 0),
        ("blank.jsonl", b"\n \r\n\n", 0),
        ("empty.parquet", as_parquet(ROWS, 0), 0),
        ("late.csv", b"\n\r\n" + as_csv(ROWS), 5),
        ("late;.csv", b"\n\n" + as_csv(ROWS, ";"), 5),
        ("mark.csv", b"\xef\xbb\xbf" + as_csv(ROWS), 5),
        ("mark.jsonl", b"\xef\xbb\xbf" + as_json_lines(ROWS), 5),
        ("mark.jsonl.gz", gzip.compress(b"\xef\xbb\xbf" + as_json_lines(ROWS), mtime=0), 5),
        ("mark.csv.gz", gzip.compress(b"\xef\xbb\xbf" + as_csv(ROWS), mtime=0), 5),
        ("dos.csv", as_csv(ROWS).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), 5),
        ("dos.jsonl", as_json_lines(ROWS).replace(b"\n", b"\r\n"), 5),
        ("LOUD.CSV.GZ", gzip.compress(as_csv(ROWS), mtime=0), 5),
        (
            "members.csv.gz",
            gzip.compress(as_csv(ROWS)[:70], mtime=0) + gzip.compress(as_csv(ROWS)[70:], mtime=0),
            5,
        ),
        ("padded.csv.gz", gzip.compress(as_csv(ROWS), mtime=0) + bytes(512), 5),
        ("spaces + ümlaut%20?#.csv", as_csv(ROWS), 5),
    ],
)
def test_odd_files_are_read_as_they_are_meant(name: str, content: bytes, rows: int) -> None:
    """Empty, header only, byte-order marks, DOS line ends, gzip in parts: nothing refused."""
    summary, store = score_object(name, content, unit_bytes=100)
    assert (summary["rows"], summary["refused"], summary["failed_units"]) == (rows, 0, 0)
    ages = [row["age"] for row in ROWS][:rows]
    assert len(predictions(store, make_job(unit_bytes=100))) == len(ages)
    again = run(store, make_job(unit_bytes=100), MODEL)
    assert again == summary


def test_a_table_of_refused_rows_ends_well() -> None:
    """Every row in the manifest, an empty output, and counts that add up."""
    summary, store = score_object("a.csv", as_csv([{**row, "age": "old"} for row in ROWS]))
    assert (summary["rows"], summary["scored"], summary["refused"]) == (5, 0, 5)
    assert [entry["row"] for entry in manifest(store, summary)] == [1, 2, 3, 4, 5]


def test_what_cannot_be_scored_at_all_is_said_at_once() -> None:
    """Nothing but objects of other formats is an error that names them."""
    with pytest.raises(DataError, match=r"nothing to score .*book\.xlsx: its name ends in none"):
        score_object("book.xlsx", b"PK")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_one_line_that_never_ends_is_no_table(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document in one line is told from JSON lines before all of it is read."""
    monkeypatch.setattr(records, "LARGEST_LINE", 100_000)
    monkeypatch.setattr(records, "BLOCK_BYTES", 1_000)
    content = json.dumps(ROWS * 5_000).encode()
    store, job = MemoryStore(), make_job()
    store.put(f"{SOURCE}{name}", gzip.compress(content) if name.endswith("gz") else content)
    plan(job, store, lambda: True)
    reads: list[int] = []
    read = store.read
    store.read = lambda *given: reads.append(given[4] - given[3]) or read(*given)  # type: ignore[method-assign, func-returns-value]
    with pytest.raises(DataError, match="one row a line"):
        score(job, units_of(store, job)[0], store, lambda: MODEL)
    assert sum(reads) < 300_000 < len(content)


def test_gzip_that_unpacks_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small object of a thousand times its size fails alone, before memory does."""
    monkeypatch.setattr(records, "LARGEST_UNPACKED", 2**20)
    content = gzip.compress(HEADER + b"30,1,red,m\n" * 500_000)
    assert len(content) < 50_000
    with pytest.raises(DataError, match="unpacks to more than 1 MiB"):
        score_object("a.csv.gz", content)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("s3://b/batch/in", "s3://b/batch/in/", "the source itself"),
        ("s3://b/batch/in/", "s3://b/batch/", "inside the target"),
        ("s3://b/batch/in/a.csv", "s3://b/batch/in", "inside the target"),
        ("s3://b/batch/in/", "s3://b", "inside the target"),
        ("b/batch/in/", "s3://b/out/", "no S3 address"),
        ("s3://b/batch/in/", "s3:///out/", "no S3 address"),
    ],
)
def test_addresses_that_would_mix_input_and_output_are_refused(
    source: str, target: str, message: str
) -> None:
    """With or without a slash at the end."""
    with pytest.raises(DataError, match=message):
        make_job(source=source, target=target)
    with pytest.raises(DataError, match="at most 256 MiB"):
        make_job(unit_bytes=LARGEST_UNIT_BYTES + 1)


@pytest.mark.parametrize(
    ("source", "target", "objects"),
    [
        ("in", "out/", ["in/a.csv", "in/b.csv"]),
        ("in/", "in/out", ["in/a.csv", "in/b.csv", "in/out.csv"]),
        ("in/a.csv", "out", ["in/a.csv"]),
        ("in/a", "out", []),
    ],
)
def test_a_source_is_a_folder_or_an_object(source: str, target: str, objects: list[str]) -> None:
    """Never the neighbour whose name begins alike; the output's neighbours are input."""
    store = MemoryStore()
    for key in ("in/a.csv", "in/b.csv", "in2/c.csv", "in/a.csv.bak.csv", "in/out.csv"):
        if key != "in/a.csv.bak.csv" or source == "in/a.csv":
            if key == "in/out.csv" and source == "in":
                continue
            store.put(f"s3://bucket/batch/{key}", as_csv(ROWS))
    job = make_job(source=f"s3://bucket/batch/{source}", target=f"s3://bucket/batch/{target}")
    if not objects:
        with pytest.raises(DataError, match="nothing to score"):
            plan(job, store, lambda: True)
        return
    for _ in range(2):
        assert run(store, job, MODEL)["rows"] == len(ROWS) * len(objects)
        assert sorted({unit.key for unit in units_of(store, job)}) == [
            f"batch/{key}" for key in objects
        ]


def test_only_what_a_job_wrote_is_called_a_stray() -> None:
    """Somebody's own 00001.csv in the target's folder is nobody's prediction."""
    store = MemoryStore()
    store.put(f"{SOURCE}a.jsonl", as_json_lines(ROWS))
    store.put(f"{TARGET}mine/00001.csv", b"own")
    assert run(store, make_job(), MODEL)["stray_outputs"] == 0


class Endless(MemoryStore):
    """An object of a gibibyte, made as it is read."""

    LINE = b'{"age":30,"basket total":12.5,"colour":"red","size":"m"}       \n'
    SIZE = 2**30

    def list(self, uri: str, after: str) -> Any:
        if uri.startswith(SOURCE):
            yield Found("batch/in/a.jsonl", "etag", self.SIZE)

    def read(self, bucket: str, key: str, etag: str, start: int, end: int) -> bytes:
        first = start % len(self.LINE)
        return (self.LINE * ((end - start) // len(self.LINE) + 2))[first : first + end - start]


def test_memory_is_bounded_by_the_unit_and_not_by_the_object() -> None:
    """Of 1 GiB: a unit from its middle takes blocks and three times its size; no line is lost."""
    assert len(Endless.LINE) == 64
    store, job = Endless(), make_job(unit_bytes=4 * 2**20 - 37)
    plan(job, store, lambda: True)
    units = units_of(store, job)
    assert len(units) == 257
    tracemalloc.start()
    counts = score(job, units[128], store, lambda: MODEL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts["refused"] == 0
    assert abs(counts["rows"] - job.unit_bytes / 64) <= 1
    assert peak < 64 * 2**20 + 3 * job.unit_bytes
    assert sum(len(range(-(-u.start // 64), -(-u.end // 64))) for u in units) == 2**30 / 64


def test_the_same_request_is_the_same_job() -> None:
    """Workers and force change nothing of the answers; a model does."""
    job = make_job()
    assert Job.from_dict({**job.to_dict(), "workers": 3, "force": True}).id == job.id
    assert make_job(model_uri="s3://bucket/models/other/").id != job.id
