"""The canary: golden rows on the new version, before it gets traffic."""

import io
import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from core.bundle import Bundle
from core.errors import DeliveryError
from lambdas.canary import handler as canary_handler
from lambdas.canary.env import Environment
from lambdas.canary.ports import BundleStore, Deployment, PredictFunction
from lambdas.canary.service import Version, check
from lambdas.predict.routes import Api
from lambdas.predict.service import Model
from tests.lambdas.bundles import MODEL_URI, ROW, RUN, bundle, files, model_document


def golden(rows: int = 250, tolerance: float = 1e-9) -> bytes:
    """Return golden rows and what the model of the tests really answers."""
    model = Model(bundle(), run=RUN, version="1", max_rows=10_000)
    given = [{**ROW, "basket total": index / 100} for index in range(rows)]
    body = json.dumps({"instances": given})
    answers = model.predict(body, "golden").outputs
    return json.dumps({"rows": given, "answers": answers, "tolerance": tolerance}).encode()


class FakeFunctions:
    """The predict function itself, in this process, with a model of the test's choice."""

    def __init__(self, model: Mapping[str, Any] | None = None, **environment: str) -> None:
        self.environment = {"MODEL_URI": MODEL_URI, "MAX_ROWS": "60", **environment}
        self.lines: list[str] = []
        self.requests = 0
        self.api = Api(
            deployment="shop-dev",
            load=lambda: Model(bundle(model=model), run=RUN, version="2", max_rows=60),
            put_labels=lambda key, body: None,
            write=self.lines.append,
        )

    def version(self, number: str | None) -> Version:
        assert number in (None, "2")
        return Version("2", self.environment)

    def invoke(self, version: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        assert version == "2"
        self.requests += 1
        answer: dict[str, Any] = json.loads(json.dumps(self.api(json.loads(json.dumps(event)), 0)))
        return answer


class FakeBundles:
    def __init__(self, **content: bytes) -> None:
        self.content = files(**content)

    def open(self, model_uri: str) -> Bundle:
        assert model_uri == MODEL_URI
        return Bundle(self.content.__getitem__)


def test_a_version_that_answers_as_it_should_passes() -> None:
    """All golden rows are replayed, in requests that the version accepts, without a trace."""
    functions = FakeFunctions()
    verdict = check(functions, FakeBundles(golden_json=golden()))
    assert verdict.passed, verdict.reason
    assert verdict.rows == 250
    assert verdict.largest_difference == 0.0
    assert functions.requests == 5
    assert functions.lines == []


def test_a_version_that_answers_otherwise_fails() -> None:
    """One wrong weight is found, and the reason shows it."""
    functions = FakeFunctions(model_document(base=-1.000001))
    verdict = check(functions, FakeBundles(golden_json=golden()))
    assert not verdict.passed
    assert "250 of 250 golden rows differ" in verdict.reason
    assert "row 0" in verdict.reason
    wide = check(functions, FakeBundles(golden_json=golden(tolerance=1e-3)))
    assert wide.passed


def test_before_the_first_model_there_is_nothing_to_check() -> None:
    """A version without a model may take over from another without a model."""
    assert check(FakeFunctions(MODEL_URI="none"), FakeBundles()).passed


def broken(**changes: Any) -> FakeFunctions:
    functions = FakeFunctions()
    for name, value in changes.items():
        setattr(functions, name, value)
    return functions


def raising(*arguments: Any) -> Any:
    raise DeliveryError("the function timed out")


@pytest.mark.parametrize(
    ("functions", "reason"),
    [
        (broken(invoke=raising), "timed out"),
        (broken(version=raising), "timed out"),
        (broken(invoke=lambda *_: {"statusCode": 503, "body": "no model"}), "503: no model"),
        (broken(invoke=lambda *_: {"statusCode": 200, "body": "{}"}), "no predictions"),
        (
            broken(invoke=lambda *_: {"statusCode": 200, "body": '{"predictions": []}'}),
            "got 0 answers",
        ),
        (
            broken(
                invoke=lambda version, event: {
                    "statusCode": 200,
                    "body": json.dumps(
                        {
                            "predictions": [{"outputs": [float("nan")]}]
                            * len(json.loads(event["body"])["instances"])
                        }
                    ),
                }
            ),
            "differ",
        ),
    ],
)
def test_what_cannot_be_checked_fails(functions: FakeFunctions, reason: str) -> None:
    """A version that does not answer gets no traffic, and the reason says how."""
    verdict = check(functions, FakeBundles(golden_json=golden(3)))
    assert not verdict.passed
    assert reason in verdict.reason


def test_an_altered_golden_file_fails() -> None:
    """Golden rows are trusted only if the manifest vouches for them."""
    bundles = FakeBundles(golden_json=golden(3))
    bundles.content["golden.json"] += b" "
    verdict = check(FakeFunctions(), bundles)
    assert not verdict.passed
    assert "altered" in verdict.reason


def test_no_golden_rows_fails() -> None:
    """Nothing compared is nothing proved."""
    empty = json.dumps({"rows": [], "answers": [], "tolerance": 1e-9}).encode()
    assert not check(FakeFunctions(), FakeBundles(golden_json=empty)).passed


class FakeLambda:
    """A Lambda client with three published versions."""

    def __init__(self, payload: bytes = b"{}", error: str | None = None) -> None:
        self.payload = payload
        self.error = error
        self.invoked: dict[str, Any] = {}

    def get_paginator(self, name: str) -> "FakeLambda":
        assert name == "list_versions_by_function"
        return self

    def paginate(self, FunctionName: str) -> list[dict[str, Any]]:
        def version(number: str) -> dict[str, Any]:
            return {"Version": number, "Environment": {"Variables": {"MODEL_URI": f"m{number}"}}}

        return [{"Versions": [version("$LATEST"), version("9")]}, {"Versions": [version("10")]}]

    def invoke(self, **options: Any) -> dict[str, Any]:
        self.invoked = options
        answer: dict[str, Any] = {"Payload": io.BytesIO(self.payload)}
        if self.error:
            answer["FunctionError"] = self.error
        return answer


def test_the_newest_version_is_the_largest_number() -> None:
    """Ten is newer than nine, and $LATEST is no version."""
    client: Any = FakeLambda()
    assert PredictFunction("f", client).version(None) == Version("10", {"MODEL_URI": "m10"})
    assert PredictFunction("f", client).version("9") == Version("9", {"MODEL_URI": "m9"})
    with pytest.raises(DeliveryError, match="no published version 11"):
        PredictFunction("f", client).version("11")


def test_an_invocation_names_its_version_and_its_failure() -> None:
    """A function error is an error here, with what the function said."""
    client: Any = FakeLambda(b'{"statusCode": 200}')
    assert PredictFunction("f", client).invoke("10", {})["statusCode"] == 200
    assert client.invoked["Qualifier"] == "10"
    failing: Any = FakeLambda(b'{"errorMessage": "out of memory"}', "Unhandled")
    with pytest.raises(DeliveryError, match="out of memory"):
        PredictFunction("f", failing).invoke("10", {})


def test_bundles_are_read_from_s3(aws: None) -> None:
    """The bundle's files are read under the prefix of the URI."""
    s3 = boto3.client("s3")
    where: Any = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration=where)
    for name, body in files().items():
        s3.put_object(Bucket="bucket", Key=f"models/{RUN}/output/model/{name}", Body=body)
    assert BundleStore().open(MODEL_URI).golden()["rows"] == [ROW]


APP_SPEC = json.dumps(
    {
        "version": 0.0,
        "Resources": [
            {
                "predict": {
                    "Type": "AWS::Lambda::Function",
                    "Properties": {
                        "Name": "f",
                        "Alias": "live",
                        "CurrentVersion": "3",
                        "TargetVersion": "2",
                    },
                }
            }
        ],
    }
)


class FakeCodeDeploy:
    """A CodeDeploy client that knows one deployment, or refuses to tell."""

    def __init__(self, revision: dict[str, Any] | None) -> None:
        self.revision = revision

    def get_deployment(self, deploymentId: str) -> dict[str, Any]:
        if self.revision is None:
            error: Any = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
            raise ClientError(error, "GetDeployment")
        return {"deploymentInfo": {"deploymentId": deploymentId, "revision": self.revision}}


@pytest.mark.parametrize(
    ("revision", "target"),
    [
        ({"revisionType": "AppSpecContent", "appSpecContent": {"content": APP_SPEC}}, "2"),
        ({"revisionType": "String", "string": {"content": APP_SPEC}}, "2"),
        ({"revisionType": "String", "string": {"content": "version: 0.0"}}, None),
        ({"revisionType": "S3"}, None),
        ({}, None),
    ],
)
def test_the_deployment_says_which_version_to_check(
    revision: dict[str, Any] | None, target: str | None
) -> None:
    """Traffic may move back to an older version; where nothing is said the newest is meant."""
    client: Any = FakeCodeDeploy(revision)
    assert Deployment(client).target("d-1") == target


def test_a_deployment_that_cannot_be_read_means_the_newest_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing permission is said, and does not stop the check."""
    refusing: Any = FakeCodeDeploy(None)
    deployment = Deployment(refusing)
    reports: list[str] = []
    monkeypatch.setattr(deployment, "report", lambda *arguments: reports.append(arguments[2]))
    ports = (FakeFunctions(), FakeBundles(golden_json=golden(3)), deployment)
    monkeypatch.setattr(canary_handler, "_ports", lambda: ports)
    canary_handler.handler({"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "h"}, None)
    assert reports == ["Succeeded"]
    assert "AccessDenied" in capsys.readouterr().out


class FakeDeployment:
    def __init__(self) -> None:
        self.reports: list[tuple[str, str, str]] = []

    def target(self, deployment_id: str) -> str | None:
        return "2"

    def report(self, deployment_id: str, execution_id: str, status: str) -> None:
        self.reports.append((deployment_id, execution_id, status))


@pytest.mark.parametrize(
    ("base", "status"), [(-1.0, "Succeeded"), (0.0, "Failed")], ids=["same", "other"]
)
def test_the_handler_reports_the_verdict(
    monkeypatch: pytest.MonkeyPatch, base: float, status: str
) -> None:
    """CodeDeploy hears of success and of failure."""
    deployment = FakeDeployment()
    ports = (FakeFunctions(model_document(base=base)), FakeBundles(golden_json=golden(3)))
    monkeypatch.setattr(canary_handler, "_ports", lambda: (*ports, deployment))
    event = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "hook"}
    canary_handler.handler(event, None)
    assert deployment.reports == [("d-1", "hook", status)]


def test_a_bug_in_the_canary_is_reported_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """CodeDeploy need not wait an hour for a hook that crashed."""
    deployment = FakeDeployment()
    functions = broken(version=lambda number: 1 / 0)
    monkeypatch.setattr(canary_handler, "_ports", lambda: (functions, FakeBundles(), deployment))
    event = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "hook"}
    with pytest.raises(ZeroDivisionError):
        canary_handler.handler(event, None)
    assert deployment.reports == [("d-1", "hook", "Failed")]


def test_the_environment_names_what_is_missing() -> None:
    """A canary without its function's name does not start."""
    with pytest.raises(ValueError, match="PREDICT_FUNCTION"):
        Environment.read({"DEPLOYMENT": "a"})
