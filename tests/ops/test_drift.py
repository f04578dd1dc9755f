"""`ops drift` and `ops why` over what a monitored deployment leaves in its bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws
from sklearn.linear_model import LogisticRegression

from core import bundle
from core.bundle import Manifest
from core.contract import Column, Contract
from core.engine import load_engine
from core.errors import OperationError
from ops import drift, why
from ops.__main__ import main
from tests.lambdas.monitor_world import START, World, capture, make_rows, pack
from training.export.formats import export_model

BUCKET = "driftless-test"


class FakeDeployment:
    """A deployment of which only the bucket matters."""

    name = "shop-dev"
    bucket = BUCKET

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name="eu-west-1")  # type: ignore[call-overload]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for module in (drift, why):
        monkeypatch.setattr(module, "connect", lambda stage: FakeDeployment())
    with mock_aws():
        FakeDeployment().client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        yield World()


def upload(world: World) -> None:
    client = FakeDeployment().client("s3")
    for key, body in world.store.objects.items():
        client.put_object(Bucket=BUCKET, Key=key, Body=body)


def test_drift_before_the_first_run_says_so(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift"]) == 0
    assert "has not run yet" in capsys.readouterr().out


def test_drift_shows_the_newest_verdict_and_the_windows_asked_for(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.serve(0)
    world.run(1.1)
    world.serve(30, age=47)
    world.run(31.1)
    upload(world)
    assert main(["drift"]) == 0
    out = capsys.readouterr().out
    for part in ("drift since 2026-01-02T06:00:00Z", "age: median", "DRIFT", "Estimated accuracy"):
        assert part in out
    counts = {}
    for since in ("1h", "1d", "2d", "2026-01-01", "2026-01-02T01:00"):
        assert main(["drift", "--since", since, "--json"]) == 0
        counts[since] = len(json.loads(capsys.readouterr().out)["windows"])
    assert counts == {"1h": 0, "1d": 1, "2d": 2, "2026-01-01": 2, "2026-01-02T01:00": 1}
    assert main(["drift", "--since", "yesterday"]) == 1
    assert "neither a time" in capsys.readouterr().err


def test_drift_says_why_a_quality_alarm_is_on(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The holdout's promise, the first rows and those since; the JSON has the same sentence."""
    for hour in range(6):
        labels = [
            {"id": name, "value": "yes" if (outputs[1] >= 0.5) == (hour < 3) else "no"}
            for one in world.serve(hour)
            for name, _, outputs in one["rows"]
        ]
        world.label(labels, f"hour-{hour}", hours=hour)
        world.run(hour + 1.1)
    upload(world)
    assert main(["drift", "--json"]) == 0
    quality = json.loads(capsys.readouterr().out)["quality"]["alpha"]
    assert quality["cause"] == "fell"
    assert quality["sentence"].startswith("It fell: the holdout promised roc_auc 0.95 (0.93 to")
    assert main(["drift"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert quality["sentence"] in out
    assert "first 750: 1.0000 (1.0000 to 1.0000); the 750 since then: 0.0000" in out
    assert "DROPPED [alpha]" in out


def test_drift_shows_the_quality_that_a_release_before_measured(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its record has no first rows and no cause; a metric of one class has no interval."""
    world.serve(0)
    world.run(1.1)
    state = world.state
    old = {"metric": "roc_auc", "value": 0.5, "low": 0.4, "high": 0.6, "rows": 120}
    state["quality"] = {
        "alpha": {**old, "expected": 0.9, "dropped": True, "probability": 0.0},
        "beta": {**old, "value": None, "low": None, "expected": 0.9, "dropped": False},
    }
    world.store.objects["monitor/state.json"] = json.dumps(state).encode()
    upload(world)
    assert main(["drift"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "0.5000 (0.4000 to 0.6000), holdout 0.9000 DROPPED [alpha]" in out
    assert "120 labelled predictions: cannot be computed, holdout 0.9000 [beta]" in out


def test_drift_says_that_a_backlog_is_being_counted(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.serve(0)
    world.run(1.1)
    world.settings["parallel_above_mb"] = 0.001
    world.serve(1)
    world.run(2.1)
    upload(world)
    assert main(["drift"]) == 0
    assert (
        "functions have been counting captures since 2026-01-01 02:06 UTC"
        in capsys.readouterr().out
    )
    assert main(["drift", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counting"] == "2026-01-01T02:06:00+00:00"


def test_ages_and_times_are_read() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert drift.parse_since("90m", now) == datetime(2026, 1, 1, 22, 30, tzinfo=UTC)
    assert drift.parse_since("7d", now) == datetime(2025, 12, 26, tzinfo=UTC)
    assert drift.parse_since("2026-01-01", now) == datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(OperationError):
        drift.parse_since("7 days", now)


def test_why_traces_a_prediction_to_its_model_data_and_commit(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row, answer, label, attributions that add up, bundle hash, data, commit."""
    contract = Contract(
        task="binary",
        target="churned",
        classes=("no", "yes"),
        columns=(Column("age", "number"), Column("income", "number")),
    )
    generator = np.random.default_rng(0)
    rows = [{**row, "income": row["income"] or 0.0} for row in make_rows(generator, 300)]
    rows = [{"age": row["age"], "income": row["income"] / 1000} for row in rows]
    table = np.array([[row["age"], row["income"]] for row in rows])
    model = LogisticRegression().fit(table, (table[:, 0] > 40).astype(int))
    exported = export_model(model, contract, table[:20], 0.5)
    lineage = {
        "commit": "abc1234",
        "inputs": [{"key": "data/t.csv", "version_id": "v1"}],
        "sha256": {"data/t.csv": "0" * 64},
    }
    files = {
        bundle.MODEL: exported.model_json,
        bundle.CONTRACT: contract.to_json(),
        bundle.LINEAGE: json.dumps(lineage).encode(),
    }
    prefix = "models/gamma/output/model/"
    for name, content in {**files, bundle.MANIFEST: Manifest.of(files).to_json()}.items():
        world.store.objects[prefix + name] = content
    engine = load_engine(exported.model_json)
    one = capture(rows[:5], "gamma", START, "req", version="7")
    one["rows"] = [[name, row, engine.score(contract.encode(row))] for name, row, _ in one["rows"]]
    world.deliver(0, pack([one]), "gamma")
    world.serve(0)
    world.store.objects["monitor/quality/gamma.json"] = b'[["req-3","yes",[0.1,0.9]]]'
    upload(world)
    assert main(["why", "req-3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["row"] == rows[3]
    assert found["label"] == "yes"
    assert found["model"]["version"] == "7"
    assert found["commit"] == "abc1234"
    assert found["data"][0]["version_id"] == "v1"
    assert found["reproduced"] is True
    assert set(found["attributions"]["columns"]) == {"age", "income"}
    assert main(["why", "req-3"]) == 0
    out = capsys.readouterr().out
    for part in (
        "req-3",
        "abc1234",
        "data/t.csv (version v1)",
        "same answer",
        "function version 7",
    ):
        assert part in out
    assert main(["why", "nobody"]) == 1
    assert "no captured prediction" in capsys.readouterr().err
