"""Planning: whether a run starts, with which pinned inputs, by service and against moto."""

import dataclasses
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from core.errors import StorageError
from lambdas.plan import handler as plan_handler
from lambdas.plan.env import Data
from lambdas.plan.objects import ObjectVersion
from lambdas.plan.ports import Bucket, ModelRegistry, ServingStack, StateMachine
from lambdas.plan.service import (
    DRIFT_MARKER,
    Decision,
    Execution,
    Request,
    Settings,
    plan,
)

NOW = datetime(2026, 11, 21, 3, 30, tzinfo=UTC)
MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:shop-dev"
RUNS = MACHINE.replace(":stateMachine:", ":execution:")
SETTINGS = Settings(
    deployment="shop-dev",
    bucket="bucket",
    source_uri="s3://assets/0123.tar.gz",
    settings_digest="digest",
    commit="c0ffee",
    region="eu-west-1",
    min_new_labels=100,
    cool_down=timedelta(hours=24),
    arrival="append",
    table=Data(arrival="append", id_column="", separator="", encoding="", columns=()),
)


def version(key: str, version_id: str, size: int, day: int = 1) -> ObjectVersion:
    """Make a version that came on a day of November."""
    return ObjectVersion(key, version_id, "etag", size, f"2026-11-{day:02}T09:00:00.000+00:00")


class World:
    """The state machine, the bucket, the registry and the stack, in memory."""

    def __init__(self) -> None:
        self.executions: dict[str, tuple[datetime, str]] = {f"{RUNS}:me": (NOW, "manual")}
        self.versions = [version("data/a.csv", "v1", 10)]
        self.objects: dict[str, bytes] = {}
        self.bodies: dict[str, bytes] = {}
        self.settings = SETTINGS
        self.copies: dict[str, ObjectVersion] = {}
        self.rows: dict[str, int] = {}
        self.fingerprint = ""
        self.champion = "none"

    def running(self, machine: str) -> Sequence[Execution]:
        assert machine == MACHINE
        return [Execution(arn, started) for arn, (started, _) in self.executions.items()]

    def trigger(self, execution: str) -> str:
        return self.executions[execution][1]

    def current_versions(self, prefix: str) -> Sequence[ObjectVersion]:
        return [version for version in self.versions if version.key.startswith(prefix)]

    def copy(self, source: ObjectVersion, key: str) -> None:
        self.copies[key] = source

    def read_start(self, version: ObjectVersion, limit: int) -> bytes:
        return self.bodies[version.key][:limit]

    def read(self, key: str) -> bytes | None:
        return self.objects.get(key)

    def write(self, key: str, body: bytes) -> None:
        self.objects[key] = body

    def count_rows(self, version: ObjectVersion) -> int:
        return self.rows[version.key]

    def newest_fingerprint(self) -> str:
        return self.fingerprint

    def model_uri(self) -> str:
        return self.champion

    def plan(self, trigger: str = "manual", me: str = "me", **options: Any) -> Decision:
        request = Request(f"{RUNS}:{me}", options.pop("now", NOW), trigger, **options)
        return plan(request, self.settings, self, self, self, self)

    def adopt(self, decision: Decision) -> None:
        """Make the run of a decision the champion."""
        self.champion = decision.model_uri
        self.fingerprint = json.loads(self.objects[f"runs/{decision.run}/plan.json"])["fingerprint"]


@pytest.fixture
def world() -> World:
    return World()


def test_a_run_is_pinned_and_described(world: World) -> None:
    """The job's channels, its hyperparameters and plan.json all name the same pinned inputs."""
    world.champion = "s3://bucket/models/old/output/model/"
    world.versions.append(version("labelled/part-1.csv.gz", "v9", 5))
    world.versions.append(version("data/", "folder", 0))
    decision = world.plan(reason="because")
    run = decision.run
    assert run.startswith("shop-dev-20261121-033000-")
    assert len(run) <= 63
    assert set(world.copies) == {
        f"runs/{run}/data/data/a.csv",
        f"runs/{run}/data/labelled/part-1.csv.gz",
    }
    document = json.loads(world.objects[f"runs/{run}/plan.json"])
    assert document["run"] == run
    assert (document["trigger"], document["reason"]) == ("manual", "because")
    assert document["champion"] == world.champion
    assert document["commit"] == "c0ffee"
    assert document["inputs"][0] == {
        "key": "data/a.csv",
        "version_id": "v1",
        "etag": "etag",
        "size": 10,
        "modified": "2026-11-01T09:00:00.000+00:00",
    }
    answer = decision.to_dict()
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in answer["channels"]
    }
    assert channels == {
        "training": f"s3://bucket/runs/{run}/data/",
        "plan": f"s3://bucket/runs/{run}/plan.json",
        "code": "s3://assets/0123.tar.gz",
        "champion": "s3://bucket/models/old/output/model/",
    }
    parameters = answer["hyperparameters"]
    assert parameters["sagemaker_program"] == "training/train.py"
    assert parameters["sagemaker_submit_directory"] == "/opt/ml/input/data/code/0123.tar.gz"
    assert all(isinstance(value, str) for value in parameters.values())


def test_the_first_run_has_no_champion(world: World) -> None:
    """Before the first model there is no champion channel."""
    names = [channel["ChannelName"] for channel in world.plan().channels]
    assert names == ["training", "plan", "code"]


def test_a_retry_names_the_same_run(world: World) -> None:
    """Step Functions may call again: the same execution at the same time is the same run."""
    assert world.plan().run == world.plan().run


def test_no_data_is_a_skip(world: World) -> None:
    """Without a table there is nothing to train on, labelled rows or not."""
    world.versions = [version("labelled/part-1.csv.gz", "v1", 5)]
    assert world.plan().action == "skip"
    assert "data/" in world.plan().reason


def test_a_run_that_would_change_nothing_is_skipped(world: World) -> None:
    """Same data, code and settings: skip, unless a person insists."""
    world.adopt(world.plan())
    assert world.plan().action == "skip"
    assert world.plan(force=True).action == "train"
    world.versions = [version("data/a.csv", "v2", 10)]
    assert world.plan().action == "train"


def test_one_run_at_a_time(world: World) -> None:
    """A run waits for an older one."""
    world.executions[f"{RUNS}:older"] = (NOW - timedelta(minutes=5), "data")
    assert world.plan().action == "wait"
    del world.executions[f"{RUNS}:older"]
    assert world.plan().action == "train"


@pytest.mark.parametrize(
    ("mine", "later", "action"),
    [
        ("data", "data", "skip"),
        ("schedule", "manual", "skip"),
        ("data", "drift", "train"),
        ("manual", "data", "train"),
        ("drift", "data", "train"),
    ],
)
def test_two_triggers_at_once_give_one_run(
    world: World, mine: str, later: str, action: str
) -> None:
    """The newest of several data triggers runs for all; other triggers are never dropped.

    A drift run may decide to do nothing, so that nothing is left to it.
    """
    world.versions.append(version("labelled/part-1.csv.gz", "v1", 5))
    world.rows = {"labelled/part-1.csv.gz": 500}
    world.executions[f"{RUNS}:later"] = (NOW + timedelta(seconds=1), later)
    assert world.plan(mine).action == action


def test_executions_of_the_same_instant_agree_on_their_order(world: World) -> None:
    """Two executions of one instant: exactly one goes on, the other is skipped."""
    world.executions = {f"{RUNS}:a": (NOW, "data"), f"{RUNS}:b": (NOW, "data")}
    actions = [world.plan("data", me).action for me in ("a", "b")]
    assert actions == ["skip", "wait"]


def test_retraining_after_drift_waits_for_labels(world: World) -> None:
    """Only rows labelled since the champion's plan count."""
    world.versions.append(version("labelled/part-1.csv.gz", "v1", 5))
    world.rows = {"labelled/part-1.csv.gz": 500, "labelled/part-2.csv.gz": 60}
    world.adopt(world.plan())
    world.versions.append(version("labelled/part-2.csv.gz", "v1", 5))
    decision = world.plan("drift")
    assert decision.action == "skip"
    assert "60 of 100" in decision.reason
    world.rows["labelled/part-2.csv.gz"] = 100
    assert world.plan("drift").action == "train"
    assert DRIFT_MARKER in world.objects


def test_retraining_after_drift_cools_down(world: World) -> None:
    """A second drift run within the cool-down is skipped, whatever became of the first."""
    world.versions.append(version("labelled/part-1.csv.gz", "v1", 5))
    world.rows = {"labelled/part-1.csv.gz": 500}
    assert world.plan("drift").action == "train"
    later = NOW + timedelta(hours=23, minutes=59)
    assert "cooling down" in world.plan("drift", now=later).reason
    assert world.plan("drift", now=NOW + timedelta(hours=24)).action == "train"
    assert world.plan("drift", now=later, force=True).action == "train"


def test_a_run_is_told_of_a_claim_that_labels_have_refuted(world: World) -> None:
    """The plan holds what the monitor wrote of the newest judged claim, if that was refuted."""

    def told() -> Any:
        return json.loads(world.objects[f"runs/{world.plan(force=True).run}/plan.json"])["refuted"]

    assert told() is None
    claim = {"format": 1, "run": "shop-dev-1", "refuted": True, "metric": "log_loss"}
    world.objects["monitor/claim.json"] = json.dumps(claim).encode()
    assert told() == claim
    world.objects["monitor/claim.json"] = json.dumps({**claim, "refuted": False}).encode()
    assert told() is None
    for damaged in (b"{", b"[]x", b"[1]", b'{"format": 1}'):
        world.objects["monitor/claim.json"] = damaged
        with pytest.raises(StorageError, match="restore an earlier version of it, or delete it"):
            told()


def test_too_long_a_name_is_an_error(world: World) -> None:
    """SageMaker allows 63 characters."""
    request = Request(f"{RUNS}:me", NOW, "manual")
    settings = dataclasses.replace(SETTINGS, deployment="d" * 50)
    with pytest.raises(ValueError, match="63"):
        plan(request, settings, world, world, world, world)


def test_the_event_is_read() -> None:
    """The state's input, with Step Functions' own spelling of times."""
    request = Request.from_event(
        {
            "execution": f"{RUNS}:me",
            "started": "2026-11-21T03:29:00.000Z",
            "now": "2026-11-21T03:30:00.123Z",
            "input": {"trigger": "drift", "force": False, "reason": "alarm"},
        }
    )
    assert request.machine == MACHINE
    assert request.trigger == "drift"
    assert request.now.utcoffset() == timedelta(0)
    assert Request.from_event({"execution": "a:b", "now": "2026-11-21T03:30:00Z"}).trigger == (
        "manual"
    )


@pytest.fixture
def bucket(aws: None) -> Bucket:
    s3 = boto3.client("s3")
    where: Any = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration=where)
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    return Bucket("bucket")


def test_the_bucket_pins_versions(bucket: Bucket) -> None:
    """The pinned version is copied even after a newer one came; deleted objects are not seen."""
    s3 = boto3.client("s3")
    s3.put_object(Bucket="bucket", Key="data/a b.csv", Body=b"old")
    s3.put_object(Bucket="bucket", Key="data/gone.csv", Body=b"x")
    s3.delete_object(Bucket="bucket", Key="data/gone.csv")
    (pinned,) = bucket.current_versions("data/")
    s3.put_object(Bucket="bucket", Key="data/a b.csv", Body=b"newer")
    bucket.copy(pinned, "runs/r/data/data/a b.csv")
    assert bucket.read("runs/r/data/data/a b.csv") == b"old"
    assert bucket.current_versions("data/")[0].size == 5


def test_the_bucket_counts_rows(bucket: Bucket) -> None:
    """Lines after the header; a file that is no gzip is an error that names it."""
    bucket.write("labelled/part-1.csv.gz", gzip.compress(b"a,b\n1,2\n3,4\n"))
    bucket.write("labelled/part-2.csv.gz", b"a,b\n1,2\n")
    first, second = bucket.current_versions("labelled/")
    assert bucket.count_rows(first) == 2
    with pytest.raises(StorageError, match="part-2"):
        bucket.count_rows(second)


def test_the_bucket_reads_what_is_not_there_as_nothing(bucket: Bucket) -> None:
    """A missing object is an answer, a missing bucket an error."""
    assert bucket.read("nothing") is None
    with pytest.raises(StorageError, match="elsewhere"):
        Bucket("elsewhere").read("nothing")


def test_the_registry_tells_the_newest_fingerprint(aws: None) -> None:
    """The newest package counts, whatever its status."""
    client = boto3.client("sagemaker")
    client.create_model_package_group(ModelPackageGroupName="shop-dev")
    registry = ModelRegistry("shop-dev")
    assert registry.newest_fingerprint() == ""
    for fingerprint in ("old", "new"):
        client.create_model_package(
            ModelPackageGroupName="shop-dev",
            ModelApprovalStatus="Rejected",
            CustomerMetadataProperties={"fingerprint": fingerprint},
        )
    assert registry.newest_fingerprint() == "new"


def test_the_stack_tells_the_champion(aws: None) -> None:
    """A serving stack that is not deployed yet serves nothing."""
    serving = ServingStack("shop-dev-serving")
    assert serving.model_uri() == "none"
    boto3.client("cloudformation").create_stack(
        StackName="shop-dev-serving",
        TemplateBody=json.dumps(
            {
                "Parameters": {"ModelUri": {"Type": "String"}},
                "Resources": {"T": {"Type": "AWS::SNS::Topic"}},
            }
        ),
        Parameters=[{"ParameterKey": "ModelUri", "ParameterValue": "s3://b/m/"}],
    )
    assert serving.model_uri() == "s3://b/m/"


def test_the_handler_plans_against_aws(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """One execution of a real state machine ends in a plan whose inputs are copied."""
    environ = {
        "DEPLOYMENT": "shop-dev",
        "BUCKET": "bucket",
        "SOURCE_URI": "s3://assets/0123.tar.gz",
        "SETTINGS_DIGEST": "digest",
        "SERVING_STACK": "shop-dev-serving",
        "MODEL_PACKAGE_GROUP": "shop-dev",
        "COMMIT": "c0ffee",
        "MIN_NEW_LABELS": "100",
        "COOL_DOWN_HOURS": "24.0",
        "DATA": json.dumps(
            {
                "arrival": "append",
                "id_column": "customer",
                "separator": "",
                "encoding": "",
                "columns": [],
            }
        ),
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    plan_handler._ports.cache_clear()
    plan_handler._environment.cache_clear()
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="shop-dev")
    states = boto3.client("stepfunctions")
    machine = states.create_state_machine(
        name="shop-dev",
        definition=json.dumps({"StartAt": "W", "States": {"W": {"Type": "Pass", "End": True}}}),
        roleArn="arn:aws:iam::123456789012:role/machine",
    )["stateMachineArn"]
    execution = states.start_execution(
        stateMachineArn=machine, input=json.dumps({"trigger": "data"})
    )["executionArn"]
    assert [e.arn for e in StateMachine().running(machine)] == [execution]
    assert StateMachine().trigger(execution) == "data"
    bucket.write("data/a.csv", b"x\n1\n")
    event = {
        "execution": execution,
        "started": "2026-11-21T03:29:00Z",
        "now": "2026-11-21T03:30:00Z",
        "input": {"trigger": "data"},
    }
    answer = plan_handler.handler(event, None)
    assert answer["action"] == "train"
    assert bucket.read(f"runs/{answer['run']}/data/data/a.csv") == b"x\n1\n"
    json.dumps(answer)
