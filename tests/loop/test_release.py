"""A release under live traffic: what the alarm that compares two versions' answers lets through.

One stage, one clock, signed calls over HTTP; the tests run in the order of this file.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from core.engine import load_engine
from infra.assets import Asset, Packager, Target
from local.cloud import Cloud
from local.demo import connect_cloud
from ops.deployment import Deployment
from ops.rollback import describe, roll_back, watch
from tests.infra.synthesis import ROOT, TinyPackager, settings_of, synthesise
from tests.lambdas.bundles import CONTRACT_OF_SHOP, ROW, files, model_document

pytestmark = pytest.mark.xdist_group("loop-release")

T = TypeVar("T")
# A minute of the cloud's clock passes in six seconds: enough calls for its minutes to tell.
RATE = 10.0
CALLERS = 3
CANARY_SECONDS = 300
TIMEOUT_SECONDS = 120.0
FIRST, ALIKE, OTHER = -1.0, -1.02, -3.0


class ReleasePackager(TinyPackager):
    """Package the functions of a release for real, the others as a name."""

    def package_function(
        self, name: str, target: Target, requirements: str = "requirements.txt"
    ) -> Asset:
        if name in ("predict", "canary", "promote"):
            return Packager(ROOT, report=lambda line: None).package_function(
                name, target, requirements
            )
        return super().package_function(name, target, requirements)


class Release:
    """A stage with a live model, whose successors the tests register."""

    def __init__(self, cloud: Cloud, deployment: Deployment) -> None:
        self.cloud = cloud
        self.deployment = deployment

    def put_bundle(self, base: float) -> str:
        """Put a model whose golden rows are right, by its own answers; return its address."""
        document = model_document(base=base)
        answers = [load_engine(json.dumps(document).encode()).score(CONTRACT_OF_SHOP.encode(ROW))]
        golden = json.dumps({"rows": [ROW], "answers": answers, "tolerance": 1e-9}).encode()
        prefix = f"models/base{base}/output/model/"
        for name, content in files(model=document, golden_json=golden).items():
            self.cloud.client("s3").put_object(
                Bucket=self.deployment.bucket, Key=prefix + name, Body=content
            )
        return f"s3://{self.deployment.bucket}/{prefix}"

    def approve(self, base: float) -> str:
        """Register a model as approved, as the gate does; return its package's ARN."""
        arn: str = self.cloud.client("sagemaker").create_model_package(
            ModelPackageGroupName=self.deployment.output("training", "ModelPackageGroupName"),
            ModelApprovalStatus="Approved",
            CustomerMetadataProperties={"model_uri": self.put_bundle(base), "run": f"base{base}"},
        )["ModelPackageArn"]
        return arn

    def package(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.client("sagemaker").describe_model_package(
            ModelPackageName=arn
        )
        return found

    def wait(self, what: str, look: Callable[[], T]) -> T:
        """Return what `look` sees as soon as it sees something."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not (seen := look()):
            assert time.monotonic() < deadline, f"not seen: {what}"
            time.sleep(0.1)
        return seen

    def wait_for_outcome(self, arn: str) -> str:
        """Wait until the package says what became of it."""

        def look() -> str:
            outcome = self.package(arn)["CustomerMetadataProperties"].get("promotion", "started")
            return "" if outcome == "started" else str(outcome)

        return self.wait(f"an outcome of {arn}", look)

    def parameters(self) -> dict[str, str]:
        """Read the serving stack's parameters."""
        stack = self.cloud.stacks.find(f"{self.deployment.name}-serving")
        return {name: str(value) for name, value in stack.values.items()}

    def failures(self) -> list[str]:
        """Say why resources of the serving stack failed, the latest first."""
        events = self.cloud.client("cloudformation").describe_stack_events(
            StackName=f"{self.deployment.name}-serving"
        )["StackEvents"]
        return [e["ResourceStatusReason"] for e in events if "FAILED" in e["ResourceStatus"]]

    def alias(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cloud.client("lambda").get_alias(
            FunctionName=self.deployment.output("serving", "PredictFunctionName"), Name="live"
        )
        return found

    def deployments(self) -> list[dict[str, Any]]:
        """Describe CodeDeploy's deployments, the newest last."""
        client = self.cloud.client("codedeploy")
        found = [
            client.get_deployment(deploymentId=name)["deploymentInfo"]
            for name in client.list_deployments()["deployments"]
        ]
        return sorted(found, key=lambda deployment: deployment["createTime"])

    @contextmanager
    def traffic(self) -> Iterator[tuple[Counter[str], set[str]]]:
        """Keep calling; give the answers by version, and the release alarms that rang."""
        answered: Counter[str] = Counter()
        rang: set[str] = set()
        over = threading.Event()

        def call(seed: int) -> None:
            draw = random.Random(seed)
            while not over.is_set():
                row = {
                    **ROW,
                    "age": draw.randint(18, 90),
                    "basket total": draw.uniform(-20, 20),
                    "colour": draw.choice(["red", "green"]),
                }
                status, answer = self.deployment.request("POST", "predict", {"instances": [row]})
                answered[answer["model"]["version"] if status == 200 else f"status {status}"] += 1

        def listen() -> None:
            cloudwatch = self.cloud.client("cloudwatch")
            prefix = f"{self.deployment.name}-release-"
            while not over.wait(0.2):
                alarms = cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
                rang.update(a["AlarmName"] for a in alarms if a["StateValue"] == "ALARM")

        threads = [threading.Thread(target=call, args=(seed,)) for seed in range(CALLERS)]
        threads.append(threading.Thread(target=listen))
        for thread in threads:
            thread.start()
        try:
            yield answered, rang
        finally:
            over.set()
            for thread in threads:
                thread.join()


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Deploy a stage whose first model is live from the start."""
    # The limits are not what is tested here.
    limits = {"rate_limit": 5000, "burst_limit": 5000}
    settings = settings_of({"serving": limits}, stage="local")
    assembly = tmp_path_factory.mktemp("assembly")
    synthesise(settings, outdir=assembly, packager=ReleasePackager())
    training, serving = f"{settings.deployment}-training", f"{settings.deployment}-serving"
    with Cloud(tmp_path_factory.mktemp("cloud"), rate=RATE) as cloud:
        cloud.deploy(assembly, [training])
        release = Release(cloud, connect_cloud(settings, cloud))
        uri = release.put_bundle(FIRST)
        cloud.deploy(assembly, [serving], parameters={serving: {"ModelUri": uri}})
        release.deployment = connect_cloud(settings, cloud)
        assert release.wait_for_outcome(release.approve(FIRST)) == "live"
        yield release


def test_a_model_that_answers_alike_passes_under_traffic(release: Release) -> None:
    """A retrained model of the same quality goes live; both versions answered meanwhile."""
    before = release.alias()["FunctionVersion"]
    with release.traffic() as (answered, rang):
        arn = release.approve(ALIKE)
        # Two of the canary's minutes have enough of the new version's answers to be judged.
        release.wait("both versions answer", lambda: sorted(answered.values())[:-1] >= [150])
    release.cloud.clock.advance(CANARY_SECONDS)
    assert release.wait_for_outcome(arn) == "live"
    after = release.alias()["FunctionVersion"]
    assert after != before
    assert set(answered) == {before, after}, "every call was answered"
    assert rang == set()


def test_a_rollback_is_done_within_a_minute_and_not_by_a_canary(release: Release) -> None:
    """The version before is back, in real seconds, for all callers; the next release is gradual."""
    began = time.monotonic()
    outcome = roll_back(release.deployment, None)
    assert watch(release.deployment) == "UPDATE_COMPLETE", release.failures()
    seconds = time.monotonic() - began
    assert (outcome["status"], outcome["from"], outcome["to"]) == ("started", 2, 1)
    assert "version 1 takes over from version 2" in describe(outcome)
    assert seconds < 60
    canary, rollback = release.deployments()[-2:]
    assert canary["deploymentConfigName"] == "CodeDeployDefault.LambdaCanary10Percent5Minutes"
    assert rollback["deploymentConfigName"] == "CodeDeployDefault.LambdaAllAtOnce"
    assert rollback["status"] == "Succeeded"
    status, answer = release.deployment.request("POST", "predict", {"instances": [ROW]})
    assert (status, answer["model"]["run"]) == (200, f"base{FIRST}")
    release.wait(
        "the next release is gradual", lambda: release.parameters()["TrafficShift"] == "gradual"
    )


def test_a_model_that_answers_otherwise_is_rolled_back_by_its_alarm(release: Release) -> None:
    """Its golden rows are right by its own answers; live traffic shows that it is another model."""
    before = release.alias()
    live = release.parameters()["ModelUri"]
    with release.traffic() as (answered, rang):
        arn = release.approve(OTHER)
        assert release.wait_for_outcome(arn) == "rolled_back"
    assert len(answered) == 2, "both versions answered, and nothing failed"
    (new,) = set(answered) - {before["FunctionVersion"]}
    assert f"{release.deployment.name}-release-predictions-{new}" in rang
    package = release.package(arn)
    assert package["ModelApprovalStatus"] == "Rejected"
    assert "release-predictions" in package["ApprovalDescription"]
    assert "is in ALARM" in package["CustomerMetadataProperties"]["promotion_reason"]
    assert release.deployments()[-1]["status"] == "Failed"
    assert release.parameters()["ModelUri"] == live
    assert release.alias()["FunctionVersion"] == before["FunctionVersion"]
    assert not release.alias().get("RoutingConfig", {}).get("AdditionalVersionWeights")
    status, answer = release.deployment.request("POST", "predict", {"instances": [ROW]})
    assert (status, answer["model"]["run"]) == (200, f"base{FIRST}")
