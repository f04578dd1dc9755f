"""Problem documents: every error of the API (RFC 9457, "Problem Details for HTTP APIs")."""

from collections.abc import Sequence
from typing import Any

import orjson

from core.errors import DriftlessError, Problem

CONTENT_TYPE = "application/problem+json"
# A response of a Lambda function may hold 6 MB; the list of problems must leave room in it.
MAX_ERRORS_BYTES = 4_000_000
RETRY_SECONDS = 30

_TITLES = {
    400: ("malformed-request", "The request cannot be read"),
    404: ("not-found", "There is nothing at this path"),
    405: ("method-not-allowed", "This path does not answer this method"),
    409: ("ids-do-not-match", "The ids and what they name do not match"),
    413: ("too-large", "The request or its answer is too large"),
    415: ("unsupported-media-type", "The body is not JSON in UTF-8"),
    422: ("invalid-rows", "The request does not fit the model's contract"),
    500: ("internal-error", "The service failed"),
    503: ("no-model", "No model can answer now"),
}


class Refusal(DriftlessError):
    """A request that is answered with a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Problem] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        """Keep what the document says; ``headers`` are sent with it."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    @property
    def rows(self) -> int:
        """Count the rows that the problems name; at least one when there are problems."""
        named = {problem.row for problem in self.errors if problem.row is not None}
        return len(named) or int(bool(self.errors))

    def to_json(self, request_id: str) -> bytes:
        """Write the document, with every problem unless they would not fit into one response."""
        slug, title = _TITLES[self.status]
        document: dict[str, Any] = {
            "type": f"urn:driftless:problem:{slug}",
            "title": title,
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:driftless:request:{request_id}",
        }
        if self.errors:
            document["errors"] = [problem.to_dict() for problem in self.errors]
            body = orjson.dumps(document)
            if len(body) > MAX_ERRORS_BYTES:
                kept = len(self.errors) * MAX_ERRORS_BYTES // len(body)
                document["errors"] = document["errors"][:kept]
                document["errors_omitted"] = len(self.errors) - kept
                body = orjson.dumps(document)
            return body
        return orjson.dumps(document)


def no_model() -> Refusal:
    """Return the answer before the first model is live."""
    return Refusal(
        503,
        "no model is live yet: train one and approve it, then ask again",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def model_unavailable() -> Refusal:
    """Return the answer while the live model cannot be loaded; the reason is in the log."""
    return Refusal(
        503,
        "the live model cannot be loaded at the moment: ask again shortly",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )
