"""Grants: each function may make the calls of its ports, on what it makes them about, and no more.

The local cloud refuses the rest while the loop runs; here is the table that a reader checks.
"""

from typing import Any

import pytest

from local.policies import decide
from tests.infra.synthesis import Resolver, Templates, resources

BUCKET = "arn:aws:of:eu-west-1:123456789012:StorageBucket5CB7C8EA:Arn"
AWS = "arn:aws:{}:eu-west-1:123456789012:{}"
PACKAGE = AWS.format("sagemaker", "model-package/churn-dev/7")
STACK = AWS.format("cloudformation", "stack/churn-dev-serving/1-2-3")
CONTEXT = {"events:source": "driftless", "aws:SecureTransport": "true"}

# What lambdas/*/ports.py calls: (action, resource); an object is named by its key.
MAY = {
    "predict": {("s3:GetObject", "models/r/model.json"), ("s3:PutObject", "labels/2026/a.jsonl")},
    "plan": {
        ("s3:GetObject", "runs/r/plan.json"),
        ("s3:GetObject", "monitor/claim.json"),
        ("s3:GetObjectVersion", "data/a.csv"),
        ("s3:GetObjectVersion", "labelled/part-1.csv.gz"),
        ("s3:ListBucketVersions", ""),
        ("s3:PutObject", "runs/r/plan.json"),
        ("sagemaker:DescribeModelPackage", PACKAGE),
        ("sagemaker:ListModelPackages", "*"),
        ("cloudformation:DescribeStacks", STACK),
    },
    "register": {
        ("s3:GetObject", "models/r/evaluation.json"),
        ("s3:GetObject", "runs/r/plan.json"),
        ("sagemaker:CreateModelPackage", PACKAGE),
        ("sagemaker:DescribeModelPackage", PACKAGE),
        ("sagemaker:ListModelPackages", "*"),
        ("sagemaker:UpdateModelPackage", PACKAGE),
    },
    "promote": {
        ("cloudformation:CancelUpdateStack", STACK),
        ("cloudformation:DescribeStackEvents", STACK),
        ("cloudformation:DescribeStacks", STACK),
        ("cloudformation:UpdateStack", STACK),
        ("sagemaker:DescribeModelPackage", PACKAGE),
        ("sagemaker:ListModelPackages", "*"),
        ("sagemaker:UpdateModelPackage", PACKAGE),
    },
    "canary": {("s3:GetObject", "models/r/golden.json")},
    "monitor": {
        ("s3:GetObject", "captures/2026/11/21/02/a.gz"),
        ("s3:GetObject", "labels/2026/a.jsonl"),
        ("s3:GetObject", "models/r/baseline.json"),
        ("s3:GetObject", "monitor/state.json"),
        ("s3:ListBucket", ""),
        ("s3:PutObject", "labelled/part-1.csv.gz"),
        ("s3:PutObject", "monitor/state.json"),
        ("events:PutEvents", AWS.format("events", "event-bus/default")),
    },
}
# What none may do, of what would hurt.
NEVER = {
    ("s3:DeleteObject", "models/r/model.json"),
    ("s3:DeleteObject", "data/a.csv"),
    ("s3:PutObject", "data/a.csv"),
    ("s3:PutObject", "models/r/model.json"),
    ("cloudformation:DeleteStack", STACK),
    ("cloudformation:UpdateStack", AWS.format("cloudformation", "stack/churn-prod-serving/1")),
    ("sagemaker:DeleteModelPackage", PACKAGE),
    ("sagemaker:UpdateModelPackage", AWS.format("sagemaker", "model-package/churn-prod/7")),
    ("iam:PassRole", AWS.format("iam", "role/any")),
    ("lambda:UpdateFunctionCode", AWS.format("lambda", "function:any")),
}


def policies_of(templates: Templates) -> dict[str, list[Any]]:
    """Give the policies of each function's role, resolved, by the function's name."""
    resolver = Resolver(templates)
    found: dict[str, list[Any]] = {}
    for part, template in templates.items():
        for function in resources({part: template}, "AWS::Lambda::Function").values():
            name = function["Properties"]["Handler"].split(".")[1]
            role = function["Properties"]["Role"]["Fn::GetAtt"][0]
            found[name] = [
                resolver.resolve(part, policy["Properties"]["PolicyDocument"])
                for policy in resources({part: template}, "AWS::IAM::Policy").values()
                if {"Ref": role} in policy["Properties"]["Roles"]
            ]
    return found


def allows(policies: list[Any], action: str, resource: str) -> bool:
    """Say whether a role may do this; what is no ARN is a key of the bucket."""
    if not resource.startswith(("arn:", "*")):
        resource = f"{BUCKET}/{resource}" if resource else BUCKET
    return any(decide(policy, action, resource, CONTEXT) == "Allow" for policy in policies)


@pytest.mark.parametrize("name", sorted(MAY))
def test_each_function_may_what_its_ports_call(templates: Templates, name: str) -> None:
    """A call without its grant fails in the account only; here it fails first."""
    policies = policies_of(templates)[name]
    assert {need for need in MAY[name] if not allows(policies, *need)} == set()


@pytest.mark.parametrize("name", sorted(MAY))
def test_no_function_may_what_would_hurt(templates: Templates, name: str) -> None:
    """No function deletes data, writes what others vouch for, or reaches another deployment."""
    policies = policies_of(templates)[name]
    assert {act for act in NEVER if allows(policies, *act)} == set()
