"""Requests and answers on their way through an API, and the gateway's own refusals."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from local.host import Caller
from local.services.apigateway.routes import Route

MAX_BODY_BYTES = 10 * 1024 * 1024

# Type -> status and message, as the gateway words them itself.
RESPONSES: dict[str, tuple[int, str]] = {
    "ACCESS_DENIED": (403, "User is not authorized to access this resource"),
    "API_CONFIGURATION_ERROR": (500, "Internal server error"),
    "BAD_REQUEST_BODY": (400, "Invalid request body"),
    "BAD_REQUEST_PARAMETERS": (400, "Invalid request parameters"),
    "EXPIRED_TOKEN": (403, "The security token included in the request is expired"),
    "INTEGRATION_FAILURE": (504, "Internal server error"),
    "INTEGRATION_TIMEOUT": (504, "Endpoint request timed out"),
    "INVALID_API_KEY": (403, "Forbidden"),
    "INVALID_SIGNATURE": (
        403,
        "The request signature we calculated does not match the signature"
        " you provided. Check your AWS Secret Access Key and signing method."
        " Consult the service documentation for details.",
    ),
    "MISSING_AUTHENTICATION_TOKEN": (403, "Missing Authentication Token"),
    "QUOTA_EXCEEDED": (429, "Limit Exceeded"),
    "REQUEST_TOO_LARGE": (413, "Request Too Long"),
    "RESOURCE_NOT_FOUND": (404, "Not Found"),
    "THROTTLED": (429, "Too Many Requests"),
    "UNAUTHORIZED": (401, "Unauthorized"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "Unsupported Media Type"),
}
ERROR_TYPES = {
    "ACCESS_DENIED": "AccessDeniedException",
    "BAD_REQUEST_BODY": "BadRequestException",
    "BAD_REQUEST_PARAMETERS": "BadRequestException",
    "EXPIRED_TOKEN": "ExpiredTokenException",
    "INVALID_API_KEY": "ForbiddenException",
    "INVALID_SIGNATURE": "InvalidSignatureException",
    "MISSING_AUTHENTICATION_TOKEN": "MissingAuthenticationTokenException",
    "QUOTA_EXCEEDED": "LimitExceededException",
    "REQUEST_TOO_LARGE": "RequestTooLargeException",
    "THROTTLED": "TooManyRequestsException",
    "UNAUTHORIZED": "UnauthorizedException",
    "UNSUPPORTED_MEDIA_TYPE": "UnsupportedMediaTypeException",
}


class Refused(Exception):
    """The gateway answers by itself; `kind` is the GatewayResponse type."""

    def __init__(self, kind: str, message: str = "", details: str = "", status: int = 0) -> None:
        super().__init__(message or RESPONSES[kind][1])
        self.kind = kind
        self.details = details
        self.status = status or RESPONSES[kind][0]


@dataclass
class Request:
    """One HTTP request on its way through a stage."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    source_ip: str
    started: float
    began: float = field(default_factory=time.monotonic)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    extended_id: str = field(default_factory=lambda: uuid.uuid4().hex[:15] + "=")
    caller: Caller | None = None
    api_key: str = ""
    api_key_id: str = ""
    route: Route | None = None
    stage: str = ""
    path: str = "/"
    integration_seconds: float = 0.0
    error: str = ""
    error_kind: str = ""

    def header(self, name: str) -> str:
        """Return a header's (last) value, or an empty text."""
        found = ""
        for key, value in self.headers:
            if key.lower() == name.lower():
                found = value
        return found


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
