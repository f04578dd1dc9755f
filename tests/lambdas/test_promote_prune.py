"""Old function versions go once a release is through; what serves or may serve again stays."""

import io
import json
import zipfile
from collections.abc import Callable

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DeliveryError
from lambdas.promote.ports import FunctionVersions
from lambdas.promote.service import prune


class Versions:
    def __init__(self, numbers: set[int], used: set[int]) -> None:
        self.numbers = set(numbers)
        self.used = used

    def published(self) -> list[int]:
        return list(self.numbers)

    def in_use(self) -> list[int]:
        return list(self.used)

    def delete(self, number: int) -> None:
        self.numbers.remove(number)


@given(st.sets(st.integers(1, 40), min_size=1), st.integers(0, 10), st.data())
def test_what_is_used_or_newer_or_recent_stays(
    numbers: set[int], keep: int, data: st.DataObject
) -> None:
    used = data.draw(st.sets(st.sampled_from(sorted(numbers)), min_size=1, max_size=2))
    versions = Versions(numbers, used)
    deleted = prune(versions, keep)
    older = sorted(n for n in numbers if n < min(used))
    assert versions.numbers == numbers - set(deleted)
    assert sorted(deleted) == older[: max(0, len(older) - 1 - keep)]


def test_without_an_alias_nothing_is_deleted() -> None:
    assert prune(Versions({1, 2, 3}, set()), 0) == []


def make_function(versions: int) -> None:
    trust = {"Version": "2012-10-17", "Statement": []}
    role = boto3.client("iam").create_role(
        RoleName="predict", AssumeRolePolicyDocument=json.dumps(trust)
    )["Role"]["Arn"]
    client = boto3.client("lambda")
    for number in range(versions):
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("index.py", f"NUMBER = {number}")
        if number:
            client.update_function_code(FunctionName="predict", ZipFile=code.getvalue())
        else:
            client.create_function(
                FunctionName="predict",
                Runtime="python3.13",
                Role=role,
                Handler="index.handler",
                Code={"ZipFile": code.getvalue()},
            )
        client.publish_version(FunctionName="predict")


def test_versions_are_listed_and_deleted_one_by_one(aws: None) -> None:
    make_function(5)
    client = boto3.client("lambda")
    client.create_alias(
        FunctionName="predict",
        Name="live",
        FunctionVersion="4",
        RoutingConfig={"AdditionalVersionWeights": {"5": 0.1}},
    )
    versions = FunctionVersions("predict")
    assert sorted(versions.in_use()) == [4, 5]
    assert prune(versions, 1) == [1]
    assert sorted(versions.published()) == [2, 3, 4, 5]
    assert client.get_function(FunctionName="predict")["Configuration"]["FunctionName"]


@pytest.mark.parametrize(
    ("operation", "ask"),
    [
        ("list_versions_by_function", lambda versions: versions.published()),
        ("list_aliases", lambda versions: versions.in_use()),
        ("delete_function", lambda versions: versions.delete(1)),
    ],
)
def test_what_lambda_refuses_is_an_error_of_delivery(
    aws: None, operation: str, ask: Callable[[FunctionVersions], object]
) -> None:
    client = boto3.client("lambda")
    with Stubber(client) as stub:
        stub.add_client_error(operation, "AccessDeniedException")
        with pytest.raises(DeliveryError, match="predict"):
            ask(FunctionVersions("predict", client))
