"""Stacks are created, changed, rolled back and deleted as CloudFormation does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud


def topic(name: str | None = None, display: str = "") -> dict[str, Any]:
    properties = {"DisplayName": display} | ({"TopicName": name} if name else {})
    return {"Type": "AWS::SNS::Topic", "Properties": properties}


def body(resources: Mapping[str, Any], **sections: Any) -> str:
    return json.dumps({"Resources": dict(resources), **sections})


def run(cloud: Cloud, verb: str, name: str, template: str, **options: Any) -> str:
    """Create or update a stack and wait for its end."""
    client = cloud.client("cloudformation")
    getattr(client, f"{verb}_stack")(StackName=name, TemplateBody=template, **options)
    return cloud.stacks.wait(cloud.stacks.find(name))


def topics(cloud: Cloud) -> set[str]:
    found = cloud.client("sns").list_topics()["Topics"]
    return {item["TopicArn"].rsplit(":", 1)[-1] for item in found}


def test_an_unknown_type_is_refused_before_anything_is_made(cloud: Cloud) -> None:
    """A template with a type that is not modelled fails loudly, naming the type."""
    template = body({"A": topic("never-made"), "B": {"Type": "AWS::EC2::Instance"}})
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::EC2::Instance\]"):
        run(cloud, "create", "unknown-type", template)
    assert "never-made" not in topics(cloud)


def test_an_unknown_property_fails_the_stack(cloud: Cloud) -> None:
    """A property that would be passed over fails the stack and is named."""
    template = body({"A": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Nonsense": 1}}})
    assert run(cloud, "create", "unknown-property", template) == "ROLLBACK_COMPLETE"
    reasons = " ".join(event.reason for event in cloud.stacks.find("unknown-property").events)
    assert "'Nonsense'" in reasons


def test_a_failed_creation_leaves_nothing(cloud: Cloud) -> None:
    """What was made before the failure is deleted again."""
    template = body(
        {
            "A": topic("made-then-deleted"),
            "B": {
                "Type": "AWS::SNS::Subscription",
                "DependsOn": "A",
                "Properties": {
                    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:absent",
                    "Protocol": "sqs",
                    "Endpoint": "arn:aws:sqs:eu-west-1:123456789012:q",
                },
            },
        }
    )
    assert run(cloud, "create", "fails", template) == "ROLLBACK_COMPLETE"
    assert "made-then-deleted" not in topics(cloud)
    with pytest.raises(ClientError, match="ROLLBACK_COMPLETE state and can not be updated"):
        run(cloud, "update", "fails", body({"A": topic()}))


def test_a_failed_update_goes_back(cloud: Cloud) -> None:
    """Updated, replaced and new resources are put back as they were."""
    before = body({"A": topic("old-name"), "B": topic("kept", "before")})
    assert run(cloud, "create", "back", before) == "CREATE_COMPLETE"
    after = body(
        {
            "A": topic("new-name"),
            "B": topic("kept", "after"),
            "C": topic("added"),
            "D": {
                "Type": "AWS::Lambda::Version",
                "DependsOn": ["A", "B", "C"],
                "Properties": {"FunctionName": "absent"},
            },
        }
    )
    assert run(cloud, "update", "back", after) == "UPDATE_ROLLBACK_COMPLETE"
    assert {"old-name", "kept"} <= topics(cloud)
    assert not {"new-name", "added"} & topics(cloud)
    arn = cloud.stacks.find("back").resources["B"].physical_id
    attributes = cloud.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
    assert attributes["DisplayName"] == "before"
    with pytest.raises(ClientError, match="No updates are to be performed"):
        run(cloud, "update", "back", before)


def test_dependants_of_a_replaced_resource_follow_it(cloud: Cloud) -> None:
    """A resource that refers to what was replaced is updated to the new one."""

    def template(name: str) -> str:
        return body(
            {
                "T": topic(name),
                "P": {
                    "Type": "AWS::SSM::Parameter",
                    "Properties": {"Name": "/t", "Type": "String", "Value": {"Ref": "T"}},
                },
            },
            Outputs={"Topic": {"Value": {"Ref": "T"}, "Export": {"Name": "the-topic"}}},
        )

    run(cloud, "create", "chain", template("first"))
    assert run(cloud, "update", "chain", template("second")) == "UPDATE_COMPLETE"
    value = cloud.client("ssm").get_parameter(Name="/t")["Parameter"]["Value"]
    assert value.endswith(":second")
    assert "first" not in topics(cloud)
    exports = cloud.client("cloudformation").list_exports()["Exports"]
    assert [item["Value"] for item in exports if item["Name"] == "the-topic"] == [value]


def test_imports_hold_their_export(cloud: Cloud) -> None:
    """A stack reads another's export, and holds it against deletion."""
    run(
        cloud,
        "create",
        "exporter",
        body(
            {"T": topic("exported")},
            Outputs={"Topic": {"Value": {"Ref": "T"}, "Export": {"Name": "held"}}},
        ),
    )
    importing = {
        "Type": "AWS::SSM::Parameter",
        "Properties": {"Type": "String", "Value": {"Fn::ImportValue": "held"}},
    }
    assert run(cloud, "create", "importer", body({"P": importing})) == "CREATE_COMPLETE"
    client = cloud.client("cloudformation")
    with pytest.raises(ClientError, match="Export held cannot be deleted"):
        client.delete_stack(StackName="exporter")
    for name in ("importer", "exporter"):
        client.delete_stack(StackName=name)
        stack = next(s for s in cloud.stacks.all(deleted=True) if s.name == name)
        assert cloud.stacks.wait(stack) == "DELETE_COMPLETE"


def test_conditions_parameters_and_mappings(cloud: Cloud) -> None:
    """Conditions choose resources; parameters are checked; previous values are kept."""
    template = body(
        {
            "A": topic({"Fn::FindInMap": ["Names", "eu-west-1", "topic"]}),  # type: ignore[arg-type]
            "B": topic("only-in-prod") | {"Condition": "Prod"},
            "C": topic({"Ref": "Name"}),  # type: ignore[arg-type]
        },
        Parameters={
            "Stage": {"Type": "String", "Default": "dev", "AllowedValues": ["dev", "prod"]},
            "Name": {"Type": "String"},
        },
        Conditions={"Prod": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}},
        Mappings={"Names": {"eu-west-1": {"topic": "mapped"}}},
    )
    with pytest.raises(ClientError, match=r"Parameters: \[Name\] must have values"):
        run(cloud, "create", "choices", template)
    name = {"ParameterKey": "Name", "ParameterValue": "given"}
    run(cloud, "create", "choices", template, Parameters=[name])
    assert {"mapped", "given"} <= topics(cloud)
    assert "only-in-prod" not in topics(cloud)
    keep = {"ParameterKey": "Name", "UsePreviousValue": True}
    wrong = {"ParameterKey": "Stage", "ParameterValue": "wrong"}
    with pytest.raises(ClientError, match="AllowedValues"):
        run(cloud, "update", "choices", template, Parameters=[keep, wrong])
    prod = {"ParameterKey": "Stage", "ParameterValue": "prod"}
    assert run(cloud, "update", "choices", template, Parameters=[keep, prod]) == "UPDATE_COMPLETE"
    assert {"mapped", "given", "only-in-prod"} <= topics(cloud)


def test_change_sets_keep_previous_values(cloud: Cloud) -> None:
    """A change set may say UsePreviousValue for each parameter (moto 5.2.5 fails on it)."""
    client = cloud.client("cloudformation")
    template = body(
        {"T": topic({"Ref": "Name"})},  # type: ignore[arg-type]
        Parameters={"Name": {"Type": "String", "Default": "default-name"}},
    )

    def change(kind: str, display: str, parameter: dict[str, Any]) -> dict[str, Any]:
        wanted = template.replace('"DisplayName": ""', f'"DisplayName": "{display}"')
        client.create_change_set(
            StackName="changes",
            ChangeSetName=f"c-{display}",
            ChangeSetType=kind,
            TemplateBody=wanted,
            Parameters=[{"ParameterKey": "Name", **parameter}],
        )
        where = {"StackName": "changes", "ChangeSetName": f"c-{display}"}
        described: dict[str, Any] = client.describe_change_set(**where)
        if described["ExecutionStatus"] == "AVAILABLE":
            client.execute_change_set(**where)
            cloud.stacks.wait(cloud.stacks.find("changes"))
        return described

    first = change("CREATE", "one", {"ParameterValue": "chosen"})
    assert [item["ResourceChange"]["Action"] for item in first["Changes"]] == ["Add"]
    second = change("UPDATE", "two", {"UsePreviousValue": True})
    (modified,) = [item["ResourceChange"] for item in second["Changes"]]
    assert (modified["Action"], modified["Replacement"]) == ("Modify", "False")
    assert cloud.stacks.find("changes").resources["T"].physical_id.endswith(":chosen")
    third = change("UPDATE", "two", {"UsePreviousValue": True})
    assert third["Status"] == "FAILED"
    assert "didn't contain changes" in third["StatusReason"]


def test_status_changes_are_events(cloud: Cloud) -> None:
    """Every change of a stack's status is emitted for EventBridge."""
    seen: list[str] = []
    emit = cloud.events.emit

    def listen(source: str, detail_type: str, detail: Any, resources: Any) -> None:
        if detail_type == "CloudFormation Stack Status Change":
            seen.append(detail["status-details"]["status"])
        emit(source, detail_type, detail, resources)

    cloud.events.emit = listen  # type: ignore[method-assign]
    try:
        run(cloud, "create", "events", body({"T": topic()}))
    finally:
        del cloud.events.emit  # type: ignore[method-assign]
    assert seen == ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"]


def test_a_circle_is_refused(cloud: Cloud) -> None:
    """Resources that need each other are an error that names them."""
    template = body(
        {"A": topic() | {"DependsOn": "B"}, "B": topic() | {"DependsOn": "A"}},
    )
    assert run(cloud, "create", "circle", template) == "ROLLBACK_COMPLETE"
    assert "Circular dependency" in cloud.stacks.find("circle").events[-2].reason


def test_retained_resources_stay(cloud: Cloud) -> None:
    """DeletionPolicy Retain leaves the resource behind; protection keeps the stack."""
    client = cloud.client("cloudformation")
    retained = topic("retained") | {"DeletionPolicy": "Retain"}
    run(cloud, "create", "goes", body({"T": retained}), EnableTerminationProtection=True)
    with pytest.raises(ClientError, match="TerminationProtection"):
        client.delete_stack(StackName="goes")
    client.update_termination_protection(StackName="goes", EnableTerminationProtection=False)
    stack = cloud.stacks.find("goes")
    client.delete_stack(StackName="goes")
    assert cloud.stacks.wait(stack) == "DELETE_COMPLETE"
    assert "retained" in topics(cloud)
    with pytest.raises(ClientError, match="does not exist"):
        client.describe_stacks(StackName="goes")
    assert client.describe_stacks(StackName=stack.id)["Stacks"][0]["StackStatus"] == (
        "DELETE_COMPLETE"
    )


def test_events_carry_the_token_of_what_caused_them(cloud: Cloud) -> None:
    """By it a client finds the events of its own operation among those of others."""
    good, bad = body({"A": topic()}), body({"A": topic(), "B": {"Type": "AWS::SNS::Subscription"}})
    assert run(cloud, "create", "told-apart", good) == "CREATE_COMPLETE"
    status = run(cloud, "update", "told-apart", bad, ClientRequestToken="mine-1")
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    client = cloud.client("cloudformation")
    events = client.describe_stack_events(StackName="told-apart")["StackEvents"]
    ours = {event["ResourceStatus"] for event in events if "ClientRequestToken" in event}
    assert {"UPDATE_IN_PROGRESS", "CREATE_FAILED", "UPDATE_ROLLBACK_COMPLETE"} <= ours
    assert {event.get("ClientRequestToken", "mine-1") for event in events} == {"mine-1"}
    others = {event["ResourceStatus"] for event in events if "ClientRequestToken" not in event}
    assert others == {"CREATE_IN_PROGRESS", "CREATE_COMPLETE"}
