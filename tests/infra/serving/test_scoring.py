"""Batch scoring: the map, what the machine and the function may do, what the asset weighs."""

import json
from typing import Any

from infra.assets import Packager, lambda_target
from infra.serving.scoring import MEMORY_MB, define_machine
from tests.infra.synthesis import ROOT, Templates, resources, settings_of, synthesise

# What Lambda unpacks at most ("Lambda quotas").
MOST_BYTES = 250 * 2**20

MACHINE = define_machine("arn:score")
STATES: dict[str, Any] = MACHINE["States"]


def actions_of(templates: Templates, name: str) -> dict[str, list[str]]:
    """Give the resources of each action that roles and policies below a construct allow."""
    found: dict[str, list[str]] = {}
    for logical_id, policy in resources(templates, "AWS::IAM::Policy").items():
        if not logical_id.startswith(name):
            continue
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                found.setdefault(action, []).append(json.dumps(statement["Resource"]))
    return found


def test_units_are_mapped_over_from_the_list_that_plan_wrote() -> None:
    """A distributed map with its own limit of workers, and results that need not fit a state."""
    score = STATES["Score"]
    assert score["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert score["ItemReader"]["Resource"].endswith("s3:getObject")
    assert score["ResultWriter"]["Resource"].endswith("s3:putObject")
    assert score["MaxConcurrencyPath"] == "$.job.workers"


def test_a_dead_worker_is_replaced_and_a_bad_unit_does_not_stop_the_others() -> None:
    """What another try cannot change is not tried again; what is given up is noted."""
    children = STATES["Score"]["ItemProcessor"]["States"]
    first, rest = children["ScoreUnit"]["Retry"]
    assert "DataError" in first["ErrorEquals"]
    assert first["MaxAttempts"] == 0
    assert rest["ErrorEquals"] == ["States.ALL"]
    assert rest["MaxAttempts"] >= 3
    assert children["ScoreUnit"]["Catch"][0]["Next"] == "GiveUp"


def test_a_long_plan_goes_on_and_an_incomplete_job_fails() -> None:
    assert STATES["Planned"]["Choices"][0] == {
        "Variable": "$.plan.more",
        "BooleanEquals": True,
        "Next": "Plan",
    }
    assert STATES["Complete"]["Default"] == "Incomplete"
    assert STATES["Incomplete"]["Type"] == "Fail"


def test_the_function_writes_below_batch_and_nowhere_else(templates: Templates) -> None:
    """It reads models and batch/, writes batch/, and deletes nothing."""
    allowed = actions_of({"serving": templates["serving"]}, "ScoringScore")
    assert {action for action in allowed if action.startswith("s3:")} == {
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
    }
    assert all("/batch/*" in resource for resource in allowed["s3:PutObject"])
    assert {part for part in ("models/", "batch/") if part in allowed["s3:GetObject"][0]}


def test_the_machine_may_run_its_children(templates: Templates) -> None:
    """What a distributed map needs: start, describe and stop, its lists, its function."""
    allowed = actions_of({"serving": templates["serving"]}, "Scoring")
    for action in (
        "states:StartExecution",
        "states:DescribeExecution",
        "states:StopExecution",
        "lambda:InvokeFunction",
    ):
        assert action in allowed


def test_the_engine_follows_the_setting() -> None:
    """The asset carries onnxruntime where predict's does."""
    for engine in ("table", "onnx"):
        given = synthesise(settings_of({"serving": {"engine": engine}}))
        functions = resources({"serving": given["serving"]}, "AWS::Lambda::Function")
        (score,) = (f["Properties"] for name, f in functions.items() if "ScoringScore" in name)
        assert score["Environment"]["Variables"]["ENGINE"] == engine
        assert score["MemorySize"] == MEMORY_MB


def test_the_asset_fits_a_function() -> None:
    """Parquet and onnxruntime together stay below the 250 MiB that Lambda unpacks."""
    packager = Packager(ROOT, report=lambda line: None)
    asset = packager.package_function(
        "score", lambda_target("arm64", local=False), "requirements-onnx.txt"
    )
    assert asset.unzipped_bytes < MOST_BYTES
