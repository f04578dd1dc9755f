"""Batch scoring: units, rows, resumption, the manifest."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.answers import choose_answer, find_unseen, unseen_codes
from core.bundle import MODEL
from core.contract.rows import RowAdapter
from core.engine import load_engine
from core.errors import DataError, StorageError
from core.scoring import Job, Unit, split_uri
from lambdas.score.model import Model
from lambdas.score.planning import BLOCK_BYTES, plan
from lambdas.score.service import finish, give_up, score
from lambdas.score.storage import Found, Store
from tests.lambdas.bundles import CONTRACT_OF_SHOP, MODEL_URI, bundle

SOURCE, TARGET = "s3://bucket/batch/in/", "s3://bucket/batch/out/"


class MemoryStore:
    """S3 in a dictionary, with what a test wants to know of its use."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.noted: dict[str, dict[str, str]] = {}
        self.puts: list[str] = []
        self.fail: Callable[[str], bool] = lambda uri: False

    def list(self, uri: str, after: str) -> Iterator[Found]:
        bucket, prefix = split_uri(uri)
        for name in sorted(self.objects):
            found, key = split_uri(name)
            if found == bucket and key.startswith(prefix) and key > after:
                yield Found(key, str(hash(self.objects[name])), len(self.objects[name]))

    def read(self, bucket: str, key: str, etag: str, start: int, end: int) -> bytes:
        content = self.objects[f"s3://{bucket}/{key}"]
        if etag != str(hash(content)):
            raise DataError(f"{key} changed")
        assert 0 <= start < end <= max(len(content), end)
        return content[start:end]

    def get(self, uri: str) -> bytes:
        return self.objects[uri]

    def find(self, uri: str) -> bytes | None:
        return self.objects.get(uri)

    def metadata(self, uri: str) -> Mapping[str, str] | None:
        return self.noted.get(uri)

    def put(self, uri: str, body: bytes, metadata: Mapping[str, str] | None = None) -> None:
        if self.fail(uri):
            raise StorageError(f"cannot write {uri}")
        self.puts.append(uri)
        self.objects[uri] = body
        self.noted[uri] = dict(metadata or {})


def make_job(**changes: Any) -> Job:
    return Job.from_dict(
        {"source": SOURCE, "target": TARGET, "model_uri": MODEL_URI, "unit_bytes": 400, **changes}
    )


def make_row(index: int) -> dict[str, Any]:
    colour = ("red", "green", "violet")[index % 3]
    return {"age": index % 90, "basket total": index * 1.5, "colour": colour, "size": "m"}


def as_csv(rows: list[dict[str, Any]], separator: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_parquet(rows: list[dict[str, Any]], group_rows: int = 7) -> bytes:
    """Write a Parquet file; with groups of 0 rows, its columns and no rows."""
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    pq.write_table(table if group_rows else table[:0], sink, row_group_size=group_rows or 1)
    return sink.getvalue()


def run(store: MemoryStore, job: Job, model: Model | None = None) -> dict[str, Any]:
    """Run a job as the state machine does."""
    typed: Store = store
    while plan(job, typed, lambda: True)["more"]:
        pass
    opened = model or Model(bundle())
    for unit in units_of(store, job):
        score(job, unit, typed, lambda: opened)
    return finish(job, typed)


def units_of(store: MemoryStore, job: Job) -> list[Unit]:
    return [Unit.from_dict(unit) for unit in json.loads(store.objects[f"{job.folder}units.json"])]


def answer_by_itself(row: dict[str, Any]) -> dict[str, Any]:
    """Answer one row of the shop as the API does, but for its id."""
    opened = bundle()
    contract, engine = opened.contract(), load_engine(opened.file(MODEL))
    vector = contract.encode(RowAdapter(contract).validate_rows([row])[0])
    answer = choose_answer(engine.header, contract)("", engine.score(vector))
    unseen = find_unseen(unseen_codes(contract), vector)
    return {**answer, "unseen": unseen} if unseen else answer


def predictions(store: MemoryStore, job: Job) -> list[dict[str, Any]]:
    lines = []
    for uri in sorted(store.objects):
        if uri.startswith(job.target) and uri.endswith(".jsonl") and "/_" not in uri:
            lines += [json.loads(line) for line in store.objects[uri].splitlines()]
    return lines


def manifest(store: MemoryStore, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        json.loads(line) for uri in summary["manifest"] for line in store.objects[uri].splitlines()
    ]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", as_csv),
        ("a.tsv", lambda rows: as_csv(rows, "\t")),
        ("a.csv.gz", lambda rows: gzip.compress(as_csv(rows))),
        ("a.jsonl", as_json_lines),
        ("a.jsonl.gz", lambda rows: gzip.compress(as_json_lines(rows))),
        ("a.parquet", as_parquet),
    ],
)
def test_every_format_gives_the_answers_of_the_api(
    name: str, write: Callable[[list[dict[str, Any]]], bytes]
) -> None:
    """Each row is answered once, in order, as the model answers it by itself."""
    rows = [make_row(index) for index in range(40)]
    store, job, model = MemoryStore(), make_job(), Model(bundle())
    store.put(f"{SOURCE}{name}", write(rows))
    summary = run(store, job, model)
    found = predictions(store, job)
    assert [{**f, "id": ""} for f in found] == [answer_by_itself(row) for row in rows]
    assert (summary["rows"], summary["scored"], summary["refused"]) == (40, 40, 0)
    assert summary["units"] == 1 if "gz" in name else summary["units"] > 1
    assert found[2]["unseen"] == ["colour"]
    assert len({line["id"] for line in found}) == 40


@settings(max_examples=60, deadline=None)
@given(
    unit_bytes=st.integers(1, 300),
    values=st.lists(st.text(st.sampled_from('a,"\n\r;é '), max_size=8), min_size=1, max_size=25),
    end=st.booleans(),
)
def test_cuts_lose_and_double_nothing(unit_bytes: int, values: list[str], end: bool) -> None:
    """Wherever an object is cut, each row is in one unit, quoted newlines and all."""
    rows = [
        {"age": i, "basket total": 1, "colour": f"x{value}x", "size": None}
        for i, value in enumerate(values)
    ]
    for name, content in (("a.csv", as_csv(rows)), ("a.jsonl", as_json_lines(rows))):
        store, job = MemoryStore(), make_job(unit_bytes=unit_bytes, model_uri=MODEL_URI)
        store.put(f"{SOURCE}{name}", content if end else content.rstrip(b"\r\n"))
        summary = run(store, job, AGES)
        assert summary["rows"] == len(rows), name
        ages = [line["probabilities"]["no"] for line in predictions(store, job)]
        assert ages == list(range(len(rows))), name
        assert summary["refused"] == 0


class Ages(Model):
    """A model that answers with the row's age: shows which rows came, and whole."""

    def __init__(self) -> None:
        super().__init__(bundle(), lambda opened: lambda rows: rows[:, :2])


AGES = Ages()


def test_bad_rows_do_not_stop_good_ones() -> None:
    """The manifest names row, column and reason; counts add up; sensitive values stay out."""
    rows = [make_row(index) for index in range(30)]
    rows[4]["age"] = 500
    rows[9]["size"] = "gigantic"
    rows[20] = {**rows[20], "colour": None, "salary": "secret"}
    rows[28]["agee"] = 3
    content = as_json_lines(rows).split(b"\n")
    content.insert(15, b'{"age": ')
    content.insert(3, b"")
    store, job = MemoryStore(), make_job()
    store.put(f"{SOURCE}a.jsonl", b"\n".join(content))
    summary = run(store, job)
    assert (summary["rows"], summary["scored"], summary["refused"]) == (31, 26, 5)
    assert len(predictions(store, job)) == 26
    found = [(e["row"], e.get("column"), e["code"]) for e in manifest(store, summary)]
    assert found == [
        (5, "age", "too_large"),
        (10, "size", "unseen_category"),
        (16, None, "invalid_json"),
        (22, "colour", "missing"),
        (22, "salary", "wrong_type"),
        (30, "agee", "unknown_column"),
    ]
    assert "secret" not in json.dumps(manifest(store, summary))
    assert all(entry["object"] == "a.jsonl" for entry in manifest(store, summary))


def test_csv_rows_are_numbered_from_the_header_on() -> None:
    """Row 1 follows the header; ragged rows are refused, not guessed."""
    lines = as_csv([make_row(index) for index in range(50)]).decode().splitlines()
    lines[31] += ",one,more"
    lines[41] = lines[41].replace("60.0", "sixty")
    store, job = MemoryStore(), make_job(unit_bytes=200)
    store.put(f"{SOURCE}a.csv", ("\ufeff" + "\r\n".join(lines)).encode())
    summary = run(store, job)
    found = [(e["row"], e.get("column"), e["code"]) for e in manifest(store, summary)]
    assert found == [(31, None, "ragged_row"), (41, "basket total", "wrong_type")]
    assert summary["scored"] == 48


def test_target_and_id_may_stand_beside_the_columns() -> None:
    """A training table can be scored as it is; other unknown columns only if told so."""
    rows = [{**make_row(index), "bought": "yes"} for index in range(5)]
    store, job = MemoryStore(), make_job()
    store.put(f"{SOURCE}a.csv", as_csv(rows))
    assert run(store, job)["scored"] == 5
    assert predictions(store, job)[0]["id"] == "a.csv:1"
    store.put(f"{SOURCE}a.csv", as_csv([{**row, "note": "n"} for row in rows]))
    assert run(store, job)["refused"] == 5
    ignoring = make_job(ignore_unknown=True, target="s3://bucket/batch/again/")
    assert run(store, ignoring)["scored"] == 5


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_an_entity_beside_the_columns_changes_nothing(form: str) -> None:
    """A table of the training kind, whose rows name their customer, is scored as one without."""
    contract = replace(bundle().contract(), group_column="customer")
    rows = [make_row(index) for index in range(20)]
    named = [{**row, "customer": f"SECRET-{index}"} for index, row in enumerate(rows)]
    write = {"csv": as_csv, "jsonl": as_json_lines, "parquet": as_parquet}[form]
    found = []
    for table in (rows, named):
        store, job = MemoryStore(), make_job(unit_bytes=100_000)
        store.put(f"{SOURCE}a.{form}", write(table))
        assert run(store, job, Model(bundle(contract=contract)))["scored"] == 20
        found.append(predictions(store, job))
        written = [body for uri, body in store.objects.items() if not uri.startswith(SOURCE)]
        assert b"SECRET" not in b"".join(written)
    assert found[0] == found[1]


def test_what_is_done_is_not_done_again() -> None:
    """A second run reads receipts only; --force and a changed input score anew."""
    store, job, model = MemoryStore(), make_job(), Model(bundle())
    store.put(f"{SOURCE}a.jsonl", as_json_lines([make_row(i) for i in range(40)]))
    first = run(store, job, model)

    def refuse() -> Model:
        raise AssertionError("scored again")

    outputs = dict(store.objects)
    for unit in units_of(store, job):
        assert score(job, unit, store, refuse)["done"] == "before"
    assert finish(job, store) == first
    assert store.objects == outputs
    unit = units_of(store, job)[0]
    assert score(make_job(force=True), unit, store, lambda: model)["done"] == "now"
    store.put(f"{SOURCE}a.jsonl", as_json_lines([make_row(i) for i in range(41)]))
    with pytest.raises(DataError, match="changed"):
        score(make_job(force=True), unit, store, lambda: model)
    assert run(store, job, model)["scored"] == 41


def test_a_worker_that_dies_leaves_nothing_that_counts() -> None:
    """Whichever write is the last before the end, another try gives the same bytes."""
    rows = [make_row(index) for index in range(20)]
    rows[3]["age"] = -1
    content = as_json_lines(rows)
    whole, job = MemoryStore(), make_job(unit_bytes=10_000)
    whole.put(f"{SOURCE}a.jsonl", content)
    expected = run(whole, job)
    for kind in ("/refused/", "/00000.jsonl"):
        store = MemoryStore()
        store.put(f"{SOURCE}a.jsonl", content)
        plan(job, store, lambda: True)
        (unit,) = units_of(store, job)
        store.fail = lambda uri, kind=kind: kind in uri  # type: ignore[misc]
        with pytest.raises(StorageError):
            score(job, unit, store, lambda: AGES)
        assert finish(job, store)["failed_units"] == 1
        store.fail = lambda uri: False
        assert run(store, job) == expected
        assert store.objects == whole.objects


def test_a_unit_that_failed_is_named_with_its_reason() -> None:
    """The others are scored; rows behind it are numbered from their unit's beginning."""
    rows = [make_row(index) for index in range(40)]
    rows[39]["age"] = 1000
    store, job, model = MemoryStore(), make_job(unit_bytes=1000), Model(bundle())
    store.put(f"{SOURCE}a.jsonl", as_json_lines(rows))
    store.put(f"{SOURCE}notes.txt", b"hello")
    plan(job, store, lambda: True)
    units = units_of(store, job)
    assert len(units) >= 3
    for unit in units[:1] + units[2:]:
        score(job, unit, store, lambda: model)
    cause = json.dumps({"errorMessage": "out of memory", "errorType": "Runtime.ExitError"})
    give_up(job, units[1], store, {"Error": "Runtime.ExitError", "Cause": cause})
    summary = finish(job, store)
    skipped, failed, refused = manifest(store, summary)
    assert (summary["failed_units"], summary["skipped_objects"]) == (1, 1)
    assert skipped["object"] == "notes.txt"
    assert skipped["code"] == "skipped_object"
    assert failed["message"] == "Runtime.ExitError: out of memory"
    assert (failed["start"], failed["end"]) == (units[1].start, units[1].end)
    assert (refused["start"], refused["column"]) == (units[-1].start, "age")
    assert summary["rows"] == summary["scored"] + summary["refused"] < 40


def test_plan_goes_on_where_its_time_ended() -> None:
    """However often it is interrupted, inside a large CSV object too, the units are the same."""
    draw = random.Random(3)
    rows = [{**make_row(i), "colour": draw.choice(["a\nb", 'c"', "d"])} for i in range(300)]
    store, job = MemoryStore(), make_job(unit_bytes=1000)
    for name in ("a.csv", "b.csv", "c.jsonl"):
        store.put(f"{SOURCE}{name}", as_csv(rows) if "csv" in name else as_json_lines(rows))
    plan(job, store, lambda: True)
    expected = units_of(store, job)
    calls, more = 0, True
    while more:
        budget = iter([True, True])
        more = plan(job, store, lambda budget=budget: next(budget, False))["more"]  # type: ignore[misc]
        calls += 1
    assert calls > 2
    assert units_of(store, job) == expected
    assert len(as_csv(rows)) < BLOCK_BYTES


def test_outputs_of_another_job_are_named() -> None:
    """A folder that mixes two jobs would hold rows twice: the manifest says which objects to go."""
    store = MemoryStore()
    store.put(f"{SOURCE}a.jsonl", as_json_lines([make_row(i) for i in range(40)]))
    assert run(store, make_job())["stray_outputs"] == 0
    summary = run(store, make_job(unit_bytes=1500))
    strays = [entry["object"] for entry in manifest(store, summary)]
    assert summary["stray_outputs"] == len(strays) > 0
    assert "batch/out/a.jsonl/00000.jsonl" not in strays
    assert all(name.startswith("batch/out/a.jsonl/") for name in strays)


def test_what_is_not_input_is_left_out() -> None:
    """Markers, folders and the job's own output are no input, wherever the target is."""
    store, job = MemoryStore(), make_job(target=f"{SOURCE}out/")
    store.put(f"{SOURCE}a.jsonl", as_json_lines([make_row(1)]))
    for name in ("_SUCCESS", "sub/", "sub/.hidden.csv", "empty.jsonl"):
        store.put(f"{SOURCE}{name}", b"")
    first = run(store, job)
    assert (first["objects"], first["rows"], first["skipped_objects"]) == (2, 1, 0)
    assert run(store, job) == first


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b'age,size\n1,"m\n2,m\n', "quotes do not match"),
        ("a.csv", b"age,age\n1,2\n", "'age' twice"),
        ("a.csv", b"age,size\n1,\xff\xfe\n", "not UTF-8"),
        ("a.jsonl.gz", b"plain", "no gzip file"),
        ("a.jsonl.gz", gzip.compress(b"{}" * 50, mtime=0)[:-9], "cut short"),
    ],
)
def test_what_is_no_table_says_so(name: str, content: bytes, message: str) -> None:
    """DataError, which the state machine does not try again."""
    store, job = MemoryStore(), make_job()
    store.put(f"{SOURCE}{name}", content)
    with pytest.raises(DataError, match=message):
        run(store, job)


def test_nothing_to_score_is_an_error() -> None:
    """An address that holds nothing is a mistake, not an empty success."""
    with pytest.raises(DataError, match="nothing to score"):
        plan(make_job(), MemoryStore(), lambda: True)


def test_output_as_csv_and_parquet() -> None:
    """The flat formats hold the same predictions, one column a class."""
    rows = [make_row(index) for index in range(12)]
    store = MemoryStore()
    store.put(f"{SOURCE}a.jsonl", as_json_lines(rows))
    tables = {}
    for form in ("jsonl", "csv", "parquet"):
        job = make_job(format=form, unit_bytes=10_000, target=f"s3://bucket/batch/{form}/")
        run(store, job)
        tables[form] = store.objects[f"s3://bucket/batch/{form}/a.jsonl/00000.{form}"]
    lines = [json.loads(line) for line in tables["jsonl"].splitlines()]
    flat = list(csv.DictReader(io.StringIO(tables["csv"].decode())))
    columns = pq.read_table(io.BytesIO(tables["parquet"])).to_pylist()
    assert [row["probability yes"] for row in columns] == [
        line["probabilities"]["yes"] for line in lines
    ]
    assert [float(row["probability yes"]) for row in flat] == [
        row["probability yes"] for row in columns
    ]
    assert [row["label"] for row in flat] == [line["label"] for line in lines]
    assert columns[2]["unseen"] == "colour"


def test_the_shop_has_the_columns_that_this_module_writes() -> None:
    assert set(make_row(0)) < set(CONTRACT_OF_SHOP.column_names)
