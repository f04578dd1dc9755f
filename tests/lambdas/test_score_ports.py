"""Batch scoring's S3 and its handler, against moto."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from core.errors import DataError
from core.scoring import Job
from lambdas.score import handler as module
from lambdas.score.ports import Store
from tests.lambdas.bundles import MODEL_URI, ROW, files

pytestmark = pytest.mark.usefixtures("aws")

JOB = Job("s3://bucket/batch/in/", "s3://bucket/batch/out/", MODEL_URI)
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)


@pytest.fixture
def s3() -> Any:
    client = boto3.client("s3")
    client.create_bucket(
        Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    return client


def test_reads_insist_on_the_state_that_was_planned(s3: Any) -> None:
    """A range of the listed object, or DataError once it was replaced."""
    s3.put_object(Bucket="bucket", Key="batch/in/a", Body=b"0123456789")
    store = Store()
    (found,) = store.list("s3://bucket/batch/in/", "")
    assert list(store.list("s3://bucket/batch/in/", found.key)) == []
    assert store.read("bucket", found.key, found.etag, 2, 5) == b"234"
    s3.put_object(Bucket="bucket", Key="batch/in/a", Body=b"9876543210")
    with pytest.raises(DataError, match="changed"):
        store.read("bucket", found.key, found.etag, 2, 5)


def test_what_is_absent_is_told_from_what_fails(s3: Any) -> None:
    """An object may be absent; a bucket may not."""
    store = Store()
    assert store.find("s3://bucket/none") is None
    assert store.metadata("s3://bucket/none") is None
    store.put("s3://bucket/one", b"1", {"driftless-unit": "u"})
    assert store.find("s3://bucket/one") == b"1"
    assert store.metadata("s3://bucket/one") == {"driftless-unit": "u"}
    with pytest.raises(DataError, match="NoSuchBucket"):
        list(store.list("s3://absent/in/", ""))
    with pytest.raises(DataError, match="NoSuchKey"):
        store.get("s3://bucket/none")


def test_a_job_runs_through_the_handler(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan, score and finish as the state machine calls them."""
    monkeypatch.setenv("DEPLOYMENT", "shop-dev")
    monkeypatch.setenv("ENGINE", "table")
    module._store.cache_clear()
    module._model.cache_clear()
    folder = MODEL_URI.removeprefix("s3://bucket/")
    for name, body in files().items():
        s3.put_object(Bucket="bucket", Key=folder + name, Body=body)
    s3.put_object(Bucket="bucket", Key="batch/in/a.jsonl", Body=json.dumps(ROW).encode())
    job = JOB.to_dict()
    planned = module.handler({"action": "plan", "job": job}, CONTEXT)
    listed = s3.get_object(Bucket=planned["bucket"], Key=planned["key"])["Body"].read()
    (unit,) = json.loads(listed)
    call = {"job": job, "unit": unit}
    assert module.handler({"action": "score", **call}, CONTEXT)["done"] == "now"
    assert module.handler({"action": "score", **call}, CONTEXT)["done"] == "before"
    summary = module.handler({"action": "finish", "job": job}, CONTEXT)
    assert (summary["rows"], summary["scored"], summary["failed_units"]) == (1, 1, 0)
    given_up = module.handler({"action": "give_up", "error": {"Error": "E"}, **call}, CONTEXT)
    assert given_up["done"] == "never"


@pytest.mark.parametrize(
    "changes",
    [{"format": "xml"}, {"workers": 0}, {"source": JOB.target}, {"model_uri": "none"}],
)
def test_a_job_that_cannot_be_run_is_refused(changes: dict[str, Any]) -> None:
    """Before anything is read or written."""
    with pytest.raises(DataError):
        module.handler({"action": "plan", "job": {**JOB.to_dict(), **changes}}, CONTEXT)
