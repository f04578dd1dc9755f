"""The REST API: API Gateway events in, responses out."""

import binascii
import contextlib
import time
import traceback
import uuid
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from core.contract.rows import LabelEntry
from core.errors import (
    BundleError,
    ContractError,
    DriftlessError,
    EngineError,
    Problem,
    StorageError,
)
from lambdas.predict.problems import (
    CONTENT_TYPE,
    RETRY_SECONDS,
    Refusal,
    model_unavailable,
    no_model,
)
from lambdas.predict.service import Model
from lambdas.predict.telemetry import Capture, Metrics

Event = Mapping[str, Any]
Response = dict[str, Any]

# The canary function marks its requests so: they are neither captured nor counted.
CANARY_API = "canary"
# Lambda takes and gives 6 MB, JSON escapes and envelope included.
MAX_BODY_BYTES = 5_000_000
JSON_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


class Api:
    """Answer requests with the live model.

    The model is loaded when the object is made, so that it is part of a function's init, and again
    at a request if that failed.
    """

    def __init__(
        self,
        *,
        deployment: str,
        load: Callable[[], Model | None],
        put_labels: Callable[[str, bytes], None],
        write: Callable[[str], object],
        sample_rate: float = 1.0,
        cors_origins: tuple[str, ...] = (),
    ) -> None:
        """Load the model; ``load`` gives None while there is none, ``write`` takes a log line."""
        self._deployment = deployment
        self._load = load
        self._put_labels = put_labels
        self._write = write
        self._sample_rate = sample_rate
        self._cors_origins = cors_origins
        self._metrics = Metrics(deployment, write)
        self._model: Model | None = None
        self._capture: Capture | None = None
        self._routes: dict[str, dict[str, Callable[[Event, str], Response]]] = {
            "/predict": {"POST": self._predict},
            "/feedback": {"POST": self._feedback},
            "/model": {"GET": self._describe_model},
            "/health": {"GET": self._health},
            "/openapi.json": {"GET": self._openapi},
            "/docs": {"GET": self._docs},
        }
        with contextlib.suppress(Refusal):  # logged where it arose; a request tries again
            self._prepare()

    def __call__(self, event: Event, context: object) -> Response:
        """Answer one proxy event (AWS: "Lambda proxy integrations in API Gateway")."""
        request: Mapping[str, Any] = event.get("requestContext") or {}
        request_id = str(request.get("requestId") or uuid.uuid4())
        try:
            response = self._find(event)(event, request_id)
        except Refusal as refusal:
            response = self._refuse(refusal, event, request_id)
        except Exception:
            self._log("error", "unhandled", request=request_id, error=traceback.format_exc())
            detail = "the service failed on this request; it was logged under its id"
            response = self._refuse(Refusal(500, detail), event, request_id)
        return self._allow_origin(response, event) if self._cors_origins else response

    def _find(self, event: Event) -> Callable[[Event, str], Response]:
        """Return the route; the deployed resource decides, then the path."""
        methods = self._routes.get(event.get("resource", "")) or self._routes.get(
            str(event.get("path", "")).rstrip("/") or "/"
        )
        if methods is None:
            known = ", ".join(self._routes)
            raise Refusal(404, f"there is nothing at this path; there is {known}")
        method = str(event.get("httpMethod", ""))
        route = methods.get(method)
        if route is not None:
            return route
        allowed = ", ".join([*methods, "OPTIONS"])
        if method == "OPTIONS":
            return lambda _event, _id: _respond(204, "", {"Allow": allowed})
        raise Refusal(405, f"this path answers {allowed}", headers={"Allow": allowed})

    def _prepare(self) -> Model:
        """Return the model, loading it if need be; raises ``Refusal`` when there is none."""
        if self._model is not None:
            return self._model
        try:
            model = self._load()
        except DriftlessError as error:
            self._log("error", "the live model cannot be loaded", error=str(error))
            raise model_unavailable() from error
        if model is None:
            raise no_model()
        self._model = model
        self._capture = Capture(
            model.run,
            model.version,
            self._sample_rate,
            model.sensitive,
            self._write,
            model.hash_entity,
        )
        return model

    def _predict(self, event: Event, request_id: str) -> Response:
        model = self._model or self._prepare()
        body = _json_body(event)
        context = event["requestContext"]
        time_ms = context.get("requestTimeEpoch") or 0
        explain = _flag(event, "explain")
        canary = context.get("apiId") == CANARY_API
        try:
            prediction = model.predict(body, request_id, explain=explain, raw=canary)
        except ContractError as error:
            refusal = _refusal(error)
            self._metrics.count(time_ms, 0, refusal.rows)
            raise refusal from error
        except EngineError as error:
            self._log("error", "the model failed", request=request_id, error=str(error))
            raise Refusal(500, str(error)) from error
        answer = model.render(prediction)
        if len(answer) > MAX_BODY_BYTES:
            self._metrics.count(time_ms, 0, len(prediction.rows))
            raise Refusal(
                413,
                f"the answer would have {len(answer):,} bytes and may have {MAX_BODY_BYTES:,}:"
                " send fewer rows at once",
            )
        if not canary:
            place = model.score_place
            if place < 0:
                self._metrics.count(time_ms, len(prediction.rows), 0)
            else:
                scores = [outputs[place] for outputs in prediction.outputs]
                self._metrics.count_scored(time_ms, model.version, scores)
            if self._capture is not None:
                self._capture.record(
                    time_ms,
                    request_id,
                    prediction.ids,
                    prediction.rows,
                    prediction.outputs,
                    prediction.entities,
                )
        return {
            "statusCode": 200,
            "headers": JSON_HEADERS,
            "body": answer.decode(),
            "isBase64Encoded": False,
        }

    def _feedback(self, event: Event, request_id: str) -> Response:
        model = self._prepare()
        try:
            labels = model.parse_labels(_json_body(event))
        except ContractError as error:
            raise _refusal(error) from error
        _check_one_label_each(labels)
        time_ms = int(event["requestContext"].get("requestTimeEpoch") or 0)
        lines = b"".join(orjson.dumps({**label, "time": time_ms}) + b"\n" for label in labels)
        day = time.strftime("%Y/%m/%d", time.gmtime(time_ms / 1000))
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"urn:driftless:request:{request_id}")
        try:
            self._put_labels(f"{day}/{name}.jsonl", lines)
        except StorageError as error:
            self._log("error", "labels were not kept", request=request_id, error=str(error))
            raise Refusal(
                503,
                "the labels could not be kept at the moment: send them again shortly",
                headers={"Retry-After": str(RETRY_SECONDS)},
            ) from error
        return _respond(202, orjson.dumps({"accepted": len(labels)}).decode(), JSON_HEADERS)

    def _describe_model(self, event: Event, request_id: str) -> Response:
        try:
            document = self._prepare().describe()
        except (BundleError, StorageError) as error:
            self._log("error", "the bundle cannot be read", request=request_id, error=str(error))
            raise model_unavailable() from error
        return _respond(200, orjson.dumps(document).decode(), JSON_HEADERS)

    def _health(self, event: Event, request_id: str) -> Response:
        document: dict[str, Any] = {"deployment": self._deployment, "status": "ok", "model": None}
        try:
            document["model"] = self._prepare().name
        except Refusal as refusal:
            if refusal.detail != no_model().detail:
                raise
            document["status"] = "no_model"
        return _respond(200, orjson.dumps(document).decode(), JSON_HEADERS)

    def _openapi(self, event: Event, request_id: str) -> Response:
        stage = str((event.get("requestContext") or {}).get("stage") or "")
        document = self._prepare().openapi(f"/{stage}" if stage else "/")
        return _respond(200, orjson.dumps(document).decode(), JSON_HEADERS)

    def _docs(self, event: Event, request_id: str) -> Response:
        from lambdas.predict import page  # a tenth of the code of this function, rarely asked for

        return _respond(200, page.HTML, page.HEADERS)

    def _refuse(self, refusal: Refusal, event: Event, request_id: str) -> Response:
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", **refusal.headers}
        return _respond(refusal.status, refusal.to_json(request_id).decode(), headers)

    def _allow_origin(self, response: Response, event: Event) -> Response:
        """Add what a browser needs to let a page of another origin read the answer."""
        origin = _header(event, "origin")
        if origin is None:
            return response
        headers = {**response["headers"], "Vary": "Origin"}
        if "*" in self._cors_origins or origin in self._cors_origins:
            headers["Access-Control-Allow-Origin"] = "*" if "*" in self._cors_origins else origin
            headers["Access-Control-Expose-Headers"] = "Retry-After, x-amzn-RequestId"
            if event.get("httpMethod") == "OPTIONS":
                headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
                headers["Access-Control-Allow-Headers"] = (
                    "Authorization, Content-Type, X-Amz-Content-Sha256, X-Amz-Date,"
                    " X-Amz-Security-Token, X-Api-Key"
                )
                headers["Access-Control-Max-Age"] = "600"
        return {**response, "headers": headers}

    def _log(self, level: str, message: str, **more: str) -> None:
        line = {"level": level, "message": message, "deployment": self._deployment, **more}
        self._write(orjson.dumps(line).decode() + "\n")


def _respond(status: int, body: str, headers: dict[str, str]) -> Response:
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def _refusal(error: ContractError) -> Refusal:
    """Turn what the contract refuses into its answer."""
    if any(problem.code == "invalid_json" for problem in error.problems):
        return Refusal(400, "the body is not a JSON document", error.problems)
    count = len(error.problems)
    if count == 0:
        return Refusal(422, str(error))
    # No JSON Schema can say this of two arrays, so it is no 422: a client that keeps to the
    # document never gets one.
    if any(problem.code == "ids_do_not_match" for problem in error.problems):
        return Refusal(409, "nothing of this request was acted on", error.problems)
    nouns = "problem" if count == 1 else "problems"
    return Refusal(422, f"{count} {nouns}; nothing of this request was acted on", error.problems)


def _check_one_label_each(labels: Sequence[LabelEntry]) -> None:
    """Refuse labels that contradict each other; no JSON Schema can say this, so it is no 422."""
    known: dict[str, Any] = {}
    message = "has another label earlier in this request"
    problems = [
        Problem(row, "id", message, "duplicate_id")
        for row, label in enumerate(labels)
        if known.setdefault(label["id"], label["value"]) != label["value"]
    ]
    if problems:
        raise Refusal(409, "nothing of this request was acted on", problems)


def _header(event: Event, name: str) -> str | None:
    """Return a header, whatever the case of its name."""
    headers: Mapping[str, str] = event.get("headers") or {}
    length = len(name)
    for key in headers:
        if len(key) == length and key.lower() == name:
            return headers[key]
    return None


def _json_body(event: Event) -> bytes | str:
    """Return the body of a JSON request; raises ``Refusal`` for any other."""
    headers: Mapping[str, str] = event.get("headers") or {}
    kind = headers.get("Content-Type") or headers.get("content-type")
    if kind != "application/json":
        kind = kind or _header(event, "content-type") or "application/json"
        _check_media_type(kind)
    encoding = _header(event, "content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise Refusal(415, f"the body is encoded as {encoding[:50]!r}: send it as it is")
    body: bytes | str = event.get("body") or ""
    if isinstance(body, str) and not body.isascii():
        try:
            body = body.encode()
        except UnicodeEncodeError as error:
            raise Refusal(400, "the body holds half a character and is no UTF-8") from error
    if len(body) > MAX_BODY_BYTES * (4 / 3 if event.get("isBase64Encoded") else 1):
        raise _body_too_large()
    if event.get("isBase64Encoded"):
        try:
            body = b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refusal(400, "the body is not the base64 that it says it is") from error
    if len(body) > MAX_BODY_BYTES:
        raise _body_too_large()
    if not body:
        raise Refusal(400, "the body is empty: send a JSON document")
    return body


def _body_too_large() -> Refusal:
    return Refusal(413, f"a body may have {MAX_BODY_BYTES:,} bytes: send fewer rows at once")


def _check_media_type(kind: str) -> None:
    """Accept ``application/json``, in UTF-8; raises ``Refusal``."""
    name, *parameters = (part.strip().lower() for part in kind.split(";"))
    if name != "application/json":
        raise Refusal(415, f"the body is {name[:100]!r}: send application/json")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8"):
            raise Refusal(415, f"the body is in {value[:50]!r}: send UTF-8")


def _flag(event: Event, name: str) -> bool:
    """Return a query parameter that is ``true`` or ``false``, by default the latter."""
    parameters: Mapping[str, str] | None = event.get("queryStringParameters")
    if not parameters or name not in parameters:
        return False
    value = parameters[name] or ""
    every: Mapping[str, Sequence[str]] = event.get("multiValueQueryStringParameters") or {}
    if len(set(every.get(name, ()))) > 1:
        raise Refusal(400, f"{name} is given more than once, and not alike")
    if value not in ("true", "false"):
        raise Refusal(400, f"{name} is true or false, not {value[:50]!r}")
    return value == "true"
