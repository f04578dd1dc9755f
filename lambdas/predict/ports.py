"""S3 for the predict function, in the standard library.

``boto3.client("s3")`` costs about half a second of cold start and this function needs two calls,
so they are signed here (AWS: "Create a signed AWS API request", Signature Version 4).
"""

import calendar
import hashlib
import hmac
import http.client
import json
import os
import random
import ssl
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from core.errors import StorageError

ATTEMPTS = 4
TIMEOUT_SECONDS = 5.0
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
EXPIRY_MARGIN_SECONDS = 300.0


class Credentials(NamedTuple):
    """Hold what a request is signed with; ``expires`` is in epoch seconds."""

    access_key: str
    secret_key: str
    token: str
    expires: float


class Response(NamedTuple):
    """Hold a status and a body."""

    status: int
    body: bytes


class Transport(Protocol):
    """Send one HTTP request; raises ``OSError`` or ``http.client.HTTPException``."""

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Return the response, whatever its status."""
        ...


class HttpTransport:
    """Send requests over one kept-alive connection per host, reopened when it went away."""

    def __init__(self) -> None:
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Send one request and read its response whole."""
        parts = urlsplit(url)
        where = (parts.scheme, parts.netloc)
        connection = self._connections.get(where)
        if connection is None:
            connection = self._connect(*where)
            self._connections[where] = connection
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, body=body or None, headers=dict(headers))
            answer = connection.getresponse()
            return Response(answer.status, answer.read())
        except (OSError, http.client.HTTPException):
            connection.close()
            del self._connections[where]
            raise

    def _connect(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        if scheme == "https":
            return http.client.HTTPSConnection(
                netloc, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(netloc, timeout=TIMEOUT_SECONDS)


class EnvironmentCredentials:
    """Read credentials as Lambda hands them out.

    They are environment variables, except under SnapStart, where the runtime serves them at
    ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` because a snapshot outlives them (AWS: "SnapStart
    compatibility considerations").
    """

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._environ = environ
        self._transport = transport
        self._clock = clock
        self._cached: Credentials | None = None

    def __call__(self) -> Credentials:
        """Return credentials that are still good for some minutes."""
        if "AWS_ACCESS_KEY_ID" in self._environ:
            return Credentials(
                self._environ["AWS_ACCESS_KEY_ID"],
                self._environ.get("AWS_SECRET_ACCESS_KEY", ""),
                self._environ.get("AWS_SESSION_TOKEN", ""),
                float("inf"),
            )
        if self._cached is None or self._cached.expires < self._clock() + EXPIRY_MARGIN_SECONDS:
            self._cached = self._fetch()
        return self._cached

    def _fetch(self) -> Credentials:
        url = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
        if not url:
            raise StorageError("no AWS credentials in the environment of this function")
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        transport = self._transport or HttpTransport()
        try:
            answer = transport("GET", url, {"Authorization": token}, b"")
        except (OSError, http.client.HTTPException) as error:
            raise StorageError(f"the credentials endpoint did not answer: {error}") from error
        if answer.status != 200:
            raise StorageError(f"the credentials endpoint answered {answer.status}")
        document = json.loads(answer.body)
        return Credentials(
            document["AccessKeyId"],
            document["SecretAccessKey"],
            document["Token"],
            _epoch(document["Expiration"]),
        )


class S3:
    """Get and put objects.

    ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` replaces the regional endpoint; buckets are then
    addressed in the path, as they are when a dot in their name would break the certificate's match.
    """

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        credentials: Callable[[], Credentials] | None = None,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION", "us-east-1")
        self._endpoint = (
            environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
        ).rstrip("/")
        self._credentials = credentials or EnvironmentCredentials(environ)
        self._transport = transport or HttpTransport()
        self._clock = clock
        self._sleep = sleep

    def get(self, uri: str) -> bytes:
        """Read the object at ``s3://bucket/key``; raises ``StorageError``."""
        return self._call("GET", uri, b"")

    def put(self, uri: str, body: bytes) -> None:
        """Write the object at ``s3://bucket/key``; raises ``StorageError``."""
        self._call("PUT", uri, body)

    def _call(self, method: str, uri: str, body: bytes) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        url = self._url(bucket, key)
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                # Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter").
                self._sleep(random.uniform(0.0, 0.1 * 2**attempt))
            headers = sign(
                method, url, body, self._credentials(), self._region, time.gmtime(self._clock())
            )
            try:
                status, answer = self._transport(method, url, headers, body)
            except (OSError, http.client.HTTPException) as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            if 200 <= status < 300:
                return answer
            reason = f"S3 answered {status} {_error_code(answer)}".rstrip()
            if status not in RETRIED_STATUSES:
                break
        raise StorageError(f"cannot {method} {uri}: {reason}")

    def _url(self, bucket: str, key: str) -> str:
        path = quote(key, safe="/-_.~")
        if self._endpoint:
            return f"{self._endpoint}/{bucket}/{path}"
        suffix = "amazonaws.com.cn" if self._region.startswith("cn-") else "amazonaws.com"
        if "." in bucket:
            return f"https://s3.{self._region}.{suffix}/{bucket}/{path}"
        return f"https://{bucket}.s3.{self._region}.{suffix}/{path}"


def sign(
    method: str,
    url: str,
    body: bytes,
    credentials: Credentials,
    region: str,
    now: time.struct_time,
) -> dict[str, str]:
    """Return the headers that authenticate a request to S3 without a query string."""
    parts = urlsplit(url)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", now)
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    canonical_headers = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"{method}\n{parts.path}\n\n{canonical_headers}\n{names}\n{digest}"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope},"
        f" SignedHeaders={names}, Signature={signature}"
    )
    return headers


def _error_code(body: bytes) -> str:
    """Return the ``Code`` of an S3 error document, or nothing."""
    _, opened, rest = body.partition(b"<Code>")
    return rest.partition(b"</Code>")[0].decode("ascii", "replace") if opened else ""


def _epoch(timestamp: str) -> float:
    """Turn an ISO 8601 time in UTC into epoch seconds."""
    return float(calendar.timegm(time.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S")))
