"""The training state machine: Plan -> Train -> Register.

People are told where one of these fails, where Plan holds a run or leaves files out, and where a
registered version waits for one of them.
"""

from typing import Any

from aws_cdk import aws_events, aws_events_targets, aws_stepfunctions

from core.settings import Settings
from infra.states import LAMBDA_FAULTS, catch_all, invoke, publish, retry
from infra.training.jobs import define_job


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
    caught = catch_all("Notify", ResultPath="$.error")
    retried = [retry(*LAMBDA_FAULTS, attempts=5)]
    job = define_job(settings, image=image, role_arn=job_role_arn, bucket=bucket)
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
            "Plan": invoke(
                plan_arn,
                {
                    "execution.$": "$$.Execution.Id",
                    "started.$": "$$.Execution.StartTime",
                    "now.$": "$$.State.EnteredTime",
                    "input.$": "$$.Execution.Input",
                },
                ResultSelector={"plan.$": "$.Payload"},
                Retry=retried,
                Catch=caught,
                Next="News",
            ),
            "News": {
                "Type": "Choice",
                "Comment": "Plan has something to say: the run is held, or files are not read.",
                "Choices": [{"Variable": "$.plan.notice", "IsPresent": True, "Next": "Tell"}],
                "Default": "Due",
            },
            "Tell": publish(
                topic_arn,
                subject="$.plan.notice.subject",
                message="$.plan.notice.message",
                # The run's result says the same, for `python -m ops status`.
                Catch=catch_all("Due", ResultPath=None),
                Next="Due",
            ),
            "Due": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.plan.action", "StringEquals": "train", "Next": "Train"},
                    {"Variable": "$.plan.action", "StringEquals": "wait", "Next": "Wait"},
                    {"Variable": "$.plan.action", "StringEquals": "hold", "Next": "Held"},
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
            "Held": {
                "Type": "Succeed",
                "Comment": "What came does not fit [data] arrival; a person decides.",
            },
            "Train": {
                **job.state,
                "ResultPath": "$.training",
                "Catch": caught,
                "Next": "Register",
            },
            "Register": invoke(
                register_arn,
                {
                    "run.$": "$.plan.run",
                    "model_uri.$": job.model_uri,
                    "job_arn.$": job.arn,
                    "now.$": "$$.State.EnteredTime",
                },
                ResultSelector={
                    "status.$": "$.Payload.status",
                    "reason.$": "$.Payload.reason",
                    "package_arn.$": "$.Payload.package_arn",
                    "notice.$": "$.Payload.notice",
                },
                ResultPath="$.registration",
                Retry=retried,
                Catch=caught,
                Next="Registered",
            ),
            "Registered": {
                "Type": "Choice",
                "Choices": [
                    {
                        "Variable": "$.registration.status",
                        "StringEquals": "PendingManualApproval",
                        "Next": "NotifyWaiting",
                    }
                ],
                "Default": "Done",
            },
            # A notice that cannot be sent fails the run: the alarm is then what people hear of it,
            # and a redrive of the execution sends the notice and nothing else.
            "NotifyWaiting": publish(
                topic_arn,
                subject=f"{settings.deployment}: a model version waits for a person",
                message="$.registration.notice",
                Next="Done",
            ),
            "Done": {"Type": "Succeed"},
            # What follows ends with the error that led here, not with the answer of SNS.
            "Notify": publish(
                topic_arn,
                subject=f"{settings.deployment}: a training run failed",
                message="States.Format('Run {} failed: {} {}. The champion keeps serving. "
                "What to do: docs/runbook/training-failure.md', $$.Execution.Name, "
                "$.error.Error, $.error.Cause)",
                Catch=catch_all("Failed", ResultPath=None),
                Next="Failed",
            ),
            "Failed": {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
        },
    }


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
