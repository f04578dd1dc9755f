"""The tuning branch: one run spread over training jobs, the best of which is registered.

Deployed from the synthesised templates to the local cloud; a table in the bucket starts it.
"""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from core.bundle import Bundle
from core.settings import load_settings
from local.cloud import Cloud
from local.demo import CLOCK_RATE, connect_cloud
from tests.training.projects import PROBLEMS, make_table, write_project

TIMEOUT_SECONDS = 240
SEARCH = (
    '[training]\ncandidates = ["linear"]\nspot = false\n'
    "[training.search]\ntrials = 2\nparallel_jobs = 2\n"
    "[retraining]\ndebounce_seconds = 0\n"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small table whose project asks for two training jobs at once."""
    folder = tmp_path_factory.mktemp("project")
    return write_project(folder, make_table("binary"), PROBLEMS["binary"], SEARCH)


@pytest.fixture(scope="module")
def assembly(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesise the project's local stage."""
    folder = tmp_path_factory.mktemp("assembly") / "cdk.out"
    context = ["-c", "stage=local", "-c", f"project={project / 'project.toml'}"]
    subprocess.run(
        ["node_modules/.bin/cdk", "synth", "--quiet", *context, "-o", str(folder)], check=True
    )
    return folder


@pytest.mark.xdist_group("training-tuning")
def test_a_run_is_spread_over_jobs_and_the_best_is_registered(
    project: Path, assembly: Path, tmp_path: Path
) -> None:
    """Both jobs publish what the template reads; the better one's bundle becomes the package."""
    with Cloud(tmp_path, rate=CLOCK_RATE) as cloud:
        cloud.deploy(assembly)
        deployment = connect_cloud(load_settings(project / "project.toml", "local"), cloud)
        s3, sagemaker = deployment.client("s3"), deployment.client("sagemaker")
        table = (project / "table.csv").read_bytes()
        s3.put_object(Bucket=deployment.bucket, Key="data/table.csv", Body=table)
        execution = _wait_for_run(deployment)
        assert execution["status"] == "SUCCEEDED", execution.get("cause")
        (summary,) = sagemaker.list_hyper_parameter_tuning_jobs()[
            "HyperParameterTuningJobSummaries"
        ]
        name = summary["HyperParameterTuningJobName"]
        tuning = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        assert tuning["TrainingJobStatusCounters"]["Completed"] == 2
        assert tuning["ObjectiveStatusCounters"]["Succeeded"] == 2
        best = tuning["BestTrainingJob"]["TrainingJobName"]
        (package,) = sagemaker.list_model_packages(
            ModelPackageGroupName=deployment.output("training", "ModelPackageGroupName")
        )["ModelPackageSummaryList"]
        assert package["ModelApprovalStatus"] == "Approved"
        scores = {}
        for job in _jobs_of(sagemaker, name):
            prefix = f"models/{job}/output/model/"
            bundle = Bundle(
                lambda file, prefix=prefix: s3.get_object(
                    Bucket=deployment.bucket, Key=prefix + file
                )["Body"].read()
            )
            assert bundle.lineage()["search_seed"] is not None
            scores[job] = bundle.evaluation()["chosen"]["score"]
        assert best == min(scores, key=lambda job: scores[job])  # log loss: lower is better
        output = json.loads(execution["output"])
        assert output["registration"]["status"] == "Approved"
        described = sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
        assert f"/{best}/" in described["CustomerMetadataProperties"]["model_uri"]


def _jobs_of(sagemaker: Any, tuning: str) -> list[str]:
    found = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuning
    )["TrainingJobSummaries"]
    return [job["TrainingJobName"] for job in found]


def _wait_for_run(deployment: Any) -> dict[str, Any]:
    client = deployment.client("stepfunctions")
    machine = deployment.output("training", "StateMachineArn")
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        for execution in client.list_executions(stateMachineArn=machine)["executions"]:
            if execution["status"] != "RUNNING":
                arn = execution["executionArn"]
                return dict(client.describe_execution(executionArn=arn))
        time.sleep(0.3)
    raise AssertionError("the run did not end")
