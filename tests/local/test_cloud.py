"""The cloud as a whole: its start, its end, its own paths and its command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from moto.awslambda.models import LambdaBackend

from core.settings import load_settings
from local.__main__ import describe, write_cloud_file
from local.cloud import Cloud
from ops.deployment import Deployment
from tests.local.assembly import write_assembly

SECOND = timedelta(seconds=1)


def test_a_cloud_starts_empty_and_leaves_nothing(tmp_path: Path) -> None:
    """State ends with its cloud; the port is free again; moto is as it was."""
    invoke = LambdaBackend.invoke
    with Cloud(tmp_path / "one") as cloud:
        assert LambdaBackend.invoke is not invoke
        port = cloud.port
        cloud.client("sns").create_topic(Name="gone")
    assert LambdaBackend.invoke is invoke
    with Cloud(tmp_path / "two", port=port) as cloud:
        assert cloud.client("sns").list_topics()["Topics"] == []
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def get(cloud: Cloud, path: str, body: bytes | None = None) -> dict[str, object]:
    with urllib.request.urlopen(f"{cloud.endpoint}/_driftless/{path}", body) as answer:
        found: dict[str, object] = json.loads(answer.read())
        return found


def test_state_and_clock(cloud: Cloud) -> None:
    """The clock is moved by POST; the state says where everything is."""
    before = cloud.clock.now()
    get(cloud, "clock", b'{"advance": 7200}')
    assert cloud.clock.now() - before >= 7200
    state = get(cloud, "state")
    assert state["endpoint"] == cloud.endpoint
    assert state["apis"] == cloud.apis == {}
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(cloud, "nothing")


def test_ages_are_told_by_the_clouds_clock(cloud: Cloud) -> None:
    """A registered model is stamped, and its age told, by the clock that was moved."""
    cloud.clock.advance(30 * 86_400)
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="churn")
    sagemaker.create_model_package(ModelPackageGroupName="churn")
    (package,) = sagemaker.list_model_packages(ModelPackageGroupName="churn")[
        "ModelPackageSummaryList"
    ]
    settings = load_settings(Path("project.toml"), "local")
    age = (
        Deployment(settings, boto3.Session(), cloud.endpoint).now() - package["CreationTime"]
    ) / SECOND
    assert -1 <= age < 60
    assert cloud.clock.now() - time.time() > 29 * 86_400


def test_any_client_works_with_the_environment_alone(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 needs nothing but the variables that the cloud names."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    s3 = boto3.Session().client("s3")
    where = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="by-environment", CreateBucketConfiguration=where)  # type: ignore[arg-type]
    s3.put_object(Bucket="by-environment", Key="k", Body=b"v")
    assert s3.get_object(Bucket="by-environment", Key="k")["Body"].read() == b"v"


def test_it_listens_on_this_machine_only(cloud: Cloud) -> None:
    """The endpoint opens every call, so nobody else may reach it."""
    assert cloud._server is not None
    assert cloud._server.server_address[0] == "127.0.0.1"


def test_the_file_for_ops_is_its_owners(cloud: Cloud, tmp_path: Path) -> None:
    """`.local/cloud.json` holds what `ops` needs, and nobody else can read it."""
    path = tmp_path / "cloud.json"
    write_cloud_file(cloud, path)
    document = json.loads(path.read_text())
    assert document["endpoint"] == cloud.endpoint
    assert {"region", "access_key_id", "secret_access_key", "apis", "pid"} <= set(document)
    assert path.stat().st_mode & 0o077 == 0
    assert f"export AWS_ENDPOINT_URL={cloud.endpoint}" in describe(cloud)


def test_up_serves_until_it_is_ended(tmp_path: Path) -> None:
    """`python -m local up` deploys, writes its file, serves, and tidies up when it is ended."""
    body = {"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}
    assembly = write_assembly(tmp_path / "cdk.out", {"tiny": body})
    root = Path(__file__).parents[2]
    (tmp_path / "project.toml").write_text((root / "project.toml").read_text())
    process = subprocess.Popen(
        [sys.executable, "-m", "local", "up", "--assembly", str(assembly), "--no-data"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            break
    file = tmp_path / ".local" / "cloud.json"
    endpoint = json.loads(file.read_text())["endpoint"]
    with urllib.request.urlopen(f"{endpoint}/_driftless/state") as answer:
        assert json.loads(answer.read())["stacks"]["tiny"] == "CREATE_COMPLETE"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not file.exists()
