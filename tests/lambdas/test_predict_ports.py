"""The predict function's S3 client, against moto's server and against botocore's signatures."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from moto.server import ThreadedMotoServer

from core.errors import StorageError
from lambdas.predict.ports import (
    ATTEMPTS,
    S3,
    Credentials,
    EnvironmentCredentials,
    HttpTransport,
    Response,
    sign,
)

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
ENVIRON = {**KEYS, "AWS_SESSION_TOKEN": "token", "AWS_REGION": "eu-west-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def theirs(endpoint: str) -> Any:
    """Return boto3's client, with a bucket."""
    client = boto3.client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=endpoint,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
    )
    where: Any = {"LocationConstraint": "eu-west-1"}
    client.create_bucket(Bucket="driftless", CreateBucketConfiguration=where)
    return client


class Script:
    """A transport that answers as told and remembers what it was asked."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        self.asked.append((method, url, headers, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(transport: Script, **environ: str) -> S3:
    return S3({**ENVIRON, **environ}, transport=transport, sleep=lambda seconds: None)


@pytest.mark.parametrize("key", ["a.json", "models/run one/ü+~&=/model.json", "a//b"])
def test_objects_go_and_come(endpoint: str, theirs: Any, key: str) -> None:
    """Whatever the key, what boto3 wrote is read, and the other way round."""
    ours = S3({**ENVIRON, "AWS_ENDPOINT_URL": endpoint})
    theirs.put_object(Bucket="driftless", Key=key, Body=b"\x00theirs")
    assert ours.get(f"s3://driftless/{key}") == b"\x00theirs"
    ours.put(f"s3://driftless/{key}", b"ours")
    assert theirs.get_object(Bucket="driftless", Key=key)["Body"].read() == b"ours"


def test_a_missing_object_is_named(endpoint: str, theirs: Any) -> None:
    """The error says which object, and what S3 said."""
    with pytest.raises(StorageError, match=r"s3://driftless/nothing.*404"):
        S3({**ENVIRON, "AWS_ENDPOINT_URL": endpoint}).get("s3://driftless/nothing")


@pytest.mark.parametrize("token", ["", "a/session+token=="])
@pytest.mark.parametrize("body", [b"", b"content"])
def test_signatures_are_botocores(token: str, body: bytes) -> None:
    """Signature Version 4, as the SDK computes it."""
    now = time.gmtime(1_795_231_800)
    url = "https://bucket.s3.eu-west-1.amazonaws.com/models/a%20b/%C3%BC%2B~.json"
    method = "PUT" if body else "GET"
    ours = sign(method, url, body, Credentials("AKID", "secret", token, 0.0), "eu-west-1", now)
    request = AWSRequest(method, url, data=body)
    request.context["timestamp"] = ours["x-amz-date"]
    request.context["payload_signing_enabled"] = True
    if token:
        request.headers["X-Amz-Security-Token"] = token
    request.headers["X-Amz-Content-SHA256"] = ours["x-amz-content-sha256"]
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    signer = S3SigV4Auth(BotoCredentials("AKID", "secret", token or None), "s3", "eu-west-1")
    canonical = signer.canonical_request(request)
    text = signer.string_to_sign(request, canonical)
    signature = signer.signature(text, request)
    assert ours["authorization"].endswith(f"Signature={signature}")


@pytest.mark.parametrize(
    ("environ", "uri", "url"),
    [
        ({}, "s3://b/k", "https://b.s3.eu-west-1.amazonaws.com/k"),
        ({}, "s3://b.c/k", "https://s3.eu-west-1.amazonaws.com/b.c/k"),
        ({"AWS_REGION": "cn-north-1"}, "s3://b/k", "https://b.s3.cn-north-1.amazonaws.com.cn/k"),
        ({"AWS_ENDPOINT_URL": "http://localhost:5/"}, "s3://b/k", "http://localhost:5/b/k"),
        (
            {"AWS_ENDPOINT_URL": "http://x", "AWS_ENDPOINT_URL_S3": "http://y"},
            "s3://b/k",
            "http://y/b/k",
        ),
    ],
)
def test_endpoints(environ: dict[str, str], uri: str, url: str) -> None:
    """The bucket is in the host's name on AWS, in the path at another endpoint."""
    transport = Script(Response(200, b""))
    client(transport, **environ).get(uri)
    assert transport.asked[0][1] == url


@pytest.mark.parametrize("first", [Response(503, b"<Code>SlowDown</Code>"), OSError("reset")])
def test_passing_faults_are_retried(first: Response | Exception) -> None:
    """A throttled, failed or cut request is sent again, and the answer counts."""
    transport = Script(first, first, Response(200, b"there"))
    assert client(transport).get("s3://b/k") == b"there"


def test_lasting_faults_end_with_their_reason() -> None:
    """After the last attempt the error says what S3 said; a refusal is not repeated."""
    slow = Script(*[Response(503, b"<Error><Code>SlowDown</Code></Error>")] * ATTEMPTS)
    with pytest.raises(StorageError, match="503 SlowDown"):
        client(slow).get("s3://b/k")
    denied = Script(Response(403, b"<Error><Code>AccessDenied</Code></Error>"))
    with pytest.raises(StorageError, match="403 AccessDenied"):
        client(denied).put("s3://b/k", b"")
    assert len(denied.asked) == 1


def test_connections_are_kept_and_reopened() -> None:
    """One connection serves several requests; one that the server closed is replaced."""
    connections: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            connections.append(self)
            super().setup()

        def do_GET(self) -> None:
            body = b"ok"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if self.path == "/last":
                self.close_connection = True

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        transport = HttpTransport()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        for path in ("/a", "/b", "/last"):
            assert transport("GET", url + path, {}, b"").body == b"ok"
        assert len(connections) == 1
        s3 = S3({**ENVIRON, "AWS_ENDPOINT_URL": url}, transport=transport)
        assert s3.get("s3://b/k") == b"ok"
        assert len(connections) == 2
    finally:
        server.shutdown()
        server.server_close()


def test_snapstart_credentials_are_fetched_and_renewed() -> None:
    """Under SnapStart credentials come from the runtime's endpoint and expire."""
    now = [1_000_000_000.0]

    def answer(key: str, expiration: str) -> Response:
        document = {
            "AccessKeyId": key,
            "SecretAccessKey": "s",
            "Token": "t",
            "Expiration": expiration,
        }
        return Response(200, json.dumps(document).encode())

    transport = Script(
        answer("first", "2001-09-09T02:46:40Z"), answer("second", "2001-09-09T05:46:40Z")
    )
    environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9001/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let me in",
    }
    credentials = EnvironmentCredentials(environ, transport, lambda: now[0])
    assert credentials().access_key == "first"
    assert credentials().access_key == "first"
    assert transport.asked[0][2] == {"Authorization": "let me in"}
    now[0] += 3600
    assert credentials().access_key == "second"


def test_no_credentials_is_said() -> None:
    """Without either kind of credentials the error says so."""
    with pytest.raises(StorageError, match="no AWS credentials"):
        EnvironmentCredentials({})()
    environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9001/credentials"}
    with pytest.raises(StorageError, match="403"):
        EnvironmentCredentials(environ, Script(Response(403, b"")))()
    with pytest.raises(StorageError, match="refused"):
        EnvironmentCredentials(environ, Script(OSError("refused")))()
