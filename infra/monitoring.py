"""Captured predictions, the monitor that judges them, its alarms, retraining and the dashboard."""

import json

from aws_cdk import (
    Aws,
    Duration,
    aws_budgets,
    aws_cloudwatch,
    aws_events,
    aws_events_targets,
    aws_iam,
    aws_kinesisfirehose,
    aws_logs,
    aws_stepfunctions,
)
from constructs import Construct

from core.settings import Settings
from infra.alarms import RUNBOOK, Notifications, alarm, metric, own_metric
from infra.assets import Packager
from infra.delivery import Delivery
from infra.functions import PackagedFunction
from infra.grants import BY_PREFIX, allow
from infra.serving import API_STAGE, Serving
from infra.storage import Storage, log_group, removal_policy
from infra.training import start


class Capture(Construct):
    """Carry capture lines from the function's log to the bucket, off the request's path."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        storage: Storage,
        notifications: Notifications,
        source: aws_logs.ILogGroup,
    ) -> None:
        """Make the delivery stream and the filter that feeds it."""
        super().__init__(scope, construct_id)
        logs = log_group(self, "Logs", settings=settings)
        stream_log = aws_logs.LogStream(
            self, "DeliveryLog", log_group=logs, removal_policy=removal_policy(settings)
        )
        self.stream = self._stream(settings, storage, logs, stream_log)
        self._filter(source)
        # Firehose reports how old the oldest undelivered record is, and only while it has some: no
        # data is good news. 2 of 3 periods ride out one retry of S3.
        alarm(
            self,
            "DeliveryAlarm",
            settings=settings,
            kind="capture-delivery",
            says="Captured predictions wait for over 15 minutes to reach the bucket.",
            topic=notifications.topic,
            of=metric(
                "AWS/Firehose",
                "DeliveryToS3.DataFreshness",
                {"DeliveryStreamName": self.stream.ref},
                statistic="Maximum",
                period=Duration.minutes(5),
            ),
            threshold=900 + settings.capture.buffer_seconds,
            datapoints=(2, 3),
            missing=aws_cloudwatch.TreatMissingData.NOT_BREACHING,
            comparison=aws_cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        )

    def _stream(
        self,
        settings: Settings,
        storage: Storage,
        logs: aws_logs.LogGroup,
        stream_log: aws_logs.LogStream,
    ) -> aws_kinesisfirehose.CfnDeliveryStream:
        role = aws_iam.Role(
            self,
            "StreamRole",
            assumed_by=aws_iam.ServicePrincipal("firehose.amazonaws.com"),
            description=f"{settings.deployment}: what the capture stream may do",
        )
        allow(
            role,
            "s3:AbortMultipartUpload",
            "s3:GetObject",
            "s3:PutObject",
            on=storage.objects(self, "captures/", "captures-failed/"),
            because=BY_PREFIX,
        )
        allow(
            role,
            "s3:GetBucketLocation",
            "s3:ListBucket",
            "s3:ListBucketMultipartUploads",
            on=[storage.bucket.bucket_arn],
        )
        allow(role, "logs:PutLogEvents", on=[logs.log_group_arn])
        kinds = aws_kinesisfirehose.CfnDeliveryStream

        def processor(
            kind: str, **parameters: str
        ) -> aws_kinesisfirehose.CfnDeliveryStream.ProcessorProperty:
            return kinds.ProcessorProperty(
                type=kind,
                parameters=[
                    kinds.ProcessorParameterProperty(parameter_name=name, parameter_value=value)
                    for name, value in parameters.items()
                ],
            )

        stream = kinds(
            self,
            "Stream",
            delivery_stream_type="DirectPut",
            delivery_stream_encryption_configuration_input=(
                kinds.DeliveryStreamEncryptionConfigurationInputProperty(key_type="AWS_OWNED_CMK")
            ),
            extended_s3_destination_configuration=kinds.ExtendedS3DestinationConfigurationProperty(
                bucket_arn=storage.bucket.bucket_arn,
                role_arn=role.role_arn,
                prefix="captures/!{timestamp:yyyy/MM/dd/HH}/",
                error_output_prefix=(
                    "captures-failed/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/"
                ),
                compression_format="GZIP",
                file_extension=".jsonl.gz",
                buffering_hints=kinds.BufferingHintsProperty(
                    interval_in_seconds=settings.capture.buffer_seconds, size_in_m_bs=16
                ),
                cloud_watch_logging_options=kinds.CloudWatchLoggingOptionsProperty(
                    enabled=True,
                    log_group_name=logs.log_group_name,
                    log_stream_name=stream_log.log_stream_name,
                ),
                # A subscription sends gzipped batches of log events; what lands is the lines alone.
                processing_configuration=kinds.ProcessingConfigurationProperty(
                    enabled=True,
                    processors=[
                        processor("Decompression", CompressionFormat="GZIP"),
                        processor("CloudWatchLogProcessing", DataMessageExtraction="true"),
                        processor("AppendDelimiterToRecord", Delimiter="\\n"),
                    ],
                ),
            ),
        )
        stream.node.add_dependency(role)
        return stream

    def _filter(self, source: aws_logs.ILogGroup) -> None:
        role = aws_iam.Role(
            self,
            "FilterRole",
            assumed_by=aws_iam.ServicePrincipal(
                "logs.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            ),
            description="Lets CloudWatch Logs hand capture lines to the stream",
        )
        allow(role, "firehose:PutRecord", "firehose:PutRecordBatch", on=[self.stream.attr_arn])
        filtered = aws_logs.CfnSubscriptionFilter(
            self,
            "Filter",
            log_group_name=source.log_group_name,
            filter_pattern="{ $.capture = 1 }",
            destination_arn=self.stream.attr_arn,
            role_arn=role.role_arn,
        )
        filtered.node.add_dependency(role)


class Monitor(Construct):
    """Judge the captured predictions on a schedule; alarm on what it finds, and retrain."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        packager: Packager,
        storage: Storage,
        notifications: Notifications,
        machine: aws_stepfunctions.IStateMachine,
    ) -> None:
        """Make the function, its schedule, the alarms on its findings, the rules that retrain."""
        super().__init__(scope, construct_id)
        self.function = self._function(settings, packager, storage, notifications)
        aws_events.Rule(
            self,
            "Schedule",
            description=f"{settings.deployment}: judge what was captured",
            schedule=aws_events.Schedule.rate(
                Duration.minutes(settings.monitoring.schedule_minutes)
            ),
            targets=[aws_events_targets.LambdaFunction(self.function.function)],
        )
        self.alarms = self._alarms(settings, notifications)
        self._retrain(settings, machine)

    def _function(
        self,
        settings: Settings,
        packager: Packager,
        storage: Storage,
        notifications: Notifications,
    ) -> PackagedFunction:
        topic = notifications.topic
        monitor = PackagedFunction(
            self,
            "Function",
            name="monitor",
            settings=settings,
            packager=packager,
            description="Summarises captured predictions, compares, publishes, reports",
            environment={
                "STAGE": settings.stage,
                "BUCKET": storage.bucket.bucket_name,
                "SETTINGS": _monitor_settings(settings),
                "TOPIC_ARN": topic.topic_arn,
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
        read = storage.objects(self, "captures/", "labels/", "labelled/", "models/", "monitor/")
        allow(role, "s3:GetObject", on=read, because=BY_PREFIX)
        written = storage.objects(self, "labelled/", "monitor/")
        allow(role, "s3:PutObject", on=written, because=BY_PREFIX)
        allow(role, "s3:ListBucket", on=[storage.bucket.bucket_arn])
        allow(role, "sns:Publish", on=[topic.topic_arn])
        allow(role, "kms:Decrypt", "kms:GenerateDataKey", on=[notifications.key.key_arn])
        allow(
            role,
            "events:PutEvents",
            on=[f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:event-bus/default"],
            when={"StringEquals": {"events:source": "driftless"}},
        )
        return monitor

    def _alarms(
        self, settings: Settings, notifications: Notifications
    ) -> dict[str, aws_cloudwatch.Alarm]:
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
                settings=settings,
                kind=kind,
                says=says,
                topic=notifications.topic,
                of=own_metric(settings, name, statistic="Maximum"),
                threshold=1,
                datapoints=(1, 1),
                missing=aws_cloudwatch.TreatMissingData.IGNORE,
            )
        # The one alarm for which silence is the fault: 2 of 2 windows without a run, so that a run
        # that straddles the edge of a period is not missed twice.
        made["monitor-heartbeat"] = alarm(
            self,
            "HeartbeatAlarm",
            settings=settings,
            kind="monitor-heartbeat",
            says="The monitor did not finish a run in two windows; the other alarms are blind.",
            topic=notifications.topic,
            of=own_metric(
                settings,
                "MonitorRuns",
                statistic="Sum",
                period=Duration.minutes(settings.monitoring.schedule_minutes),
            ),
            threshold=1,
            datapoints=(2, 2),
            missing=aws_cloudwatch.TreatMissingData.BREACHING,
            comparison=aws_cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        )
        return made

    def _retrain(self, settings: Settings, machine: aws_stepfunctions.IStateMachine) -> None:
        """Start a run when drift or a drop is found, and when the labels it waited for have come.

        The plan function holds the cool-down, so that a storm of alarms is one run.
        """
        aws_events.Rule(
            self,
            "RetrainOnAlarm",
            description=f"{settings.deployment}: drift or a drop in quality starts training",
            event_pattern=aws_events.EventPattern(
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change"],
                resources=[self.alarms[kind].alarm_arn for kind in ("drift", "quality-drop")],
                detail={"state": {"value": ["ALARM"]}},
            ),
            targets=[start(machine, trigger="drift", reason="a drift or quality alarm")],
        )
        aws_events.Rule(
            self,
            "RetrainOnLabels",
            description=f"{settings.deployment}: labels for drifted rows start training",
            event_pattern=aws_events.EventPattern(
                source=["driftless"],
                detail_type=["Labels Ready"],
                detail={"deployment": [settings.deployment]},
            ),
            targets=[start(machine, trigger="drift", reason="labels for drifted rows came")],
        )


class Budget(Construct):
    """Write to the topic when the month's cost nears `[budget] monthly_usd`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        notifications: Notifications,
    ) -> None:
        """Make the budget over what carries this deployment's tags."""
        super().__init__(scope, construct_id)
        kinds = aws_budgets.CfnBudget
        subscriber = kinds.SubscriberProperty(
            subscription_type="SNS", address=notifications.topic.topic_arn
        )
        # Real cost at 80% and 100%, and the forecast of the whole month: the first warns while
        # there is still time.
        notices = [("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
        kinds(
            self,
            "Budget",
            budget=kinds.BudgetDataProperty(
                budget_name=settings.deployment,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=kinds.SpendProperty(amount=settings.budget.monthly_usd, unit="USD"),
                cost_filters={"TagKeyValue": [f"user:deployment${settings.deployment}"]},
            ),
            notifications_with_subscribers=[
                kinds.NotificationWithSubscribersProperty(
                    notification=kinds.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for kind, percent in notices
            ],
        )


class Dashboard(Construct):
    """Show service, drift, quality, delivery and what costs on one page."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        serving: Serving,
        delivery: Delivery,
        capture: Capture,
        machine: aws_stepfunctions.IStateMachine,
    ) -> None:
        """Make the dashboard."""
        super().__init__(scope, construct_id)
        api = {"ApiName": settings.deployment, "Stage": API_STAGE}
        period = Duration.minutes(max(5, settings.monitoring.schedule_minutes))

        def graph(title: str, *shown: aws_cloudwatch.IMetric) -> aws_cloudwatch.GraphWidget:
            return aws_cloudwatch.GraphWidget(title=title, left=list(shown), width=8, height=6)

        def gateway(name: str, statistic: str) -> aws_cloudwatch.Metric:
            return metric("AWS/ApiGateway", name, api, statistic=statistic)

        def own(name: str, statistic: str) -> aws_cloudwatch.Metric:
            return own_metric(settings, name, statistic=statistic, period=period)

        function = {"FunctionName": serving.predict.function.function_name}
        self.dashboard = aws_cloudwatch.Dashboard(
            self,
            "Dashboard",
            # Named: people look for it under the deployment's name.
            dashboard_name=settings.deployment,
            widgets=[
                [
                    graph("Requests", gateway("Count", "Sum"), own("RowsRefused", "Sum")),
                    graph("Latency (ms)", gateway("Latency", "p50"), gateway("Latency", "p99")),
                    graph(
                        "Errors",
                        gateway("4XXError", "Sum"),
                        gateway("5XXError", "Sum"),
                        metric("AWS/Lambda", "Throttles", function, statistic="Sum"),
                    ),
                ],
                [
                    graph("Drift: evidence (1 alarms)", own("DriftEvidence", "Maximum")),
                    graph(
                        "Findings",
                        own("DriftDetected", "Maximum"),
                        own("DataQualityFindings", "Maximum"),
                        own("PredictionShift", "Maximum"),
                    ),
                    graph("Rows judged", own("RowsJudged", "Sum"), own("Predictions", "Sum")),
                ],
                [
                    graph(
                        "Quality (estimated until labels come)",
                        own("EstimatedQuality", "Average"),
                        own("QualityDrop", "Maximum"),
                    ),
                    graph(
                        "Labels and runs of the monitor",
                        own("LabelledRows", "Sum"),
                        own("MonitorRuns", "Sum"),
                    ),
                    graph(
                        "Delivery",
                        metric(
                            "AWS/Firehose",
                            "DeliveryToS3.DataFreshness",
                            {"DeliveryStreamName": capture.stream.ref},
                            statistic="Maximum",
                        ),
                        metric(
                            "AWS/SQS",
                            "ApproximateNumberOfMessagesVisible",
                            {"QueueName": delivery.dead_letters.queue_name},
                            statistic="Maximum",
                        ),
                        own("CapturesUnreadable", "Sum"),
                    ),
                ],
                [
                    graph(
                        "Cost of serving: requests, milliseconds of predict",
                        gateway("Count", "Sum"),
                        metric("AWS/Lambda", "Duration", function, statistic="Sum"),
                    ),
                    graph(
                        "Cost of capture: bytes of log lines, bytes to Firehose",
                        metric(
                            "AWS/Logs",
                            "IncomingBytes",
                            {"LogGroupName": serving.predict.log_group.log_group_name},
                            statistic="Sum",
                        ),
                        metric(
                            "AWS/Firehose",
                            "IncomingBytes",
                            {"DeliveryStreamName": capture.stream.ref},
                            statistic="Sum",
                        ),
                    ),
                    graph(
                        "Cost of training: milliseconds of runs",
                        metric(
                            "AWS/States",
                            "ExecutionTime",
                            {"StateMachineArn": machine.state_machine_arn},
                            statistic="Sum",
                        ),
                    ),
                ],
            ],
        )


def _monitor_settings(settings: Settings) -> str:
    """Write what the monitor follows: its own table, and what it must know of two others."""
    followed = {
        **settings.monitoring.model_dump(exclude={"email"}),
        "min_new_labels": settings.retraining.min_new_labels,
        "buffer_seconds": settings.capture.buffer_seconds,
    }
    return json.dumps(followed)
