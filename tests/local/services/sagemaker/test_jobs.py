"""Training jobs run as in SageMaker's container: folders, variables, metrics, failures, output."""

from __future__ import annotations

import io
import json
import random
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.services.sagemaker.jobs import Jobs
from local.services.sagemaker.transfers import relative_key
from local.services.sagemaker.tuning import draw_points
from tests.local.parts import ACCOUNT, REGION, PartsHost

ROLE = f"arn:aws:iam::{ACCOUNT}:role/training"


def pack(**files: str) -> bytes:
    """Pack scripts into a source archive; `__` in a name stands for `/`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/") + ".py")
            data = text.encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Factory:
    def __init__(self, host: PartsHost, jobs: Jobs) -> None:
        self.host, self.jobs = host, jobs
        self.sagemaker, self.s3 = host.client("sagemaker"), host.client("s3")
        self.s3.create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        for key in ("run/data/data/a.csv", "run/data/labelled/b.csv", "run/plan.json"):
            self.s3.put_object(Bucket="bucket", Key=key, Body=key.encode())

    def definition(self, script: str, **more: Any) -> dict[str, Any]:
        self.s3.put_object(
            Bucket="bucket",
            Key="code/abc.tar.gz",
            Body=pack(training__train=script, core__thing="NAME = 'thing'"),
        )
        channels = {
            "training": "s3://bucket/run/data/",
            "plan": "s3://bucket/run/plan.json",
            "code": "s3://bucket/code/abc.tar.gz",
        }
        return {
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "holdout:auc", "Regex": r"auc=([0-9.]+)"}],
            },
            "RoleArn": ROLE,
            "InputDataConfig": [
                {
                    "ChannelName": name,
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}},
                }
                for name, uri in channels.items()
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/models", "CompressionType": "NONE"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 10,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "EnableNetworkIsolation": True,
            **more,
        }

    def create(self, script: str, name: str = "job", **more: Any) -> None:
        hyperparameters = {
            "sagemaker_program": "training/train.py",
            "sagemaker_submit_directory": '"/opt/ml/input/data/code/abc.tar.gz"',
            **more.pop("HyperParameters", {}),
        }
        self.sagemaker.create_training_job(
            TrainingJobName=name,
            HyperParameters=hyperparameters,
            **self.definition(script, **more),
        )

    def run(self, script: str, name: str = "job", **more: Any) -> dict[str, Any]:
        self.create(script, name, **more)
        return self.finish(name)

    def finish(self, name: str = "job") -> dict[str, Any]:
        assert self.jobs.wait(name, 30)
        described: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return described

    def read(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket="bucket", Key=key)["Body"].read()
        return body


@pytest.fixture
def factory(host: PartsHost) -> Iterator[Factory]:
    jobs = Jobs(host)
    host.start(jobs)
    return Factory(host, jobs)


LOOK = """
import json, os, pathlib, sys
from core.thing import NAME
root = pathlib.Path(os.environ["SM_CHANNEL_TRAINING"])
seen = {
    "files": sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()),
    "plan": (pathlib.Path(os.environ["SM_CHANNEL_PLAN"]) / "plan.json").read_text(),
    "arguments": sys.argv[1:],
    "cwd": os.getcwd(),
    "module": NAME,
    "environment": dict(os.environ),
    "config": {
        p.name: json.loads(p.read_text())
        for p in pathlib.Path(os.environ["SM_INPUT_CONFIG_DIR"]).iterdir()
    },
}
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
(model / "deep").mkdir()
(model / "seen.json").write_text(json.dumps(seen))
(model / "deep" / "x").write_text("x")
(pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"]) / "extra").write_text("e")
print("auc=0.5"); print("auc=0.91 done")
print("to stderr", file=sys.stderr)
"""


def test_moto_5_2_5_offers_the_seams() -> None:
    """Moto 5.2.5: jobs are records made by SageMakerResponse; packages by the backend."""
    from moto.sagemaker.models import SageMakerModelBackend
    from moto.sagemaker.responses import SageMakerResponse

    assert {"create_training_job", "create_hyper_parameter_tuning_job"} <= set(
        vars(SageMakerResponse)
    )
    assert "stop_training_job" not in vars(SageMakerResponse)
    assert {"create_model_package", "update_model_package"} <= set(vars(SageMakerModelBackend))


def test_a_job_runs_under_the_container_contract(factory: Factory) -> None:
    lines: list[str] = []
    factory.jobs.watchers.append(lambda name, line: lines.append(line))
    described = factory.run(
        LOOK,
        HyperParameters={"depth": "3", "name": '"forest"', "n": "7"},
        Environment={"EXTRA": "yes"},
    )
    assert described["TrainingJobStatus"] == "Completed", described
    artifacts = "s3://bucket/models/job/output/model/"
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": artifacts}
    assert [t["Status"] for t in described["SecondaryStatusTransitions"]] == [
        "Starting",
        "Downloading",
        "Training",
        "Uploading",
        "Completed",
    ]
    seen = json.loads(factory.read("models/job/output/model/seen.json"))
    assert factory.read("models/job/output/model/deep/x") == b"x"
    assert factory.read("models/job/output/data/extra") == b"e"
    assert seen["files"] == ["data/a.csv", "labelled/b.csv"]
    assert seen["plan"] == "run/plan.json"
    assert seen["module"] == "thing"
    assert seen["cwd"].endswith("/opt/ml/code")
    assert seen["arguments"] == ["--depth", "3", "--name", "forest", "-n", "7"]
    variables = seen["environment"]
    assert json.loads(variables["SM_HPS"]) == {"depth": 3, "name": "forest", "n": 7}
    assert variables["SM_HP_NAME"] == "forest"
    assert variables["SM_CHANNELS"] == '["code", "plan", "training"]'
    assert variables["SM_USER_ENTRY_POINT"] == "training/train.py"
    assert variables["TRAINING_JOB_NAME"] == "job"
    assert variables["EXTRA"] == "yes"
    assert seen["config"]["resourceconfig.json"]["current_host"] == "algo-1"
    assert seen["config"]["hyperparameters.json"]["depth"] == "3"
    assert seen["config"]["inputdataconfig.json"]["plan"]["TrainingInputMode"] == "File"
    (metric,) = described["FinalMetricDataList"]
    assert (metric["MetricName"], round(metric["Value"], 4)) == ("holdout:auc", 0.91)
    assert lines == ["auc=0.5", "auc=0.91 done", "to stderr"]
    logged = factory.host.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="job/algo-1-"
    )
    assert [event["message"] for event in logged["events"]] == lines
    assert not (factory.host.folder / "jobs" / "job").exists()


def test_an_isolated_job_has_no_credentials_and_another_has_its_roles(factory: Factory) -> None:
    factory.run(LOOK, "isolated")
    factory.run(LOOK, "open", EnableNetworkIsolation=False)
    isolated, open_ = (
        json.loads(factory.read(f"models/{name}/output/model/seen.json"))["environment"]
        for name in ("isolated", "open")
    )
    assert "AWS_ENDPOINT_URL" not in isolated
    assert open_["AWS_ENDPOINT_URL"] == factory.host.endpoint
    described = factory.sagemaker.describe_training_job(TrainingJobName="isolated")
    assert described["EnableNetworkIsolation"] is True


def test_describe_says_in_progress_meanwhile_and_names_are_unique(factory: Factory) -> None:
    factory.create("import time; time.sleep(0.5)")
    described = factory.sagemaker.describe_training_job(TrainingJobName="job")
    assert described["TrainingJobStatus"] == "InProgress"
    with pytest.raises(ClientError, match="must be unique"):
        factory.create("pass")
    assert factory.finish()["TrainingJobStatus"] == "Completed"


def test_the_model_is_an_archive_unless_asked_otherwise(factory: Factory) -> None:
    described = factory.run(LOOK, OutputDataConfig={"S3OutputPath": "s3://bucket/models/"})
    artifacts = described["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifacts == "s3://bucket/models/job/output/model.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(factory.read("models/job/output/model.tar.gz"))) as tar:
        assert sorted(tar.getnames()) == ["deep", "deep/x", "seen.json"]
    with tarfile.open(fileobj=io.BytesIO(factory.read("models/job/output/output.tar.gz"))) as tar:
        assert tar.getnames() == ["extra"]


FAILURES = {
    "exit code": ("import sys; print('oh no'); sys.exit(3)", ["ExitCode 3", "oh no"]),
    "exception": ("raise ValueError('the label is missing')", ["ValueError: the label is missing"]),
    "failure file": (
        "import os, pathlib, sys\n"
        "pathlib.Path(os.environ['SM_OUTPUT_DIR'], 'failure').write_text('no rows')\n"
        "sys.exit(1)",
        ["AlgorithmError: no rows, exit code: 1"],
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failing_script_fails_the_job_with_its_reason(factory: Factory, kind: str) -> None:
    script, expected = FAILURES[kind]
    described = factory.run(script)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("AlgorithmError")
    for part in expected:
        assert part in described["FailureReason"]
    assert "ModelArtifacts" not in described


def test_jobs_that_cannot_start_say_why(factory: Factory) -> None:
    def reason(name: str, **more: Any) -> str:
        described = factory.run("pass", name, **more)
        assert described["TrainingJobStatus"] == "Failed"
        return str(described["FailureReason"])

    nothing = [
        {
            "ChannelName": "training",
            "DataSource": {
                "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/nothing/"}
            },
        }
    ]
    assert "No S3 objects found" in reason("empty", InputDataConfig=nothing)
    missing = {"sagemaker_submit_directory": "/opt/ml/input/data/code/other.tar.gz"}
    assert "no channel has put a file" in reason("archive", HyperParameters=missing)
    program = {"sagemaker_program": "training/nothing.py"}
    assert "source archive lacks" in reason("program", HyperParameters=program)
    fetched = {"sagemaker_submit_directory": "s3://bucket/code/abc.tar.gz"}
    assert "network-isolated" in reason("fetched", HyperParameters=fetched)


def test_a_job_with_network_fetches_its_source(factory: Factory) -> None:
    fetched = {"sagemaker_submit_directory": "s3://bucket/code/abc.tar.gz"}
    described = factory.run(LOOK, HyperParameters=fetched, EnableNetworkIsolation=False)
    assert described["TrainingJobStatus"] == "Completed", described


def test_a_job_is_stopped_at_its_maximum_runtime(factory: Factory) -> None:
    script = LOOK + "\nimport time; time.sleep(60)"
    described = factory.run(script, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert described["TrainingJobStatus"] == "Stopped"
    assert described["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert factory.read("models/job/output/model/deep/x") == b"x"


def test_a_job_can_be_stopped_by_hand(factory: Factory) -> None:
    factory.create("import time; time.sleep(60)")
    factory.sagemaker.stop_training_job(TrainingJobName="job")
    assert factory.finish()["TrainingJobStatus"] == "Stopped"
    with pytest.raises(ClientError, match="Stopped"):
        factory.sagemaker.stop_training_job(TrainingJobName="job")
    with pytest.raises(ClientError, match="not found"):
        factory.sagemaker.stop_training_job(TrainingJobName="nobody")


RESUME = """
import os, pathlib, time
folder = pathlib.Path(os.environ["SM_MODEL_DIR"]).parent / "checkpoints"
step = folder / "step"
if step.exists():
    (pathlib.Path(os.environ["SM_MODEL_DIR"]) / "resumed").write_text(step.read_text())
else:
    step.write_text("41")
    print("waiting", flush=True)
    time.sleep(60)
"""


def test_an_interrupted_spot_job_resumes_from_its_checkpoints(factory: Factory) -> None:
    factory.jobs.watchers.append(
        lambda name, line: factory.jobs.interrupt(name) if line == "waiting" else None
    )
    described = factory.run(
        RESUME,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        CheckpointConfig={"S3Uri": "s3://bucket/checkpoints/job"},
    )
    assert described["TrainingJobStatus"] == "Completed", described
    assert factory.read("checkpoints/job/step") == b"41"
    assert factory.read("models/job/output/model/resumed") == b"41"
    assert "Interrupted" in [t["Status"] for t in described["SecondaryStatusTransitions"]]


def test_state_changes_are_emitted(factory: Factory) -> None:
    url, arn = factory.host.queue("q")
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Training Job State Change"],
        "detail": {"TrainingJobStatus": ["Failed"]},
    }
    factory.host.rule("r", pattern, arn)
    factory.run("raise SystemExit('bad')")
    assert factory.host.clock.settle(10)
    (event,) = factory.host.messages(url)
    assert event["detail"]["TrainingJobName"] == "job"
    assert "bad" in event["detail"]["FailureReason"]
    assert event["resources"] == [event["detail"]["TrainingJobArn"]]


def test_advance_waits_for_a_job(factory: Factory) -> None:
    factory.create("import time; time.sleep(0.3)")
    before = time.monotonic()
    factory.host.clock.advance(3600)
    assert time.monotonic() - before >= 0.3
    described = factory.sagemaker.describe_training_job(TrainingJobName="job")
    assert described["TrainingJobStatus"] == "Completed"


def test_a_tuning_job_runs_training_jobs_and_names_the_best(factory: Factory) -> None:
    definition = factory.definition("import os; print('auc=' + str(int(os.environ['SM_HP_K'])/10))")
    definition["StaticHyperParameters"] = {
        "sagemaker_program": "training/train.py",
        "sagemaker_submit_directory": "/opt/ml/input/data/code/abc.tar.gz",
    }
    factory.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tuning",
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "holdout:auc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "CategoricalParameterRanges": [{"Name": "k", "Values": ["2", "7", "5"]}]
            },
        },
        TrainingJobDefinition=definition,
    )
    assert factory.jobs.wait("tuning", 60)
    described = factory.sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tuning"
    )
    assert described["HyperParameterTuningJobStatus"] == "Completed"
    assert described["TrainingJobStatusCounters"]["Completed"] == 3
    best = described["BestTrainingJob"]
    assert best["TunedHyperParameters"] == {"k": "7"}
    value = best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert value == pytest.approx(0.7)
    listed = factory.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tuning"
    )["TrainingJobSummaries"]
    assert len(listed) == 3


def test_points_are_drawn_within_their_ranges() -> None:
    ranges = {
        "IntegerParameterRanges": [{"Name": "i", "MinValue": "1", "MaxValue": "3"}],
        "ContinuousParameterRanges": [
            {"Name": "c", "MinValue": "0.001", "MaxValue": "10", "ScalingType": "Logarithmic"},
            {"Name": "l", "MinValue": "0", "MaxValue": "1"},
        ],
        "CategoricalParameterRanges": [{"Name": "k", "Values": ["a", "b"]}],
    }
    points = draw_points(ranges, 50, "Bayesian", random.Random(1))
    assert points == draw_points(ranges, 50, "Random", random.Random(1))
    assert {point["i"] for point in points} == {"1", "2", "3"}
    assert all(0.001 <= float(point["c"]) <= 10 for point in points)
    assert sum(float(point["c"]) < 0.1 for point in points) > 10
    assert all(point["k"] in "ab" and 0 <= float(point["l"]) <= 1 for point in points)


@pytest.mark.parametrize(
    ("key", "prefix", "where"),
    [
        ("run/data/x/a.csv", "run/data/", "x/a.csv"),
        ("run/data/x/a.csv", "run/data", "x/a.csv"),
        ("run/plan.json", "run/plan.json", "plan.json"),
        ("run/plan-2.json", "run/plan", "plan-2.json"),
        ("a.csv", "", "a.csv"),
    ],
)
def test_objects_of_a_prefix_keep_their_relative_names(key: str, prefix: str, where: str) -> None:
    assert relative_key(key, prefix) == where


def test_model_packages_emit_their_changes_and_keep_what_is_not_named(factory: Factory) -> None:
    """A stamp on the metadata emits the approval status again, as SageMaker does."""
    url, arn = factory.host.queue("q")
    factory.host.rule("r", {"detail-type": ["SageMaker Model Package State Change"]}, arn)
    factory.sagemaker.create_model_package_group(ModelPackageGroupName="group")
    package = factory.sagemaker.create_model_package(
        ModelPackageGroupName="group",
        ModelApprovalStatus="PendingManualApproval",
        CustomerMetadataProperties={"run": "r1"},
    )["ModelPackageArn"]
    factory.sagemaker.update_model_package(
        ModelPackageArn=package, ModelApprovalStatus="Approved", ApprovalDescription="good"
    )
    factory.sagemaker.update_model_package(
        ModelPackageArn=package, CustomerMetadataProperties={"promotion": "live"}
    )
    assert factory.host.clock.settle(10)
    details = [event["detail"] for event in factory.host.messages(url)]
    assert all(d["ModelPackageGroupName"] == "group" for d in details)
    assert all(d["ModelPackageArn"] == package for d in details)
    assert sorted(
        (d["ModelApprovalStatus"], tuple(d.get("UpdatedModelPackageFields", ()))) for d in details
    ) == [
        ("Approved", ("ApprovalDescription", "ModelApprovalStatus")),
        ("Approved", ("CustomerMetadataProperties",)),
        ("PendingManualApproval", ()),
    ]
    described = factory.sagemaker.describe_model_package(ModelPackageName=package)
    assert described["CustomerMetadataProperties"] == {"run": "r1", "promotion": "live"}
    assert described["ApprovalDescription"] == "good"
    assert described["ModelApprovalStatus"] == "Approved"


def test_a_deleted_model_package_is_gone(factory: Factory) -> None:
    """DeleteModelPackage, which moto 5.2.5 lacks, forgets the package and refuses unknown ones."""
    factory.sagemaker.create_model_package_group(ModelPackageGroupName="group")
    package = factory.sagemaker.create_model_package(
        ModelPackageGroupName="group", ModelApprovalStatus="Approved"
    )["ModelPackageArn"]
    factory.sagemaker.delete_model_package(ModelPackageName=package)
    listed = factory.sagemaker.list_model_packages(ModelPackageGroupName="group")
    assert listed["ModelPackageSummaryList"] == []
    with pytest.raises(factory.sagemaker.exceptions.ClientError, match="does not exist"):
        factory.sagemaker.delete_model_package(ModelPackageName=package)
