"""Versions that wait for a person: listed with their doubts, approved by one who has seen them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from core.settings import read_settings
from ops import approve, status
from ops.__main__ import main
from ops.deployment import Deployment
from ops.waiting import list_packages, list_waiting
from tests.lambdas.bundles import files

SETTINGS = read_settings(
    {
        "project": {"name": "shop"},
        "problem": {"task": "binary", "target": "bought"},
        "columns": {"age": {"type": "number"}},
        "gates": {"accepted": ["order"]},
    },
    "prod",
)
DOUBTS = [
    {"name": "alone:balance", "sentence": "'balance' tells the target", "accepted": False},
    {"name": "files", "sentence": "the file tells 90% of the target", "accepted": False},
]


class Shop(Deployment):
    """A deployment whose stacks are not deployed: their outputs are given."""

    live = "none"

    def output(self, stack: str, key: str) -> str:
        return {"ModelPackageGroupName": "shop-prod", "StateMachineArn": self.machine}[key]

    @property
    def machine(self) -> str:
        client = boto3.client("stepfunctions")
        return client.list_state_machines()["stateMachines"][0]["stateMachineArn"]

    @property
    def model_uri(self) -> str:
        return Shop.live

    @property
    def api_url(self) -> str:
        return "https://api.example.com/"


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Give a stage with an empty registry, to which the commands connect."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(Shop, "live", "none")
    with mock_aws():
        where: Any = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration=where)
        boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="shop-prod")
        boto3.client("stepfunctions").create_state_machine(
            name="train",
            definition='{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}',
            roleArn="arn:aws:iam::123456789012:role/machine",
        )
        deployment = Shop(SETTINGS, boto3.Session(), None)
        for module in (approve, status):
            monkeypatch.setattr(module, "connect", lambda stage: deployment)
        yield deployment


def register(approval: str, doubts: Any = None, *, stored: bool = True) -> str:
    """Register a version with this evaluation, and return its bundle's folder."""
    client = boto3.client("sagemaker")
    found = client.list_model_packages(ModelPackageGroupName="shop-prod")
    run = f"run-{len(found['ModelPackageSummaryList']) + 1}"
    evaluation: dict[str, Any] = {"metrics": {}, "decision": {"promote": True, "reason": "ok"}}
    if doubts is not None:
        evaluation["doubts"] = doubts
    prefix = f"models/{run}/output/model/"
    if stored:
        for name, body in files(evaluation_json=json.dumps(evaluation).encode()).items():
            boto3.client("s3").put_object(Bucket="bucket", Key=prefix + name, Body=body)
    metadata = {"model_uri": f"s3://bucket/{prefix}", "run": run}
    arn = client.create_model_package(
        ModelPackageGroupName="shop-prod",
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties=metadata,
    )["ModelPackageArn"]
    client.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus=approval,  # type: ignore[arg-type]
        ApprovalDescription="waits for a person: as registered",
        CustomerMetadataProperties=metadata,  # moto drops what the call does not repeat
    )
    return f"s3://bucket/{prefix}"


def approvals() -> list[str]:
    """List the status of each version, the oldest first."""
    found = boto3.client("sagemaker").list_model_packages(ModelPackageGroupName="shop-prod")
    ordered = sorted(found["ModelPackageSummaryList"], key=lambda p: p["ModelPackageVersion"])
    return [package["ModelApprovalStatus"] for package in ordered]


def ask(monkeypatch: pytest.MonkeyPatch, answer: str, *, terminal: bool) -> None:
    """Type an answer, at a terminal or into a pipe."""
    stdin = io.StringIO(answer + "\n")
    monkeypatch.setattr(stdin, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stdin", stdin)


def test_what_waits_is_newer_than_the_live_version(
    shop: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version that nobody decided on would not be promoted; it is not shown."""
    register("PendingManualApproval")
    live = register("Approved")
    register("Rejected")
    register("PendingManualApproval", DOUBTS)
    monkeypatch.setattr(Shop, "live", live)
    waiting = list_waiting(shop, list_packages(shop), live)
    assert [version["version"] for version in waiting] == [4]
    assert waiting[0]["doubts"] == DOUBTS
    assert waiting[0]["approve"] == "python -m ops approve 4 --stage prod"
    assert waiting[0]["accept"] == 'accepted = ["order", "alone:balance", "files"]'
    assert waiting[0]["report"].endswith("/run-4/output/model/report.html")


def test_without_a_live_model_everything_pending_waits(shop: Deployment) -> None:
    """The newest comes first: it is the one that `ops approve` takes."""
    register("PendingManualApproval")
    register("PendingManualApproval", DOUBTS)
    waiting = list_waiting(shop, list_packages(shop), "none")
    assert [version["version"] for version in waiting] == [2, 1]
    assert (waiting[1]["doubts"], waiting[1]["accept"]) == ([], None)


def test_status_begins_with_what_needs_a_person(
    shop: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """The version, each doubt with name and sentence, and both ways on, before any table."""
    register("PendingManualApproval", DOUBTS)
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName="shop-prod-drift",
        AlarmDescription="Drift. What to do: docs/runbook/drift.md",
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    boto3.client("cloudwatch").set_alarm_state(
        AlarmName="shop-prod-drift", StateValue="ALARM", StateReason="moved"
    )
    assert main(["status"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == "needs a person"
    assert lines[2].startswith("version 1 waits for a person, for ")
    assert lines[3:5] == [
        "alone:balance: 'balance' tells the target",
        "files: the file tells 90% of the target",
    ]
    assert lines[6] == "approve it, once: python -m ops approve 1 --stage prod"
    assert lines[8] == 'accepted = ["order", "alone:balance", "files"]'
    assert lines[10] == "alarm drift is on: Drift. What to do: docs/runbook/drift.md"
    assert lines[11:13] == ["", "live model: none"]


def test_status_says_nothing_where_nobody_is_needed(
    shop: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """The heading is there only with something below it."""
    register("Approved")
    assert main(["status"]) == 0
    assert "needs a person" not in capsys.readouterr().out


def test_status_for_scripts_has_the_doubts(
    shop: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` lists what waits with names and sentences."""
    register("PendingManualApproval", DOUBTS)
    assert main(["status", "--json"]) == 0
    (version,) = json.loads(capsys.readouterr().out)["waiting"]
    assert (version["version"], version["run"], version["doubts"]) == (1, "run-1", DOUBTS)


def test_a_bundle_that_cannot_be_read_leaves_the_registered_reason(
    shop: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """The screen says that it does not know the doubts; it does not say that there are none."""
    register("PendingManualApproval", DOUBTS, stored=False)
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "waits for a person: as registered" in shown
    assert "its doubts cannot be read: " in shown
    assert "NoSuchKey" in shown


def test_listing_decides_nothing(shop: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` shows what `approve` would approve."""
    assert main(["approve", "--list"]) == 0
    assert "no model of shop-prod waits" in capsys.readouterr().out
    register("PendingManualApproval", DOUBTS)
    assert main(["approve", "--list"]) == 0
    shown = capsys.readouterr().out
    assert "alone:balance: 'balance' tells the target\n" in shown
    assert "python -m ops approve 1 --stage prod" in shown
    assert main(["approve", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["waiting"][0]["doubts"] == DOUBTS
    assert approvals() == ["PendingManualApproval"]


def test_doubts_are_shown_before_the_approval(
    shop: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """First the sentences, then what was done, then how to accept the doubts for good."""
    ask(monkeypatch, "", terminal=False)
    register("PendingManualApproval", DOUBTS)
    assert main(["approve"]) == 0
    shown = capsys.readouterr().out
    order = [
        "version 1 of shop-prod",
        "alone:balance: 'balance' tells the target",
        "files: the file tells 90% of the target",
        "approved arn:",
        'accepted = ["order", "alone:balance", "files"]',
    ]
    places = [shown.index(text) for text in order]
    assert places == sorted(places)
    assert approvals() == ["Approved"]


@pytest.mark.parametrize(("answer", "approval"), [("1", "Approved"), ("y", None), ("", None)])
def test_at_a_terminal_a_doubted_version_is_asked_for_again(
    shop: Deployment, monkeypatch: pytest.MonkeyPatch, answer: str, approval: str | None
) -> None:
    """Who has read the doubts types the version's number; anything else approves nothing."""
    register("PendingManualApproval", DOUBTS)
    ask(monkeypatch, answer, terminal=True)
    assert main(["approve"]) == (1 if approval is None else 0)
    assert approvals() == [approval or "PendingManualApproval"]


@pytest.mark.parametrize(
    ("doubts", "options"),
    [
        (None, []),
        ([], []),
        ([{**DOUBTS[0], "accepted": True}], []),
        (DOUBTS, ["--yes"]),
        (DOUBTS, ["--json"]),
    ],
)
def test_without_a_doubt_that_holds_nothing_is_asked(
    shop: Deployment, monkeypatch: pytest.MonkeyPatch, doubts: Any, options: list[str]
) -> None:
    """Nor where the caller has said so beforehand, or is a script."""
    register("PendingManualApproval", doubts)
    ask(monkeypatch, "", terminal=True)
    assert main(["approve", *options]) == 0
    assert approvals() == ["Approved"]


def test_a_rejection_needs_no_second_word(
    shop: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It shows the doubts, and does not tell how to accept them."""
    register("PendingManualApproval", DOUBTS)
    ask(monkeypatch, "", terminal=True)
    assert main(["approve", "1", "--reject"]) == 0
    shown = capsys.readouterr().out
    assert "'balance' tells the target" in shown
    assert "accepted = " not in shown
    assert approvals() == ["Rejected"]


def test_an_approval_for_scripts_names_the_doubts(
    shop: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` says what was approved in spite of what, and nothing else."""
    register("PendingManualApproval", DOUBTS)
    assert main(["approve", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["status"], printed["version"]) == ("Approved", 1)
    assert printed["doubts"] == DOUBTS
    assert printed["accept"] == 'accepted = ["order", "alone:balance", "files"]'
