"""Captured predictions: from the function's log to the bucket, off the request's path."""

from aws_cdk import (
    Aws,
    Duration,
    aws_cloudwatch,
    aws_iam,
    aws_kinesisfirehose,
    aws_logs,
)

from infra.alarms import alarm, metric
from infra.deployment import Scope, StageConstruct
from infra.grants import allow, service_role
from infra.notifications import Notifications
from infra.storage import Storage, log_group


class Capture(StageConstruct):
    """Carry capture lines from the function's log to the bucket, off the request's path."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        storage: Storage,
        notifications: Notifications,
        source: aws_logs.ILogGroup,
    ) -> None:
        """Make the delivery stream and the filter that feeds it."""
        super().__init__(scope, construct_id)
        logs = log_group(self)
        stream_log = aws_logs.LogStream(
            self, "DeliveryLog", log_group=logs, removal_policy=self.deployment.removal_policy
        )
        self.stream = self._stream(storage, logs, stream_log)
        self._filter(source)
        # Firehose reports how old the oldest undelivered record is, and only while it has some: no
        # data is good news. 2 of 3 periods ride out one retry of S3.
        alarm(
            self,
            "DeliveryAlarm",
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
            threshold=900 + self.settings.capture.buffer_seconds,
            datapoints=(2, 3),
            comparison=aws_cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        )

    def _stream(
        self,
        storage: Storage,
        logs: aws_logs.LogGroup,
        stream_log: aws_logs.LogStream,
    ) -> aws_kinesisfirehose.CfnDeliveryStream:
        role = service_role(
            self,
            "StreamRole",
            service="firehose.amazonaws.com",
            says="what the capture stream may do",
        )
        storage.allow(
            role,
            "s3:AbortMultipartUpload",
            "s3:GetObject",
            "s3:PutObject",
            below=["captures/", "captures-failed/"],
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
                    interval_in_seconds=self.settings.capture.buffer_seconds, size_in_m_bs=16
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
