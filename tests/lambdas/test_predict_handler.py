"""The predict function as Lambda runs it: a fresh process, its environment, S3 over HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from core.errors import SettingsError
from lambdas.predict.env import Environment
from tests.lambdas.bundles import MODEL_URI, RUN, files

ROOT = Path(__file__).parents[2]
EVENTS = Path(__file__).parent / "events"
ENVIRON = {
    "DEPLOYMENT": "shop-dev",
    "MODEL_URI": MODEL_URI,
    "LABELS_URI": "s3://bucket/labels/",
    "MAX_ROWS": "100",
    "CAPTURE_SAMPLE_RATE": "1",
    "CORS_ORIGINS": "",
    "ENGINE": "table",
}
# What a cold start must not pay for.
HEAVY = ("boto3", "botocore", "pydantic", "numpy", "onnxruntime", "aws_lambda_powertools")

PROGRAM = """
import json, sys
from lambdas.predict.handler import handler
events = json.load(sys.stdin)
answers = [handler(event, None) for event in events]
print("\\n" + json.dumps({"answers": answers, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def s3(endpoint: str) -> Any:
    client = boto3.client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=endpoint,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    where: Any = {"LocationConstraint": "eu-west-1"}
    client.create_bucket(Bucket="bucket", CreateBucketConfiguration=where)
    for name, body in files().items():
        client.put_object(Bucket="bucket", Key=f"models/{RUN}/output/model/{name}", Body=body)
    return client


def run(endpoint: str, events: list[Any], **changes: str) -> tuple[list[Any], list[str], list[Any]]:
    """Answer events in a process of its own; gives answers, modules and log lines."""
    environ = {
        **ENVIRON,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_LAMBDA_FUNCTION_VERSION": "12",
        "PATH": os.environ["PATH"],
        **changes,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environ,
        input=json.dumps(events),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *lines, last = [line for line in done.stdout.splitlines() if line]
    document = json.loads(last)
    return document["answers"], document["modules"], [json.loads(line) for line in lines]


def event(name: str = "predict", **changes: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return {**loaded, **changes}


def test_a_cold_start_answers_and_imports_nothing_heavy(endpoint: str, s3: Any) -> None:
    """The first prediction needs neither the SDK nor pydantic's classes nor numpy."""
    (answer,), modules, lines = run(endpoint, [event()])
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["model"] == {"version": "12", "run": RUN}
    assert [name for name in HEAVY if name in modules] == []
    assert [next(iter(line)) for line in lines] == ["_aws", "capture"]


def test_labels_reach_the_bucket(endpoint: str, s3: Any) -> None:
    """POST /feedback writes an object under labels/, which the role may do and no more."""
    body = json.dumps({"labels": [{"id": "order-1", "value": "yes"}]})
    feedback = event(resource="/feedback", path="/feedback", body=body)
    (answer,), _, _ = run(endpoint, [feedback])
    assert answer["statusCode"] == 202
    (entry,) = s3.list_objects_v2(Bucket="bucket", Prefix="labels/")["Contents"]
    content = s3.get_object(Bucket="bucket", Key=entry["Key"])["Body"].read()
    assert json.loads(content)["id"] == "order-1"


def test_none_is_no_model(endpoint: str) -> None:
    """MODEL_URI none reads nothing and answers 503."""
    (answer,), _, _ = run(endpoint, [event()], MODEL_URI="none")
    assert answer["statusCode"] == 503


def test_an_altered_bundle_is_not_served(endpoint: str, s3: Any) -> None:
    """A file that differs from the manifest is refused, and the log says which."""
    for name, body in files().items():
        changed = body + b" " if name == "model.json" else body
        s3.put_object(Bucket="bucket", Key=f"altered/{name}", Body=changed)
    (answer,), _, lines = run(endpoint, [event()], MODEL_URI="s3://bucket/altered/")
    assert answer["statusCode"] == 503
    assert "model.json was altered" in lines[0]["error"]


def test_the_onnx_engine_answers_as_scikit_learn_does(endpoint: str, s3: Any) -> None:
    """ENGINE onnx scores model.onnx; explanations come from the tables."""
    import numpy
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from core.contract import Column, Contract
    from training.export.formats import export_model

    generator = numpy.random.default_rng(7)
    rows = generator.normal(size=(200, 2))
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(
        rows, rows[:, 0] + rows[:, 1] > 0
    )
    contract = Contract(
        task="binary",
        target="up",
        classes=("False", "True"),
        columns=(Column("a", "number"), Column("b", "number")),
    )
    exported = export_model(model, contract, numpy.zeros(2))
    content = files(contract, json.loads(exported.model_json), **{"model.onnx": exported.onnx})
    for name, body in content.items():
        s3.put_object(Bucket="bucket", Key=f"models/onnx/output/model/{name}", Body=body)
    given = [{"a": float(a), "b": float(b)} for a, b in rows[:50]]
    asked = event(body=json.dumps({"instances": given}), queryStringParameters={"explain": "true"})
    uri = "s3://bucket/models/onnx/output/model/"
    single = [event(body=json.dumps({"instances": [row]})) for row in given[:10]]
    (answer, *others), modules, _ = run(endpoint, [asked, *single], MODEL_URI=uri, ENGINE="onnx")
    assert answer["statusCode"] == 200, answer["body"]
    predictions = json.loads(answer["body"])["predictions"]
    found = [prediction["probabilities"]["True"] for prediction in predictions]
    expected = model.predict_proba(rows[:50])[:, 1]
    assert numpy.abs(numpy.array(found) - expected).max() < 1e-12
    alone = [json.loads(other["body"])["predictions"][0]["probabilities"] for other in others]
    assert alone == [prediction["probabilities"] for prediction in predictions[:10]]
    assert "explanation" in predictions[0]
    assert "onnxruntime" in modules


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"DEPLOYMENT": ""}, "DEPLOYMENT"),
        ({"MODEL_URI": "http://x"}, "MODEL_URI"),
        ({"LABELS_URI": "s3://bucket/labels"}, "LABELS_URI"),
        ({"MAX_ROWS": "0"}, "MAX_ROWS"),
        ({"MAX_ROWS": "many"}, "MAX_ROWS"),
        ({"CAPTURE_SAMPLE_RATE": "1.5"}, "CAPTURE_SAMPLE_RATE"),
        ({"ENGINE": "tables"}, "ENGINE"),
        ({"AUTH": "none"}, "AUTH"),
    ],
)
def test_a_faulty_environment_names_the_variable(changes: Mapping[str, str], named: str) -> None:
    """A setting that cannot be read stops the function at its start, not at a request."""
    with pytest.raises(SettingsError, match=named):
        Environment.read({**ENVIRON, **changes})


def test_a_missing_variable_is_named() -> None:
    """What is not set is said to be not set."""
    given = {name: value for name, value in ENVIRON.items() if name != "CORS_ORIGINS"}
    with pytest.raises(SettingsError, match="CORS_ORIGINS is not set"):
        Environment.read(given)


def test_the_environment_is_read() -> None:
    """Every setting arrives with its type."""
    found = Environment.read(
        {**ENVIRON, "CORS_ORIGINS": "https://a.example, https://b.example", "PUBLIC_DOCS": "true"}
    )
    assert found.cors_origins == ("https://a.example", "https://b.example")
    assert found.public_docs
    assert found.auth == "iam"
    assert found.max_rows == 100
