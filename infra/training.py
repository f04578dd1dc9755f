"""The training state machine: Plan -> Train -> Register, and what starts it."""

import importlib.metadata
import json
from typing import Any

from aws_cdk import (
    ArnFormat,
    Aws,
    CfnMapping,
    Stack,
    aws_cloudwatch,
    aws_events,
    aws_events_targets,
    aws_iam,
    aws_s3_assets,
    aws_stepfunctions,
)
from constructs import Construct

from core.settings import Settings
from infra.alarms import Notifications, alarm, metric
from infra.assets import Packager, container_target
from infra.functions import PackagedFunction
from infra.grants import (
    BY_PREFIX,
    ONE_STACK,
    acknowledge,
    acknowledge_wildcards,
    allow,
)
from infra.registry import Registry, allow_packages
from infra.storage import Storage, log_group

CONTAINER_VERSION = "1.9-0"

# What a job prints of its best candidate; higher is better, whatever the metric.
_OBJECTIVE_LINE = r"metric:objective=([-+0-9.eE]+)"

# Faults of the service, not of the request: worth another try.
_TRANSIENT = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
]


def read_registries() -> dict[str, str]:
    """Map each region to the account that holds SageMaker's scikit-learn image.

    The table ships as JSON with sagemaker-core, whose import would cost seconds.
    """
    distribution = importlib.metadata.distribution("sagemaker-core")
    path = distribution.locate_file("sagemaker/core/image_uri_config/sklearn.json")
    with open(str(path), encoding="utf-8") as file:
        versions = json.load(file)["training"]["versions"]
    return dict(sorted(versions[CONTAINER_VERSION]["registries"].items()))


class Container(Construct):
    """Name SageMaker's scikit-learn image in whatever region the stack is deployed to."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        """Make the mapping from region to registry."""
        super().__init__(scope, construct_id)
        registries = CfnMapping(
            self,
            "Registries",
            mapping={region: {"account": account} for region, account in read_registries().items()},
        )
        account = registries.find_in_map(Aws.REGION, "account")
        repository = "sagemaker-scikit-learn"
        registry = f"{account}.dkr.ecr.{Aws.REGION}.{Aws.URL_SUFFIX}"
        self.image = f"{registry}/{repository}:{CONTAINER_VERSION}-cpu-py3"
        self.repository_arn = (
            f"arn:{Aws.PARTITION}:ecr:{Aws.REGION}:{account}:repository/{repository}"
        )


class Training(Construct):
    """Train when there is a reason to, one run at a time, and register what came of it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        packager: Packager,
        storage: Storage,
        registry: Registry,
        container: Container,
        notifications: Notifications,
        serving_stack: str,
        commit: str,
    ) -> None:
        """Make the job's role, the plan function, the state machine, its rules and its alarm."""
        super().__init__(scope, construct_id)
        source = aws_s3_assets.Asset(
            self,
            "Source",
            path=str(
                packager.package_source(
                    trainable(settings).to_json(), container_target(local=settings.is_local)
                ).path
            ),
        )
        self.job_role = self._job_role(settings, storage, source, container)
        self.plan = self._plan(settings, packager, storage, source, serving_stack, commit)
        logs = log_group(self, "Logs", settings=settings)
        self.machine = aws_stepfunctions.StateMachine(
            self,
            "Machine",
            comment=f"{settings.deployment}: plan, train, register",
            definition_body=aws_stepfunctions.DefinitionBody.from_string(
                Stack.of(self).to_json_string(
                    define_machine(
                        settings=settings,
                        plan_arn=self.plan.function.function_arn,
                        register_arn=registry.register.function.function_arn,
                        topic_arn=notifications.topic.topic_arn,
                        image=container.image,
                        job_role_arn=self.job_role.role_arn,
                        bucket=storage.bucket.bucket_name,
                    )
                )
            ),
            logs=aws_stepfunctions.LogOptions(
                destination=logs, level=aws_stepfunctions.LogLevel.ALL, include_execution_data=True
            ),
            tracing_enabled=True,
        )
        self._grant_machine(settings, registry, notifications)
        self._let_plan_see_runs()
        self._start_by_itself(settings, storage)
        # A run either fails or it does not, and each failed run deserves a look: 1 of 1. Hours
        # without a run have no data, which says nothing is wrong.
        alarm(
            self,
            "FailureAlarm",
            settings=settings,
            kind="training-failure",
            says="A training run failed; the champion keeps serving.",
            topic=notifications.topic,
            of=metric(
                "AWS/States",
                "ExecutionsFailed",
                {"StateMachineArn": self.machine.state_machine_arn},
                statistic="Sum",
            ),
            threshold=1,
            datapoints=(1, 1),
            missing=aws_cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _job_role(
        self,
        settings: Settings,
        storage: Storage,
        source: aws_s3_assets.Asset,
        container: Container,
    ) -> aws_iam.Role:
        """Make the role of training jobs: read the pinned inputs, write models and checkpoints."""
        role = aws_iam.Role(
            self,
            "JobRole",
            assumed_by=aws_iam.ServicePrincipal("sagemaker.amazonaws.com"),
            description=f"{settings.deployment}: what a training job may do",
        )
        code = source.bucket.arn_for_objects(source.s3_object_key)
        allow(role, "s3:GetObject", on=[code])
        inputs = storage.objects(self, "runs/", "models/")
        allow(role, "s3:GetObject", on=inputs, because=BY_PREFIX)
        allow(role, "s3:PutObject", on=storage.objects(self, "models/"), because=BY_PREFIX)
        allow(
            role,
            "s3:GetObject",
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            on=storage.objects(self, "checkpoints/"),
            because=BY_PREFIX,
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

    def _plan(
        self,
        settings: Settings,
        packager: Packager,
        storage: Storage,
        source: aws_s3_assets.Asset,
        serving_stack: str,
        commit: str,
    ) -> PackagedFunction:
        """Make the function that decides whether to train, and pins what on."""
        plan = PackagedFunction(
            self,
            "Plan",
            name="plan",
            settings=settings,
            packager=packager,
            description="Decides whether a run is due, and pins the versions of its inputs",
            environment={
                "BUCKET": storage.bucket.bucket_name,
                "SOURCE_URI": source.s3_object_url,
                "SETTINGS_DIGEST": settings.training_digest,
                "SERVING_STACK": serving_stack,
                "MODEL_PACKAGE_GROUP": settings.deployment,
                "COMMIT": commit,
                "MIN_NEW_LABELS": str(settings.retraining.min_new_labels),
                "COOL_DOWN_HOURS": f"{settings.retraining.cool_down_hours:g}",
            },
            timeout_seconds=300,
            memory_mb=512,
        )
        role = plan.role
        inputs = storage.objects(self, "data/", "labelled/", "runs/")
        allow(role, "s3:GetObject", "s3:GetObjectVersion", on=inputs, because=BY_PREFIX)
        copies = storage.objects(self, "runs/")
        allow(role, "s3:PutObject", "s3:AbortMultipartUpload", on=copies, because=BY_PREFIX)
        allow(role, "s3:ListBucket", "s3:ListBucketVersions", on=[storage.bucket.bucket_arn])
        allow_packages(role, settings, "sagemaker:DescribeModelPackage")
        allow(
            role,
            "cloudformation:DescribeStacks",
            on=[stack_arn(self, serving_stack)],
            because=ONE_STACK,
        )
        return plan

    def _let_plan_see_runs(self) -> None:
        """Let the plan function list the machine's runs.

        A policy of its own: the machine refers to the function, which depends on its role's policy.
        """
        executions = Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{self.machine.state_machine_name}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        policy = aws_iam.Policy(
            self,
            "SeeRuns",
            roles=[self.plan.role],
            statements=[
                aws_iam.PolicyStatement(
                    actions=["states:ListExecutions"], resources=[self.machine.state_machine_arn]
                ),
                aws_iam.PolicyStatement(
                    actions=["states:DescribeExecution"], resources=[executions]
                ),
            ],
        )
        acknowledge_wildcards(
            policy, on=[executions], because="The runs of one machine, whatever they are called."
        )

    def _grant_machine(
        self, settings: Settings, registry: Registry, notifications: Notifications
    ) -> None:
        """Let the machine call its functions, run jobs of this deployment's name, and notify."""
        role = self.machine.role
        assert isinstance(role, aws_iam.Role)
        for function in (self.plan.function, registry.register.function):
            allow(role, "lambda:InvokeFunction", on=[function.function_arn])
        stack = Stack.of(self)
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
            on=[self.job_role.role_arn],
            when={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
        )
        allow(role, "sns:Publish", on=[notifications.topic.topic_arn])
        allow(role, "kms:Decrypt", "kms:GenerateDataKey", on=[notifications.key.key_arn])
        acknowledge(
            role,
            "AwsSolutions-IAM5[Resource::*]",
            because="What Step Functions needs to deliver its logs and traces: those actions know "
            "no resources (AWS page: Using CloudWatch Logs to log execution history).",
        )

    def _start_by_itself(self, settings: Settings, storage: Storage) -> None:
        """Start on new data, and on a schedule if there is one."""
        aws_events.Rule(
            self,
            "NewData",
            description=f"{settings.deployment}: new data starts training",
            event_pattern=aws_events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [storage.bucket.bucket_name]},
                    "object": {"key": [{"prefix": "data/"}]},
                },
            ),
            targets=[start(self.machine, trigger="data", reason="new data under data/")],
        )
        if settings.retraining.schedule:
            aws_events.Rule(
                self,
                "Schedule",
                description=f"{settings.deployment}: training on schedule",
                schedule=aws_events.Schedule.expression(settings.retraining.schedule),
                targets=[
                    start(
                        self.machine,
                        trigger="schedule",
                        reason=f"the schedule {settings.retraining.schedule}",
                    )
                ],
            )


def start(
    machine: aws_stepfunctions.IStateMachine, *, trigger: str, reason: str
) -> aws_events_targets.SfnStateMachine:
    """Make the target of a rule that starts a run."""
    return aws_events_targets.SfnStateMachine(
        machine,
        input=aws_events.RuleTargetInput.from_object(
            {"trigger": trigger, "force": False, "reason": reason}
        ),
    )


def stack_arn(scope: Construct, name: str) -> str:
    """Give the ARN of a stack of this account by its name, whatever its id."""
    return Stack.of(scope).format_arn(
        service="cloudformation", resource="stack", resource_name=f"{name}/*"
    )


def trainable(settings: Settings) -> Settings:
    """Keep what a training job reads; an edit of the serving side must not change its source."""
    kept = {"project", "data", "problem", "columns", "split", "training", "gates", "monitoring"}
    return settings.model_copy(
        update={
            name: field.get_default()
            for name, field in type(settings).model_fields.items()
            if name not in kept
        }
    )


def define_machine(
    *,
    settings: Settings,
    plan_arn: str,
    register_arn: str,
    topic_arn: str,
    image: str,
    job_role_arn: str,
    bucket: str,
) -> dict[str, Any]:
    """Write the state machine in the Amazon States Language."""
    caught = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Notify"}]
    retried = [
        {
            "ErrorEquals": _TRANSIENT,
            "IntervalSeconds": 2,
            "MaxAttempts": 5,
            "BackoffRate": 2,
            "JitterStrategy": "FULL",
        }
    ]
    train, model_uri, job = _define_job(settings, image, job_role_arn, bucket)
    return {
        "Comment": "Plan, train, register; the champion stays where anything fails.",
        "StartAt": "Triggered",
        "States": {
            "Triggered": {
                "Type": "Choice",
                "Choices": [
                    {
                        "And": [
                            {"Variable": "$.trigger", "IsPresent": True},
                            {"Variable": "$.trigger", "StringEquals": "data"},
                        ],
                        "Next": "Debounce",
                    }
                ],
                "Default": "Plan",
            },
            "Debounce": {
                "Type": "Wait",
                "Comment": "A table comes as many files; the run of the last one takes all.",
                "Seconds": settings.retraining.debounce_seconds,
                "Next": "Plan",
            },
            "Plan": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {
                    "FunctionName": plan_arn,
                    "Payload": {
                        "execution.$": "$$.Execution.Id",
                        "started.$": "$$.Execution.StartTime",
                        "now.$": "$$.State.EnteredTime",
                        "input.$": "$$.Execution.Input",
                    },
                },
                "ResultSelector": {"plan.$": "$.Payload"},
                "Retry": retried,
                "Catch": caught,
                "Next": "Due",
            },
            "Due": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.plan.action", "StringEquals": "train", "Next": "Train"},
                    {"Variable": "$.plan.action", "StringEquals": "wait", "Next": "Wait"},
                ],
                "Default": "Skipped",
            },
            "Wait": {
                "Type": "Wait",
                "Comment": "An older run is under way; one at a time.",
                "Seconds": 60,
                "Next": "Plan",
            },
            "Skipped": {"Type": "Succeed"},
            "Train": {**train, "ResultPath": "$.training", "Catch": caught, "Next": "Register"},
            "Register": {
                "Type": "Task",
                "Resource": "arn:aws:states:::lambda:invoke",
                "Parameters": {
                    "FunctionName": register_arn,
                    "Payload": {
                        "run.$": "$.plan.run",
                        "model_uri.$": model_uri,
                        "job_arn.$": job,
                        "now.$": "$$.State.EnteredTime",
                    },
                },
                "ResultSelector": {
                    "status.$": "$.Payload.status",
                    "reason.$": "$.Payload.reason",
                    "package_arn.$": "$.Payload.package_arn",
                },
                "ResultPath": "$.registration",
                "Retry": retried,
                "Catch": caught,
                "End": True,
            },
            "Notify": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sns:publish",
                "Parameters": {
                    "TopicArn": topic_arn,
                    "Subject": f"{settings.deployment}: a training run failed",
                    "Message.$": "States.Format('Run {} failed: {} {}. The champion keeps serving. "
                    "What to do: docs/runbook/training-failure.md', $$.Execution.Name, "
                    "$.error.Error, $.error.Cause)",
                },
                "ResultPath": None,
                "Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 2, "MaxAttempts": 3}],
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Failed"}],
                "Next": "Failed",
            },
            "Failed": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
        },
    }


def _tunes(settings: Settings) -> bool:
    return settings.training.search.parallel_jobs > 1


def _define_job(
    settings: Settings, image: str, job_role_arn: str, bucket: str
) -> tuple[dict[str, Any], str, str]:
    """Write the Train state; give it, and where its result names the model and the job."""
    training = settings.training
    tags = [
        {"Key": "project", "Value": settings.project.name},
        {"Key": "stage", "Value": settings.stage},
    ]
    stopping = {"MaxRuntimeInSeconds": training.max_runtime_seconds}
    if training.spot:
        # The job and its wait for spare capacity together; then SageMaker gives up.
        stopping["MaxWaitTimeInSeconds"] = 2 * training.max_runtime_seconds
    job: dict[str, Any] = {
        "RoleArn": job_role_arn,
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
    algorithm: dict[str, Any] = {"TrainingImage": image, "TrainingInputMode": "File"}
    checkpoints = f"States.Format('s3://{bucket}/checkpoints/{{}}', $.plan.run)"
    # A create that was refused for want of capacity has left no job of that name behind.
    retried = [
        {
            "ErrorEquals": [
                "SageMaker.ResourceLimitExceededException",
                "SageMaker.ThrottlingException",
            ],
            "IntervalSeconds": 60,
            "MaxAttempts": 10,
            "BackoffRate": 1.5,
        }
    ]
    # SageMaker stops the job itself at its limits; this ends a wait for an event that was lost.
    timeout = 3 * training.max_runtime_seconds
    if not _tunes(settings):
        parameters = {
            "TrainingJobName.$": "$.plan.run",
            "AlgorithmSpecification": algorithm,
            "HyperParameters.$": "$.plan.hyperparameters",
            **job,
            "Tags": tags,
        }
        if training.spot:
            parameters["CheckpointConfig"] = {"S3Uri.$": checkpoints}
        state = {
            "Type": "Task",
            "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
            "Parameters": parameters,
            "TimeoutSeconds": timeout,
            "Retry": retried,
        }
        return state, "$.training.ModelArtifacts.S3ModelArtifacts", "$.training.TrainingJobArn"
    definition = {
        "AlgorithmSpecification": {
            **algorithm,
            "MetricDefinitions": [{"Name": "objective", "Regex": _OBJECTIVE_LINE}],
        },
        "StaticHyperParameters.$": "$.plan.hyperparameters",
        **job,
    }
    if training.spot:
        definition["CheckpointConfig"] = {"S3Uri.$": checkpoints}
    search = training.search
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
            "Tags": tags,
        },
        "TimeoutSeconds": timeout * max(1, -(-search.trials // search.parallel_jobs)),
        "Retry": retried,
    }
    best = "$.training.BestTrainingJob"
    return (
        state,
        f"States.Format('s3://{bucket}/models/{{}}/output/model/', {best}.TrainingJobName)",
        f"{best}.TrainingJobArn",
    )


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
