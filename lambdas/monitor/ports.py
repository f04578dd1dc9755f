"""The monitor's AWS clients."""

import builtins
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import StorageError
from lambdas.monitor.storage import Entry, Record

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

CHUNK_BYTES = 1 << 20
MESSAGE_BYTES = 250 << 10


class Bucket:
    """The project's bucket."""

    def __init__(self, name: str, client: "S3Client | None" = None) -> None:
        self._name = name
        self._client = client or boto3.client("s3")

    def list(self, prefix: str, after: str = "") -> builtins.list[Entry]:
        """Return the objects under `prefix` whose keys sort after `after`, sorted by key."""
        return self._list(prefix, StartAfter=after)

    def list_folder(self, prefix: str) -> builtins.list[Entry]:
        """Return the objects right under `prefix`, without those of folders below it."""
        return self._list(prefix, Delimiter="/")

    def _list(self, prefix: str, **more: str) -> builtins.list[Entry]:
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._name,
                Prefix=prefix,
                **more,  # type: ignore[arg-type]
            )
            return [
                Entry(entry["Key"], entry["Size"], entry["ETag"].strip('"'))
                for page in pages
                for entry in page.get("Contents", [])
            ]
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"cannot list s3://{self._name}/{prefix}: {error}") from error

    def read(self, key: str) -> bytes | None:
        """Return an object, or nothing when there is none."""
        return self.read_tagged(key)[0]

    def read_tagged(self, key: str) -> tuple[bytes | None, str]:
        """Return an object and the tag that `write_over` needs; (None, "") when there is none."""
        try:
            found = self._client.get_object(Bucket=self._name, Key=key)
            return found["Body"].read(), found["ETag"]
        except self._client.exceptions.NoSuchKey:
            return None, ""
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"cannot read s3://{self._name}/{key}: {error}") from error

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in chunks."""
        try:
            body = self._client.get_object(Bucket=self._name, Key=key)["Body"]
            yield from body.iter_chunks(CHUNK_BYTES)
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"cannot read s3://{self._name}/{key}: {error}") from error

    def write(self, key: str, body: bytes, content_type: str = "application/json") -> None:
        """Write an object."""
        try:
            self._client.put_object(Bucket=self._name, Key=key, Body=body, ContentType=content_type)
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"cannot write s3://{self._name}/{key}: {error}") from error

    def write_new(self, key: str, body: bytes) -> bool:
        """Write an object unless there is one; says if it was written."""
        return self._write_if(key, body, IfNoneMatch="*") is not None

    def write_over(self, key: str, body: bytes, tag: str) -> str:
        """Write an object if it is still the one that `tag` names, and return its new tag.

        Raises StorageError if another run wrote it in between (Amazon S3 User Guide, "How to
        prevent object overwrites with conditional writes").
        """
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        written = self._write_if(key, body, **condition)
        if written is None:
            raise StorageError(
                f"another run of the monitor wrote {key} first; this one changes nothing"
            )
        return written

    def _write_if(self, key: str, body: bytes, **condition: str) -> str | None:
        """Write an object under a condition and return its tag; None where it does not hold."""
        try:
            written = self._client.put_object(
                Bucket=self._name,
                Key=key,
                Body=body,
                ContentType="application/json",
                **condition,  # type: ignore[arg-type]
            )
            return written["ETag"]
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in (
                "PreconditionFailed",
                "ConditionalRequestConflict",
            ):
                return None
            raise StorageError(f"cannot write s3://{self._name}/{key}: {error}") from error


class Topic:
    """The SNS topic of people."""

    def __init__(self, arn: str, client: "SNSClient | None" = None) -> None:
        self._arn = arn
        self._client = client or boto3.client("sns")

    def publish(self, subject: str, message: str) -> None:
        """Send a message: a subject of up to 100 printable ASCII characters, and 256 KiB of text.

        SNS refuses others (API reference, "Publish"), and a message that is refused would come
        back with every run.
        """
        ascii_only = subject.encode("ascii", "replace").decode()
        plain = "".join(c if c.isprintable() else " " for c in ascii_only)[:100]
        short = message.encode()[:MESSAGE_BYTES].decode(errors="ignore")
        try:
            self._client.publish(TopicArn=self._arn, Subject=plain, Message=short)
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"cannot publish to {self._arn}: {error}") from error


class EventBus:
    """The default bus of EventBridge."""

    def __init__(self, client: "EventBridgeClient | None" = None) -> None:
        self._client = client or boto3.client("events")

    def put(self, detail_type: str, detail: Record) -> None:
        """Send an event of this product's."""
        try:
            answer = self._client.put_events(
                Entries=[
                    {
                        "Source": "driftless",
                        "DetailType": detail_type,
                        "Detail": json.dumps(detail),
                    }
                ]
            )
        except (ClientError, BotoCoreError) as error:
            raise StorageError(f"cannot send {detail_type!r} to EventBridge: {error}") from error
        if answer.get("FailedEntryCount"):
            raise StorageError(f"EventBridge refused {detail_type!r}: {answer['Entries']}")


class Log:
    """The function's log, which CloudWatch reads embedded metrics from."""

    def write(self, record: Record) -> None:
        """Write one JSON line."""
        print(json.dumps(record, ensure_ascii=False), flush=True)  # noqa: T201


class Stopwatch:
    """The time a run may still take."""

    def __init__(self, remaining_seconds: float) -> None:
        self._end = time.monotonic() + remaining_seconds

    def is_up(self) -> bool:
        """Say whether to stop taking on new work."""
        return time.monotonic() >= self._end
