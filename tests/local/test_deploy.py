"""A cloud assembly is deployed as the CDK's own command line deploys it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud
from local.deploy import Assembly, DeployError, _zipped
from tests.local.assembly import BUCKET, function, template, write_assembly

ROOT = Path(__file__).parents[2]
CDK = ROOT / "node_modules" / "aws-cdk" / "bin" / "cdk"


def test_no_assembly(tmp_path: Path) -> None:
    """A folder without a manifest is one clear error."""
    with pytest.raises(DeployError, match=r"no manifest\.json"):
        Assembly(tmp_path)


def test_stacks_come_after_what_they_need(tmp_path: Path) -> None:
    """Dependencies decide the order, not the names."""
    body = template({"T": {"Type": "AWS::SNS::Topic"}})
    folder = write_assembly(tmp_path, {"z-first": body, "a-second": body})
    assert [stack.name for stack in Assembly(folder).stacks()] == ["z-first", "a-second"]


def test_docker_assets_are_refused(tmp_path: Path) -> None:
    """An image cannot be run here; the deploy says so before it makes anything."""
    folder = write_assembly(tmp_path, {"images": template({"T": {"Type": "AWS::SNS::Topic"}})})
    assets = folder / "images.assets.json"
    assets.write_text(json.dumps({"files": {}, "dockerImages": {"x": {}}}))
    with pytest.raises(DeployError, match="Docker images"):
        list(Assembly(folder).assets("images"))


def test_zips_are_the_same_for_the_same_files(tmp_path: Path) -> None:
    """The zip of a folder depends on its files alone, and keeps what may be run."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run").write_text("x")
    (tmp_path / "b" / "run").chmod(0o755)
    (tmp_path / "a").write_text("y")
    first = _zipped(tmp_path)
    os.utime(tmp_path / "a", (0, 0))
    assert _zipped(tmp_path) == first
    with zipfile.ZipFile(BytesIO(first)) as archive:
        assert archive.namelist() == ["a", "b/run"]
        assert archive.getinfo("b/run").external_attr >> 16 == 0o755


def test_a_failure_names_resource_and_reason(cloud: Cloud, tmp_path: Path) -> None:
    """What failed, and why, is in the error."""
    body = template({"V": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": "no"}}})
    with pytest.raises(DeployError, match=r"broken ended ROLLBACK_COMPLETE: V \(AWS::Lambda::Ver"):
        cloud.deploy(write_assembly(tmp_path, {"broken": body}))


def test_a_type_that_is_not_modelled_stops_the_deploy(cloud: Cloud, tmp_path: Path) -> None:
    """Nothing of a template is passed over."""
    body = template({"I": {"Type": "AWS::EC2::Instance"}})
    with pytest.raises(DeployError, match="AWS::EC2::Instance"):
        cloud.deploy(write_assembly(tmp_path, {"instances": body}))


@pytest.fixture
def cdk(cloud: Cloud, tmp_path: Path) -> Callable[..., str]:
    """Return the unmodified CDK command line, sent to the local cloud by AWS_ENDPOINT_URL alone."""
    node = shutil.which("node")
    assert node, "run `make setup`: Node is missing"
    assert CDK.exists(), "run `make setup`: the CDK command line is missing"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment = kept | cloud.environment() | {"CI": "1", "HOME": str(tmp_path)}

    def run(*arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [node, str(CDK), *arguments, "--ci"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, said
        return said

    return run


def as_synthesised(folder: Path) -> None:
    """Add to the hand-written assembly what the command line insists on."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["version"] = "48.0.0"
    for artifact in manifest["artifacts"].values():
        if artifact["type"] == "aws:cloudformation:stack":
            artifact["environment"] = "aws://123456789012/eu-west-1"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for path in folder.glob("*.assets.json"):
        assets: dict[str, Any] = json.loads(path.read_text()) | {"version": "48.0.0"}
        for file in assets["files"].values():
            file["destinations"]["current"]["region"] = "eu-west-1"
        path.write_text(json.dumps(assets))


def test_the_cdk_command_line(cloud: Cloud, cdk: Callable[..., str], tmp_path: Path) -> None:
    """Bootstrap, deploy, promote, deploy again (the model stays), destroy."""
    body = template(function(BUCKET, "code.zip"), {"Name": {"Ref": "Function"}})
    other = template({"T": {"Type": "AWS::SNS::Topic"}})
    out = write_assembly(tmp_path / "cdk.out", {"app": body, "more": other})
    as_synthesised(out)
    deploy = ("deploy", "--all", "--app", str(out), "--require-approval", "never")
    assert "bootstrapped" in cdk("bootstrap", "aws://123456789012/eu-west-1")
    cdk(*deploy)
    name = cloud.stacks.find("app").outputs["Name"]["OutputValue"]

    def model() -> str:
        answer = cloud.functions.invoke(name, b"{}", qualifier="live")
        return str(json.loads(answer.payload)["model"])

    assert model() == "none"
    cloud.client("cloudformation").update_stack(
        StackName="app",
        UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "ModelUri", "ParameterValue": "s3://models/1/"}],
    )
    assert cloud.stacks.wait(cloud.stacks.find("app")) == "UPDATE_COMPLETE"
    body["Resources"]["Function"]["Properties"]["MemorySize"] = 256
    (out / "app.template.json").write_text(json.dumps(body))
    assert "(no changes)" in cdk(*deploy)
    assert model() == "s3://models/1/"
    settings = cloud.client("lambda").get_function_configuration(FunctionName=name)
    assert settings["MemorySize"] == 256
    cdk("destroy", "--all", "--force", "--app", str(out))
    assert {stack.name for stack in cloud.stacks.all()} & {"app", "more"} == set()
