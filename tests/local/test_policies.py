"""Policies say what IAM says that they say."""

from __future__ import annotations

from typing import Any

import pytest

from local.policies import SECURE, PolicyError, decide

TLS_ONLY = {
    "Effect": "Deny",
    "Principal": {"AWS": "*"},
    "Action": "s3:*",
    "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def statement(**changes: Any) -> dict[str, Any]:
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
    return {"Statement": [allow | changes]}


@pytest.mark.parametrize(
    ("policy", "action", "expected"),
    [
        ({"Statement": [TLS_ONLY]}, "s3:PutObject", None),
        (statement(), "s3:GetObject", "Allow"),
        (statement(), "s3:getobject", "Allow"),
        (statement(), "s3:PutObject", None),
        (statement(Action=["s3:Put*"]), "s3:PutObject", "Allow"),
        (statement(NotAction="s3:Get*", Action=[]), "s3:PutObject", "Allow"),
        (statement(Resource="arn:aws:s3:::other/*"), "s3:GetObject", None),
        (statement(NotResource="arn:aws:s3:::other/*"), "s3:GetObject", "Allow"),
        (statement(Condition={"Null": {"aws:SecureTransport": "true"}}), "s3:GetObject", None),
        (statement(Condition={"StringLike": {"aws:userid": "A*"}}), "s3:GetObject", "Allow"),
        (statement(Condition={"StringEquals": {"aws:userid": ["B", "C"]}}), "s3:GetObject", None),
        (statement(Condition={"StringNotEquals": {"no:key": "B"}}), "s3:GetObject", "Allow"),
        (statement(Condition={"StringEqualsIfExists": {"no:key": "B"}}), "s3:GetObject", "Allow"),
        (statement(Condition={"NumericLessThan": {"age": 5}}), "s3:GetObject", "Allow"),
    ],
)
def test_decisions(policy: dict[str, Any], action: str, expected: str | None) -> None:
    """Actions, resources and conditions decide together."""
    context = {**SECURE, "aws:userid": "ABC", "age": "4"}
    assert decide(policy, action, "arn:aws:s3:::b/key", context) == expected


def test_a_denial_wins() -> None:
    """An explicit denial outweighs any grant, in whichever order they stand."""
    both = {"Statement": [*statement()["Statement"], TLS_ONLY]}
    plain = {"aws:SecureTransport": "false"}
    assert decide(both, "s3:GetObject", "arn:aws:s3:::b/key", plain) == "Deny"


def test_principals() -> None:
    """An account names everybody in it."""
    policy = statement(Principal={"AWS": "arn:aws:iam::123456789012:root"})
    role = "arn:aws:iam::123456789012:role/r"
    other = "arn:aws:iam::999999999999:role/r"
    assert decide(policy, "s3:GetObject", "arn:aws:s3:::b/k", {}, role) == "Allow"
    assert decide(policy, "s3:GetObject", "arn:aws:s3:::b/k", {}, other) is None


def test_an_unknown_condition_is_an_error() -> None:
    """A condition that cannot be judged is never taken for true."""
    with pytest.raises(PolicyError, match="IpAddress"):
        decide(
            statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
            "s3:GetObject",
            "arn:aws:s3:::b/k",
            {"aws:SourceIp": "10.0.0.1"},
        )
