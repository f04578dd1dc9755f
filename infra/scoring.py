"""Batch scoring: a function, and the state machine that maps it over a job's units."""

from typing import Any

from aws_cdk import ArnFormat, Stack, aws_iam, aws_stepfunctions
from constructs import Construct

from core.settings import Settings
from infra.assets import Packager
from infra.functions import PackagedFunction
from infra.grants import BY_PREFIX, acknowledge, acknowledge_wildcards, allow
from infra.serving import serving_engine
from infra.storage import Storage, log_group

PREFIX = "batch/"

# One vCPU (AWS page: "Configure Lambda function memory"); scoring runs on one thread.
MEMORY_MB = 1769

# A worker that died (out of memory, of time, a lost host), a busy service: worth another try.
_RETRIED = [
    # Another try reads the same bytes and fails the same way.
    {"ErrorEquals": ["DataError", "ContractError", "BundleError", "EngineError"], "MaxAttempts": 0},
    {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 2,
        "MaxAttempts": 4,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    },
]


class Scoring(Construct):
    """Score tables of any size with the model that a job names."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        packager: Packager,
        storage: Storage,
    ) -> None:
        """Make the function, the state machine and what each may do."""
        super().__init__(scope, construct_id)
        engine = serving_engine(settings)
        self.score = PackagedFunction(
            self,
            "Score",
            name="score",
            settings=settings,
            packager=packager,
            requirements="requirements-onnx.txt" if engine == "onnx" else "requirements.txt",
            description="Plans a scoring job, scores its units, sums up",
            environment={"ENGINE": engine},
            timeout_seconds=900,
            memory_mb=MEMORY_MB,
        )
        read = storage.objects(self, "models/", PREFIX)
        allow(self.score.role, "s3:GetObject", on=read, because=BY_PREFIX)
        allow(self.score.role, "s3:PutObject", on=storage.objects(self, PREFIX), because=BY_PREFIX)
        bucket = storage.objects(self, "")[0].removesuffix("/*")
        allow(self.score.role, "s3:ListBucket", on=[bucket])
        logs = log_group(self, "Logs", settings=settings)
        self.machine = aws_stepfunctions.StateMachine(
            self,
            "Machine",
            comment=f"{settings.deployment}: score a table in S3",
            definition_body=aws_stepfunctions.DefinitionBody.from_string(
                Stack.of(self).to_json_string(define_machine(self.score.function.function_arn))
            ),
            logs=aws_stepfunctions.LogOptions(
                destination=logs, level=aws_stepfunctions.LogLevel.ALL
            ),
            tracing_enabled=True,
        )
        self._grant_machine(storage)

    def _grant_machine(self, storage: Storage) -> None:
        """Let the machine call its function, read and write the map's lists, run its children."""
        role = self.machine.role
        assert isinstance(role, aws_iam.Role)
        allow(role, "lambda:InvokeFunction", on=[self.score.function.function_arn])
        objects = storage.objects(self, PREFIX)
        # What a distributed map needs of its reader's and writer's objects (Developer Guide, "IAM
        # policies for using Distributed Map states").
        allow(
            role,
            "s3:GetObject",
            "s3:PutObject",
            "s3:ListMultipartUploadParts",
            "s3:AbortMultipartUpload",
            on=objects,
            because=BY_PREFIX,
        )
        allow_children(self, self.machine)
        acknowledge(
            role,
            "AwsSolutions-IAM5[Resource::*]",
            because="What Step Functions needs to deliver its logs and traces: those actions know "
            "no resources (AWS page: Using CloudWatch Logs to log execution history).",
        )


def allow_children(scope: Construct, machine: aws_stepfunctions.StateMachine) -> None:
    """Let a machine with a distributed map start, see and stop the executions of its items.

    In a policy of its own: the role's own is part of what the machine is made with.
    """
    runs = Stack.of(scope).format_arn(
        service="states",
        resource="execution",
        resource_name=f"{machine.state_machine_name}:*",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    role = machine.role
    assert isinstance(role, aws_iam.Role)
    policy = aws_iam.Policy(
        scope,
        "RunChildren",
        roles=[role],
        statements=[
            aws_iam.PolicyStatement(
                actions=["states:StartExecution"], resources=[machine.state_machine_arn]
            ),
            aws_iam.PolicyStatement(
                actions=["states:DescribeExecution", "states:StopExecution"], resources=[runs]
            ),
        ],
    )
    acknowledge_wildcards(
        policy, on=[runs], because="The children of one machine, whatever they are called."
    )


def define_machine(score_arn: str) -> dict[str, Any]:
    """Write the state machine in the Amazon States Language: Plan, Score each unit, Finish."""

    def invoke(payload: dict[str, Any]) -> dict[str, Any]:
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": score_arn, "Payload": payload},
            "Retry": _RETRIED,
        }

    return {
        "Comment": "Cut the input into units, score each, sum up. Run again, it goes on.",
        "StartAt": "Plan",
        "States": {
            "Plan": {
                **invoke({"action": "plan", "job.$": "$.job"}),
                "ResultSelector": {
                    "more.$": "$.Payload.more",
                    "units.$": "$.Payload.units",
                    "bucket.$": "$.Payload.bucket",
                    "key.$": "$.Payload.key",
                    "results.$": "$.Payload.results",
                },
                "ResultPath": "$.plan",
                "Next": "Planned",
            },
            "Planned": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.plan.more", "BooleanEquals": True, "Next": "Plan"},
                    {"Variable": "$.plan.units", "NumericEquals": 0, "Next": "Finish"},
                ],
                "Default": "Score",
            },
            "Score": {
                "Type": "Map",
                "Label": "Score",
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject",
                    "ReaderConfig": {"InputType": "JSON"},
                    "Parameters": {"Bucket.$": "$.plan.bucket", "Key.$": "$.plan.key"},
                },
                "ItemSelector": {"job.$": "$.job", "unit.$": "$$.Map.Item.Value"},
                "MaxConcurrencyPath": "$.job.workers",
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "ScoreUnit",
                    "States": {
                        "ScoreUnit": {
                            **invoke({"action": "score", "job.$": "$.job", "unit.$": "$.unit"}),
                            "ResultSelector": {"rows.$": "$.Payload.rows"},
                            "Catch": [
                                {
                                    "ErrorEquals": ["States.ALL"],
                                    "ResultPath": "$.error",
                                    "Next": "GiveUp",
                                }
                            ],
                            "End": True,
                        },
                        "GiveUp": {
                            **invoke(
                                {
                                    "action": "give_up",
                                    "job.$": "$.job",
                                    "unit.$": "$.unit",
                                    "error.$": "$.error",
                                }
                            ),
                            "ResultSelector": {"error.$": "$.Payload.error"},
                            "End": True,
                        },
                    },
                },
                # Without it the results of all units would have to fit the 256 KiB of a state.
                "ResultWriter": {
                    "Resource": "arn:aws:states:::s3:putObject",
                    "Parameters": {"Bucket.$": "$.plan.bucket", "Prefix.$": "$.plan.results"},
                },
                "ResultPath": "$.map",
                "Next": "Finish",
            },
            "Finish": {
                **invoke({"action": "finish", "job.$": "$.job"}),
                "OutputPath": "$.Payload",
                "Next": "Complete",
            },
            "Complete": {
                "Type": "Choice",
                "Choices": [{"Variable": "$.failed_units", "NumericEquals": 0, "Next": "Scored"}],
                "Default": "Incomplete",
            },
            "Scored": {"Type": "Succeed"},
            "Incomplete": {
                "Type": "Fail",
                "Error": "UnitsFailed",
                "Cause": "Some units could not be scored; the manifest says why. Start the same "
                "job again: it does what is left.",
            },
        },
    }
