"""An alias moves as CodeDeploy moves it: hook, weights, alarms, and back."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import moto
import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud
from tests.local.assembly import BUCKET, HANDLER, function, role, template, write_assembly

HOOK = """
import os

import boto3


def handler(event, context):
    verdict = os.environ["VERDICT"]
    if verdict == "crash":
        raise RuntimeError("golden rows differ")
    boto3.client("codedeploy").put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=verdict,
    )
"""


def resources(stack: str, config: str, verdict: str) -> dict[str, Any]:
    made = function(BUCKET, "code.zip")
    made["Hook"] = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"S3Bucket": {"Fn::Sub": BUCKET}, "S3Key": "hook.zip"},
            "Handler": "index.handler",
            "Runtime": "python3.13",
            "Timeout": 30,
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Environment": {"Variables": {"VERDICT": verdict}},
        },
    }
    made["Application"] = {
        "Type": "AWS::CodeDeploy::Application",
        "Properties": {"ComputePlatform": "Lambda"},
    }
    made["DeployRole"] = role("codedeploy")
    made["Alarm"] = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": f"{stack}-errors",
            "Namespace": "Test",
            "MetricName": "Errors",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
        },
    }
    made["Group"] = {
        "Type": "AWS::CodeDeploy::DeploymentGroup",
        "Properties": {
            "ApplicationName": {"Ref": "Application"},
            "ServiceRoleArn": {"Fn::GetAtt": ["DeployRole", "Arn"]},
            "DeploymentConfigName": f"CodeDeployDefault.{config}",
            "AlarmConfiguration": {"Enabled": True, "Alarms": [{"Name": {"Ref": "Alarm"}}]},
            "AutoRollbackConfiguration": {
                "Enabled": True,
                "Events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"],
            },
            "DeploymentStyle": {
                "DeploymentType": "BLUE_GREEN",
                "DeploymentOption": "WITH_TRAFFIC_CONTROL",
            },
        },
    }
    made["Alias"]["UpdatePolicy"] = {
        "CodeDeployLambdaAliasUpdate": {
            "ApplicationName": {"Ref": "Application"},
            "DeploymentGroupName": {"Ref": "Group"},
            "BeforeAllowTrafficHook": {"Ref": "Hook"},
        }
    }
    return made


NUMBERS = itertools.count(1)


class Release:
    """A deployed stack whose alias CodeDeploy moves."""

    def __init__(self, cloud: Cloud, folder: Path, config: str, verdict: str = "Succeeded") -> None:
        self.cloud = cloud
        self.stack = f"release-{next(NUMBERS)}"
        body = template(resources(self.stack, config, verdict), {"Name": {"Ref": "Function"}})
        assembly = write_assembly(folder, {self.stack: body}, {"code": HANDLER, "hook": HOOK})
        self.name = cloud.deploy(assembly)[self.stack]["Name"]

    def promote(self, uri: str) -> None:
        self.cloud.client("cloudformation").update_stack(
            StackName=self.stack,
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": "ModelUri", "ParameterValue": uri}],
        )

    def alias(self) -> tuple[str, dict[str, float]]:
        answer = self.cloud.client("lambda").get_alias(FunctionName=self.name, Name="live")
        weights = answer.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        return answer["FunctionVersion"], weights

    def status(self) -> str:
        return self.cloud.stacks.wait(self.cloud.stacks.find(self.stack), 60)

    def deployment(self) -> dict[str, Any]:
        client = self.cloud.client("codedeploy")
        group = self.cloud.stacks.find(self.stack).resources["Group"]
        (deployment_id,) = client.list_deployments(
            applicationName=group.properties["ApplicationName"],
            deploymentGroupName=group.physical_id,
        )["deployments"]
        found: dict[str, Any] = client.get_deployment(deploymentId=deployment_id)["deploymentInfo"]
        return found


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run a cloud whose clock is moved by the tests alone, but for real seconds."""
    with Cloud(tmp_path_factory.mktemp("cloud"), processes=2) as running:
        yield running


def test_moto_is_the_version_that_the_api_was_extended_for() -> None:
    """Moto 5.2.5 has no PutLifecycleEventHookExecutionStatus."""
    assert moto.__version__ == "5.2.5"


def test_canary_then_everything(cloud: Cloud, tmp_path: Path) -> None:
    """The hook passes, a tenth of the calls goes to the new version for 5 minutes, then all."""
    release = Release(cloud, tmp_path / "out", "LambdaCanary10Percent5Minutes")
    release.promote("s3://models/1/")
    until(lambda: release.alias() == ("1", {"2": 0.1}))
    stack = cloud.stacks.find(release.stack)
    assert stack.status == "UPDATE_IN_PROGRESS"
    with pytest.raises(ClientError, match="UPDATE_IN_PROGRESS state and can not be updated"):
        release.promote("s3://models/2/")
    cloud.clock.advance(240)
    assert release.alias() == ("1", {"2": 0.1})
    cloud.clock.advance(70)
    assert release.status() == "UPDATE_COMPLETE"
    assert release.alias() == ("2", {})
    assert release.deployment()["status"] == "Succeeded"


def test_linear_steps(cloud: Cloud, tmp_path: Path) -> None:
    """A linear shift adds its share every minute."""
    release = Release(cloud, tmp_path / "out", "LambdaLinear10PercentEvery1Minute")
    release.promote("s3://models/1/")
    until(lambda: release.alias() == ("1", {"2": 0.1}))
    cloud.clock.advance(65)
    assert release.alias() == ("1", {"2": 0.2})
    cloud.clock.advance(600)
    assert release.status() == "UPDATE_COMPLETE"
    assert release.alias() == ("2", {})


@pytest.mark.parametrize(("verdict", "reason"), [("Failed", "said: Failed"), ("crash", "golden")])
def test_a_hook_that_says_no(cloud: Cloud, tmp_path: Path, verdict: str, reason: str) -> None:
    """No call reaches the new version, the stack goes back, and the reason is in its events."""
    release = Release(cloud, tmp_path / "out", "LambdaAllAtOnce", verdict)
    release.promote("s3://models/bad/")
    assert release.status() == "UPDATE_ROLLBACK_COMPLETE"
    assert release.alias() == ("1", {})
    stack = cloud.stacks.find(release.stack)
    failed = [event for event in stack.events if event.status == "UPDATE_FAILED"]
    assert reason in failed[0].reason
    assert stack.plan is not None
    assert stack.plan.parameters.get("ModelUri", "none") == "none"
    answer = cloud.functions.invoke(release.name, b"{}", qualifier="live")
    assert json.loads(answer.payload)["model"] == "none"
    assert release.deployment()["status"] == "Failed"


def test_an_alarm_takes_the_shift_back(cloud: Cloud, tmp_path: Path) -> None:
    """An alarm during the shift puts all calls back on the old version and the stack back."""
    release = Release(cloud, tmp_path / "out", "LambdaCanary10Percent5Minutes")
    release.promote("s3://models/1/")
    until(lambda: release.alias() == ("1", {"2": 0.1}))
    error = {"MetricName": "Errors", "Value": 1, "Timestamp": cloud.clock.utc()}
    cloud.client("cloudwatch").put_metric_data(Namespace="Test", MetricData=[error])
    cloud.clock.advance(90)
    until(lambda: release.status() == "UPDATE_ROLLBACK_COMPLETE")
    assert release.alias() == ("1", {})


def test_a_verdict_is_checked(cloud: Cloud) -> None:
    """A verdict for a hook that is not running is refused."""
    with pytest.raises(ClientError, match="does not exist"):
        cloud.client("codedeploy").put_lifecycle_event_hook_execution_status(
            deploymentId="d", lifecycleEventHookExecutionId="h", status="Succeeded"
        )
