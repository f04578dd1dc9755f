"""Counting captures with many functions at once: a distributed map over batches of objects."""

from typing import Any

from aws_cdk import aws_events, aws_events_targets

from infra.deployment import Scope, StageConstruct
from infra.functions import PackagedFunction
from infra.rules import on_event
from infra.states import (
    ANY_ERROR,
    State,
    allow_children,
    catch_all,
    invoke,
    machine_role,
    make_machine,
    map_list,
    retry,
)
from infra.storage import Storage

PREFIX = "monitor/counting/"

# Few enough to leave predictions their share of an account's concurrency, 1,000 at first: counting
# is in no hurry.
WORKERS = 20
# As long as the monitor waits for it (lambdas/monitor/service.py, COUNTING_MS).
TIMEOUT_SECONDS = 2 * 3600


class Counting(StageConstruct):
    """Count what the monitor hands over, then let it judge."""

    def __init__(
        self, scope: Scope, construct_id: str, *, storage: Storage, monitor: PackagedFunction
    ) -> None:
        """Make the state machine, what it may do, and the rule that starts it."""
        super().__init__(scope, construct_id)
        function = monitor.function
        self.machine = make_machine(
            self,
            says="count captured objects, then judge",
            definition=define_machine(function.function_arn),
            functions=[function],
        )
        storage.allow(machine_role(self.machine), "s3:GetObject", below=[PREFIX])
        allow_children(self, self.machine)
        on_event(
            self,
            "Rule",
            says="more captures than one function should count",
            source="driftless",
            kind="Captures Waiting",
            detail={"deployment": [self.deployment.name]},
            target=aws_events_targets.SfnStateMachine(
                self.machine, input=aws_events.RuleTargetInput.from_event_path("$.detail")
            ),
        )


def define_machine(monitor_arn: str) -> dict[str, Any]:
    """Write the state machine in the Amazon States Language: Count each batch, Judge.

    A batch that fails is left to Judge, which counts what has no summary, as far as its time goes.
    """

    def call(payload: dict[str, Any], **fields: Any) -> State:
        # A worker that died left whole summaries: the next one goes on behind them.
        return invoke(monitor_arn, payload, Retry=[retry(ANY_ERROR, attempts=3)], **fields)

    return {
        "Comment": "Count batches of captured objects, then judge. Run again, it goes on.",
        "StartAt": "Count",
        "TimeoutSeconds": TIMEOUT_SECONDS,
        "States": {
            "Count": map_list(
                "Count",
                bucket="$.bucket",
                key="$.key",
                selector={"time.$": "$.time", "batch.$": "$$.Map.Item.Value"},
                MaxConcurrency=WORKERS,
                states={
                    "CountBatch": call(
                        {"time.$": "$.time", "batch.$": "$.batch"},
                        # The results of all batches have to fit the 256 KiB of a state.
                        ResultSelector={},
                        Catch=catch_all("LeaveToJudge"),
                        End=True,
                    ),
                    "LeaveToJudge": {"Type": "Pass", "Result": {}, "End": True},
                },
                ResultPath=None,
                Catch=catch_all("Judge", ResultPath=None),
                Next="Judge",
            ),
            "Judge": call(
                {"time.$": "$$.State.EnteredTime", "counted": True},
                OutputPath="$.Payload",
                End=True,
            ),
        },
    }
