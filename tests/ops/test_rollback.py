"""The command that puts an earlier model back."""

import io
import json
from typing import Any, cast

import pytest

from core.errors import OperationError
from ops import rollback
from ops.deployment import Deployment

STARTED = {"status": "started", "from": 3, "to": 2, "model_uri": "s3://b/m/", "reason": "asked"}


class FakeDeployment:
    """A deployed stage whose promote function answers as told."""

    name = "shop-dev"

    def __init__(self, *answers: dict[str, Any], error: bool = False) -> None:
        self.answers = list(answers)
        self.error = error
        self.requests: list[dict[str, Any]] = []
        self.statuses = ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"]

    def output(self, stack: str, key: str) -> str:
        assert (stack, key) == ("serving", "PromoteFunctionName")
        return "promote"

    def client(self, service: str) -> "FakeDeployment":
        return self

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "promote"
        self.requests.append(json.loads(Payload))
        answer: dict[str, Any] = {"Payload": io.BytesIO(json.dumps(self.answers.pop(0)).encode())}
        if self.error:
            answer["FunctionError"] = "Unhandled"
        return answer

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        assert StackName == "shop-dev-serving"
        return {"Stacks": [{"StackStatus": self.statuses.pop(0)}]}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "BUSY_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(rollback, "WATCH_PAUSE_SECONDS", 0.0)


def ask(deployment: FakeDeployment, to: int | None = None, **options: Any) -> Any:
    return rollback.roll_back(cast("Deployment", deployment), to, **options)


def test_the_function_is_asked_with_who_and_when() -> None:
    """The promote function learns the version, the person and the time."""
    deployment = FakeDeployment(STARTED)
    assert ask(deployment, 2) == STARTED
    (request,) = deployment.requests
    assert (request["action"], request["to"]) == ("rollback", 2)
    assert request["by"]
    assert request["now"].endswith("Z")


def test_a_busy_stack_is_waited_for() -> None:
    """Another update ends first; past the patience the reason is told."""
    busy = {"status": "busy", "from": None, "to": None, "reason": "UPDATE_IN_PROGRESS"}
    assert ask(FakeDeployment(busy, busy, STARTED))["status"] == "started"
    with pytest.raises(OperationError, match="UPDATE_IN_PROGRESS"):
        ask(FakeDeployment(busy), patience_seconds=-1.0)


def test_a_refusal_and_a_failure_are_errors() -> None:
    """The reason reaches the person."""
    with pytest.raises(OperationError, match="nothing to go back to"):
        ask(FakeDeployment({"status": "refused", "reason": "nothing to go back to"}))
    with pytest.raises(OperationError, match="no memory"):
        ask(FakeDeployment({"errorMessage": "no memory"}, error=True))


@pytest.mark.parametrize(
    ("arguments", "outcome", "statuses", "code", "said"),
    [
        ([], STARTED, [], 0, "version 2 takes over from version 3"),
        (["--to", "2", "--watch"], STARTED, ["UPDATE_COMPLETE"], 0, "UPDATE_COMPLETE"),
        (["--watch"], STARTED, ["UPDATE_ROLLBACK_COMPLETE"], 1, "UPDATE_ROLLBACK_COMPLETE"),
        (
            ["--watch"],
            {"status": "cancelled", "from": 3, "to": None, "reason": "r"},
            ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"],
            0,
            "is being cancelled",
        ),
        (
            [],
            {"status": "unchanged", "from": 2, "to": 2, "reason": "version 2 is live already"},
            [],
            0,
            "live already",
        ),
        (["--json"], STARTED, [], 0, '"to": 2'),
    ],
)
def test_the_command_says_what_it_did(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    outcome: dict[str, Any],
    statuses: list[str],
    code: int,
    said: str,
) -> None:
    """Each outcome has its words and its exit status."""
    import argparse

    deployment = FakeDeployment(dict(outcome))
    deployment.statuses = statuses
    monkeypatch.setattr(rollback, "connect", lambda stage: deployment)
    parser = argparse.ArgumentParser()
    rollback.add_parser(parser.add_subparsers())
    assert rollback.main(parser.parse_args(["rollback", *arguments])) == code
    assert said in " ".join(capsys.readouterr().out.split())
