"""Batch scoring by columns: the answers and the refusals of row by row, to the last byte.

The oracle reads one row at a time with orjson, validates it with the contract, encodes it with the
contract, scores it with `core.engine` and words the answer as the API does.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.answers import choose_answer, find_unseen, unseen_codes
from core.bundle import MANIFEST, MODEL, Bundle, Manifest
from core.contract import Column, Contract
from core.contract.cells import read_cell
from core.contract.rows import RowAdapter
from core.engine import Header, decide, load_engine
from core.errors import ContractError, Problem
from core.scoring import Format, Unit
from lambdas.score.model import Model
from lambdas.score.outputs import Output
from lambdas.score.records import BYTE_ORDER_MARK, JsonLines
from lambdas.score.service import score
from lambdas.score.tables import Forest, Walk, open_tables
from tests.core.engine.models import FEATURES, VECTOR, make_model, trees
from tests.lambdas.bundles import MODEL_URI, files, model_document, term
from tests.lambdas.test_score import SOURCE, MemoryStore, as_csv, make_job

EVERYTHING = Contract(
    task="binary",
    target="bought",
    id_column="order",
    time_column="seen at",
    classes=("no", "yes"),
    positive="yes",
    columns=(
        Column("age", "integer", unit="years", min=0, max=120),
        Column("visits", "integer", missing=True),
        Column("basket total", "number", missing=True),
        Column("größe", "number", min=-1.5, max=1e6, missing=True),
        Column("member", "boolean", missing=True),
        Column("colour", "category", categories=("red", "grün"), missing=True),
        Column("size", "category", categories=("s", "m"), unseen="refuse", missing=True),
        Column("country", "category", missing=True),
        Column("salary", "number", sensitive=True, missing=True),
        Column("since", "timestamp", missing=True),
        Column("note", "text", missing=True),
    ),
)


def bundle_of(contract: Contract) -> Bundle:
    """Make a logistic regression in which every feature counts."""
    features = [feature.name for feature in contract.features]
    document = model_document()
    document["features"] = features
    document["columns"] = [feature.column for feature in contract.features]
    document["baseline"] = []
    document["tables"]["terms"] = [
        term(place, 0.001 * (place + 1), missing=0.1 * place) for place in range(len(features))
    ]
    content = files(contract, document)
    return Bundle(content.__getitem__)


class Oracle:
    """Answers or refuses one row at a time."""

    def __init__(self, bundle: Bundle) -> None:
        self.contract = bundle.contract()
        self._engine = load_engine(bundle.file(MODEL))
        self._answer = choose_answer(self._engine.header, self.contract)
        self._codes = unseen_codes(self.contract)
        self.adapter = RowAdapter(self.contract)

    def decide(self, rows: Iterable[Any], ignore: bool) -> tuple[list[bytes], list[dict[str, Any]]]:
        """Give the output's lines, and the problems as they are noted."""
        contract, lines, refused = self.contract, [], []
        names = contract.column_names
        beside = {contract.target, contract.id_column, contract.time_column} - set(names)
        for number, found in enumerate(rows, 1):
            if isinstance(found, Problem):
                refused.append({**found.to_dict(), "row": number})
                continue
            identifier = found.get(contract.id_column)
            row = {k: v for k, v in found.items() if (k in names if ignore else k not in beside)}
            try:
                vector = contract.encode(self.adapter.validate_rows([row])[0])
            except ContractError as error:
                refused += [{**p.to_dict(), "row": number} for p in error.problems]
                continue
            outputs = self._engine.score(vector)
            if not all(map(math.isfinite, outputs)):
                problem = {"message": "the model has no finite answer to this row", "row": number}
                refused.append({**problem, "code": "no_finite_answer"})
                continue
            name = f"rows:{number}" if identifier is None else str(identifier)
            answer = self._answer(name, outputs)
            if unseen := find_unseen(self._codes, vector):
                answer["unseen"] = unseen
            lines.append(orjson.dumps(answer))
        return lines, refused


BUNDLE = bundle_of(EVERYTHING)
ORACLE, MODEL_OF_ALL = Oracle(BUNDLE), Model(BUNDLE)


def run(
    content: bytes, form: Format = "jsonl", ignore: bool = False
) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Score one object as a unit; give the output's lines and the refusals' list."""
    store, job = MemoryStore(), make_job(ignore_unknown=ignore, model_uri=MODEL_URI)
    store.put(f"{SOURCE}rows", content)
    etag = str(hash(content))
    end = pq.ParquetFile(pa.BufferReader(content)).num_row_groups if form == "parquet" else None
    size = len(content)
    unit = Unit("batch/in/rows", "rows", etag, size, form, False, 0, end or size, 0, 1)
    counts = score(job, unit, store, lambda: MODEL_OF_ALL)
    lines = store.objects[unit.output(job)].splitlines()
    refused = store.objects.get(unit.refused(job), b"").splitlines()
    assert counts["scored"] == len(lines)
    return lines, [json.loads(line) for line in refused]


def read_line(line: bytes) -> Any:
    """Read a line of JSON as the documents say it is read."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Problem(None, None, f"is not JSON: {error}", "invalid_json")
    if type(row) is not dict:
        return Problem(None, None, "a row is an object of columns", "not_an_object")
    return row


# Values as JSON text, so that what no writer of JSON would write is drawn too.
GOOD: dict[str, list[str]] = {
    "age": ["30", "30.0", "0", "120", "3e1", "-0.0"],
    "visits": ["9007199254740991", "-9007199254740991.0", "null"],
    "basket total": ["1.5", "2", "-0", "1e308", "5e-324", "0.1", "9007199254740993", "null"],
    "größe": ["-1.5", "1e6", "0.30000000000000004", "null"],
    "member": ["true", "false", "1", "0", "1.0", '"yes"', '"off"', "null"],
    "colour": ['"red"', '"gr\\u00fcn"', '"grün"', "null", '"violet"', '""', '"\\u0000"'],
    "size": ['"s"', '"m"', "null"],
    "country": ['"nl"', '"\\"},{\\"id\\":"', "null"],
    "salary": ["1000", "null"],
    "since": [
        '"2026-01-31"',
        '"2026-01-31T09:30:00Z"',
        '"2026-01-31 09:30"',
        '"2024-02-29T23:59:59.123456+05:30"',
        '"0001-01-01T00:00:00+01:00"',
        "null",
    ],
    "note": ['"two words"', '"İstanbul ß ß"', "null"],
    "order": [
        "17",
        "17.0",
        '"a,b"',
        '"\\"},{"',
        "null",
        "true",
        "12345678901234567890",
        "1e30",
        "123456789012345678901234567890",
    ],
    "bought": ['"yes"', "1", '{"a": [1, 2]}', "123456789012345678901234567890"],
    "seen at": ['"2026-01-31"', "null"],
}
ODD: dict[str, list[str]] = {
    "age": ["30.5", "-1", "121", "null", "true", '"30"', "1e400", "1e300", "9007199254740993"],
    "visits": ["9007199254740992", "-9007199254740993", "1e16", "18446744073709551616"],
    "basket total": ['"x"', "false", "[]", "NaN", "Infinity", "-", "01", "1.", "1e400", "{}"],
    "größe": ["-1.5000000000000002", "1000000.0000000001", "12345678901234567890123"],
    "member": ["2", '"perhaps"', "[]", "1e30", '"YES"', "12345678901234567890123"],
    "colour": ["3", "true", '"' + "x" * 1001 + '"', '"\\ud800"', '"\t"', "[]"],
    "size": ['"giant"', "1", '""'],
    "country": ["{}", '"' + "y" * 1000 + '"', '"' + "y" * 1001 + '"'],
    "salary": ['"secret"', "true"],
    "since": [
        *['"2026-02-30"', '"20260131"', '"2026-W05-1"', '"2026-01-31T25:00"', "1769850000"],
        *['"2026-01-31T09"', '"2026-01-31T09:30:00.1234567Z"', '"2026-01-31T09:30:00+99:99"'],
    ],
    "note": ["5", '"' + "z " * 5001 + '"'],
    "order": ["[]", "{}", '"\\ud800"'],
    "bought": ['"\\ud800"', "NaN"],
    "seen at": ["1e400"],
    "agee": ["1", "1e400", '"\\ud800"', '"\\x"', "[1,]", "-"],
    "Größe": ["1"],
}


@st.composite
def json_lines(draw: st.DrawFn) -> bytes:
    """Draw a line: mostly a row with one thing odd in it, now and then no row at all."""
    if draw(st.integers(0, 30)) == 0:
        nothing = [b"", b"  ", b"\r", b"[]", b"null", b"{}", b"{", b"1", b'{"age":1}{}', b"\xff"]
        return draw(st.sampled_from(nothing))
    names = [name for name in GOOD if draw(st.integers(0, 9))]
    if draw(st.integers(0, 4)) == 0:
        names = draw(st.permutations(names))
    members = [(name, draw(st.sampled_from(GOOD[name]))) for name in names]
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        name = draw(st.sampled_from(list(ODD)))
        members.insert(draw(st.integers(0, len(members))), (name, draw(st.sampled_from(ODD[name]))))
    separator = draw(st.sampled_from([",", " , "]))
    written = [f"{json.dumps(name)}:{value}" for name, value in members]
    text = "{" + separator.join(written) + "}"
    return text.encode() + draw(st.sampled_from([b"", b"", b"\r", b" "]))


@settings(max_examples=400, deadline=None)
@given(
    lines=st.lists(json_lines(), min_size=1, max_size=8),
    ignore=st.booleans(),
    mark=st.booleans(),
    end=st.booleans(),
)
def test_json_lines_are_answered_and_refused_as_row_by_row(
    lines: list[bytes], ignore: bool, mark: bool, end: bool
) -> None:
    """Good, odd and broken lines side by side: the same bytes out, the same words and codes."""
    content = BYTE_ORDER_MARK * mark + b"\n".join(lines) + b"\n" * end
    if not content:
        return  # no unit is empty
    rows = [read_line(line) for line in lines if line and not line.isspace()]
    assert run(content, ignore=ignore) == ORACLE.decide(rows, ignore)


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for table in (GOOD, ODD) for n in table for v in table[n]]
)
def test_each_value_alone_is_decided_as_row_by_row(name: str, value: str) -> None:
    """Every listed value once, in a row that is good but for it; a repeated member counts last."""
    good = {key: values[0] for key, values in GOOD.items()}
    lines = []
    for first in ({name: value}, {name: "null"}, {name: "[]"}):
        row = ",".join(f'"{key}":{text}' for key, text in {**good, **first}.items())
        lines.append(f'{{{row},"{name}":{value}}}'.encode())
    rows = [read_line(line) for line in lines]
    for ignore in (False, True):
        assert run(b"\n".join(lines), ignore=ignore) == ORACLE.decide(rows, ignore)


def halfway(number: float) -> str:
    """Write the number halfway to the next, where rounding is hardest."""
    from fractions import Fraction

    upper = math.nextafter(number, math.inf)
    middle = (Fraction(number) + Fraction(upper)) / 2
    digits = middle * 10**400
    return f"{digits.numerator // digits.denominator}e-400"


@settings(max_examples=1000, deadline=None)
@given(st.binary(min_size=8, max_size=8), st.integers(0, 2))
@example(struct.pack("<d", 5e-324), 0)
@example(struct.pack("<d", 1.7976931348623157e308), 0)
def test_numbers_are_read_as_python_reads_them(raw: bytes, form: int) -> None:
    """Shortest form, 40 digits, and halfway between two floats: the float of Python's own."""
    (number,) = struct.unpack("<d", raw)
    if not math.isfinite(number) or abs(number) > 1e300:
        return
    text = (repr, lambda x: f"{x:.40e}", halfway)[form](number)
    (part,) = JsonLines(EVERYTHING, frozenset(), None).read(
        io.BytesIO(f'{{"salary":{text}}}'.encode()), "rows"
    )
    assert not part.odd
    found = part.columns["salary"][0]
    assert struct.pack("<d", found) == struct.pack("<d", float(text))
    assert orjson.dumps(np.array([found]), option=orjson.OPT_SERIALIZE_NUMPY) == (
        b"[" + json.dumps(float(text)).encode().replace(b"e+", b"e") + b"]"
    ) or float(orjson.dumps(found)) == float(text)


CELLS: dict[str, list[str]] = {
    "order": ["17", " a ", "", "x,y"],
    "age": ["30", " 30 ", "30.0", "30.5", "", "x", "-1", "1_0", "inf", "nan", "NaN", "\ufeff5"],
    "basket total": ["1.5", "", "NA", "?", "1e400", "abc", "0x1", "\uff11\uff12", "unknown"],
    "member": ["yes", "No", "1", "1.0", "", "perhaps", "TRUE"],
    "colour": ["red", " red ", "violet", "", "none", "NULL"],
    "size": ["s", "", "giant", "?"],
    "salary": ["1000", "", "secret"],
    "since": ["2026-01-31", "2026-01-31T09:30:00Z", "", "31.1.2026", "nat"],
    "note": ["two words", "", 'a "quoted"\nline'],
    "seen at": ["2026", ""],
}


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries({n: st.sampled_from(c) for n, c in CELLS.items()}),
        min_size=1,
        max_size=6,
    ),
    extra=st.integers(0, 5).map(lambda n: n == 0),
    ignore=st.booleans(),
)
def test_csv_is_answered_and_refused_as_row_by_row(
    rows: list[dict[str, str]], extra: bool, ignore: bool
) -> None:
    """Cells are read one column at a time, and mean what they mean one by one."""
    rows = [{**row, **({"other": "1"} if extra else {})} for row in rows]
    columns = {column.name: column for column in EVERYTHING.columns}
    read = [
        {n: read_cell(columns[n], cell) if n in columns else cell for n, cell in row.items()}
        for row in rows
    ]
    for row in read:
        row["order"] = row["order"].strip() or None
    assert run(as_csv(rows), "csv", ignore) == ORACLE.decide(read, ignore)


def test_parquet_is_answered_and_refused_as_row_by_row() -> None:
    """Whatever types the columns have: integers, floats with NaN, decimals, dates, dictionaries."""
    zone = timezone(timedelta(hours=2))
    rows = [
        {"age": 30, "basket total": 1.5, "größe": 1.0, "member": True, "colour": "red"},
        {"age": 130, "basket total": math.nan, "größe": None, "member": None, "colour": "x"},
        {"age": None, "basket total": None, "größe": -7.25, "member": False, "colour": None},
        {"age": 7, "basket total": math.inf, "größe": 2e6, "member": True, "colour": ""},
    ]
    for index, row in enumerate(rows):
        row["order"] = index or None
        row["since"] = datetime(2026, 1, 31, 9, index, tzinfo=zone)
        row["salary"] = index * 10**15 + 1
    table = pa.Table.from_pylist(rows)
    place = table.schema.get_field_index("colour")
    table = table.set_column(place, "colour", table.column("colour").dictionary_encode())
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=3)
    read = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in table.to_pylist()
    ]
    found = run(sink.getvalue().to_pybytes(), "parquet")
    assert found == ORACLE.decide(read, False)
    assert (len(found[0]), len({line["row"] for line in found[1]})) == (1, 3)


@settings(max_examples=150, deadline=None)
@given(
    table=st.one_of(trees(), trees(outputs=3), trees(outputs=3, vector=True)),
    rows=st.lists(VECTOR, min_size=1, max_size=20),
    divisor=st.sampled_from([1.0, 3.0]),
)
def test_forests_have_the_bits_of_the_engine(
    table: dict[str, Any], rows: list[list[float]], divisor: float
) -> None:
    """On thresholds, among codes, missing and unseen: no margin differs in any bit."""
    wide = len(table["leaves"][0]) if table["leaves"] is not None else 1 + max(table["outputs"])
    tables = {"link": "identity", "base": [0.1] * wide, "divisor": divisor, "trees": table}
    engine = load_engine(make_model("trees", tables))
    assert engine.masks is not None
    matrix = np.array(rows, dtype=np.float64).reshape(-1, FEATURES)
    expected = [engine.margins(row) for row in rows]
    assert Forest(engine.masks).margins(matrix).tolist() == expected
    assert Walk(tables).margins(matrix).tolist() == expected


def staircase(leaves: int, feature: int) -> list[dict[str, Any]]:
    """Make a tree of so many leaves, split at 1, 2, 3, ..., and then leaf after leaf."""
    nodes: list[dict[str, Any]] = []
    for step in range(leaves - 1):
        here = len(nodes)
        nodes.append({"feature": feature, "value": float(step), "right": here + 2})
        nodes.append({"feature": -1, "value": math.sin(step + feature), "right": 0})
    return [*nodes, {"feature": -1, "value": math.pi, "right": 0}]


@pytest.mark.parametrize("wide", [False, True])
def test_trees_of_every_width_have_the_bits_of_the_engine(wide: bool) -> None:
    """Words of 8, 16, 32 and 64 bits side by side, full ones too; on and beside every threshold.

    With one tree of more leaves than a word has bits, all of them are walked.
    """
    table: dict[str, Any] = {
        name: [] for name in ("feature", "test", "value", "right", "roots", "outputs", "sets")
    }
    sizes = [64, 2, 33, 9, 17, 8, 64, 16, 32, 1, 5, 63]
    for tree, leaves in enumerate([*sizes, 65] if wide else sizes):
        first = len(table["feature"])
        table["roots"].append(first)
        table["outputs"].append(0)
        for node in staircase(leaves, tree % FEATURES):
            table["feature"].append(node["feature"])
            table["test"].append(tree % 2)
            table["value"].append(node["value"])
            table["right"].append(node["right"] + first)
    table["leaves"] = None
    tables = {"link": "logistic", "base": [0.1], "divisor": 1.0, "trees": table}
    text = make_model("trees", tables)
    engine = load_engine(text)
    if wide:
        assert engine.masks is None
    else:
        assert engine.masks is not None
        assert set(engine.masks.widths) == {8, 16, 32, 64}
    values = [math.nan, -1e308, 1e308]
    for step in range(64):
        cut = float(step)
        values += [cut, math.nextafter(cut, -math.inf), math.nextafter(cut, math.inf)]
    rows = np.random.default_rng(0).choice(values, size=(3000, FEATURES))
    rows[: len(values)] = np.array(values)[:, None]
    opened = Bundle({MODEL: text, MANIFEST: Manifest.of({MODEL: text}).to_json()}.__getitem__)
    assert open_tables(opened)(rows).tolist() == engine.score_many(rows.tolist())


HEADERS: dict[str, dict[str, Any]] = {
    "binary": {"threshold": 0.5, "positive": 1},
    "binary first": {"threshold": 0.7, "positive": 0},
    "binary without threshold": {"positive": 1},
    "multiclass": {},
    "clustering": {},
    "regression": {},
    "anomaly": {"threshold": 0.5},
    "anomaly without threshold": {},
}


@pytest.mark.parametrize("name", HEADERS)
def test_lines_are_the_predictions_of_the_api(name: str) -> None:
    """Every task, labels on and beside the threshold, ids and names that need escapes."""
    task = name.split()[0]
    classes = {
        "binary": ("no", 'y"e,s'),
        "multiclass": ("a", "b}", "ü"),
        "clustering": ("one", "two"),
    }.get(task, ())
    contract = Contract(
        task=task,  # type: ignore[arg-type]
        columns=(Column("x", "number"),),
        target=None if task in ("clustering", "anomaly") else "y",
        classes=classes,
    )
    given_header: dict[str, Any] = {"positive": None, "threshold": None, **HEADERS[name]}
    header = Header(
        task, "trees", classes, features=("x",), columns=("x",), baseline=(), **given_header
    )  # type: ignore[arg-type]
    first = [0.5, 0.0, 1.0, 1e-7, math.nextafter(0.5, 0), math.nextafter(0.5, 1), 0.3, 0.7]
    outputs = np.array([[x, 1 - x, 0.5][: len(contract.outputs)] for x in first])
    if task == "clustering":
        outputs = np.array([[float(i % 2), -x, x] for i, x in enumerate(first)])
    ids = ["a", 'b",', "ü\n", "", "1", "2", "3", "4"]
    unseen = {1: ["x"], 5: ["x", "ü"]}
    output = Output("jsonl", contract, header)
    output.add(ids, outputs, unseen)
    answer = choose_answer(header, contract)
    expected = [answer(i, row) for i, row in zip(ids, outputs.tolist(), strict=True)]
    for place, names in unseen.items():
        expected[place]["unseen"] = names
    assert output.close().splitlines() == [orjson.dumps(line) for line in expected]
    if task == "binary":
        labels = [line["label"] for line in expected]
        assert labels == [decide(header, row) for row in outputs.tolist()]
        assert len(set(labels)) == 2


def test_a_row_without_a_finite_answer_is_refused() -> None:
    """Alone; the rows beside it are answered."""
    document = model_document()
    document["tables"]["link"] = "exponential"
    document["task"], document["classes"], document["threshold"] = "regression", [], None
    contract = Contract(task="regression", target="y", columns=(Column("age", "number"),))
    document["features"] = document["columns"] = ["age"]
    document["baseline"] = []
    document["tables"]["terms"] = [term(0, 1.0)]
    content = files(contract, document)
    bundle = Bundle(content.__getitem__)
    store, job = MemoryStore(), make_job()
    body = b'{"age":1}\n{"age":1e300}\n{"age":2}\n'
    store.put(f"{SOURCE}rows", body)
    etag, size = str(hash(body)), len(body)
    unit = Unit("batch/in/rows", "rows", etag, size, "jsonl", False, 0, size, 0, 1)
    counts = score(job, unit, store, lambda: Model(bundle))
    assert (counts["scored"], counts["refused"]) == (2, 1)
    (line,) = store.objects[unit.refused(job)].splitlines()
    expected = Oracle(bundle).decide(map(orjson.loads, body.splitlines()), False)
    assert store.objects[unit.output(job)].splitlines() == expected[0]
    assert [json.loads(line)] == expected[1]
