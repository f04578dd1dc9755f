"""`ops destroy` on stacks of a production stage; tests/loop removes a whole local one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import OperationError
from core.settings import load_settings
from local.cloud import Cloud
from local.demo import connect_cloud
from ops.__main__ import build_parser
from ops.destroy import destroy, main
from tests.local.assembly import template, write_assembly

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """Deploy a production stage in small: what holds data is retained, every stack protected."""
    kept = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"}
    topic = {"Type": "AWS::SNS::Topic"}
    stacks = {
        "breast-cancer-prod-training": template({"Kept": kept, "Topic": topic}),
        "breast-cancer-prod-serving": template({"Topic": topic}),
    }
    with Cloud(tmp_path / "cloud", processes=1) as running:
        running.deploy(write_assembly(tmp_path / "cdk.out", stacks))
        for name in stacks:
            running.client("cloudformation").update_termination_protection(
                StackName=name, EnableTerminationProtection=True
            )
        yield running


def test_production_keeps_and_lists_what_holds_data(cloud: Cloud) -> None:
    """The stacks go, in the order of their needs; the bucket and what is in it stay."""
    deployment = connect_cloud(load_settings(ROOT / "project.toml", "prod"), cloud)
    s3 = cloud.client("s3")
    (bucket,) = (b["Name"] for b in s3.list_buckets()["Buckets"] if "prod" in b["Name"])
    s3.put_object(Bucket=bucket, Key="models/run/model.json", Body=b"{}")
    result = destroy(deployment)
    assert result["removed"] == ["breast-cancer-prod-serving", "breast-cancer-prod-training"]
    assert result["kept"] == [f"AWS::S3::Bucket {bucket}"]
    assert s3.get_object(Bucket=bucket, Key="models/run/model.json")["Body"].read() == b"{}"
    assert destroy(deployment) == {"removed": [], "kept": []}


def test_nobody_to_ask_needs_yes(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal and without --yes nothing is deleted."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    with pytest.raises(OperationError, match="--yes"):
        main(build_parser().parse_args(["destroy", "--stage", "prod"]))
    assert len(cloud.client("cloudformation").describe_stacks()["Stacks"]) >= 2
