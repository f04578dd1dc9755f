"""Whose row it is: taken with a prediction, captured as a keyed hash, kept nowhere as text."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from core.bundle import ENTITY_KEY, MANIFEST, Bundle, Manifest
from core.contract import Contract
from core.entities import EntityKey
from lambdas.monitor.captures import read_captures
from lambdas.predict.service import Model
from lambdas.predict.telemetry import LINE_BYTES
from tests.lambdas.bundles import CONTRACT_OF_SHOP, ROW, RUN, files
from tests.lambdas.test_predict_routes import PROBABILITY, Service

KEY = bytes(range(32))
GROUPED = replace(CONTRACT_OF_SHOP, group_column="customer")
HASHER = EntityKey(KEY, "customer")


def open_bundle(contract: Contract, key: bytes | None) -> Bundle:
    content = files(contract)
    if key is not None:
        del content[MANIFEST]
        content[ENTITY_KEY] = key
        content[MANIFEST] = Manifest.of(content).to_json()
    return Bundle(content.__getitem__)


def serve(contract: Contract = GROUPED, key: bytes | None = KEY, **options: Any) -> Service:
    opened = open_bundle(contract, key)
    return Service(load=lambda: Model(opened, run=RUN, version="7", max_rows=2000), **options)


def test_the_capture_holds_the_hash_beside_the_rows() -> None:
    """One a row, null for a row that names nobody; spelled alike as number or text."""
    service = serve()
    status, body = service.predict(
        {**ROW, "customer": "17"}, ROW, {**ROW, "customer": 17}, {**ROW, "customer": None}
    )
    assert status == 200
    probabilities = [p["probabilities"]["yes"] for p in body["predictions"]]
    assert probabilities == pytest.approx([PROBABILITY] * 4, abs=1e-15)
    (record,) = service.captures
    named = HASHER.hash("17")
    assert record["entities"] == [named, None, named, None]
    assert [row for _, row, _ in record["rows"]] == [ROW] * 4


def test_a_capture_without_entities_is_as_it_was() -> None:
    """No member is added where nobody is named."""
    service = serve()
    service.predict(ROW)
    assert "entities" not in service.captures[0]


def test_without_a_key_an_entity_is_taken_and_not_kept() -> None:
    """A bundle of an earlier release answers all the same."""
    service = serve(key=None)
    status, _ = service.predict({**ROW, "customer": "SECRET-17"})
    assert status == 200
    assert "entities" not in service.captures[0]
    assert "SECRET" not in "".join(service.raw)


def test_no_text_of_an_entity_leaves_the_function() -> None:
    """Not in answers, captures, metrics, errors or the log; nor does the key, anywhere."""
    service = serve()
    said = [
        service.predict({**ROW, "customer": "SECRET-17"}),
        service.predict({**ROW, "customer": ["SECRET-17"]}),
        service.predict({**ROW, "age": "old", "customer": "SECRET-17"}),
        service.predict({**ROW, "customer": "SECRET-17" + "x" * 1000}),
        service.call("GET", "/model"),
        service.call("GET", "/openapi.json"),
        service.call("GET", "/health"),
    ]
    assert [one[0] for one in said[:4]] == [200, 422, 422, 422]
    everything = json.dumps(said) + "".join(service.raw)
    assert "SECRET" not in everything
    assert KEY.hex() not in everything
    assert json.dumps(list(KEY)) not in everything


def test_an_entity_that_is_a_sensitive_input_is_captured_as_its_hash() -> None:
    """The model is given the value, the capture is not."""
    columns = GROUPED.columns
    service = serve(replace(CONTRACT_OF_SHOP, group_column="salary", columns=columns))
    service.predict({**ROW, "salary": 5000})
    (record,) = service.captures
    assert record["rows"][0][1] == ROW
    assert record["entities"] == [EntityKey(KEY, "salary").hash(5000)]


def test_an_input_that_is_captured_anyway_is_not_hashed_too() -> None:
    """The labelled row has the value itself."""
    service = serve(replace(CONTRACT_OF_SHOP, group_column="colour"))
    service.predict(ROW)
    (record,) = service.captures
    assert record["rows"][0][1] == ROW
    assert "entities" not in record


def test_hashes_stay_with_their_rows_when_a_request_needs_several_lines() -> None:
    """Lines are short enough for a subscription filter, and each holds its own rows' hashes."""
    service = serve()
    rows = [
        {**ROW, "colour": f"{index:04d}" + "x" * 900, "customer": index} for index in range(600)
    ]
    status, _ = service.predict(*rows)
    assert status == 200
    assert len(service.captures) > 2
    lines = [line for line in service.raw if '"capture"' in line]
    assert max(map(len, lines)) < LINE_BYTES + 1000
    read = list(read_captures(iter(["".join(lines).encode()])))
    found = [row for capture in read if capture for row in capture.rows]
    assert len(found) == 600
    for row in found:
        assert row.entity == HASHER.hash(int(row.values["colour"][:4]))


def test_a_request_that_is_not_captured_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash is as dear as a small model's prediction: only what is kept is hashed."""
    hashed: list[Any] = []
    monkeypatch.setattr(EntityKey, "hash", lambda self, value: hashed.append(value))
    assert serve(sample_rate=0.0).predict({**ROW, "customer": 17})[0] == 200
    assert hashed == []
    assert serve().predict({**ROW, "customer": 17})[0] == 200
    assert hashed == [17]


def test_a_damaged_key_is_a_model_that_cannot_be_loaded() -> None:
    """Rather than hashes that no one can compare."""
    service = serve(key=b"short")
    status, body = service.predict(ROW)
    assert status == 503
    assert "cannot be loaded" in body["detail"]


def test_entities_add_no_module_to_the_cold_start() -> None:
    """Only what the function imports anyway."""
    code = (
        "import sys; import core.contract.rows, lambdas.predict.ports; before = set(sys.modules);"
        "import core.entities; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {
        "core.entities",
        "core.contract.cells",
    }
