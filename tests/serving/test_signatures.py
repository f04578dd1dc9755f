"""Callers are who they sign to be: by curl, by botocore, and by nobody else."""

import json
import shutil
import subprocess

import pytest
import requests

from tests.serving.conftest import ROW, Served

pytestmark = pytest.mark.xdist_group("serving")
BODY = json.dumps({"instances": [ROW]})
JSON = {"Content-Type": "application/json"}


def test_a_call_signed_by_botocore_is_answered(served: Served) -> None:
    response = served.session().post(f"{served.url}/predict", data=BODY, headers=JSON)
    assert response.status_code == 200, response.text
    assert response.json()["predictions"][0]["label"] in ("no", "yes")


def test_a_call_signed_by_curl_is_answered(served: Served) -> None:
    """`curl --aws-sigv4` is what the documentation of many teams shows."""
    curl = shutil.which("curl")
    if curl is None or "--aws-sigv4" not in _help(curl):
        pytest.skip("this machine has no curl of version 7.75 or newer")
    answered = subprocess.run(
        [
            curl,
            *("--silent", "--show-error", "--write-out", "\n%{http_code}"),
            *("--aws-sigv4", f"aws:amz:{served.region}:execute-api"),
            *("--user", f"{served.access_key}:{served.secret_key}"),
            *("--header", "Content-Type: application/json"),
            *("--data", BODY),
            f"{served.url}/predict?explain=true",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    body, status = answered.stdout.rsplit("\n", 1)
    assert status == "200", body
    assert "explanation" in json.loads(body)["predictions"][0]


@pytest.mark.parametrize("path", ["predict", "feedback"])
def test_an_unsigned_call_is_refused(served: Served, path: str) -> None:
    response = requests.post(f"{served.url}/{path}", data=BODY, headers=JSON, timeout=30)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "AWS4-HMAC-SHA256"
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["model", "health", "openapi.json", "docs", "", "nothing/here"])
def test_reading_unsigned_is_refused(served: Served, path: str) -> None:
    assert requests.get(f"{served.url}/{path}", timeout=30).status_code == 401


def test_a_signature_with_another_key_is_refused(served: Served) -> None:
    wrong = served.signature(secret_key="x" * 40)
    response = requests.post(
        f"{served.url}/predict", data=BODY, headers=JSON, auth=wrong, timeout=30
    )
    assert response.status_code == 403
    assert response.headers["Content-Type"] == "application/problem+json"


def test_a_signature_of_another_body_is_refused(served: Served) -> None:
    """A signature covers the body: a changed row is not the caller's."""
    signed = requests.Request(
        "POST", f"{served.url}/predict", data=BODY, headers=JSON, auth=served.signature()
    ).prepare()
    signed.body = BODY.replace("12.5", "13.5")
    assert requests.Session().send(signed, timeout=30).status_code == 403


def test_a_signed_call_of_an_unknown_path_or_method_is_told_so(served: Served) -> None:
    """A gateway by itself says "Missing Authentication Token" to both."""
    session = served.session()
    assert session.get(f"{served.url}/nothing/here").status_code == 404
    response = session.delete(f"{served.url}/predict")
    assert (response.status_code, response.headers["Allow"]) == (405, "POST, OPTIONS")


def _help(curl: str) -> str:
    return subprocess.run([curl, "--help", "all"], capture_output=True, text=True).stdout
