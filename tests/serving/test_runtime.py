"""The packaged predict asset under AWS's own runtime interface client and emulator."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.runtime import (
    HANDLER,
    BundleServer,
    Runtime,
    predict_environment,
    unpack_predict,
    why_not,
)
from tests.serving.conftest import ROW, RUN, model_files

pytestmark = [
    pytest.mark.xdist_group("runtime"),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "the runtime runs here"),
]
TIME_MS = 1_767_225_600_000


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("bundle")
    for name, content in model_files().items():
        (folder / name).write_bytes(content)
    with BundleServer(folder) as url:
        yield url


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_predict(tmp_path_factory.mktemp("task"), "table")


@pytest.fixture(scope="module")
def runtime(task: Path, endpoint: str) -> Iterator[Runtime]:
    environment = predict_environment(endpoint, "table")
    environment["MODEL_URI"] = f"s3://bucket/models/{RUN}/output/model/"
    with Runtime(task, HANDLER, environment) as runtime:
        yield runtime


def event(body: Any, path: str = "/predict", method: str = "POST") -> dict[str, Any]:
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": {"Content-Type": "application/json"},
        "queryStringParameters": None,
        "requestContext": {"requestId": "r-1", "requestTimeEpoch": TIME_MS, "apiId": "api"},
        "body": body if isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
    }


def test_the_asset_predicts_and_writes_its_lines(runtime: Runtime) -> None:
    """Nothing but the asset can be imported, and what CloudWatch reads is on standard output."""
    response = runtime.invoke(event({"instances": [ROW], "ids": ["order-1"]}))
    assert response["statusCode"] == 200, runtime.read_log()
    body = json.loads(response["body"])
    assert body["model"] == {"version": "1", "run": RUN}
    assert body["predictions"][0]["id"] == "order-1"
    lines = [json.loads(line) for line in runtime.read_log().splitlines() if line[:1] == "{"]
    (capture,) = [line for line in lines if line.get("capture") == 1]
    (metric,) = [line for line in lines if "_aws" in line]
    assert (capture["time"], capture["rows"][0][0]) == (TIME_MS, "order-1")
    assert (metric["_aws"]["Timestamp"], metric["Predictions"]) == (TIME_MS, 1)


def test_the_model_is_loaded_in_the_init(runtime: Runtime) -> None:
    """A first answer is not slower than the next: Lambda's init has done the work."""
    runtime.invoke(event({"instances": [ROW]}))
    assert 0 < runtime.init_ms < 10_000
    assert runtime.read_log().count("INIT START") == 1


def test_a_refused_request_is_an_answer_and_no_error_of_the_function(runtime: Runtime) -> None:
    response = runtime.invoke(event({"instances": [{"age": "old"}]}))
    assert response["statusCode"] == 422
    assert "errorType" not in response
    page = runtime.invoke(event("", "/docs", "GET"))
    assert page["body"].startswith("<!doctype html>")


def test_without_a_model_it_starts_and_says_so(task: Path, endpoint: str) -> None:
    environment = {**predict_environment(endpoint, "table"), "MODEL_URI": "none"}
    with Runtime(task, HANDLER, environment) as runtime:
        assert runtime.invoke(event({"instances": [ROW]}))["statusCode"] == 503
        assert json.loads(runtime.invoke(event("", "/health", "GET"))["body"])["model"] is None
