"""The promote function against moto: the registry, the stack, and the handler on top."""

import json
from typing import Any

import boto3
import pytest

from core.errors import DeliveryError
from lambdas.promote import handler as promote_handler
from lambdas.promote.env import Environment
from lambdas.promote.ports import ModelRegistry, ServingStack
from lambdas.promote.service import Package, StackBusyError

TEMPLATE = json.dumps(
    {
        "Parameters": {
            "ModelUri": {"Type": "String", "Default": "none"},
            "Other": {"Type": "String", "Default": "kept"},
            "TrafficShift": {"Type": "String", "Default": "gradual"},
        },
        "Resources": {
            "Pointer": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Type": "String", "Name": "pointer", "Value": {"Ref": "ModelUri"}},
            },
            "Constant": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Type": "String", "Name": "other", "Value": {"Ref": "Other"}},
            },
        },
    }
)
ENVIRON = {
    "DEPLOYMENT": "shop-dev",
    "SERVING_STACK": "shop-dev-serving",
    "MODEL_PACKAGE_GROUP": "shop-dev",
    "PREDICT_FUNCTION": "predict",
    "KEEP_VERSIONS": "1",
}


@pytest.fixture
def registry(aws: None) -> ModelRegistry:
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="shop-dev")
    return ModelRegistry("shop-dev")


@pytest.fixture
def stack(aws: None) -> ServingStack:
    boto3.client("cloudformation").create_stack(
        StackName="shop-dev-serving",
        TemplateBody=TEMPLATE,
        Parameters=[{"ParameterKey": "Other", "ParameterValue": "mine"}],
    )
    return ServingStack("shop-dev-serving")


def add_package(version: int, status: str = "Approved") -> str:
    arn: str = boto3.client("sagemaker").create_model_package(
        ModelPackageGroupName="shop-dev",
        ModelApprovalStatus=status,  # type: ignore[arg-type]
        CustomerMetadataProperties={"model_uri": f"s3://b/models/run-{version}/output/model/"},
    )["ModelPackageArn"]
    return arn


def test_packages_are_read_newest_first_and_written_whole(registry: ModelRegistry) -> None:
    """Status, description and properties survive a write and a read."""
    arns = [add_package(version) for version in (1, 2, 3)]
    assert [package.version for package in registry.packages()] == [3, 2, 1]
    package = registry.get(arns[0])
    assert package.model_uri == "s3://b/models/run-1/output/model/"
    changed = Package(
        package.arn, 1, "Rejected", "why", {**package.properties, "promotion": "rolled_back"}
    )
    registry.record(changed)
    assert registry.get(arns[0]) == changed


def test_unknown_packages_are_an_error(registry: ModelRegistry) -> None:
    """The error names the package."""
    with pytest.raises(DeliveryError, match="nothing"):
        registry.get("arn:aws:sagemaker:eu-west-1:123456789012:model-package/nothing/1")


def test_the_update_changes_the_model_and_no_other_parameter(stack: ServingStack) -> None:
    """The template and every other parameter stay as they were."""
    stack.point_to("s3://b/models/run-1/output/model/", "promote-1-abc")
    described = stack.describe()
    assert described.model_uri == "s3://b/models/run-1/output/model/"
    assert described.status == "UPDATE_COMPLETE"
    ssm = boto3.client("ssm")
    assert ssm.get_parameter(Name="pointer")["Parameter"]["Value"] == described.model_uri
    assert ssm.get_parameter(Name="other")["Parameter"]["Value"] == "mine"


def test_the_update_says_how_traffic_moves(stack: ServingStack) -> None:
    """The same model with another way of moving is an update of its own."""
    stack.point_to("s3://b/models/run-1/output/model/", "promote-1-abc", "at_once")
    assert stack.describe().shift == "at_once"
    stack.point_to("s3://b/models/run-1/output/model/", "promote-0-abc", "gradual")
    assert stack.describe().shift == "gradual"


def test_a_stack_that_is_not_there_or_not_ours_is_an_error(aws: None) -> None:
    """The error names the stack and what is missing."""
    with pytest.raises(DeliveryError, match="shop-dev-serving"):
        ServingStack("shop-dev-serving").describe()
    boto3.client("cloudformation").create_stack(
        StackName="other",
        TemplateBody=json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}),
    )
    with pytest.raises(DeliveryError, match="no parameter ModelUri"):
        ServingStack("other").describe()


class Refusing:
    """A CloudFormation client whose stack is being updated, or failed before."""

    def __init__(self, text: str) -> None:
        self._text = text

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        parameter = {"ParameterKey": "ModelUri", "ParameterValue": "none"}
        return {"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "Parameters": [parameter]}]}

    def update_stack(self, **options: Any) -> None:
        from botocore.exceptions import ClientError

        raise ClientError(
            {"Error": {"Code": "ValidationError", "Message": self._text}}, "UpdateStack"
        )


def test_a_busy_stack_is_told_from_a_refusal() -> None:
    """Only what passes by itself is waited for (the texts are CloudFormation's)."""
    busy: Any = Refusing(
        "Stack:arn:aws:cloudformation:eu-west-1:1:stack/s/1 is in UPDATE_IN_PROGRESS state and"
        " can not be updated."
    )
    with pytest.raises(StackBusyError):
        ServingStack("s", busy).point_to("s3://b/m/", "t")
    denied: Any = Refusing("User is not authorized to perform: lambda:PublishVersion")
    with pytest.raises(DeliveryError, match="not authorized") as caught:
        ServingStack("s", denied).point_to("s3://b/m/", "t")
    assert not isinstance(caught.value, StackBusyError)


class Events:
    """A CloudFormation client that pages through the events of two updates, newest first."""

    def get_paginator(self, name: str) -> "Events":
        assert name == "describe_stack_events"
        return self

    def paginate(self, StackName: str) -> list[dict[str, Any]]:
        def event(token: str, resource: str, status: str, reason: str) -> dict[str, str]:
            return {
                "ClientRequestToken": token,
                "LogicalResourceId": resource,
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
            }

        return [
            {
                "StackEvents": [
                    event("new", "shop-dev-serving", "UPDATE_ROLLBACK_COMPLETE", ""),
                    event("new", "Other", "UPDATE_FAILED", "Resource update cancelled"),
                    event("new", "Alias", "UPDATE_FAILED", "Rollback successful: hook failed"),
                ]
            },
            {"StackEvents": [event("old", "Alias", "UPDATE_FAILED", "long ago")]},
        ]


def test_the_reason_is_the_first_failure_of_that_update() -> None:
    """What failed first is the reason; what was cancelled because of it is not."""
    client: Any = Events()
    stack = ServingStack("shop-dev-serving", client)
    assert stack.failure("new") == "Alias: Rollback successful: hook failed"
    assert stack.failure("old") == "Alias: long ago"
    assert stack.failure("unknown") == ""


@pytest.fixture
def handler(registry: ModelRegistry, stack: ServingStack, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    promote_handler._environment.cache_clear()
    promote_handler._ports.cache_clear()
    yield promote_handler.handler
    promote_handler._environment.cache_clear()
    promote_handler._ports.cache_clear()


def message(identifier: str, kind: str, time: str, **detail: Any) -> dict[str, Any]:
    body = {"detail-type": kind, "time": time, "detail": detail}
    return {"messageId": identifier, "body": json.dumps(body)}


def test_a_batch_reports_only_what_failed(handler: Any, registry: ModelRegistry) -> None:
    """One bad message neither holds the others back nor is lost."""
    arn = add_package(1)
    kind = "SageMaker Model Package State Change"
    batch = [
        message("bad", "Something Else", "2026-01-01T00:00:00Z"),
        message("good", kind, "2026-01-01T00:00:00Z", ModelPackageArn=arn),
        {"messageId": "broken", "body": "{"},
    ]
    outcome = handler({"Records": batch}, None)
    assert outcome == {
        "batchItemFailures": [{"itemIdentifier": "bad"}, {"itemIdentifier": "broken"}]
    }
    assert ServingStack("shop-dev-serving").describe().model_uri.endswith("run-1/output/model/")
    settled = message(
        "done",
        "CloudFormation Stack Status Change",
        "2026-01-01T00:01:00Z",
        **{
            "status-details": {"status": "UPDATE_COMPLETE"},
            "client-request-token": registry.get(arn).properties["promotion_token"],
        },
    )
    assert handler({"Records": [settled]}, None) == {"batchItemFailures": []}
    assert registry.get(arn).promotion == "live"


def test_a_failed_promotion_is_counted(
    handler: Any, registry: ModelRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each promotion that did not go live is one point of the alarm's metric, at its own time."""
    arn = add_package(1)
    package = registry.get(arn)
    properties = {**package.properties, "promotion": "started", "promotion_token": "promote-1-a"}
    registry.record(Package(arn, 1, "Approved", "", properties))
    ended = message(
        "ended",
        "CloudFormation Stack Status Change",
        "2026-01-01T00:01:00Z",
        **{
            "status-details": {"status": "UPDATE_ROLLBACK_COMPLETE"},
            "client-request-token": "promote-1-a",
        },
    )
    for _ in range(2):
        assert handler({"Records": [ended]}, None) == {"batchItemFailures": []}
    assert registry.get(arn).promotion == "rolled_back"
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (metric,) = [line for line in lines if "_aws" in line]
    assert metric["PromotionFailures"] == 1
    assert metric["Deployment"] == "shop-dev"
    assert metric["_aws"]["Timestamp"] == 1_767_225_660_000


def test_rollback_by_invocation(handler: Any, registry: ModelRegistry) -> None:
    """A person's rollback answers what it did, or why not."""
    answer = handler({"action": "rollback", "to": 7, "by": "ann", "now": "2026-01-01"}, None)
    assert answer["status"] == "refused"
    assert "no version 7" in answer["reason"]


def test_the_environment_names_what_is_missing() -> None:
    """A function without its stack's name does not start."""
    with pytest.raises(ValueError, match="SERVING_STACK"):
        Environment.read({"DEPLOYMENT": "a", "MODEL_PACKAGE_GROUP": "a"})
