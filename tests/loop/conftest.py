"""A deployed stage on the local cloud, shared by the tests of the loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings, load_settings
from local.cloud import Cloud
from local.demo import CLOCK_RATE, connect_cloud, split_table, synthesise
from ops.deployment import Deployment

HELD_OUT_ROWS = 100
TIMEOUT_SECONDS = 180.0


class Stage:
    """A deployed stage and what a test does with it."""

    table: str
    labels: list[str]
    rows: list[dict[str, Any]]

    def __init__(self, cloud: Cloud, deployment: Deployment) -> None:
        self.cloud = cloud
        self.deployment = deployment

    def take_example(self) -> Stage:
        """Take the example's table, and rows and labels that no model is to see."""
        table = Path(self.deployment.settings.data.file)
        self.table, self.rows = split_table(table, "diagnosis", HELD_OUT_ROWS)
        self.labels = [row.pop("diagnosis") for row in self.rows]
        return self

    def wait_until(self, what: str, look: Callable[[], Any]) -> Any:
        """Return what `look` sees as soon as it sees something."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not (seen := look()):
            assert time.monotonic() < deadline, f"not seen: {what}"
            time.sleep(0.2)
        return seen

    def put(self, key: str, text: str) -> None:
        """Put an object into the stage's bucket."""
        s3 = self.deployment.client("s3")
        s3.put_object(Bucket=self.deployment.bucket, Key=key, Body=text.encode())

    def executions(self) -> list[dict[str, Any]]:
        """List the state machine's executions, with their input and output."""
        machine = self.deployment.output("training", "StateMachineArn")
        client = self.deployment.client("stepfunctions")
        return [
            client.describe_execution(executionArn=execution["executionArn"])
            for execution in client.list_executions(stateMachineArn=machine)["executions"]
        ]

    def settle(self) -> list[dict[str, Any]]:
        """Wait until no execution runs and no stack is being updated; return the executions."""

        def look() -> Any:
            executions = self.executions()
            busy = any(execution["status"] == "RUNNING" for execution in executions)
            return None if busy or not self.stack_status().endswith("_COMPLETE") else executions

        return list(self.wait_until("the stage comes to rest", look))

    def stack_status(self) -> str:
        """Return the serving stack's status."""
        name = f"{self.deployment.name}-serving"
        found = self.deployment.client("cloudformation").describe_stacks(StackName=name)
        return str(found["Stacks"][0]["StackStatus"])

    def model_uri(self) -> str:
        """Return the one pointer: the serving stack's ModelUri."""
        name = f"{self.deployment.name}-serving"
        found = self.deployment.client("cloudformation").describe_stacks(StackName=name)
        parameters = found["Stacks"][0]["Parameters"]
        return str({p["ParameterKey"]: p["ParameterValue"] for p in parameters}["ModelUri"])

    def packages(self) -> list[dict[str, Any]]:
        """Describe the registered models, the oldest first."""
        client = self.deployment.client("sagemaker")
        group = self.deployment.output("training", "ModelPackageGroupName")
        found = client.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
        whole = [
            client.describe_model_package(ModelPackageName=package["ModelPackageArn"])
            for package in found
        ]
        return sorted(whole, key=lambda package: int(package["ModelPackageVersion"]))

    def predict(self, rows: list[dict[str, Any]]) -> tuple[int, Any]:
        """Score rows over HTTP."""
        return self.deployment.request("POST", "predict", {"instances": rows})

    def messages(self) -> list[dict[str, Any]]:
        """Take the notifications that were sent since the last call."""
        sqs = self.deployment.client("sqs")
        url = sqs.get_queue_url(QueueName="notifications")["QueueUrl"]
        taken = []
        while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                taken.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return taken


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesise the local stage with the CDK command line."""
    folder = tmp_path_factory.mktemp("assembly") / "cdk.out"
    synthesise(folder)
    return folder


def watch(cloud: Cloud) -> Stage:
    """Return the example's deployed local stage, with a queue that hears its notifications."""
    return watch_project(cloud, load_settings("project.toml", "local")).take_example()


def watch_project(cloud: Cloud, settings: Settings) -> Stage:
    """Return a project's deployed stage, with a queue that hears its notifications."""
    deployment = connect_cloud(settings, cloud)
    listen(deployment)
    return Stage(cloud, deployment)


def listen(deployment: Deployment) -> None:
    """Make the queue that hears the notifications of a stage."""
    sqs = deployment.client("sqs")
    queue = sqs.create_queue(QueueName="notifications")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    deployment.client("sns").subscribe(
        TopicArn=deployment.output("training", "NotificationTopicArn"),
        Protocol="sqs",
        Endpoint=arn["Attributes"]["QueueArn"],
    )


@pytest.fixture(scope="module")
def stage(assembly: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Deploy the local stage."""
    with Cloud(tmp_path_factory.mktemp("cloud"), rate=CLOCK_RATE) as cloud:
        cloud.deploy(assembly)
        yield watch(cloud)
