"""The training job: a SageMaker training job, or a tuning job that spreads the search over several.

`[training.search] parallel_jobs` above 1 makes it a tuning job.
"""

from typing import Any, NamedTuple

from aws_cdk import Aws, Stack, aws_iam, aws_s3_assets

from core.settings import Settings
from infra.deployment import StageConstruct
from infra.grants import allow, service_role
from infra.states import SAGEMAKER_FAULTS, SAGEMAKER_QUOTA, State, retry
from infra.storage import Storage
from infra.training.container import Container

# What a job prints of its best candidate; higher is better, whatever the metric.
_OBJECTIVE_LINE = r"metric:objective=([-+0-9.eE]+)"

# A create that was refused has left no job of that name behind.
_RETRIED = [
    retry(*SAGEMAKER_QUOTA, attempts=10, interval_seconds=60, backoff=1.5, jitter=False),
    retry(*SAGEMAKER_FAULTS, attempts=5),
]


class Job(NamedTuple):
    """The state that runs the job, and where its result names the model and the job."""

    state: State
    model_uri: str
    arn: str


def make_job_role(
    scope: StageConstruct, *, storage: Storage, source: aws_s3_assets.Asset, container: Container
) -> aws_iam.Role:
    """Make the role of training jobs: read the pinned inputs, write models and checkpoints."""
    role = service_role(
        scope, "JobRole", service="sagemaker.amazonaws.com", says="what a training job may do"
    )
    code = source.bucket.arn_for_objects(source.s3_object_key)
    allow(role, "s3:GetObject", on=[code])
    storage.allow(role, "s3:GetObject", below=["runs/", "models/"])
    storage.allow(role, "s3:PutObject", below=["models/"])
    storage.allow(
        role,
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        below=["checkpoints/"],
    )
    allow(role, "s3:ListBucket", on=[storage.bucket.bucket_arn, source.bucket.bucket_arn])
    allow(
        role,
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:DescribeLogStreams",
        "logs:PutLogEvents",
        on=[
            f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}"
            ":log-group:/aws/sagemaker/TrainingJobs:*"
        ],
        because="SageMaker names the streams of its log group after jobs and machines.",
    )
    allow(
        role,
        "cloudwatch:PutMetricData",
        on=["*"],
        when={"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/TrainingJobs"}},
        because="The action knows no resources; the condition binds it to SageMaker's "
        "namespace. ecr:GetAuthorizationToken knows none either.",
    )
    allow(
        role,
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        on=[container.repository_arn],
    )
    allow(role, "ecr:GetAuthorizationToken", on=["*"])
    return role


def allow_jobs(scope: StageConstruct, role: aws_iam.Role, job_role: aws_iam.Role) -> None:
    """Let a state machine run jobs of this deployment's name, under the role of jobs."""
    settings, stack = scope.settings, Stack.of(scope)
    if _tunes(settings):
        kind, verb, mark = "hyper-parameter-tuning-job", "HyperParameterTuningJob", "Tuning"
        prefix = _tuning_prefix(settings)
    else:
        kind, verb, mark = "training-job", "TrainingJob", "Training"
        prefix = settings.deployment
    jobs = stack.format_arn(service="sagemaker", resource=kind, resource_name=f"{prefix}-*")
    allow(
        role,
        f"sagemaker:Create{verb}",
        f"sagemaker:Describe{verb}",
        f"sagemaker:Stop{verb}",
        "sagemaker:AddTags",
        on=[jobs],
        because="Jobs of this deployment, each named after its run.",
    )
    # How Step Functions learns that a .sync job has ended ("Integrate with Amazon SageMaker").
    rule = stack.format_arn(
        service="events",
        resource="rule",
        resource_name=f"StepFunctionsGetEventsForSageMaker{mark}JobsRule",
    )
    allow(role, "events:PutTargets", "events:PutRule", "events:DescribeRule", on=[rule])
    allow(
        role,
        "iam:PassRole",
        on=[job_role.role_arn],
        when={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
    )


def define_job(settings: Settings, *, image: str, role_arn: str, bucket: str) -> Job:
    """Write the task that runs the job and waits for its end."""
    define = _define_tuning_job if _tunes(settings) else _define_training_job
    return define(settings, image=image, role_arn=role_arn, bucket=bucket)


def _define_training_job(settings: Settings, *, image: str, role_arn: str, bucket: str) -> Job:
    parameters = {
        "TrainingJobName.$": "$.plan.run",
        "AlgorithmSpecification": _algorithm(image),
        "HyperParameters.$": "$.plan.hyperparameters",
        **_work(settings, role_arn, bucket),
        "Tags": _tags(settings),
        **_checkpoints(settings, bucket),
    }
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
        "Parameters": parameters,
        "TimeoutSeconds": _timeout_seconds(settings),
        "Retry": _RETRIED,
    }
    return Job(state, "$.training.ModelArtifacts.S3ModelArtifacts", "$.training.TrainingJobArn")


def _define_tuning_job(settings: Settings, *, image: str, role_arn: str, bucket: str) -> Job:
    search = settings.training.search
    definition = {
        "AlgorithmSpecification": {
            **_algorithm(image),
            "MetricDefinitions": [{"Name": "objective", "Regex": _OBJECTIVE_LINE}],
        },
        "StaticHyperParameters.$": "$.plan.hyperparameters",
        **_work(settings, role_arn, bucket),
        **_checkpoints(settings, bucket),
    }
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync",
        "Parameters": {
            "HyperParameterTuningJobName.$": _tuning_name(settings),
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "objective"},
                "ResourceLimits": {
                    "MaxNumberOfTrainingJobs": max(search.parallel_jobs, search.trials),
                    "MaxParallelTrainingJobs": search.parallel_jobs,
                },
                # Each job draws its own hyperparameters from this seed, beside the search in the
                # job.
                "ParameterRanges": {
                    "IntegerParameterRanges": [
                        {"Name": "search_seed", "MinValue": "0", "MaxValue": "2147483647"}
                    ]
                },
            },
            "TrainingJobDefinition": definition,
            "Tags": _tags(settings),
        },
        "TimeoutSeconds": _timeout_seconds(settings)
        * max(1, -(-search.trials // search.parallel_jobs)),
        "Retry": _RETRIED,
    }
    best = "$.training.BestTrainingJob"
    return Job(
        state,
        f"States.Format('s3://{bucket}/models/{{}}/output/model/', {best}.TrainingJobName)",
        f"{best}.TrainingJobArn",
    )


def _work(settings: Settings, role_arn: str, bucket: str) -> dict[str, Any]:
    """Write what both kinds of job are given: inputs, outputs, machines and limits."""
    training = settings.training
    stopping = {"MaxRuntimeInSeconds": training.max_runtime_seconds}
    if training.spot:
        # The job and its wait for spare capacity together; then SageMaker gives up.
        stopping["MaxWaitTimeInSeconds"] = 2 * training.max_runtime_seconds
    return {
        "RoleArn": role_arn,
        "InputDataConfig.$": "$.plan.channels",
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/models", "CompressionType": "NONE"},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": training.instance_type,
            "VolumeSizeInGB": training.volume_gb,
        },
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": training.spot,
        "EnableNetworkIsolation": True,
    }


def _algorithm(image: str) -> dict[str, Any]:
    return {"TrainingImage": image, "TrainingInputMode": "File"}


def _checkpoints(settings: Settings, bucket: str) -> dict[str, Any]:
    """Write where a job on Spot instances keeps its checkpoints; another keeps none."""
    if not settings.training.spot:
        return {}
    uri = f"States.Format('s3://{bucket}/checkpoints/{{}}', $.plan.run)"
    return {"CheckpointConfig": {"S3Uri.$": uri}}


def _tags(settings: Settings) -> list[dict[str, str]]:
    return [
        {"Key": "project", "Value": settings.project.name},
        {"Key": "stage", "Value": settings.stage},
    ]


def _timeout_seconds(settings: Settings) -> int:
    """Give the time after which a wait ends for an event that was lost.

    SageMaker stops the job itself at its own limits, which are shorter.
    """
    return 3 * settings.training.max_runtime_seconds


def _tunes(settings: Settings) -> bool:
    return settings.training.search.parallel_jobs > 1


def _tuning_prefix(settings: Settings) -> str:
    """Begin a tuning job's name, which has at most 32 characters where a run's has 63."""
    return settings.deployment[:9].rstrip("-")


def _tuning_name(settings: Settings) -> str:
    """Name the tuning job after the date, time and mark that end the run's name."""
    first = settings.deployment.count("-") + 1
    parts = [
        f"States.ArrayGetItem(States.StringSplit($.plan.run, '-'), {first + k})" for k in range(3)
    ]
    return f"States.Format('{_tuning_prefix(settings)}-{{}}-{{}}-{{}}', {', '.join(parts)})"
