"""The monitor of captured predictions: its function, its alarms, and what starts retraining."""

import json

from aws_cdk import (
    Aws,
    Duration,
    aws_cloudwatch,
    aws_events,
    aws_events_targets,
    aws_stepfunctions,
)

from core.settings import Settings
from infra.alarms import RUNBOOK, alarm, own_metric
from infra.deployment import Scope, StageConstruct
from infra.functions import PackagedFunction
from infra.grants import allow
from infra.notifications import Notifications
from infra.rules import on_event, on_schedule
from infra.storage import Storage
from infra.training.machine import start


class Monitor(StageConstruct):
    """Judge the captured predictions on a schedule; alarm on what it finds, and retrain."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        storage: Storage,
        notifications: Notifications,
        machine: aws_stepfunctions.IStateMachine,
    ) -> None:
        """Make the function, its schedule, the alarms on its findings, the rules that retrain."""
        super().__init__(scope, construct_id)
        self.function = self._function(storage, notifications)
        self._period = Duration.minutes(self.settings.monitoring.schedule_minutes)
        on_schedule(
            self,
            "Schedule",
            says="judge what was captured",
            schedule=aws_events.Schedule.rate(self._period),
            target=aws_events_targets.LambdaFunction(self.function.function),
        )
        self.alarms = self._alarms(notifications)
        self._retrain(machine)

    def _function(self, storage: Storage, notifications: Notifications) -> PackagedFunction:
        monitor = PackagedFunction(
            self,
            "Function",
            name="monitor",
            description="Summarises captured predictions, compares, publishes, reports",
            environment={
                "STAGE": self.settings.stage,
                "BUCKET": storage.bucket.bucket_name,
                "SETTINGS": _monitor_settings(self.settings),
                "TOPIC_ARN": notifications.topic.topic_arn,
                "RUNBOOK_URL": RUNBOOK,
            },
            # Long enough to catch up on a day of captures after an outage. No reserved concurrency:
            # an account that may run 10 functions at once, as new ones may, refuses to reserve any
            # (AWS page: Configuring reserved concurrency), and two runs at once are harmless: the
            # second finds that the state it read was written over, and changes nothing.
            timeout_seconds=900,
            memory_mb=1024,
        )
        role = monitor.role
        read = ["captures/", "labels/", "labelled/", "models/", "monitor/"]
        storage.allow(role, "s3:GetObject", below=read)
        storage.allow(role, "s3:PutObject", below=["labelled/", "monitor/"])
        allow(role, "s3:ListBucket", on=[storage.bucket.bucket_arn])
        notifications.allow_publish(role)
        allow(
            role,
            "events:PutEvents",
            on=[f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:event-bus/default"],
            when={"StringEquals": {"events:source": "driftless"}},
        )
        return monitor

    def _alarms(self, notifications: Notifications) -> dict[str, aws_cloudwatch.Alarm]:
        """Turn the monitor's verdicts into alarms.

        1 of 1: the monitor has already weighed the window against the promised rate of false
        alarms, and asking for M of N again would make that rate another one. Missing data is
        ignored: a window with too few rows has no verdict, and the last one stands.
        """
        made = {}
        for kind, name, says in (
            ("drift", "DriftDetected", "Rows differ from those that the model was trained on."),
            ("data-quality", "DataQualityFindings", "Missing, unseen or impossible values rose."),
            ("prediction-shift", "PredictionShift", "The model's answers differ from before."),
            ("quality-drop", "QualityDrop", "Labels say that the model is worse than at training."),
        ):
            made[kind] = alarm(
                self,
                "".join(word.capitalize() for word in kind.split("-")) + "Alarm",
                kind=kind,
                says=says,
                topic=notifications.topic,
                of=own_metric(self.deployment, name, statistic="Maximum"),
                threshold=1,
                datapoints=(1, 1),
                missing=aws_cloudwatch.TreatMissingData.IGNORE,
            )
        # The one alarm for which silence is the fault: 2 of 2 windows without a run, so that a run
        # that straddles the edge of a period is not missed twice.
        made["monitor-heartbeat"] = alarm(
            self,
            "HeartbeatAlarm",
            kind="monitor-heartbeat",
            says="The monitor did not finish a run in two windows; the other alarms are blind.",
            topic=notifications.topic,
            of=own_metric(self.deployment, "MonitorRuns", statistic="Sum", period=self._period),
            threshold=1,
            datapoints=(2, 2),
            missing=aws_cloudwatch.TreatMissingData.BREACHING,
            comparison=aws_cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        )
        return made

    def _retrain(self, machine: aws_stepfunctions.IStateMachine) -> None:
        """Start a run when drift or a drop is found, and when the labels it waited for have come.

        The plan function holds the cool-down, so that a storm of alarms is one run.
        """
        on_event(
            self,
            "RetrainOnAlarm",
            says="drift or a drop in quality starts training",
            source="aws.cloudwatch",
            kind="CloudWatch Alarm State Change",
            resources=[self.alarms[kind].alarm_arn for kind in ("drift", "quality-drop")],
            detail={"state": {"value": ["ALARM"]}},
            target=start(machine, trigger="drift", reason="a drift or quality alarm"),
        )
        on_event(
            self,
            "RetrainOnLabels",
            says="labels for drifted rows start training",
            source="driftless",
            kind="Labels Ready",
            detail={"deployment": [self.deployment.name]},
            target=start(machine, trigger="drift", reason="labels for drifted rows came"),
        )


def _monitor_settings(settings: Settings) -> str:
    """Write what the monitor follows: its own table, and what it must know of two others."""
    followed = {
        **settings.monitoring.model_dump(exclude={"email"}),
        "min_new_labels": settings.retraining.min_new_labels,
        "buffer_seconds": settings.capture.buffer_seconds,
    }
    return json.dumps(followed)
