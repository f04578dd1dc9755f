"""The operator's commands, as far as they need no deployed stage; tests/loop runs them on one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from core.errors import OperationError
from core.settings import load_settings
from ops.__main__ import COMMANDS, build_parser, main
from ops.approve import choose_package
from ops.data import put_table
from ops.deployment import Deployment, connect
from ops.destroy import empty_bucket
from ops.predict import read_rows
from ops.screen import describe_age
from ops.train import summarise_run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", [module.__name__.rpartition(".")[2] for module in COMMANDS])
def test_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` of every command ends well and shows how it is typed."""
    with pytest.raises(SystemExit) as exit_info:
        build_parser().parse_args([command, "--help"])
    assert exit_info.value.code == 0
    assert f"python -m ops {command}" in capsys.readouterr().out


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command is a matter of usage."""
    with pytest.raises(SystemExit) as exit_info:
        main(["no-such-command"])
    assert exit_info.value.code == 2
    assert "no-such-command" in capsys.readouterr().err


def test_a_fault_is_one_line_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it cannot be done, the exit status is 1 and stderr says why and what to do."""
    monkeypatch.chdir(tmp_path)
    assert main(["status"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: project.toml")
    assert err.count("\n") == 1


def test_a_local_stage_without_a_cloud_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stage local needs the cloud that `make up` leaves running."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with pytest.raises(OperationError, match="make up"):
        connect("local", ROOT / "project.toml")


def package(version: int, status: str) -> dict[str, Any]:
    """Make a model package summary."""
    return {"ModelPackageVersion": version, "ModelApprovalStatus": status}


def test_choosing_takes_the_newest_pending_or_the_named_version() -> None:
    """Without a version the newest that waits for a decision is meant."""
    packages = [
        package(3, "Approved"),
        package(2, "PendingManualApproval"),
        package(1, "PendingManualApproval"),
    ]
    assert choose_package(packages, None)["ModelPackageVersion"] == 2
    assert choose_package(packages, 3)["ModelPackageVersion"] == 3


@pytest.mark.parametrize(("version", "words"), [(None, "waits for approval"), (9, "no version 9")])
def test_choosing_nothing_names_what_there_is(version: int | None, words: str) -> None:
    """The error lists the registered versions."""
    with pytest.raises(OperationError, match=words) as error:
        choose_package([package(4, "Approved")], version)
    assert "4" in str(error.value)


ROWS = st.lists(
    st.dictionaries(st.text(), st.integers() | st.text() | st.none()), min_size=1, max_size=3
)


@given(ROWS)
def test_rows_are_read_from_a_list_or_a_request(rows: list[dict[str, Any]]) -> None:
    """A list of rows and a whole request mean the same."""
    assert read_rows(json.dumps(rows), "x") == rows
    assert read_rows(json.dumps({"instances": rows}), "x") == rows


@pytest.mark.parametrize("text", ["", "{", "[]", "[1]", '"row"', "3"])
def test_what_is_no_row_is_refused(text: str) -> None:
    """The error names the source."""
    with pytest.raises(OperationError, match=r"rows\.json"):
        read_rows(text, "rows.json")


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)))
def test_ages_are_short_and_never_negative(age: timedelta) -> None:
    """An age is a number and a unit."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    number, unit = describe_age(now - age, now).split(" ")
    assert int(number) >= 0
    assert unit in {"s", "min", "h", "days"}
    assert describe_age(now + age, now) == "0 s"


def test_a_run_is_summarised_by_its_outcome() -> None:
    """A registered run tells the registry's decision, a skipped one the plan's."""
    registered = {
        "plan": {"run": "r", "action": "train", "reason": "new data"},
        "registration": {"status": "Approved", "reason": "passed", "package_arn": "arn"},
    }
    assert summarise_run(registered)["outcome"] == "Approved"
    skipped = summarise_run({"plan": {"action": "skip", "reason": "nothing changed"}})
    assert (skipped["outcome"], skipped["reason"]) == ("skip", "nothing changed")


class Bucket(Deployment):
    """A deployment whose bucket is given, not looked up."""

    @property
    def bucket(self) -> str:
        return "tables"


@mock_aws
def test_a_table_is_stored_under_data_with_its_version(tmp_path: Path) -> None:
    """What was stored is told: address, version, size and hash."""
    deployment = Bucket(load_settings(ROOT / "project.toml"), boto3.Session(), None)
    s3 = deployment.client("s3")
    s3.create_bucket(Bucket="tables")
    s3.put_bucket_versioning(Bucket="tables", VersioningConfiguration={"Status": "Enabled"})
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,2\n")
    stored = put_table(deployment, table)
    body = s3.get_object(Bucket="tables", Key="data/t.csv", VersionId=stored["version_id"])
    assert body["Body"].read() == table.read_bytes()
    assert stored["uri"] == "s3://tables/data/t.csv"
    s3.delete_object(Bucket="tables", Key="data/t.csv")
    assert empty_bucket(deployment, "tables") == 2
    assert "Versions" not in s3.list_object_versions(Bucket="tables")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.csv", None, "not a file"),
        ("t.xlsx", "x", "is a spreadsheet"),
        ("t.csv", "", "empty"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    """Nothing is uploaded that training would refuse to open."""
    deployment = Bucket(load_settings(ROOT / "project.toml"), boto3.Session(), None)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(OperationError, match=words):
        put_table(deployment, tmp_path / name)
