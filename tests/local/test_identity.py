"""Credentials say who calls; a role's calls all pass one place."""

from __future__ import annotations

import json

from local.cloud import Cloud

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


def test_every_call_of_a_role_is_seen(cloud: Cloud) -> None:
    """A call made with a role's credentials passes `authorise` with role and action."""
    import boto3

    variables = cloud.environment(ROLE)
    session = boto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=variables["AWS_SESSION_TOKEN"],
        region_name="eu-west-1",
    )
    session.client("sns", endpoint_url=cloud.endpoint).list_topics()
    session.client("sagemaker", endpoint_url=cloud.endpoint).list_models()
    session.client("lambda", endpoint_url=cloud.endpoint).list_functions()
    session.client("s3", endpoint_url=cloud.endpoint).list_buckets()
    for action in ("sns:ListTopics", "sagemaker:ListModels", "lambda:ListFunctions"):
        assert cloud.identity.calls[(ROLE, action)] == 1
    assert cloud.identity.calls[(ROLE, "s3:ListBuckets")] == 1


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
