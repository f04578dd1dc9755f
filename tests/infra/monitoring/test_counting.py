"""Counting by many functions: the map, what its machine may do, when it is deployed at all."""

import json
from datetime import UTC, datetime

from infra.monitoring.counting import PREFIX, TIMEOUT_SECONDS, define_machine
from lambdas.monitor.service import COUNTING_MS
from local.policies import decide
from tests.infra.synthesis import Resolver, Templates, resources, settings_of, synthesise

STATES = define_machine("arn:monitor")["States"]


def machines(templates: Templates) -> dict[str, object]:
    """Give the state machines of the monitoring stack."""
    return resources({"monitoring": templates["monitoring"]}, "AWS::StepFunctions::StateMachine")


def test_a_batch_that_fails_does_not_stop_the_others_nor_the_judgement() -> None:
    """A dead worker is replaced; what stays uncounted is left to the run that judges."""
    count = STATES["Count"]
    child = count["ItemProcessor"]["States"]["CountBatch"]
    assert child["Retry"][0] == {**child["Retry"][0], "ErrorEquals": ["States.ALL"]}
    assert child["Retry"][0]["MaxAttempts"] >= 3
    assert child["Catch"][0] == {"ErrorEquals": ["States.ALL"], "Next": "LeaveToJudge"}
    assert count["ItemProcessor"]["States"]["LeaveToJudge"]["Type"] == "Pass"
    assert count["Next"] == count["Catch"][0]["Next"] == "Judge"
    assert count["ResultPath"] is count["Catch"][0]["ResultPath"] is None


def test_the_monitor_waits_as_long_as_the_machine_may_run() -> None:
    assert COUNTING_MS == TIMEOUT_SECONDS * 1000


def test_the_machine_reads_its_list_and_calls_the_monitor_only(templates: Templates) -> None:
    """No captures, no writing: what workers need is the function's own right."""
    (document,) = (
        Resolver(templates).resolve("monitoring", policy["Properties"]["PolicyDocument"])
        for name, policy in resources(templates, "AWS::IAM::Policy").items()
        if name.startswith("CountingMachineRole")
    )
    given = [statement["Action"] for statement in document["Statement"]]
    flat = {one for action in given for one in ([action] if isinstance(action, str) else action)}
    assert {one for one in flat if not one.startswith(("logs:", "xray:"))} == {
        "lambda:InvokeFunction",
        "s3:GetObject",
    }
    bucket = "arn:aws:of:eu-west-1:123456789012:StorageBucket5CB7C8EA:Arn"
    for key, answer in ((f"{PREFIX}1.json", True), ("captures/a.gz", False)):
        assert (decide(document, "s3:GetObject", f"{bucket}/{key}", {}) == "Allow") is answer


def test_the_rule_hears_what_the_monitor_says(templates: Templates) -> None:
    """The event's detail is the machine's input; another deployment's events are not heard."""
    (rule,) = (
        rule["Properties"]
        for rule in resources(templates, "AWS::Events::Rule").values()
        if "Captures Waiting" in json.dumps(rule)
    )
    assert rule["EventPattern"]["detail"] == {"deployment": ["churn-dev"]}
    assert rule["Targets"][0]["InputPath"] == "$.detail"


def test_without_a_limit_nothing_is_deployed(templates: Templates) -> None:
    """`[monitoring] parallel_above_mb` = 0 leaves the machine, its role and its rule out."""
    assert len(machines(templates)) == 1
    none = synthesise(settings_of({"monitoring": {"parallel_above_mb": 0}}))
    assert machines(none) == {}
    assert "Counting" not in json.dumps(none["monitoring"]["Resources"])


def test_the_time_of_a_judgement_is_one_that_the_monitor_reads() -> None:
    """Step Functions writes `EnteredTime` with milliseconds and a Z."""
    assert STATES["Judge"]["Parameters"]["Payload"]["time.$"] == "$$.State.EnteredTime"
    moment = datetime.fromisoformat("2026-11-21T02:15:00.123Z")
    assert moment == datetime(2026, 11, 21, 2, 15, 0, 123000, tzinfo=UTC)
