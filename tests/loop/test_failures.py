"""Failure is part of the loop: what goes wrong is told, and the champion goes on serving.

The tests share one deployed stage and run in the order of this file, as events do in its life.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest

from tests.loop.conftest import Stage

pytestmark = pytest.mark.xdist_group("loop-failures")


def test_predicting_before_any_model_is_a_503_problem(stage: Stage) -> None:
    """Before the first model the API says so, as a problem document."""
    status, problem = stage.predict(stage.rows[:1])
    assert status == 503
    assert problem["status"] == 503
    assert "model" in problem["detail"]
    assert stage.deployment.request("GET", "health")[0] == 200


def test_two_triggers_at_once_give_one_run(stage: Stage) -> None:
    """Two objects that arrive together start two executions and one training job."""
    half = stage.table.splitlines(keepends=True)
    middle = len(half) // 2
    stage.put("data/first.csv", "".join(half[:middle]))
    stage.put("data/second.csv", half[0] + "".join(half[middle:]))
    stage.wait_until("both events start an execution", lambda: len(stage.executions()) >= 2)
    stage.wait_until("a model is registered", stage.packages)
    executions = stage.settle()
    jobs = stage.deployment.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    assert len(jobs) == 1
    actions = sorted(json.loads(done["output"])["plan"]["action"] for done in executions)
    assert actions == ["skip", "train"]
    assert [package["ModelApprovalStatus"] for package in stage.packages()] == ["Approved"]


def test_an_approved_model_goes_live_by_the_one_pointer(stage: Stage) -> None:
    """The approved package's address becomes the stack's ModelUri, and the API answers from it."""
    package = stage.packages()[0]
    uri = package["CustomerMetadataProperties"]["model_uri"]
    stage.wait_until("the pointer moves", lambda: stage.model_uri() == uri)
    stage.settle()
    status, answer = stage.predict(stage.rows)
    assert status == 200
    right = [p["label"] == y for p, y in zip(answer["predictions"], stage.labels, strict=True)]
    assert sum(right) / len(right) > 0.9
    assert answer["model"]["run"] == package["CustomerMetadataProperties"]["run"]


def test_the_outcome_is_written_on_the_model_package(stage: Stage) -> None:
    """The registry knows that the promoted model is live."""
    stage.wait_until(
        "the outcome is recorded",
        lambda: stage.packages()[0]["CustomerMetadataProperties"].get("promotion") == "live",
    )


def test_a_failed_training_job_notifies_and_leaves_the_champion_serving(stage: Stage) -> None:
    """A table that breaks the contract fails the job with a clear reason; nothing else changes."""
    before = stage.model_uri()
    stage.messages()
    header, *rows = stage.table.splitlines()
    broken = header.replace("mean radius", "median radius")
    stage.put("data/second.csv", "\n".join([broken, *rows]) + "\n")
    stage.wait_until(
        "an execution fails",
        lambda: [done for done in stage.executions() if done["status"] == "FAILED"],
    )
    stage.settle()
    told = stage.wait_until("a notification", stage.messages)
    assert any("mean radius" in json.dumps(message) for message in told)
    assert stage.model_uri() == before
    assert stage.predict(stage.rows[:1])[0] == 200
    assert len(stage.packages()) == 1


def test_a_failed_run_ends_with_the_reason_of_its_job(stage: Stage) -> None:
    """The execution's error and cause are what SageMaker said of the job, as on AWS."""
    (failed,) = (done for done in stage.executions() if done["status"] == "FAILED")
    assert failed["error"] == "States.TaskFailed"
    job = json.loads(failed["cause"])
    assert job["TrainingJobStatus"] == "Failed"
    assert "mean radius" in job["FailureReason"]


def test_a_model_that_misses_the_gate_is_registered_as_rejected(stage: Stage) -> None:
    """Shuffled labels cannot reach the gate: the model is kept, Rejected, with the reason."""
    before = stage.model_uri()
    header, *rows = stage.table.splitlines()
    cells = [row.split(",") for row in rows]
    column = header.split(",").index("diagnosis")
    labels = [row[column] for row in cells]
    random.Random(1).shuffle(labels)
    for row, label in zip(cells, labels, strict=True):
        row[column] = label
    shuffled = "\n".join([header, *(",".join(row) for row in cells)]) + "\n"
    stage.put("data/first.csv", shuffled)
    stage.put("data/second.csv", header + "\n" + rows[0] + "\n")
    stage.wait_until("a second model is registered", lambda: len(stage.packages()) == 2)
    stage.settle()
    rejected = stage.packages()[1]
    assert rejected["ModelApprovalStatus"] == "Rejected"
    assert "roc_auc" in rejected["ApprovalDescription"]
    assert stage.model_uri() == before
    assert stage.predict(stage.rows[:1])[0] == 200


def _copy_bundle_with_wrong_golden_answers(stage: Stage, uri: str) -> str:
    """Copy a bundle, alter the expected answers, and make the manifest fit the altered file."""
    s3 = stage.deployment.client("s3")
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    forged = "models/forged/output/model/"
    names = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    files = {
        item["Key"].removeprefix(prefix): s3.get_object(Bucket=bucket, Key=item["Key"])[
            "Body"
        ].read()
        for item in names
    }
    golden: dict[str, Any] = json.loads(files["golden.json"])
    golden["answers"] = [[1 - output for output in answer] for answer in golden["answers"]]
    altered = json.dumps(golden).encode()
    old = hashlib.sha256(files["golden.json"]).hexdigest()
    new = hashlib.sha256(altered).hexdigest()
    manifest = files["manifest.json"].replace(old.encode(), new.encode())
    manifest = manifest.replace(str(len(files["golden.json"])).encode(), str(len(altered)).encode())
    for name, body in {**files, "golden.json": altered, "manifest.json": manifest}.items():
        s3.put_object(Bucket=bucket, Key=forged + name, Body=body)
    return f"s3://{bucket}/{forged}"


def test_a_promotion_whose_golden_predictions_differ_rolls_back(stage: Stage) -> None:
    """The pre-traffic hook refuses the version; the stack, the alias and the answers stay."""
    before = stage.model_uri()
    live = stage.packages()[0]
    uri = _copy_bundle_with_wrong_golden_answers(stage, before)
    metadata = {**live["CustomerMetadataProperties"], "model_uri": uri, "run": "forged"}
    metadata.pop("promotion", None)
    stage.deployment.client("sagemaker").create_model_package(
        ModelPackageGroupName=live["ModelPackageGroupName"],
        InferenceSpecification=live["InferenceSpecification"],
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties=metadata,
    )
    stage.wait_until("the promotion rolls back", lambda: "ROLLBACK" in stage.stack_status())
    stage.settle()
    assert stage.stack_status() == "UPDATE_ROLLBACK_COMPLETE"
    assert stage.model_uri() == before
    status, answer = stage.predict(stage.rows[:1])
    assert status == 200
    assert answer["model"]["run"] == live["CustomerMetadataProperties"]["run"]
    stage.wait_until(
        "the outcome is recorded",
        lambda: (
            stage.packages()[-1]["CustomerMetadataProperties"].get("promotion") == "rolled_back"
        ),
    )
