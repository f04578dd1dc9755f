"""Batch scoring: a function, and the state machine that maps it over a job's units."""

from typing import Any

from infra.deployment import Scope, StageConstruct
from infra.functions import PackagedFunction
from infra.grants import allow
from infra.serving.engine import engine_requirements, serving_engine
from infra.states import (
    ANY_ERROR,
    State,
    allow_children,
    catch_all,
    invoke,
    machine_role,
    make_machine,
    map_list,
    never_retry,
    retry,
)
from infra.storage import Storage

PREFIX = "batch/"

# One vCPU (AWS page: "Configure Lambda function memory"); scoring runs on one thread.
MEMORY_MB = 1769

# A worker that died (out of memory, of time, a lost host), a busy service: worth another try.
_RETRIED = [
    # Another try reads the same bytes and fails the same way.
    never_retry("DataError", "ContractError", "BundleError", "EngineError"),
    retry(ANY_ERROR, attempts=4),
]


class Scoring(StageConstruct):
    """Score tables of any size with the model that a job names."""

    def __init__(self, scope: Scope, construct_id: str, *, storage: Storage) -> None:
        """Make the function, the state machine and what each may do."""
        super().__init__(scope, construct_id)
        engine = serving_engine(self.settings)
        self.score = PackagedFunction(
            self,
            "Score",
            name="score",
            requirements=engine_requirements(engine),
            description="Plans a scoring job, scores its units, sums up",
            environment={"ENGINE": engine},
            timeout_seconds=900,
            memory_mb=MEMORY_MB,
        )
        storage.allow(self.score.role, "s3:GetObject", below=["models/", PREFIX])
        storage.allow(self.score.role, "s3:PutObject", below=[PREFIX])
        allow(self.score.role, "s3:ListBucket", on=[storage.arn(self)])
        function = self.score.function
        self.machine = make_machine(
            self,
            says="score a table in S3",
            definition=define_machine(function.function_arn),
            functions=[function],
        )
        # What a distributed map needs of its reader's and writer's objects (Developer Guide, "IAM
        # policies for using Distributed Map states").
        storage.allow(
            machine_role(self.machine),
            "s3:GetObject",
            "s3:PutObject",
            "s3:ListMultipartUploadParts",
            "s3:AbortMultipartUpload",
            below=[PREFIX],
        )
        allow_children(self, self.machine)


def define_machine(score_arn: str) -> dict[str, Any]:
    """Write the state machine in the Amazon States Language: Plan, Score each unit, Finish."""

    def call(action: str, *given: str, **fields: Any) -> State:
        """Call the function for an action, with these members of the state's input."""
        payload = {"action": action, **{f"{name}.$": f"$.{name}" for name in given}}
        return invoke(score_arn, payload, Retry=_RETRIED, **fields)

    return {
        "Comment": "Cut the input into units, score each, sum up. Run again, it goes on.",
        "StartAt": "Plan",
        "States": {
            "Plan": call(
                "plan",
                "job",
                ResultSelector={
                    "more.$": "$.Payload.more",
                    "units.$": "$.Payload.units",
                    "bucket.$": "$.Payload.bucket",
                    "key.$": "$.Payload.key",
                    "results.$": "$.Payload.results",
                },
                ResultPath="$.plan",
                Next="Planned",
            ),
            "Planned": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.plan.more", "BooleanEquals": True, "Next": "Plan"},
                    {"Variable": "$.plan.units", "NumericEquals": 0, "Next": "Finish"},
                ],
                "Default": "Score",
            },
            "Score": map_list(
                "Score",
                bucket="$.plan.bucket",
                key="$.plan.key",
                selector={"job.$": "$.job", "unit.$": "$$.Map.Item.Value"},
                MaxConcurrencyPath="$.job.workers",
                states={
                    "ScoreUnit": call(
                        "score",
                        "job",
                        "unit",
                        ResultSelector={"rows.$": "$.Payload.rows"},
                        Catch=catch_all("GiveUp", ResultPath="$.error"),
                        End=True,
                    ),
                    "GiveUp": call(
                        "give_up",
                        "job",
                        "unit",
                        "error",
                        ResultSelector={"error.$": "$.Payload.error"},
                        End=True,
                    ),
                },
                # Without it the results of all units would have to fit the 256 KiB of a state.
                ResultWriter={
                    "Resource": "arn:aws:states:::s3:putObject",
                    "Parameters": {"Bucket.$": "$.plan.bucket", "Prefix.$": "$.plan.results"},
                },
                ResultPath="$.map",
                Next="Finish",
            ),
            "Finish": call("finish", "job", OutputPath="$.Payload", Next="Complete"),
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
