"""Replays a bundle's golden rows on a new version of the predict function."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.bundle import Bundle
from core.errors import DeliveryError, DriftlessError

NO_MODEL = "none"
# How the predict function knows a canary's request: it then captures nothing.
CANARY_API = "canary"
ROWS_PER_REQUEST = 100
SHOWN_DIFFERENCES = 5


@dataclass(frozen=True)
class Version:
    """A published version of the predict function and the environment frozen in it."""

    number: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Verdict:
    """Whether the version may get traffic, and why."""

    passed: bool
    reason: str
    rows: int = 0
    largest_difference: float = 0.0
    differences: Sequence[str] = field(default_factory=tuple)


class Functions(Protocol):
    """The predict function's published versions."""

    def version(self, number: str | None) -> Version:
        """Return a version, by default the one published last; raises ``DeliveryError``."""
        ...

    def invoke(self, version: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Invoke one version; raises ``DeliveryError`` when the function itself fails."""
        ...


class Bundles(Protocol):
    """The trained models' folders."""

    def open(self, model_uri: str) -> Bundle:
        """Open one bundle; raises ``BundleError`` or ``StorageError``."""
        ...


def check(functions: Functions, bundles: Bundles, target: str | None = None) -> Verdict:
    """Compare a version's answers with the golden ones of the bundle that it serves.

    ``target`` is the version that the traffic moves to, where the deployment says so; otherwise
    it is the newest.

    Any error on the way is a verdict too: a version that cannot be checked gets no traffic.
    """
    try:
        version = functions.version(target)
        model_uri = version.environment.get("MODEL_URI", NO_MODEL)
        if model_uri == NO_MODEL:
            return Verdict(True, f"version {version.number} serves no model: nothing to check")
        golden = bundles.open(model_uri).golden()
        return _replay(version, golden, functions)
    except DriftlessError as error:
        return Verdict(False, f"{type(error).__name__}: {error}")


def read_target(content: str) -> str | None:
    """Return the version that an AppSpec of a Lambda deployment moves traffic to, if it says so.

    AWS CodeDeploy User Guide, "AppSpec 'resources' section for AWS Lambda deployments"; here in
    JSON, as CloudFormation writes it.
    """
    try:
        for resource in json.loads(content)["Resources"]:
            for described in resource.values():
                return str(described["Properties"]["TargetVersion"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None


def _replay(version: Version, golden: Mapping[str, Any], functions: Functions) -> Verdict:
    rows, answers = golden["rows"], golden["answers"]
    tolerance = float(golden["tolerance"])
    if not rows or len(rows) != len(answers):
        raise DeliveryError(f"golden.json holds {len(rows)} rows and {len(answers)} answers")
    size = min(ROWS_PER_REQUEST, int(version.environment.get("MAX_ROWS", ROWS_PER_REQUEST)))
    differences: list[str] = []
    largest = 0.0
    for start in range(0, len(rows), size):
        given = _predict(version.number, rows[start : start + size], start, functions)
        expected = answers[start : start + size]
        if len(given) != len(expected):
            raise DeliveryError(f"{len(expected)} golden rows got {len(given)} answers")
        for offset, (actual, wanted) in enumerate(zip(given, expected, strict=True)):
            difference = _difference(actual, wanted)
            largest = max(largest, difference)
            if not difference <= tolerance:
                differences.append(f"row {start + offset}: {actual} instead of {wanted}")
    if differences:
        shown = "; ".join(differences[:SHOWN_DIFFERENCES])
        reason = (
            f"version {version.number}: {len(differences)} of {len(rows)} golden rows differ"
            f" by more than {tolerance:g}: {shown}"
        )
        return Verdict(False, reason, len(rows), largest, tuple(differences))
    return Verdict(
        True,
        f"version {version.number}: {len(rows)} golden rows within {tolerance:g}",
        len(rows),
        largest,
    )


def _predict(
    version: str, rows: Sequence[Mapping[str, Any]], start: int, functions: Functions
) -> list[list[float]]:
    """Ask one version for the outputs of some rows."""
    response = functions.invoke(version, prediction_event(rows, f"canary-{version}-{start}"))
    status = response.get("statusCode")
    if status != 200:
        raise DeliveryError(
            f"version {version} answered {status}: {str(response.get('body'))[:500]}"
        )
    try:
        predictions = json.loads(response["body"])["predictions"]
        return [[float(output) for output in p["outputs"]] for p in predictions]
    except (ValueError, KeyError, TypeError) as error:
        raise DeliveryError(f"version {version} gave no predictions: {error!r}") from error


def prediction_event(rows: Sequence[Mapping[str, Any]], request_id: str) -> dict[str, Any]:
    """Return the event that API Gateway would send for these rows, marked as a canary's."""
    return {
        "resource": "/predict",
        "path": "/predict",
        "httpMethod": "POST",
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {"Content-Type": ["application/json"]},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "apiId": CANARY_API,
            "requestId": request_id,
            "requestTimeEpoch": 0,
            "resourcePath": "/predict",
            "httpMethod": "POST",
            "stage": CANARY_API,
            "identity": {},
        },
        "body": json.dumps({"instances": list(rows)}),
        "isBase64Encoded": False,
    }


def _difference(actual: Sequence[float], wanted: Sequence[float]) -> float:
    """Return the largest difference of two answers, relative where they are above one."""
    if len(actual) != len(wanted):
        return math.inf
    largest = 0.0
    for a, b in zip(actual, wanted, strict=True):
        difference = abs(a - b) / max(1.0, abs(b))
        if difference != difference:
            return math.inf
        largest = max(largest, difference)
    return largest
