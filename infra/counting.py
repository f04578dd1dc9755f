"""Counting captures with many functions at once: a distributed map over batches of objects."""

from typing import Any

from aws_cdk import Stack, aws_events, aws_events_targets, aws_iam, aws_stepfunctions
from constructs import Construct

from core.settings import Settings
from infra.functions import PackagedFunction
from infra.grants import BY_PREFIX, acknowledge, allow
from infra.scoring import allow_children
from infra.storage import Storage, log_group

PREFIX = "monitor/counting/"

# Few enough to leave predictions their share of an account's concurrency, 1,000 at first: counting
# is in no hurry.
WORKERS = 20
# As long as the monitor waits for it (lambdas/monitor/service.py, COUNTING_MS).
TIMEOUT_SECONDS = 2 * 3600

# A worker that died left whole summaries: the next one goes on behind them.
_RETRY = [
    {
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": 2,
        "MaxAttempts": 3,
        "BackoffRate": 2,
        "JitterStrategy": "FULL",
    }
]


class Counting(Construct):
    """Count what the monitor hands over, then let it judge."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        storage: Storage,
        monitor: PackagedFunction,
    ) -> None:
        """Make the state machine, what it may do, and the rule that starts it."""
        super().__init__(scope, construct_id)
        self.machine = aws_stepfunctions.StateMachine(
            self,
            "Machine",
            comment=f"{settings.deployment}: count captured objects, then judge",
            definition_body=aws_stepfunctions.DefinitionBody.from_string(
                Stack.of(self).to_json_string(define_machine(monitor.function.function_arn))
            ),
            logs=aws_stepfunctions.LogOptions(
                destination=log_group(self, "Logs", settings=settings),
                level=aws_stepfunctions.LogLevel.ALL,
            ),
            tracing_enabled=True,
        )
        role = self.machine.role
        assert isinstance(role, aws_iam.Role)
        allow(role, "lambda:InvokeFunction", on=[monitor.function.function_arn])
        allow(role, "s3:GetObject", on=storage.objects(self, PREFIX), because=BY_PREFIX)
        allow_children(self, self.machine)
        acknowledge(
            role,
            "AwsSolutions-IAM5[Resource::*]",
            because="What Step Functions needs to deliver its logs and traces: those actions know "
            "no resources (AWS page: Using CloudWatch Logs to log execution history).",
        )
        aws_events.Rule(
            self,
            "Rule",
            description=f"{settings.deployment}: more captures than one function should count",
            event_pattern=aws_events.EventPattern(
                source=["driftless"],
                detail_type=["Captures Waiting"],
                detail={"deployment": [settings.deployment]},
            ),
            targets=[
                aws_events_targets.SfnStateMachine(
                    self.machine,
                    input=aws_events.RuleTargetInput.from_event_path("$.detail"),
                )
            ],
        )


def define_machine(monitor_arn: str) -> dict[str, Any]:
    """Write the state machine in the Amazon States Language: Count each batch, Judge.

    A batch that fails is left to Judge, which counts what has no summary, as far as its time goes.
    """

    def invoke(payload: dict[str, Any]) -> dict[str, Any]:
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": monitor_arn, "Payload": payload},
            "Retry": _RETRY,
        }

    return {
        "Comment": "Count batches of captured objects, then judge. Run again, it goes on.",
        "StartAt": "Count",
        "TimeoutSeconds": TIMEOUT_SECONDS,
        "States": {
            "Count": {
                "Type": "Map",
                "Label": "Count",
                "ItemReader": {
                    "Resource": "arn:aws:states:::s3:getObject",
                    "ReaderConfig": {"InputType": "JSON"},
                    "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
                },
                "ItemSelector": {"time.$": "$.time", "batch.$": "$$.Map.Item.Value"},
                "MaxConcurrency": WORKERS,
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                    "StartAt": "CountBatch",
                    "States": {
                        "CountBatch": {
                            **invoke({"time.$": "$.time", "batch.$": "$.batch"}),
                            # The results of all batches have to fit the 256 KiB of a state.
                            "ResultSelector": {},
                            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "LeaveToJudge"}],
                            "End": True,
                        },
                        "LeaveToJudge": {"Type": "Pass", "Result": {}, "End": True},
                    },
                },
                "ResultPath": None,
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Judge"}],
                "Next": "Judge",
            },
            "Judge": {
                **invoke({"time.$": "$$.State.EnteredTime", "counted": True}),
                "OutputPath": "$.Payload",
                "End": True,
            },
        },
    }
