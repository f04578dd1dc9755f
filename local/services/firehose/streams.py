"""From records to objects: Firehose's buffers, retries and metrics."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError
from moto.firehose.models import FirehoseBackend, firehose_backends

from local.clock import Timer
from local.host import Host
from local.parts import Part
from local.services.firehose.records import fill_prefix, process

logger = logging.getLogger(__name__)

# Firehose's own defaults, and how long it waits before it tries S3 again.
BUFFER_SECONDS = 300
BUFFER_MEGABYTES = 5
RETRY_SECONDS = 60.0


@dataclass
class _Buffer:
    """What a stream holds until it delivers."""

    records: list[bytes] = field(default_factory=list)
    size: int = 0
    since: float = 0.0
    timer: Timer | None = None


class Streams(Part):
    """Carry records through Firehose into S3; what is buffered at the end is lost."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self._lock = threading.RLock()
        self._buffers: dict[str, _Buffer] = {}

    def start(self) -> None:
        """Buffer what moto delivers at once."""
        streams = self
        put_batch: Callable[..., Any] = FirehoseBackend.put_record_batch

        def put_record_batch(backend: Any, name: str, records: list[dict[str, bytes]]) -> Any:
            stream = backend.delivery_streams.get(name)
            if stream is None or _s3_destination(stream) is None:
                return put_batch(backend, name, records)
            streams._receive(name, [record["Data"] for record in records])
            responses = [{"RecordId": str(uuid.uuid4())} for _ in records]
            return {"FailedPutCount": 0, "Encrypted": False, "RequestResponses": responses}

        self._seams.replace(FirehoseBackend, "put_record_batch", put_record_batch)

    def flush(self) -> None:
        """Deliver what every stream holds, without waiting for its buffer to fill."""
        with self._lock:
            names = list(self._buffers)
        for name in names:
            self._deliver(name)

    # -- buffering ----------------------------------------------------------------------------

    def _receive(self, name: str, records: list[bytes]) -> None:
        stream = self._stream(name)
        destination = None if stream is None else _s3_destination(stream)
        if destination is None:
            logger.error("records are lost: no S3 delivery stream %s", name)
            return
        hints = destination.get("BufferingHints") or {}
        interval = float(hints.get("IntervalInSeconds", BUFFER_SECONDS))
        limit = int(hints.get("SizeInMBs", BUFFER_MEGABYTES)) * 2**20
        now = self._cloud.clock.now()
        with self._lock:
            buffer = self._buffers.setdefault(name, _Buffer(since=now))
            buffer.records += records
            buffer.size += sum(len(record) for record in records)
            full = buffer.size >= limit
            if buffer.timer is None:
                buffer.timer = self._cloud.clock.call_at(
                    now + interval, lambda: self._deliver_in_background(name)
                )
        if full:
            self._deliver_in_background(name)

    def _deliver_in_background(self, name: str) -> None:
        self._cloud.clock.spawn(lambda: self._deliver(name), f"delivery stream {name}")

    def _stream(self, name: str) -> Any:
        backend = firehose_backends[self._cloud.account][self._cloud.region]
        return backend.delivery_streams.get(name)

    # -- delivery -----------------------------------------------------------------------------

    def _deliver(self, name: str) -> None:
        with self._lock:
            buffer = self._buffers.pop(name, None)
        if buffer is None:
            return
        if buffer.timer is not None:
            buffer.timer.cancel()
        stream = self._stream(name)
        destination = None if stream is None else _s3_destination(stream)
        if destination is None:
            return  # Deleted meanwhile, with what it held.
        good, bad = process(buffer.records, destination)
        try:
            if good:
                self._put(stream, destination, b"".join(good), buffer.since, None)
            if bad:
                lines = [self._failure(record, reason, buffer.since) for record, reason in bad]
                kind = "processing-failed"
                self._put(stream, destination, b"".join(lines), buffer.since, kind)
        except ClientError as error:
            self._keep(name, buffer, stream, error)
            return
        now = self._cloud.clock.now()
        for metric, value, unit in (
            ("DeliveryToS3.DataFreshness", now - buffer.since, "Seconds"),
            ("DeliveryToS3.Records", float(len(good)), "Count"),
            ("DeliveryToS3.Success", 1.0, "Count"),
        ):
            self._count(name, metric, value, unit)

    def _count(self, name: str, metric: str, value: float, unit: str) -> None:
        dimensions = {"DeliveryStreamName": name}
        self._cloud.metrics.put("AWS/Firehose", metric, dimensions, value, unit=unit)

    def _keep(self, name: str, buffer: _Buffer, stream: Any, error: ClientError) -> None:
        """Put back what S3 refused, to be tried again; say so where the stream logs."""
        now = self._cloud.clock.now()
        self._count(name, "DeliveryToS3.Success", 0.0, "Count")
        self._count(name, "DeliveryToS3.DataFreshness", now - buffer.since, "Seconds")
        logger.error("delivery stream %s could not write to S3: %s", name, error)
        options = (_s3_destination(stream) or {}).get("CloudWatchLoggingOptions") or {}
        if options.get("Enabled"):
            code = error.response["Error"]["Code"]
            line = {
                "deliveryStreamARN": stream.delivery_stream_arn,
                "errorCode": f"S3.{code}",
                "errorMessage": str(error),
            }
            self._cloud.client("logs").put_log_events(
                logGroupName=options["LogGroupName"],
                logStreamName=options["LogStreamName"],
                logEvents=[{"timestamp": int(now * 1000), "message": json.dumps(line)}],
            )
        with self._lock:
            later = self._buffers.setdefault(name, _Buffer(since=buffer.since))
            later.records = buffer.records + later.records
            later.size += buffer.size
            later.since = buffer.since
            if later.timer is not None:
                later.timer.cancel()
            later.timer = self._cloud.clock.call_later(
                RETRY_SECONDS, lambda: self._deliver_in_background(name)
            )

    def _failure(self, record: bytes, reason: str, since: float) -> bytes:
        """Return the line that Firehose writes of a record it could not process."""
        line = {
            "attemptsMade": 1,
            "arrivalTimestamp": int(since * 1000),
            "errorCode": "Decompression.Failed",
            "errorMessage": reason,
            "attemptEndingTimestamp": int(self._cloud.clock.now() * 1000),
            "rawData": base64.b64encode(record).decode(),
        }
        return json.dumps(line).encode() + b"\n"

    def _put(
        self,
        stream: Any,
        destination: Mapping[str, Any],
        body: bytes,
        since: float,
        error_type: str | None,
    ) -> None:
        zone = ZoneInfo(destination.get("CustomTimeZone") or "UTC")
        at = datetime.fromtimestamp(since, UTC).astimezone(zone)
        if error_type is None:
            prefix = destination.get("Prefix") or ""
        else:
            default = f"{destination.get('Prefix') or ''}{error_type}/"
            prefix = destination.get("ErrorOutputPrefix") or default
        key = fill_prefix(prefix, at, error_type)
        stamp = at.astimezone(UTC).strftime("%Y-%m-%d-%H-%M-%S")
        key += f"{stream.delivery_stream_name}-{stream.version_id}-{stamp}-{uuid.uuid4()}"
        zipped = destination.get("CompressionFormat") == "GZIP" and error_type is None
        extension = destination.get("FileExtension") if error_type is None else None
        self._cloud.client("s3", destination.get("RoleARN") or "").put_object(
            Bucket=str(destination["BucketARN"]).rsplit(":", 1)[-1],
            Key=key + (extension or (".gz" if zipped else "")),
            Body=gzip.compress(body) if zipped else body,
        )


def _s3_destination(stream: Any) -> dict[str, Any] | None:
    for destination in stream.destinations:
        for name in ("ExtendedS3", "S3"):
            if name in destination:
                found: dict[str, Any] = destination[name]
                return found
    return None
