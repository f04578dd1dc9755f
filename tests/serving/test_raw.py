"""What no client library sends: requests written by hand, signed, over the deployed gateway."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest
from requests import Request

from tests.serving.conftest import ROW, Served

pytestmark = pytest.mark.xdist_group("serving")
JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"instances": [ROW]})


def send(
    served: Served, method: str, path: str, body: str | bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Sign a request and send it as it stands."""
    given = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    signed = Request(
        method, f"{served.url}/{path}", data=body, headers=given, auth=served.signature()
    ).prepare()
    parts = urlsplit(str(signed.url))
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    content = signed.body.encode() if isinstance(signed.body, str) else signed.body
    connection.request(method, target, body=content, headers=dict(signed.headers))
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "health", 405),
        ("OPTIONS", "predict", 204),
        ("TRACE", "predict", 405),
        ("PATCH", "model", 405),
        ("GET", "%6dodel", 200),
        ("GET", "health/", 200),
        ("GET", "model/..", 404),
        ("GET", "%00", 404),
        ("GET", "docs%2Fx", 404),
    ],
)
def test_odd_methods_and_paths_have_their_answer(
    served: Served, method: str, path: str, status: int
) -> None:
    got, headers, body = send(served, method, path)
    assert got == status, body
    if method == "HEAD":
        assert body == b""
    if status == 405:
        assert "OPTIONS" in headers["Allow"]
    if status in (404, 405) and body:
        assert json.loads(body)["status"] == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("explain=true&explain=true", 200),
        ("explain=true&explain=false", 400),
        ("explain", 400),
        ("explain=TRUE", 400),
        ("other=1", 200),
    ],
)
def test_queries_are_told_apart(served: Served, query: str, status: int) -> None:
    got, _, body = send(served, "POST", f"predict?{query}", BODY)
    assert got == status, body


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/csv", 415),
        ("application/json; charset=utf-16", 415),
        ("application/JSON;charset=UTF-8", 200),
    ],
)
def test_media_types_are_told_apart(served: Served, kind: str, status: int) -> None:
    got, headers, body = send(served, "POST", "predict", BODY, Content_Type=kind)
    assert got == status, body
    if status != 200:
        assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b'{"instances": [{"colour": "\xff"}]}', b"[" * 50_000, b"\x00"],
    ids=["bytes", "broken UTF-8", "deep", "nul"],
)
def test_what_is_no_json_is_a_400(served: Served, body: bytes) -> None:
    got, headers, _ = send(served, "POST", "predict", body)
    assert got == 400
    assert headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("size", [5_500_000, 10_500_000])
def test_too_large_a_body_is_a_413(served: Served, size: int) -> None:
    """Beyond what the function takes, and beyond what the gateway takes."""
    body = BODY[:-1] + " " * size + "}"
    got, headers, answer = send(served, "POST", "predict", body)
    assert got == 413, answer
    assert headers["Content-Type"] == "application/problem+json"
