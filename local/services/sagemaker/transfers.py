"""Objects in and out of S3 for a job: channels, checkpoints, models."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from local.services.sagemaker.job import JobError


def split_uri(uri: str) -> tuple[str, str]:
    """Split an S3 URI into bucket and key."""
    if not uri.startswith("s3://"):
        raise JobError(f"ClientError: an S3 URI must start with s3://, got {uri!r}")
    bucket, _, key = uri[5:].partition("/")
    return bucket, key


def relative_key(key: str, prefix: str) -> str:
    """Return where in a channel's folder an object of an S3Prefix source goes."""
    if key == prefix:
        return key.rsplit("/", 1)[-1]
    if prefix.endswith("/") or key.startswith(prefix + "/"):
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def list_keys(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    """Yield the keys under a prefix, without the markers of folders."""
    pages = s3.get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents") or ():
            if not item["Key"].endswith("/"):
                yield item["Key"]


def download_files(s3: Any, bucket: str, files: Iterable[tuple[str, Path]]) -> None:
    """Write objects of a bucket to files."""
    for key, path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        with path.open("wb") as file:
            shutil.copyfileobj(body, file)


def download_channel(s3: Any, name: str, channel: Mapping[str, Any], folder: Path) -> None:
    """Bring a channel's objects into its folder; raise JobError where there are none."""
    source = (channel.get("DataSource") or {}).get("S3DataSource") or {}
    kind = source.get("S3DataType", "S3Prefix")
    if kind != "S3Prefix" or channel.get("CompressionType") not in (None, "None"):
        raise JobError(
            f"ClientError: channel {name}: only S3DataType S3Prefix without compression is"
            f" modelled here, got {kind}"
        )
    bucket, prefix = split_uri(source["S3Uri"])
    keys = list(list_keys(s3, bucket, prefix))
    if not keys:
        raise JobError(
            "ClientError: Data download failed:No S3 objects found under S3 URL"
            f' "{source["S3Uri"]}" given in input data source. Please ensure that the bucket'
            " exists in the selected region, that objects exist under that S3 prefix, and that"
            " the role has s3:ListBucket permission on the bucket."
        )
    download_files(s3, bucket, [(key, folder / relative_key(key, prefix)) for key in keys])


def upload_folder(s3: Any, folder: Path, uri: str, more: Mapping[str, str]) -> None:
    """Put a folder's files under an S3 URI."""
    bucket, prefix = split_uri(uri)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = prefix + path.relative_to(folder).as_posix()
            s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), **more)


def upload_archive(s3: Any, folder: Path, uri: str, more: Mapping[str, str]) -> None:
    """Put a folder as one archive at an S3 URI."""
    archive = folder.parent / f"{folder.name}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)
    bucket, key = split_uri(uri)
    s3.put_object(Bucket=bucket, Key=key, Body=archive.read_bytes(), **more)
