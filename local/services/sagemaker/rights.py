"""What calls to SageMaker need (see `local.rights`)."""

from __future__ import annotations

from collections.abc import Iterator

from local.rights import Call, Judge, Need, on


def _create_package(call: Call) -> Iterator[Need]:
    """Ask for the group, and for the version of it that the package becomes."""
    group = call.text("ModelPackageGroupName").rsplit("/", 1)[-1]
    yield Need("sagemaker:CreateModelPackage", call.arn(f"model-package-group/{group}"))
    yield Need("sagemaker:CreateModelPackage", call.arn(f"model-package/{group}/1"))


def _create_job(call: Call) -> Iterator[Need]:
    """Ask for the job, for its tags, and for handing over the role that it runs under."""
    if call.operation == "CreateTrainingJob":
        job = call.named("training-job", "TrainingJobName")
        definition = call.parameters
    else:
        job = call.named("hyper-parameter-tuning-job", "HyperParameterTuningJobName")
        definition = call.parameters.get("TrainingJobDefinition", {})
    yield Need(f"sagemaker:{call.operation}", job)
    if call.parameters.get("Tags"):
        yield Need("sagemaker:AddTags", job)
    yield Need(
        "iam:PassRole",
        definition.get("RoleArn", ""),
        {"iam:PassedToService": "sagemaker.amazonaws.com"},
    )


NEEDS: dict[str, Judge] = {
    "sagemaker:CreateHyperParameterTuningJob": _create_job,
    "sagemaker:CreateModelPackage": _create_package,
    "sagemaker:CreateTrainingJob": _create_job,
    "sagemaker:DescribeHyperParameterTuningJob": on(
        lambda call: call.named("hyper-parameter-tuning-job", "HyperParameterTuningJobName")
    ),
    "sagemaker:DescribeModelPackage": on(
        lambda call: call.named("model-package", "ModelPackageName")
    ),
    "sagemaker:DescribeTrainingJob": on(lambda call: call.named("training-job", "TrainingJobName")),
    # List calls know no resources: only a grant on "*" allows them.
    "sagemaker:ListModelPackages": on(lambda call: "*"),
    "sagemaker:UpdateModelPackage": on(lambda call: call.named("model-package", "ModelPackageArn")),
}
