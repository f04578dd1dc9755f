"""State machines as rendered: no null is lost, and retries name errors that services send."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

import core.errors
from infra.monitoring import counting
from infra.serving import scoring
from infra.training import machine as training
from tests.infra.synthesis import Resolver, Templates, only, resources, settings_of, synthesise

# What may stand in ErrorEquals, and where it is documented.
DEVELOPER_GUIDE = "Step Functions Developer Guide"
KNOWN_ERRORS = {
    # Reserved names.
    "States.ALL": f"{DEVELOPER_GUIDE}, Handling errors in Step Functions workflows",
    # Lambda: 5xx answers of its service, and too many calls at once.
    **dict.fromkeys(
        (
            "Lambda.ClientExecutionTimeoutException",
            "Lambda.ServiceException",
            "Lambda.AWSLambdaException",
            "Lambda.SdkClientException",
            "Lambda.TooManyRequestsException",
        ),
        f"{DEVELOPER_GUIDE}, Handle Lambda service exceptions",
    ),
    # SageMaker: its API declares ResourceLimitExceeded; throttling it does not declare.
    "SageMaker.ResourceLimitExceededException": "SageMaker API Reference, CreateTrainingJob",
    "SageMaker.AmazonSageMakerException": "SageMaker Examples, Step Functions Data Science SDK: "
    "retries of throttled SageMaker steps",
}
# What a function raises reaches the state machine under the name of its class.
OWN_ERRORS = {
    name
    for name, kind in vars(core.errors).items()
    if isinstance(kind, type) and issubclass(kind, core.errors.DriftlessError)
}


@pytest.fixture(scope="module")
def tuning() -> Templates:
    """Give the templates of a stage that searches with a tuning job."""
    return synthesise(settings_of({"training": {"search": {"parallel_jobs": 3}}}))


def definitions(templates: Templates) -> dict[str, dict[str, Any]]:
    """Give the definition of each state machine, by the part that it belongs to."""
    resolver = Resolver(templates)
    return {
        part: json.loads(resolver.resolve(part, found["Properties"]["DefinitionString"]))
        for part, template in templates.items()
        for found in resources({part: template}, "AWS::StepFunctions::StateMachine").values()
    }


def nulls(value: Any, path: str = "") -> set[str]:
    """Give the paths of all nulls in a definition."""
    if value is None:
        return {path}
    if not isinstance(value, dict | list):
        return set()
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return set().union(*(nulls(item, f"{path}/{name}") for name, item in items))


def named(value: Any) -> Iterator[str]:
    """Give the names of errors in all retries and catches of a definition."""
    if isinstance(value, dict):
        yield from value.get("ErrorEquals", ())
        for item in value.values():
            yield from named(item)
    elif isinstance(value, list):
        for item in value:
            yield from named(item)


def test_no_null_is_lost_on_the_way_to_the_template(templates: Templates) -> None:
    """`"ResultPath": null` keeps a state's input; without it the result takes its place."""
    written = {
        "training": training.define_machine(
            settings=settings_of(),
            plan_arn="arn:plan",
            register_arn="arn:register",
            topic_arn="arn:topic",
            image="image",
            job_role_arn="arn:role",
            bucket="bucket",
        ),
        "serving": scoring.define_machine("arn:score"),
        "monitoring": counting.define_machine("arn:monitor"),
    }
    rendered = definitions(templates)
    assert {part: nulls(found) for part, found in rendered.items()} == {
        part: nulls(definition) for part, definition in written.items()
    }
    assert nulls(rendered["training"]) == {
        "/States/Notify/ResultPath",
        "/States/Notify/Catch/0/ResultPath",
        "/States/NotifyWaiting/ResultPath",
        "/States/Tell/ResultPath",
        "/States/Tell/Catch/0/ResultPath",
    }
    assert nulls(rendered["monitoring"]) == {
        "/States/Count/ResultPath",
        "/States/Count/Catch/0/ResultPath",
    }


def test_a_failed_run_ends_with_what_was_caught(templates: Templates) -> None:
    """Every way into Failed leads through a state that keeps `$.error`.

    A notice that cannot be sent fails no run: `Tell` goes on with what Plan decided.
    """
    states = definitions(templates)["training"]["States"]
    caught = {name: state["Catch"] for name, state in states.items() if "Catch" in state}
    for name, catches in caught.items():
        (catch,) = catches
        kept = {"Notify": (None, "Failed"), "Tell": (None, "Due")}.get(name, ("$.error", "Notify"))
        assert (catch["ResultPath"], catch["Next"]) == kept
    assert set(caught) == {"Plan", "Tell", "Train", "Register", "Notify"}
    assert states["Notify"]["ResultPath"] is None
    assert states["Failed"]["ErrorPath"] == "$.error.Error"
    assert states["Failed"]["CausePath"] == "$.error.Cause"


def test_a_version_that_waits_is_told_once_on_the_one_topic(templates: Templates) -> None:
    """The register function runs again where Lambda fails; the notice is a state of its own.

    Only a pending version leads there, and what the run ends with stays the registration.
    """
    states = definitions(templates)["training"]["States"]
    assert states["Register"]["Next"] == "Registered"
    assert "$.Payload.notice" in states["Register"]["ResultSelector"].values()
    choice = states["Registered"]
    assert choice["Choices"] == [
        {
            "Variable": "$.registration.status",
            "StringEquals": "PendingManualApproval",
            "Next": "NotifyWaiting",
        }
    ]
    assert choice["Default"] == states["NotifyWaiting"]["Next"] == "Done"
    assert states["Done"] == {"Type": "Succeed"}
    told, failed = states["NotifyWaiting"], states["Notify"]
    assert told["Resource"] == failed["Resource"] == "arn:aws:states:::sns:publish"
    assert told["Parameters"]["TopicArn"] == failed["Parameters"]["TopicArn"]
    assert told["Parameters"]["Message.$"] == "$.registration.notice"
    assert told["ResultPath"] is None
    for state in (told, failed):
        subject = state["Parameters"]["Subject"]
        assert subject.isascii()
        # Of a project and a stage whose names are as long as they may be.
        longest = 20 + 1 + 12
        assert len(subject) - len(settings_of().deployment) + longest <= 100


def test_the_machine_may_publish_to_that_topic_alone(templates: Templates) -> None:
    """A second notice needs no second right."""
    training_only = {"training": templates["training"]}
    machine = only(training_only, "AWS::StepFunctions::StateMachine")
    (topic,) = resources(training_only, "AWS::SNS::Topic")
    role = machine["RoleArn"]["Fn::GetAtt"][0]
    allowed = [
        statement["Resource"]
        for policy in resources(training_only, "AWS::IAM::Policy").values()
        if {"Ref": role} in policy["Properties"]["Roles"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "sns:Publish" in statement["Action"]
    ]
    assert allowed == [{"Ref": topic}]


def test_a_held_run_ends_well_and_trains_nothing(templates: Templates) -> None:
    """From Plan every notice is sent first; `hold` then ends the execution before Train."""
    states = definitions(templates)["training"]["States"]
    assert states["Plan"]["Next"] == "News"
    (news,) = states["News"]["Choices"]
    assert (news["Variable"], news["Next"]) == ("$.plan.notice", "Tell")
    assert states["News"]["Default"] == states["Tell"]["Next"] == "Due"
    assert states["Tell"]["Parameters"]["Subject.$"] == "$.plan.notice.subject"
    assert states["Tell"]["Parameters"]["Message.$"] == "$.plan.notice.message"
    after = {choice["StringEquals"]: choice["Next"] for choice in states["Due"]["Choices"]}
    assert after == {"train": "Train", "wait": "Wait", "hold": "Held"}
    assert states["Held"]["Type"] == "Succeed"


def test_retries_and_catches_name_errors_that_exist(
    templates: Templates, tuning: Templates
) -> None:
    """A name that no service sends would match nothing, and the retry would never happen."""
    for given in (templates, tuning):
        for part, definition in definitions(given).items():
            names = set(named(definition))
            assert names
            assert names - set(KNOWN_ERRORS) - OWN_ERRORS == set(), part
