"""S3 for the score function."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from core.errors import DataError, StorageError
from core.scoring import split_uri
from lambdas.score.storage import Found

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Finish asks for the receipts of this many units at once.
CONNECTIONS = 32


class Store:
    """Objects in S3, by URI; raises ``StorageError`` for what may pass, ``DataError`` else."""

    def __init__(self, client: "S3Client | None" = None) -> None:
        self._client = client or boto3.client(
            "s3",
            config=Config(
                max_pool_connections=CONNECTIONS, retries={"mode": "standard", "max_attempts": 5}
            ),
        )

    def list(self, uri: str, after: str) -> Iterator[Found]:
        """List the objects below a prefix whose keys come after one, in order."""
        bucket, prefix = split_uri(uri)
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, StartAfter=after
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    yield Found(entry["Key"], entry["ETag"], entry["Size"])
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, f"list {uri}") from error

    def read(self, bucket: str, key: str, etag: str, start: int, end: int) -> bytes:
        """Read bytes [start, end) of exactly this state of an object."""
        try:
            answer = self._client.get_object(
                Bucket=bucket, Key=key, IfMatch=etag, Range=f"bytes={start}-{end - 1}"
            )
            return answer["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, f"read s3://{bucket}/{key}") from error

    def get(self, uri: str) -> bytes:
        """Read an object."""
        bucket, key = split_uri(uri)
        try:
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, f"read {uri}") from error

    def find(self, uri: str) -> bytes | None:
        """Read an object that may be absent."""
        bucket, key = split_uri(uri)
        try:
            return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            if _code(error) in ("NoSuchKey", "404"):
                return None
            raise _translate(error, f"read {uri}") from error

    def metadata(self, uri: str) -> Mapping[str, str] | None:
        """Return an object's metadata, nothing where there is no object."""
        bucket, key = split_uri(uri)
        try:
            return self._client.head_object(Bucket=bucket, Key=key)["Metadata"]
        except (ClientError, BotoCoreError) as error:
            if _code(error) in ("404", "NoSuchKey", "NotFound"):
                return None
            raise _translate(error, f"look at {uri}") from error

    def put(self, uri: str, body: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Write an object: all of it or nothing."""
        bucket, key = split_uri(uri)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata or {})
        except (ClientError, BotoCoreError) as error:
            raise _translate(error, f"write {uri}") from error


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _translate(error: Exception, what: str) -> DataError | StorageError:
    code = _code(error)
    if code in ("PreconditionFailed", "412"):
        return DataError(f"cannot {what}: it changed after the job was planned; run it again")
    if code in ("AccessDenied", "403"):
        return DataError(
            f"cannot {what}: access denied. The role of the score function may use batch/ of this "
            "stage's bucket; another bucket's policy must admit it (docs/scale.md)"
        )
    if code in ("NoSuchBucket", "NoSuchKey"):
        return DataError(f"cannot {what}: {code}")
    return StorageError(f"cannot {what}: {error}")
