"""Each resource type of the templates is made, changed and deleted as real state."""

from __future__ import annotations

import copy
import json
from typing import Any

import moto
import pytest
from botocore.exceptions import ClientError
from botocore.session import get_session

from local.catalogue import KINDS
from local.cloud import Cloud
from local.resources import ResourceError, fit
from local.services.cloudformation.model import Stack
from tests.local.assembly import role

# What the synthesised templates may hold (infra/), and what `cdk bootstrap` makes.
TYPES = (
    "ApiGateway::Account ApiGateway::ApiKey ApiGateway::Deployment ApiGateway::GatewayResponse "
    "ApiGateway::Method ApiGateway::Model ApiGateway::RequestValidator ApiGateway::Resource "
    "ApiGateway::RestApi ApiGateway::Stage ApiGateway::UsagePlan ApiGateway::UsagePlanKey "
    "Budgets::Budget CDK::Metadata CloudWatch::Alarm CloudWatch::Dashboard "
    "CodeDeploy::Application CodeDeploy::DeploymentGroup ECR::Repository Events::Rule "
    "IAM::ManagedPolicy IAM::Policy IAM::Role KMS::Alias KMS::Key "
    "KinesisFirehose::DeliveryStream Lambda::Alias Lambda::EventInvokeConfig "
    "Lambda::EventSourceMapping Lambda::Function Lambda::LayerVersion Lambda::Permission "
    "Lambda::Version Logs::LogGroup Logs::LogStream Logs::MetricFilter Logs::ResourcePolicy "
    "Logs::SubscriptionFilter S3::Bucket S3::BucketPolicy SNS::Subscription SNS::Topic "
    "SNS::TopicPolicy SQS::Queue SQS::QueuePolicy SSM::Parameter SageMaker::ModelPackageGroup "
    "Scheduler::Schedule StepFunctions::StateMachine "
)

ALLOW = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
}


def one(kind: str, *needs: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": properties, "DependsOn": list(needs)}


def everything() -> dict[str, Any]:
    """Return a template with the types that the other tests leave out."""
    queue_arn = {"Fn::GetAtt": ["Queue", "Arn"]}
    role_arn = {"Fn::GetAtt": ["Role", "Arn"]}
    bucket_arn = {"Fn::GetAtt": ["Bucket", "Arn"]}
    return {
        "Role": role(),
        "Policy": one("IAM::Policy", PolicyName="p", PolicyDocument=ALLOW, Roles=[{"Ref": "Role"}]),
        "Managed": one("IAM::ManagedPolicy", PolicyDocument=ALLOW, Roles=[{"Ref": "Role"}]),
        "Bucket": one(
            "S3::Bucket",
            BucketEncryption={
                "ServerSideEncryptionConfiguration": [
                    {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                ]
            },
            VersioningConfiguration={"Status": "Enabled"},
            PublicAccessBlockConfiguration={"BlockPublicAcls": "true"},
            NotificationConfiguration={"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
            LifecycleConfiguration={
                "Rules": [
                    {"Status": "Enabled", "Prefix": "captures/", "ExpirationInDays": 30},
                    {
                        "Id": "old",
                        "Status": "Enabled",
                        "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
                    },
                ]
            },
            CorsConfiguration={"CorsRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]},
            Tags=[{"Key": "project", "Value": "test"}],
        ),
        "BucketPolicy": one("S3::BucketPolicy", Bucket={"Ref": "Bucket"}, PolicyDocument=ALLOW),
        "Key": one("KMS::Key", KeyPolicy=ALLOW, EnableKeyRotation=True),
        "KeyAlias": one("KMS::Alias", AliasName="alias/test", TargetKeyId={"Ref": "Key"}),
        "Topic": one("SNS::Topic", KmsMasterKeyId={"Ref": "Key"}),
        "TopicPolicy": one("SNS::TopicPolicy", Topics=[{"Ref": "Topic"}], PolicyDocument=ALLOW),
        "Queue": one(
            "SQS::Queue",
            VisibilityTimeout=60,
            RedrivePolicy={
                "deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]},
                "maxReceiveCount": 3,
            },
        ),
        "Dead": one("SQS::Queue", SqsManagedSseEnabled=True),
        "QueuePolicy": one("SQS::QueuePolicy", Queues=[{"Ref": "Queue"}], PolicyDocument=ALLOW),
        "Subscription": one(
            "SNS::Subscription", TopicArn={"Ref": "Topic"}, Protocol="sqs", Endpoint=queue_arn
        ),
        "Rule": one(
            "Events::Rule",
            EventPattern={"source": ["test"]},
            State="ENABLED",
            Targets=[{"Id": "T0", "Arn": queue_arn}, {"Id": "T1", "Arn": {"Ref": "Topic"}}],
        ),
        "Group": one("Logs::LogGroup", RetentionInDays=7),
        "Stream": one("Logs::LogStream", LogGroupName={"Ref": "Group"}),
        "Firehose": one(
            "KinesisFirehose::DeliveryStream",
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration={
                "BucketARN": bucket_arn,
                "RoleARN": role_arn,
                "Prefix": "captures/",
                "BufferingHints": {"IntervalInSeconds": 60, "SizeInMBs": 5},
                "CompressionFormat": "GZIP",
            },
        ),
        "Filter": one(
            "Logs::SubscriptionFilter",
            LogGroupName={"Ref": "Group"},
            FilterPattern="{ $.capture = 1 }",
            RoleArn=role_arn,
            DestinationArn={"Fn::GetAtt": ["Firehose", "Arn"]},
        ),
        "MetricFilter": one(
            "Logs::MetricFilter",
            LogGroupName={"Ref": "Group"},
            FilterPattern="ERROR",
            MetricTransformations=[
                {"MetricName": "Errors", "MetricNamespace": "Test", "MetricValue": "1"}
            ],
        ),
        "Alarm": one(
            "CloudWatch::Alarm",
            AlarmName="everything",
            Namespace="Test",
            MetricName="Errors",
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            TreatMissingData="ignore",
            AlarmActions=[{"Ref": "Topic"}],
        ),
        "Dashboard": one(
            "CloudWatch::Dashboard", DashboardName="d", DashboardBody='{"widgets":[]}'
        ),
        "Packages": one(
            "SageMaker::ModelPackageGroup",
            ModelPackageGroupName="packages",
            Tags=[{"Key": "project", "Value": "test"}],
        ),
        "Machine": one(
            "StepFunctions::StateMachine",
            RoleArn=role_arn,
            StateMachineName="machine",
            DefinitionString='{"StartAt":"P","States":{"P":{"Type":"Pass","End":true,'
            '"Comment":"${Note}"}}}',
            DefinitionSubstitutions={"Note": "first"},
        ),
        "Budget": one(
            "Budgets::Budget",
            Budget={
                "BudgetType": "COST",
                "TimeUnit": "MONTHLY",
                "BudgetLimit": {"Amount": 10, "Unit": "USD"},
            },
        ),
        "Metadata": one("CDK::Metadata", Analytics="v2:deflate64:x"),
        "Account": one("ApiGateway::Account", CloudWatchRoleArn=role_arn),
    }


def _why(stack: Stack) -> list[str]:
    return [f"{event.logical_id}: {event.reason}" for event in stack.events if event.reason]


def test_every_type_of_the_templates_is_modelled() -> None:
    """A type that a construct may use has its kind here."""
    assert {f"AWS::{name}" for name in TYPES.split()} <= set(KINDS)
    assert all(KINDS[name].type == name for name in KINDS)


def test_moto_is_the_version_whose_apis_were_read() -> None:
    """Moto 5.2.5 has no DeleteModelPackageGroup, UpdateBudget or UpdateDeploymentGroup."""
    assert moto.__version__ == "5.2.5"


def test_create_change_delete(cloud: Cloud) -> None:
    """One stack of everything: made, changed in place where AWS does so, deleted to nothing."""
    client = cloud.client("cloudformation")
    template = {"Resources": everything()}
    client.create_stack(StackName="all", TemplateBody=json.dumps(template))
    stack = cloud.stacks.find("all")
    assert cloud.stacks.wait(stack) == "CREATE_COMPLETE", _why(stack)
    before = {name: item.physical_id for name, item in stack.resources.items()}

    changed = copy.deepcopy(template)
    parts = {name: item.get("Properties", {}) for name, item in changed["Resources"].items()}
    parts["Queue"]["VisibilityTimeout"] = 120
    parts["Rule"]["Targets"].pop()
    parts["Group"]["RetentionInDays"] = 14
    parts["Alarm"]["Threshold"] = 5
    parts["Machine"]["DefinitionSubstitutions"]["Note"] = "second"
    parts["Firehose"]["ExtendedS3DestinationConfiguration"]["Prefix"] = "other/"
    parts["Role"]["Description"] = "changed"
    parts["Budget"]["Budget"]["BudgetLimit"]["Amount"] = 20
    parts["Bucket"]["VersioningConfiguration"]["Status"] = "Suspended"
    parts["Managed"]["PolicyDocument"] = json.loads(json.dumps(ALLOW).replace("Get", "Put"))
    parts["Policy"]["Roles"] = [{"Ref": "Role"}]
    parts["Dashboard"]["DashboardBody"] = '{"widgets":[],"start":"-PT1H"}'
    client.update_stack(StackName="all", TemplateBody=json.dumps(changed))
    assert cloud.stacks.wait(stack) == "UPDATE_COMPLETE", _why(stack)
    assert {name: item.physical_id for name, item in stack.resources.items()} == before

    queue = cloud.client("sqs").get_queue_attributes(
        QueueUrl=before["Queue"], AttributeNames=["VisibilityTimeout"]
    )
    assert queue["Attributes"]["VisibilityTimeout"] == "120"
    targets = cloud.client("events").list_targets_by_rule(Rule=before["Rule"])["Targets"]
    assert [target["Id"] for target in targets] == ["T0"]
    alarms = cloud.client("cloudwatch").describe_alarms(AlarmNames=["everything"])
    assert alarms["MetricAlarms"][0]["Threshold"] == 5
    machine = cloud.client("stepfunctions").describe_state_machine(
        stateMachineArn=before["Machine"]
    )
    assert '"second"' in machine["definition"]

    client.delete_stack(StackName="all")
    assert cloud.stacks.wait(stack) == "DELETE_COMPLETE", _why(stack)
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
    assert cloud.client("iam").list_roles()["Roles"] == []
    assert cloud.client("s3").list_buckets()["Buckets"] == []
    assert cloud.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert (
        cloud.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    )


def test_a_bucket_with_objects_is_not_deleted(cloud: Cloud) -> None:
    """As on AWS the deletion fails and says why; the objects are still there."""
    client = cloud.client("cloudformation")
    body = {"Resources": {"B": one("S3::Bucket", BucketName="holds-data")}}
    client.create_stack(StackName="holds", TemplateBody=json.dumps(body))
    stack = cloud.stacks.find("holds")
    cloud.stacks.wait(stack)
    cloud.client("s3").put_object(Bucket="holds-data", Key="k", Body=b"v")
    client.delete_stack(StackName="holds")
    assert cloud.stacks.wait(stack) == "DELETE_FAILED"
    assert "not empty" in stack.reason
    cloud.client("s3").delete_object(Bucket="holds-data", Key="k")
    client.delete_stack(StackName="holds")
    assert cloud.stacks.wait(stack) == "DELETE_COMPLETE"


def test_a_group_that_holds_packages_is_not_deleted(cloud: Cloud) -> None:
    """Packages are deleted first, then the group (moto 5.2.5 has no such operation)."""
    client = cloud.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName="held")
    arn = client.create_model_package(ModelPackageGroupName="held", ModelApprovalStatus="Approved")[
        "ModelPackageArn"
    ]
    with pytest.raises(ClientError, match="still has Model Packages"):
        client.delete_model_package_group(ModelPackageGroupName="held")
    client.delete_model_package(ModelPackageName=arn)
    assert client.list_model_packages(ModelPackageGroupName="held")["ModelPackageSummaryList"] == []
    client.delete_model_package_group(ModelPackageGroupName="held")
    assert client.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


SHAPES = get_session().get_service_model("sqs")


@pytest.mark.parametrize(
    ("service", "operation", "given", "fitted"),
    [
        (
            "sqs",
            "CreateQueue",
            {"QueueName": "q", "tags": [{"Key": "a", "Value": "b"}]},
            {"QueueName": "q", "tags": {"a": "b"}},
        ),
        (
            "sqs",
            "CreateQueue",
            {"queueName": "q", "Attributes": {"Policy": {"x": 1}, "n": 5}},
            {"QueueName": "q", "Attributes": {"Policy": '{"x": 1}', "n": "5"}},
        ),
        (
            "cloudwatch",
            "PutMetricAlarm",
            {"AlarmName": "a", "Period": "60", "Threshold": "0.5", "ActionsEnabled": "false"},
            {"AlarmName": "a", "Period": 60, "Threshold": 0.5, "ActionsEnabled": False},
        ),
        (
            "apigateway",
            "PutMethod",
            {"RestApiId": "r", "RequestParameters": {"p": "true"}},
            {"restApiId": "r", "requestParameters": {"p": True}},
        ),
    ],
)
def test_properties_are_fitted_to_the_api(
    service: str, operation: str, given: dict[str, Any], fitted: dict[str, Any]
) -> None:
    """Text becomes numbers and booleans, objects JSON, tags the API's form."""
    shape = get_session().get_service_model(service).operation_model(operation).input_shape
    assert shape is not None
    assert fit(shape, given, "test") == fitted


def test_an_unknown_property_is_refused() -> None:
    """A property that the API does not know is never dropped in silence."""
    shape = SHAPES.operation_model("CreateQueue").input_shape
    assert shape is not None
    with pytest.raises(ResourceError, match="does not support the property 'Colour'"):
        fit(shape, {"QueueName": "q", "Colour": "red"}, "AWS::SQS::Queue Q")
