"""What calls to S3 need (see `local.rights`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from local.rights import Call, Judge, Need, Reader, read_body


def _read(environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Read bucket, key, query and the source of a copy; a bucket may be part of the host's name."""
    host = environ.get("HTTP_HOST", "").split(":")[0]
    path = environ.get("PATH_INFO", "").lstrip("/")
    if host.endswith(".localhost"):
        bucket, key = host.removesuffix(".localhost"), path
    else:
        bucket, _, key = path.partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    parameters: dict[str, Any] = {"bucket": bucket, "key": key, "query": query}
    if "HTTP_X_AMZ_COPY_SOURCE" in environ:
        parameters["source"] = unquote(environ["HTTP_X_AMZ_COPY_SOURCE"]).lstrip("/")
    if environ["REQUEST_METHOD"] == "POST" and "delete" in query:
        body = read_body(environ).decode("utf-8", "replace")
        parameters["keys"] = re.findall(r"<Key>(.*?)</Key>", body)
    return environ["REQUEST_METHOD"], parameters


def _need(call: Call) -> Iterator[Need]:
    method, given = call.operation, call.parameters
    query: Mapping[str, list[str]] = given["query"]
    bucket = f"arn:aws:s3:::{given['bucket']}"
    item = f"{bucket}/{given['key']}"
    if not given["bucket"]:
        yield Need("s3:ListAllMyBuckets", "*")
    elif "keys" in given:
        yield from (Need("s3:DeleteObject", f"{bucket}/{key}") for key in given["keys"])
    elif given["key"]:
        if "source" in given:
            source, _, version = given["source"].partition("?versionId=")
            yield Need(f"s3:GetObject{'Version' if version else ''}", f"arn:aws:s3:::{source}")
        yield Need(f"s3:{_object_action(method, query)}", item)
    else:
        action = _bucket_action(method, query)
        yield Need(f"s3:{action}", bucket, {"s3:prefix": query.get("prefix", [""])[0]})


def _object_action(method: str, query: Mapping[str, list[str]]) -> str:
    if method == "DELETE" and "uploadId" in query:
        return "AbortMultipartUpload"
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}[method]
    what = next((name for name in ("tagging", "acl") if name in query), "").capitalize()
    version = "Version" if "versionId" in query and verb != "Put" else ""
    return f"{verb}Object{version}{what}"


def _bucket_action(method: str, query: Mapping[str, list[str]]) -> str:
    if method == "PUT" and not query:
        return "CreateBucket"
    if method == "DELETE" and not query:
        return "DeleteBucket"
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Put", "POST": "Put"}[method]
    for name, action in _BUCKET_PARTS.items():
        if name in query:
            return action.format(verb)
    return "ListBucket"


_BUCKET_PARTS = {
    "versions": "ListBucketVersions",
    "uploads": "ListBucketMultipartUploads",
    "location": "GetBucketLocation",
    "versioning": "{}BucketVersioning",
    "policy": "{}BucketPolicy",
    "tagging": "{}BucketTagging",
    "encryption": "{}EncryptionConfiguration",
    "lifecycle": "{}LifecycleConfiguration",
    "notification": "{}BucketNotification",
    "publicAccessBlock": "{}BucketPublicAccessBlock",
}


NEEDS: dict[str, Judge] = {"s3:*": _need}
READERS: dict[str, Reader] = {"s3": _read}
