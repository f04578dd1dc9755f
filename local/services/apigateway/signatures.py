"""Signatures of requests (SigV4), verified with botocore's own signer."""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.host import Caller, Identity
from local.services.apigateway.messages import Refused, Request

CLOCK_SKEW = timedelta(minutes=5)


def verify_signature(request: Request, identity: Identity, region: str) -> Caller:
    """Verify the SigV4 signature of a request; return who signed it."""
    header = request.header("Authorization")
    if not header:
        raise Refused("MISSING_AUTHENTICATION_TOKEN")
    fields = dict(re.findall(r"(\w+)=([^,\s]+)", header))
    if not header.startswith("AWS4-HMAC-SHA256 ") or not {
        "Credential",
        "SignedHeaders",
        "Signature",
    } <= set(fields):
        raise Refused(
            "INVALID_SIGNATURE",
            "Authorization header requires 'Credential' parameter, 'Signature' parameter,"
            f" 'SignedHeaders' parameter. Authorization={header.split(' ')[0]}",
        )
    key, *scope = fields["Credential"].split("/")
    caller = identity.find(key)
    token = request.header("X-Amz-Security-Token")
    if caller is None or (caller.token and caller.token != token):
        raise Refused("INVALID_SIGNATURE", "The security token included in the request is invalid.")
    stamp = request.header("X-Amz-Date")
    expected_scope = [stamp[:8], region, "execute-api", "aws4_request"]
    if scope != expected_scope:
        raise Refused(
            "INVALID_SIGNATURE",
            f"Credential should be scoped to a valid region, not '{'/'.join(scope)}'.",
        )
    _check_age(stamp)
    signed = fields["SignedHeaders"].split(";")
    if "host" not in signed:
        raise Refused(
            "INVALID_SIGNATURE", "'Host' must be a 'SignedHeader' in the AWS Authorization."
        )
    path, _, query = request.target.partition("?")
    host = request.header("Host")
    url = f"http://{host}{path}" + (f"?{query}" if query else "")
    copied = AWSRequest(request.method, url, data=request.body)
    for name in signed:
        values = [value for key_, value in request.headers if key_.lower() == name]
        copied.headers[name] = ",".join(values)
    copied.context["timestamp"] = stamp
    signer = _Verifier(Credentials(caller.key, caller.secret), region, frozenset(signed))
    if not hmac.compare_digest(signer.expected(copied), fields["Signature"]):
        raise Refused("INVALID_SIGNATURE")
    return caller


def _check_age(stamp: str) -> None:
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise Refused(
            "INVALID_SIGNATURE",
            "Date must be in ISO-8601 'basic format'. Got '" + stamp + "'.",
        ) from error
    now = datetime.now(UTC)
    if abs(now - signed_at) > CLOCK_SKEW:
        raise Refused(
            "INVALID_SIGNATURE",
            f"Signature expired: {stamp} is now earlier than"
            f" {(now - CLOCK_SKEW):%Y%m%dT%H%M%SZ} ({now:%Y%m%dT%H%M%SZ} - 5 min.)",
        )


class _Verifier(SigV4Auth):
    """botocore's signer, used to compute the signature that a request should carry."""

    def __init__(self, credentials: Credentials, region: str, signed: frozenset[str]) -> None:
        super().__init__(credentials, "execute-api", region)
        self._signed = signed

    def headers_to_sign(self, request: AWSRequest) -> HTTPMessage:
        """Return exactly the headers that the caller signed."""
        headers = HTTPMessage()
        for name, value in request.headers.items():
            if name.lower() in self._signed:
                headers[name.lower()] = value
        return headers

    def expected(self, request: AWSRequest) -> str:
        """Return the signature that the request should carry."""
        canonical = self.canonical_request(request)
        return str(self.signature(self.string_to_sign(request, canonical), request))
