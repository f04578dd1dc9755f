"""Captured log lines reach S3 as deployed: filtered, buffered, unpacked, prefixed, compressed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from local.services.firehose.records import StreamError, fill_prefix
from local.services.firehose.streams import Streams
from tests.local.parts import ACCOUNT, REGION, PartsHost

CAPTURE = json.dumps(
    {"capture": 1, "run": "r1", "rows": [{"a": None, "b": True}], "note": "ERROR x"}
)


AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("prefix", "error", "filled"),
    [
        ("captures/", None, "captures/2026/03/04/05/"),
        ("", None, "2026/03/04/05/"),
        ("c/!{timestamp:yyyy/MM/dd/HH}/", None, "c/2026/03/04/05/"),
        ("c/!{timestamp:yyyy}-!{timestamp:MM}/", None, "c/2026-03/"),
        (
            "f/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/",
            "processing-failed",
            "f/processing-failed/2026/03/04/",
        ),
    ],
)
def test_prefixes(prefix: str, error: str | None, filled: str) -> None:
    assert fill_prefix(prefix, AT, error) == filled


def test_unknown_prefix_expressions_are_refused() -> None:
    with pytest.raises(StreamError, match="not modelled"):
        fill_prefix("!{firehose:other}/", AT)


# -- the whole way ----------------------------------------------------------------------------


class Pipe:
    def __init__(self, host: PartsHost, streams: Streams) -> None:
        self.host, self.streams = host, streams
        self.s3, self.logs = host.client("s3"), host.client("logs")
        self.s3.create_bucket(
            Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.logs.create_log_group(logGroupName="g")
        self.logs.create_log_stream(logGroupName="g", logStreamName="s")

    def connect(self, **more: Any) -> str:
        processors = [
            {
                "Type": "Decompression",
                "Parameters": [{"ParameterName": "CompressionFormat", "ParameterValue": "GZIP"}],
            },
            {
                "Type": "CloudWatchLogProcessing",
                "Parameters": [
                    {"ParameterName": "DataMessageExtraction", "ParameterValue": "true"}
                ],
            },
            {
                "Type": "AppendDelimiterToRecord",
                "Parameters": [{"ParameterName": "Delimiter", "ParameterValue": "\\n"}],
            },
        ]
        arn: str = self.host.client("firehose").create_delivery_stream(
            DeliveryStreamName="capture",
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration={
                "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/r",
                "BucketARN": "arn:aws:s3:::bucket",
                "Prefix": "captures/!{timestamp:yyyy/MM/dd/HH}/",
                "ErrorOutputPrefix": "failed/!{firehose:error-output-type}/",
                "BufferingHints": {"IntervalInSeconds": 60, "SizeInMBs": 1},
                "CompressionFormat": "GZIP",
                "FileExtension": ".jsonl.gz",
                "ProcessingConfiguration": {"Enabled": True, "Processors": processors},
                **more,
            },
        )["DeliveryStreamARN"]
        self.logs.put_subscription_filter(
            logGroupName="g",
            filterName="f",
            filterPattern="{ $.capture = 1 }",
            destinationArn=arn,
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/r",
        )
        return arn

    def say(self, *messages: str) -> None:
        now = int(self.host.clock.now() * 1000)
        self.logs.put_log_events(
            logGroupName="g",
            logStreamName="s",
            logEvents=[{"timestamp": now, "message": message} for message in messages],
        )

    def objects(self, prefix: str = "captures/") -> list[str]:
        listed = self.s3.list_objects_v2(Bucket="bucket", Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", ())]

    def read(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket="bucket", Key=key)["Body"].read()
        return body


@pytest.fixture
def pipe(host: PartsHost) -> Iterator[Pipe]:
    streams = Streams(host)
    host.start(streams)
    return Pipe(host, streams)


def test_moto_5_2_5_offers_the_seams() -> None:
    """Moto 5.2.5: filters forward by LogStream._send_log_events; Firehose has two ways in."""
    from moto.firehose.models import FirehoseBackend
    from moto.logs.models import LogStream

    assert "_send_log_events" in vars(LogStream)
    assert {"put_record_batch", "send_log_event"} <= set(vars(FirehoseBackend))


def test_captured_lines_are_delivered_when_the_buffer_is_due(pipe: Pipe) -> None:
    pipe.connect()
    pipe.say('{"capture":1,"n":1}', "INIT_START", '{"capture":2}', '{"capture":1,"n":2}')
    pipe.say('{"capture":1,"n":3}')
    assert pipe.objects("") == []
    pipe.host.clock.advance(61)
    (key,) = pipe.objects("")
    hour = pipe.host.clock.utc().strftime("%Y/%m/%d/")
    assert key.startswith(f"captures/{hour}")
    assert key.endswith(".jsonl.gz")
    lines = gzip.decompress(pipe.read(key)).decode()
    assert lines.endswith("\n")
    assert [json.loads(line)["n"] for line in lines.splitlines()] == [1, 2, 3]
    now = pipe.host.clock.now()
    fresh = pipe.host.metrics.statistic(
        "AWS/Firehose",
        "DeliveryToS3.DataFreshness",
        {"DeliveryStreamName": "capture"},
        "Maximum",
        now - 120,
        now + 1,
    )
    assert fresh == pytest.approx(60, abs=2)


def test_flush_delivers_at_once_and_the_object_is_announced(pipe: Pipe) -> None:
    url, arn = pipe.host.queue("q")
    pipe.s3.put_bucket_notification_configuration(
        Bucket="bucket", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    pipe.host.rule("r", {"detail-type": ["Object Created"]}, arn)
    pipe.connect()
    pipe.say('{"capture":1}')
    pipe.streams.flush()
    pipe.streams.flush()
    (key,) = pipe.objects()
    assert pipe.host.clock.settle(10)
    (event,) = pipe.host.messages(url)
    assert event["detail"]["object"]["key"] == key


def test_a_full_buffer_is_delivered_before_its_time(pipe: Pipe) -> None:
    pipe.connect(ProcessingConfiguration={"Enabled": False}, CompressionFormat="UNCOMPRESSED")
    pipe.host.client("firehose").put_record(
        DeliveryStreamName="capture", Record={"Data": b"x" * 600_000}
    )
    assert pipe.objects() == []
    pipe.host.client("firehose").put_record_batch(
        DeliveryStreamName="capture", Records=[{"Data": b"y" * 600_000}]
    )
    assert pipe.host.clock.settle(10)
    (key,) = pipe.objects()
    assert len(pipe.read(key)) == 1_200_000


def test_records_that_cannot_be_processed_go_to_the_error_prefix(pipe: Pipe) -> None:
    pipe.connect()
    pipe.host.client("firehose").put_record(
        DeliveryStreamName="capture", Record={"Data": b"not gzip"}
    )
    pipe.say('{"capture":1}')
    pipe.streams.flush()
    assert len(pipe.objects()) == 1
    (failed,) = pipe.objects("failed/processing-failed/")
    line = json.loads(pipe.read(failed))
    assert base64.b64decode(line["rawData"]) == b"not gzip"


def test_a_refused_delivery_is_tried_again_and_logged(pipe: Pipe) -> None:
    pipe.logs.create_log_stream(logGroupName="g", logStreamName="errors")
    logging_options = {"Enabled": True, "LogGroupName": "g", "LogStreamName": "errors"}
    pipe.connect(CloudWatchLoggingOptions=logging_options, BucketARN="arn:aws:s3:::later")
    pipe.say('{"capture":1}')
    pipe.streams.flush()
    events = pipe.logs.get_log_events(logGroupName="g", logStreamName="errors")["events"]
    assert "NoSuchBucket" in events[0]["message"]
    pipe.s3.create_bucket(Bucket="later", CreateBucketConfiguration={"LocationConstraint": REGION})
    pipe.host.clock.advance(61)
    assert pipe.s3.list_objects_v2(Bucket="later")["KeyCount"] == 1


def test_a_function_may_subscribe(pipe: Pipe) -> None:
    from moto.logs.models import LogsBackend, SubscriptionFilter, logs_backends

    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:reader"

    backend: LogsBackend = logs_backends[ACCOUNT][REGION]
    backend.groups["g"].subscription_filters["f"] = SubscriptionFilter("f", "g", "ERROR", arn, "")
    pipe.say("fine", "ERROR here")
    ((name, event),) = pipe.host.functions.calls
    document = json.loads(gzip.decompress(base64.b64decode(event["awslogs"]["data"])))
    assert name == "reader"
    assert [e["message"] for e in document["logEvents"]] == ["ERROR here"]
    assert (document["logGroup"], document["subscriptionFilters"]) == ("g", ["f"])
