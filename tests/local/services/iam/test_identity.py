"""Credentials say who calls; a role's calls all pass one place, which keeps to its policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud
from local.host import AccessDenied

ROLE = "arn:aws:iam::123456789012:role/some-role"


def test_a_roles_credentials_are_recognised(cloud: Cloud) -> None:
    """What was issued is found again, with the role and the session."""
    issued = cloud.identity.issue(ROLE, "session")
    assert cloud.identity.find(issued.key) == issued
    assert issued.arn == "arn:aws:sts::123456789012:assumed-role/some-role/session"
    assert cloud.identity.find("AKIAUNKNOWN000000000") is None
    assert cloud.identity.operator.role == ""


def test_sts_and_users_are_recognised(cloud: Cloud) -> None:
    """Credentials that STS and IAM hand out are known too."""
    sts, iam = cloud.client("sts"), cloud.client("iam")
    trust = {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName="assumed", AssumeRolePolicyDocument=json.dumps(trust))
    arn = "arn:aws:iam::123456789012:role/assumed"
    assumed = sts.assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    found = cloud.identity.find(assumed["AccessKeyId"])
    assert found is not None
    assert (found.secret, found.role) == (assumed["SecretAccessKey"], arn)
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    user = cloud.identity.find(key["AccessKeyId"])
    assert user is not None
    assert (user.secret, user.role) == (key["SecretAccessKey"], "")
    assert user.arn.endswith(":user/ann")


def make_role(cloud: Cloud, name: str, *statements: dict[str, Any]) -> str:
    """Make a role with these statements as its policy; return its ARN."""
    iam = cloud.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(
        RoleName=name,
        PolicyName="only",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}),
    )
    return str(made["Role"]["Arn"])


def allow(*actions: str, on: str = "*", **more: Any) -> dict[str, Any]:
    """Write a statement that allows actions on a resource."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **more}


def client_of(cloud: Cloud, role: str, service: str) -> Any:
    """Make a client that calls as a role."""
    variables = cloud.environment(role)
    session = boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=variables["AWS_SESSION_TOKEN"],
        region_name="eu-west-1",
    )
    return session.client(service, endpoint_url=cloud.endpoint)  # type: ignore[call-overload]


def test_every_call_of_a_role_is_seen_and_judged(cloud: Cloud) -> None:
    """What no policy allows is refused in the service's own way, naming role and action."""
    calls = {
        "sns": ("list_topics", "sns:ListTopics"),
        "sagemaker": ("list_models", "sagemaker:ListModels"),
        "lambda": ("list_functions", "lambda:ListFunctions"),
        "s3": ("list_buckets", "s3:ListAllMyBuckets"),
    }
    may = make_role(cloud, "may", allow(*(action for _, action in calls.values())))
    may_not = make_role(cloud, "may-not", allow("sqs:*"))
    for service, (operation, action) in calls.items():
        getattr(client_of(cloud, may, service), operation)()
        assert cloud.identity.calls[(may, action)] == 1
        with pytest.raises(ClientError, match=f"{may_not} is not authorized.*{action}") as refused:
            getattr(client_of(cloud, may_not, service), operation)()
        assert refused.value.response["Error"]["Code"].startswith("AccessDenied")


def test_a_grant_on_objects_is_for_those_objects(cloud: Cloud) -> None:
    """Prefix, bucket and direction count; a copy needs both of its sides."""
    s3 = cloud.client("s3")
    where = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="granted", CreateBucketConfiguration=where)
    for key in ("in/a", "other/a"):
        s3.put_object(Bucket="granted", Key=key, Body=b"v")
    arn = "arn:aws:s3:::granted"
    role = make_role(
        cloud,
        "copier",
        allow("s3:GetObject", on=f"{arn}/in/*"),
        allow("s3:PutObject", on=f"{arn}/out/*"),
        allow("s3:ListBucket", on=arn, Condition={"StringLike": {"s3:prefix": "in/*"}}),
    )
    ours = client_of(cloud, role, "s3")
    assert ours.get_object(Bucket="granted", Key="in/a")["Body"].read() == b"v"
    assert ours.list_objects_v2(Bucket="granted", Prefix="in/")["KeyCount"] == 1
    ours.copy_object(Bucket="granted", Key="out/a", CopySource="granted/in/a")
    refused: list[Callable[[], Any]] = [
        lambda: ours.get_object(Bucket="granted", Key="other/a"),
        lambda: ours.put_object(Bucket="granted", Key="in/b", Body=b""),
        lambda: ours.copy_object(Bucket="granted", Key="out/b", CopySource="granted/other/a"),
        lambda: ours.copy_object(Bucket="granted", Key="in/b", CopySource="granted/in/a"),
        lambda: ours.list_objects_v2(Bucket="granted", Prefix="other/"),
        lambda: ours.delete_object(Bucket="granted", Key="in/a"),
    ]
    for call in refused:
        with pytest.raises(ClientError, match=r"copier is not authorized to perform: s3:"):
            call()


def test_lists_of_sagemaker_need_a_grant_on_everything(cloud: Cloud) -> None:
    """A grant on the group looks right, and AWS refuses it: List calls know no resources."""
    group = "arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/churn"
    narrow = make_role(cloud, "narrow", allow("sagemaker:ListModelPackages", on=group))
    wide = make_role(cloud, "wide", allow("sagemaker:ListModelPackages"))
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="churn")
    client_of(cloud, wide, "sagemaker").list_model_packages(ModelPackageGroupName="churn")
    with pytest.raises(ClientError, match="AccessDenied"):
        client_of(cloud, narrow, "sagemaker").list_model_packages(ModelPackageGroupName="churn")


def test_a_denial_wins_and_a_missing_role_may_nothing(cloud: Cloud) -> None:
    """As IAM evaluates policies: an explicit denial first, and nothing without a grant."""
    deny = {"Effect": "Deny", "Action": "sns:Publish", "Resource": "*"}
    role = make_role(cloud, "denied", allow("sns:*"), deny)
    cloud.identity.authorise(role, "sns:Subscribe", "arn:aws:sns:eu-west-1:123456789012:t")
    with pytest.raises(AccessDenied, match="denies it explicitly"):
        cloud.identity.authorise(role, "sns:Publish", "arn:aws:sns:eu-west-1:123456789012:t")
    with pytest.raises(AccessDenied, match="no policy"):
        cloud.identity.authorise(ROLE, "sns:Subscribe", "*")


def test_a_tls_only_bucket_takes_objects(cloud: Cloud) -> None:
    """The usual TLS-only policy does not refuse the local endpoint, which stands for TLS."""
    s3 = cloud.client("s3")
    where = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="tls-only", CreateBucketConfiguration=where)
    statement = {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": ["arn:aws:s3:::tls-only", "arn:aws:s3:::tls-only/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket="tls-only", Policy=json.dumps(policy))
    s3.put_object(Bucket="tls-only", Key="k", Body=b"v")
