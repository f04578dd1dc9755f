"""Templates mean what CloudFormation says they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.services.cloudformation.intrinsics import (
    NO_VALUE,
    TemplateError,
    parse_template,
    references,
    resolve,
)


class Scope:
    """A stack with one bucket, one parameter and one condition."""

    def ref(self, name: str) -> Any:
        return {"Bucket": "my-bucket", "Size": "3", "AWS::NoValue": NO_VALUE}[name]

    def attribute(self, name: str, attribute: str) -> Any:
        return f"{name}/{attribute}"

    def condition(self, name: str) -> bool:
        return name == "Yes"

    def mapping(self, name: str) -> Mapping[str, Any]:
        return {"eu": {"registry": "111"}}

    def imported(self, name: str) -> Any:
        return f"imported {name}"


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ({"Ref": "Bucket"}, "my-bucket"),
        ({"Fn::GetAtt": ["Bucket", "Arn"]}, "Bucket/Arn"),
        ({"Fn::GetAtt": "Bucket.Arn"}, "Bucket/Arn"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Size"}]]}, "a-3"),
        ({"Fn::Sub": "${Bucket}/${Bucket.Arn}/${!Kept}"}, "my-bucket/Bucket/Arn/${Kept}"),
        ({"Fn::Sub": ["${A}", {"A": {"Ref": "Size"}}]}, "3"),
        ({"Fn::Select": ["1", {"Fn::Split": [",", "a,b"]}]}, "b"),
        ({"Fn::If": ["Yes", 1, 2]}, 1),
        ({"Fn::If": ["No", 1, 2]}, 2),
        ({"a": {"Ref": "AWS::NoValue"}, "b": 1}, {"b": 1}),
        ([1, {"Ref": "AWS::NoValue"}], [1]),
        ({"Fn::FindInMap": ["M", "eu", "registry"]}, "111"),
        ({"Fn::ImportValue": {"Fn::Sub": "${Bucket}-x"}}, "imported my-bucket-x"),
        ({"Fn::And": [{"Condition": "Yes"}, {"Fn::Equals": ["a", "a"]}]}, True),
        ({"Fn::Or": [{"Condition": "No"}, {"Fn::Not": [{"Condition": "Yes"}]}]}, False),
        ({"Fn::Base64": "x"}, "eA=="),
    ],
)
def test_functions(value: Any, meaning: Any) -> None:
    """Each function answers as documented."""
    assert resolve(value, Scope()) == meaning


def test_an_unknown_function_is_an_error() -> None:
    """What the local cloud cannot do is said, never passed over."""
    with pytest.raises(TemplateError, match="Fn::Cidr"):
        resolve({"Fn::Cidr": ["10.0.0.0/16", 1]}, Scope())


def test_short_forms_and_dates_of_yaml() -> None:
    """YAML's short forms become the long ones; a version stays text."""
    template = parse_template(
        "AWSTemplateFormatVersion: 2010-09-09\n"
        "Resources:\n  A:\n    Type: X\n    Properties:\n      B: !Sub '${C}'\n"
        "      D: !GetAtt E.F\n      G: !If [H, !Ref I, !Ref AWS::NoValue]\n"
    )
    assert template["AWSTemplateFormatVersion"] == "2010-09-09"
    assert template["Resources"]["A"]["Properties"] == {
        "B": {"Fn::Sub": "${C}"},
        "D": {"Fn::GetAtt": ["E", "F"]},
        "G": {"Fn::If": ["H", {"Ref": "I"}, {"Ref": "AWS::NoValue"}]},
    }


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", "a: [", "Resources: 3"])
def test_what_is_no_template(body: str) -> None:
    """A body that is no template is one clear error."""
    with pytest.raises(TemplateError, match="Template format error"):
        parse_template(body)


def test_references_follow_the_branch_that_is_taken() -> None:
    """A resource in the branch not taken is no dependency."""
    value = {
        "a": {"Fn::If": ["C", {"Ref": "One"}, {"Ref": "Two"}]},
        "b": {"Fn::Sub": "${Three.Arn} ${!Four}"},
    }
    assert set(references(value, {"C": True})) == {"One", "Three"}
    assert set(references(value, {"C": False})) == {"Two", "Three"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3)
        ),
        max_leaves=10,
    )
)
def test_plain_values_stay_as_they_are(value: Any) -> None:
    """What holds no function is not changed."""
    functions = {"Ref", "Condition"}

    def plain(item: Any) -> bool:
        if isinstance(item, dict):
            return not (functions & set(item)) and all(map(plain, item.values()))
        return not isinstance(item, list) or all(map(plain, item))

    if plain(value):
        assert resolve(value, Scope()) == value
