"""API Gateway: an HTTP listener for each REST API, which serves what was deployed.

A stage serves its deployment's snapshot, as on AWS: a route changed without a new deployment is not
served. Signatures are verified with botocore; refusals carry API Gateway's own words and the
GatewayResponses that the template deploys.
"""

from __future__ import annotations

import base64
import fnmatch
import hmac
import json
import logging
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from moto.apigateway.models import apigateway_backends

from local.functions import Throttled
from local.identity import AccessDenied

if TYPE_CHECKING:
    from local.cloud import Cloud
    from local.identity import Credentials

logger = logging.getLogger(__name__)
MAX_BODY_BYTES = 10 * 1024 * 1024
MAX_SECONDS = 29.0
CLOCK_SKEW = timedelta(minutes=5)
VARIABLE = re.compile(r"\$!?(?:\{(context\.[\w.]+)\}|(context\.[\w.]*\w))")

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


@dataclass(frozen=True)
class Route:
    """One method of one resource, as deployed."""

    resource_id: str
    path: str
    method: str
    authorization: str
    key_required: bool
    parameters: Mapping[str, bool]
    models: Mapping[str, str]
    validate_body: bool
    validate_parameters: bool
    integration: Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """An API as it stood when it was deployed."""

    deployment_id: str
    routes: Mapping[str, Mapping[str, Route]]
    validators: Mapping[str, Draft4Validator]
    responses: Mapping[str, Mapping[str, Any]]
    binary_types: tuple[str, ...]


@dataclass
class Bucket:
    """A token bucket: `rate` tokens a second, at most `burst` saved up."""

    rate: float
    burst: float
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


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
    caller: Credentials | None = None
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


class Gateway:
    """The listeners of all REST APIs."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.snapshots: dict[str, Snapshot] = {}
        self._listeners: dict[str, _Listener] = {}
        self._lock = threading.Lock()
        self._port = cloud.api_port

    def api(self, api_id: str) -> Any:
        """Return moto's state of one API."""
        return self.backend().apis[api_id]

    def backend(self) -> Any:
        """Return moto's state of all APIs."""
        return apigateway_backends[self.cloud.account][self.cloud.region]

    def add(self, api_id: str) -> None:
        """Start the listener of an API; the first one takes the wished port."""
        with self._lock:
            port, self._port = self._port, 0
            self._listeners[api_id] = _Listener(Api(self, api_id), port)

    def remove(self, api_id: str) -> None:
        """Stop the listener of an API."""
        with self._lock:
            listener = self._listeners.pop(api_id, None)
        if listener is not None:
            listener.close()

    def close(self) -> None:
        """Stop every listener."""
        for api_id in list(self._listeners):
            self.remove(api_id)

    def url(self, api_id: str) -> str:
        """Return the URL of an API's stage (its only one, or its first)."""
        port = self._listeners[api_id].port
        stages = list(self.api(api_id).stages)
        return f"http://localhost:{port}/{stages[0] if stages else ''}"

    def urls(self) -> dict[str, str]:
        """Return the URL of each API."""
        return {api_id: self.url(api_id) for api_id in list(self._listeners)}

    def snapshot(self, api_id: str, deployment_id: str) -> None:
        """Keep the API as it stands, for the stages that will serve this deployment."""
        api = self.api(api_id)
        routes: dict[str, dict[str, Route]] = {}
        for resource in api.resources.values():
            methods = {}
            for name, method in resource.resource_methods.items():
                validator = api.request_validators.get(method.request_validator_id)
                methods[name] = Route(
                    resource_id=resource.id,
                    path=resource.get_path(),
                    method=name,
                    authorization=method.authorization_type or "NONE",
                    key_required=str(method.api_key_required).lower() == "true",
                    parameters=dict(method.request_parameters or {}),
                    models=dict(method.request_models or {}),
                    validate_body=bool(validator and validator.validate_request_body),
                    validate_parameters=bool(validator and validator.validate_request_parameters),
                    integration=method.method_integration.to_json()
                    if method.method_integration
                    else {},
                )
            if methods:
                routes[resource.get_path()] = methods
        self.snapshots[deployment_id] = Snapshot(
            deployment_id,
            routes,
            {
                name: Draft4Validator(json.loads(model.schema or "{}"))
                for name, model in api.models.items()
            },
            {name: _response(value.to_json()) for name, value in api.gateway_responses.items()},
            tuple(api.binaryMediaTypes or ()),
        )


def _response(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a deployed GatewayResponse as a mapping."""
    return {
        "status": int(response["statusCode"]) if response.get("statusCode") else 0,
        "parameters": dict(response.get("responseParameters") or {}),
        "templates": dict(response.get("responseTemplates") or {}),
    }


class Api:
    """One REST API: from an HTTP request to an HTTP response."""

    def __init__(self, gateway: Gateway, api_id: str) -> None:
        self._gateway = gateway
        self._cloud = gateway.cloud
        self.id = api_id
        self._lock = threading.Lock()
        self._buckets: dict[tuple[str, ...], Bucket] = {}
        self._used: Counter[tuple[str, str, str]] = Counter()

    def answer(self, request: Request) -> Answer:
        """Answer one request, write its access log line and its metrics."""
        path, _, _ = request.target.partition("?")
        _, request.stage, *rest = (*path.split("/", 2), "")[:3] if path != "/" else ("", "", "")
        request.path = "/" + (rest[0] if rest else "")
        api = self._gateway.api(self.id)
        stage = api.stages.get(unquote(request.stage))
        snapshot = self._gateway.snapshots.get(stage.deployment_id) if stage else None
        if stage is None or snapshot is None:
            return self._plain(403, "Forbidden", request, "ForbiddenException")
        try:
            answer = self._serve(request, stage, snapshot)
        except Refused as refused:
            request.error, request.error_kind = str(refused), refused.kind
            answer = self._refuse(request, refused, snapshot)
        except Exception:
            logger.exception("%s %s", request.method, request.target)
            answer = self._refuse(request, Refused("API_CONFIGURATION_ERROR"), snapshot)
        self._record(request, stage, api.name, answer)
        return answer

    # -- the way of a request -----------------------------------------------------------------

    def _serve(self, request: Request, stage: Any, snapshot: Snapshot) -> Answer:
        route, path_parameters = self._match(request, snapshot)
        request.route = route
        # Before the signature is checked: what is over the limit was not kept.
        if len(request.body) > MAX_BODY_BYTES:
            raise Refused("REQUEST_TOO_LARGE")
        if route.authorization == "AWS_IAM":
            request.caller = self._verify(request)
            if request.caller.role:
                try:
                    self._cloud.identity.authorise(
                        request.caller.role,
                        "execute-api:Invoke",
                        f"arn:aws:execute-api:{self._cloud.region}:{self._cloud.account}:{self.id}/"
                        f"{request.stage}/{request.method}{request.path}",
                    )
                except AccessDenied as denied:
                    raise Refused("ACCESS_DENIED", str(denied)) from denied
        elif route.authorization != "NONE":
            raise Refused("API_CONFIGURATION_ERROR", status=500)
        plan = self._check_key(request, route) if route.key_required else None
        self._throttle(request, route, stage, plan)
        query = parse_qsl(urlsplit(request.target).query, keep_blank_values=True)
        self._validate(request, route, snapshot, query, path_parameters)
        if route.integration.get("type") == "MOCK":
            return self._mock(route)
        event = self._event(request, route, stage, snapshot, query, path_parameters)
        return self._call(request, route, snapshot, event)

    def _match(self, request: Request, snapshot: Snapshot) -> tuple[Route, dict[str, str]]:
        """Find the route: literal parts before `{name}` before `{name+}`."""
        parts = [unquote(part) for part in request.path.strip("/").split("/") if part]
        best: tuple[tuple[int, ...], Mapping[str, Route], dict[str, str]] | None = None
        for path, methods in snapshot.routes.items():
            pattern = [part for part in path.strip("/").split("/") if part]
            found = _fit(pattern, parts)
            if found is None:
                continue
            rank, parameters = found
            if best is None or rank < best[0]:
                best = (rank, methods, parameters)
        if best is not None:
            route = best[1].get(request.method) or best[1].get("ANY")
            if route is not None:
                return route, best[2]
        raise Refused("MISSING_AUTHENTICATION_TOKEN")

    def _verify(self, request: Request) -> Credentials:
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
        caller = self._cloud.identity.find(key)
        token = request.header("X-Amz-Security-Token")
        if caller is None or (caller.token and caller.token != token):
            raise Refused(
                "INVALID_SIGNATURE", "The security token included in the request is invalid."
            )
        stamp = request.header("X-Amz-Date")
        expected_scope = [stamp[:8], self._cloud.region, "execute-api", "aws4_request"]
        if scope != expected_scope:
            raise Refused(
                "INVALID_SIGNATURE",
                f"Credential should be scoped to a valid region, not '{'/'.join(scope)}'.",
            )
        self._check_age(stamp)
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
        signer = _Verifier(
            BotoCredentials(caller.key, caller.secret), self._cloud.region, frozenset(signed)
        )
        if not _equal(signer.expected(copied), fields["Signature"]):
            raise Refused("INVALID_SIGNATURE")
        return caller

    @staticmethod
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

    def _check_key(self, request: Request, route: Route) -> Any:
        """Find the usage plan under which an API key may call this stage."""
        value = request.header("x-api-key")
        backend = self._gateway.backend()
        for key in backend.keys.values():
            if key.value != value or not value or not key.enabled:
                continue
            for plan in backend.get_usage_plans(key.id):
                stages = [(item["apiId"], item["stage"]) for item in plan.api_stages]
                if (self.id, request.stage) in stages:
                    request.api_key, request.api_key_id = value, key.id
                    return plan
        raise Refused("INVALID_API_KEY")

    def _throttle(self, request: Request, route: Route, stage: Any, plan: Any) -> None:
        """Hold the stage's and the plan's rates; the plan's quota too."""
        now = time.monotonic()
        limits: list[tuple[tuple[str, ...], float, float]] = []
        if plan is not None and plan.throttle:
            limits.append(
                (
                    ("plan", plan.id, request.api_key_id),
                    float(plan.throttle.get("rateLimit", 10000)),
                    float(plan.throttle.get("burstLimit", 5000)),
                )
            )
        encoded = route.path.replace("/", "~1")
        for where in (f"{encoded}/{route.method}", "*/*"):
            settings = stage.method_settings.get(where)
            if settings and "throttlingRateLimit" in settings:
                limits.append(
                    (
                        ("stage", request.stage, route.path, route.method),
                        float(settings["throttlingRateLimit"]),
                        float(settings["throttlingBurstLimit"]),
                    )
                )
                break
        with self._lock:
            for key, rate, burst in limits:
                bucket = self._buckets.get(key)
                if bucket is None or (bucket.rate, bucket.burst) != (rate, burst):
                    bucket = self._buckets[key] = Bucket(rate, burst, burst, now)
                if not bucket.take(now):
                    raise Refused("THROTTLED")
            if plan is not None and plan.quota:
                self._spend(request, plan)

    def _spend(self, request: Request, plan: Any) -> None:
        day = datetime.fromtimestamp(self._cloud.clock.now(), UTC)
        period = {
            "DAY": f"{day:%Y-%m-%d}",
            "WEEK": "{}-{}".format(*day.isocalendar()[:2]),
            "MONTH": f"{day:%Y-%m}",
        }[plan.quota.get("period", "MONTH")]
        spent = (plan.id, request.api_key_id, period)
        if self._used[spent] >= int(plan.quota["limit"]):
            raise Refused("QUOTA_EXCEEDED")
        self._used[spent] += 1

    def _validate(
        self,
        request: Request,
        route: Route,
        snapshot: Snapshot,
        query: list[tuple[str, str]],
        path_parameters: Mapping[str, str],
    ) -> None:
        """Check parameters and body as the deployed validator asks."""
        if route.validate_parameters:
            present = {
                "querystring": {name for name, value in query if value},
                "header": {name.lower() for name, _ in request.headers},
                "path": set(path_parameters),
            }
            missing = []
            for place, required in route.parameters.items():
                if not required or not place.startswith("method.request."):
                    continue
                kind, name = place.removeprefix("method.request.").split(".", 1)
                wanted = name.lower() if kind == "header" else name
                if wanted not in present.get(kind, set()):
                    missing.append(name)
            if missing:
                raise Refused(
                    "BAD_REQUEST_PARAMETERS",
                    f"Missing required request parameters: [{', '.join(missing)}]",
                )
        if not route.validate_body or not route.models:
            return
        media = request.header("Content-Type").split(";")[0].strip().lower() or "application/json"
        model = route.models.get(media) or route.models.get("$default")
        if model is None or model not in snapshot.validators:
            return
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError) as error:
            raise Refused("BAD_REQUEST_BODY", details=f"[{error}]") from error
        problems = sorted(snapshot.validators[model].iter_errors(body), key=str)
        if problems:
            raise Refused(
                "BAD_REQUEST_BODY",
                details="[" + ", ".join(problem.message for problem in problems[:20]) + "]",
            )

    def _event(
        self,
        request: Request,
        route: Route,
        stage: Any,
        snapshot: Snapshot,
        query: list[tuple[str, str]],
        path_parameters: Mapping[str, str],
    ) -> dict[str, Any]:
        """Build the proxy event as API Gateway sends it (REST, version 1)."""
        domain = f"{self.id}.execute-api.{self._cloud.region}.amazonaws.com"
        headers = [
            *request.headers,
            ("X-Forwarded-For", request.source_ip),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Port", "443"),
        ]
        many: dict[str, list[str]] = {}
        for name, value in headers:
            many.setdefault(name, []).append(value)
        many_query: dict[str, list[str]] = {}
        for name, value in query:
            many_query.setdefault(name, []).append(value)
        binary = bool(request.body) and _is_binary(
            request.header("Content-Type"), snapshot.binary_types
        )
        body: str | None = None
        if request.body:
            body = (
                base64.b64encode(request.body).decode()
                if binary
                else request.body.decode("utf-8", "replace")
            )
        return {
            "resource": route.path,
            "path": request.path,
            "httpMethod": request.method,
            "headers": {name: values[-1] for name, values in many.items()},
            "multiValueHeaders": many,
            "queryStringParameters": {n: v[-1] for n, v in many_query.items()} or None,
            "multiValueQueryStringParameters": many_query or None,
            "pathParameters": dict(path_parameters) or None,
            "stageVariables": dict(stage.variables) or None,
            "requestContext": self._context(request, route, snapshot, domain),
            "body": body,
            "isBase64Encoded": binary,
        }

    def _context(
        self, request: Request, route: Route, snapshot: Snapshot, domain: str
    ) -> dict[str, Any]:
        caller = request.caller
        identity: dict[str, Any] = {
            "cognitoIdentityPoolId": None,
            "accountId": self._cloud.account if caller else None,
            "cognitoIdentityId": None,
            "caller": caller.key if caller else None,
            "sourceIp": request.source_ip,
            "principalOrgId": None,
            "accessKey": caller.key if caller else None,
            "cognitoAuthenticationType": None,
            "cognitoAuthenticationProvider": None,
            "userArn": caller.arn if caller else None,
            "userAgent": request.header("User-Agent") or None,
            "user": caller.key if caller else None,
        }
        if request.api_key:
            identity |= {"apiKey": request.api_key, "apiKeyId": request.api_key_id}
        when = datetime.fromtimestamp(request.started, UTC)
        return {
            "resourceId": route.resource_id,
            "resourcePath": route.path,
            "operationName": None,
            "httpMethod": request.method,
            "extendedRequestId": request.extended_id,
            "requestTime": f"{when:%d/%b/%Y:%H:%M:%S} +0000",
            "path": f"/{request.stage}{request.path}",
            "accountId": self._cloud.account,
            "protocol": "HTTP/1.1",
            "stage": request.stage,
            "domainPrefix": self.id,
            "requestTimeEpoch": int(request.started * 1000),
            "requestId": request.id,
            "identity": identity,
            "domainName": domain,
            "deploymentId": snapshot.deployment_id,
            "apiId": self.id,
        }

    def _call(
        self, request: Request, route: Route, snapshot: Snapshot, event: Mapping[str, Any]
    ) -> Answer:
        """Call the function and read its answer."""
        uri = str(route.integration.get("uri", ""))
        found = re.search(r"/functions/(arn:[^/]+)/invocations$", uri)
        if found is None:
            raise Refused("API_CONFIGURATION_ERROR")
        arn = found[1]
        if not self._may_call(arn, request):
            logger.warning("no AWS::Lambda::Permission lets API %s call %s", self.id, arn)
            raise Refused("API_CONFIGURATION_ERROR")
        wished = route.integration.get("timeoutInMillis")
        limit = min(MAX_SECONDS, float(wished) / 1000) if wished else MAX_SECONDS
        began = time.monotonic()
        outcome: list[Any] = []

        def call() -> None:
            try:
                outcome.append(self._cloud.functions.invoke(arn, json.dumps(event).encode()))
            except Exception as error:
                outcome.append(error)

        settings = self._cloud.functions.resolve(arn)[0]
        if float(settings.timeout) < limit:
            call()
        else:
            worker = threading.Thread(target=call, name="integration", daemon=True)
            worker.start()
            worker.join(limit)
        request.integration_seconds = time.monotonic() - began
        if not outcome:
            raise Refused("INTEGRATION_TIMEOUT")
        answer = outcome[0]
        if isinstance(answer, Throttled):
            raise Refused("INTEGRATION_FAILURE", status=500)
        if isinstance(answer, Exception):
            logger.warning("calling %s: %s", arn, answer)
            raise Refused("API_CONFIGURATION_ERROR", status=500)
        if answer.error:
            raise Refused("INTEGRATION_FAILURE", status=502)
        return self._read(request, snapshot, answer.payload)

    def _may_call(self, arn: str, request: Request) -> bool:
        """Tell whether a deployed permission lets this API call the function."""
        function, _ = self._cloud.functions.resolve(arn)
        source = (
            f"arn:aws:execute-api:{self._cloud.region}:{self._cloud.account}:{self.id}/"
            f"{request.stage}/{request.method}{request.path}"
        )
        for statement in function.policy.statements:
            principal = statement.get("Principal", {})
            service = principal.get("Service") if isinstance(principal, dict) else principal
            if service != "apigateway.amazonaws.com":
                continue
            condition = statement.get("Condition") or {}
            like = (condition.get("ArnLike") or {}).get("AWS:SourceArn", "*")
            if fnmatch.fnmatchcase(source, like):
                return True
        return False

    def _read(self, request: Request, snapshot: Snapshot, payload: bytes) -> Answer:
        """Read a function's proxy answer; a malformed one is a 502."""
        try:
            answer = json.loads(payload)
            status = int(answer.get("statusCode", 200))
            unknown = set(answer) - {
                "statusCode",
                "headers",
                "multiValueHeaders",
                "body",
                "isBase64Encoded",
            }
            text = answer.get("body")
            if unknown or not isinstance(text, str | None):
                raise ValueError("malformed proxy answer")
            headers = [
                (str(name), str(value)) for name, value in (answer.get("headers") or {}).items()
            ]
            for name, values in (answer.get("multiValueHeaders") or {}).items():
                headers = [(n, v) for n, v in headers if n.lower() != name.lower()]
                headers.extend((str(name), str(value)) for value in values)
            body = (text or "").encode()
            if answer.get("isBase64Encoded") and _is_binary(
                request.header("Accept").split(",")[0], snapshot.binary_types
            ):
                body = base64.b64decode(text or "")
        except (AttributeError, TypeError, ValueError) as error:
            logger.warning("malformed Lambda proxy response: %.500s", payload)
            raise Refused("INTEGRATION_FAILURE", status=502) from error
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
        return Answer(status, headers, body)

    @staticmethod
    def _mock(route: Route) -> Answer:
        """Answer a MOCK integration by its deployed default response."""
        responses = route.integration.get("integrationResponses") or {}
        for status, response in responses.items():
            if response.get("selectionPattern"):
                continue
            headers = [
                (name.removeprefix("method.response.header."), str(value).strip("'"))
                for name, value in (response.get("responseParameters") or {}).items()
            ]
            templates = response.get("responseTemplates") or {}
            media, body = next(iter(templates.items()), ("application/json", ""))
            return Answer(int(status), [("Content-Type", media), *headers], (body or "").encode())
        raise Refused("API_CONFIGURATION_ERROR")

    # -- the gateway's own answers ------------------------------------------------------------

    def _refuse(self, request: Request, refused: Refused, snapshot: Snapshot) -> Answer:
        status = refused.status
        family = "DEFAULT_4XX" if status < 500 else "DEFAULT_5XX"
        deployed = snapshot.responses.get(refused.kind) or snapshot.responses.get(family) or {}
        status = deployed.get("status") or status
        variables = self._variables(request, status) | {
            "context.error.message": str(refused),
            "context.error.messageString": json.dumps(str(refused)),
            "context.error.responseType": refused.kind,
            "context.error.validationErrorString": refused.details,
        }
        templates = deployed.get("templates") or {
            "application/json": '{"message":$context.error.messageString}'
        }
        media = next(iter(templates))
        headers = [("Content-Type", media)]
        if refused.kind in ERROR_TYPES:
            headers.append(("x-amzn-ErrorType", ERROR_TYPES[refused.kind]))
        for place, value in (deployed.get("parameters") or {}).items():
            name = place.removeprefix("gatewayresponse.header.")
            headers = [(n, v) for n, v in headers if n.lower() != name.lower()]
            if str(value).startswith("'"):
                headers.append((name, str(value).strip("'")))
            elif str(value).startswith("context."):
                headers.append((name, variables.get(str(value), "")))
        return Answer(status, headers, _render(templates[media], variables).encode())

    @staticmethod
    def _plain(status: int, message: str, request: Request, kind: str) -> Answer:
        body = json.dumps({"message": message}).encode()
        headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", kind)]
        return Answer(status, headers, body)

    def _variables(self, request: Request, status: int) -> dict[str, str]:
        when = datetime.fromtimestamp(request.started, UTC)
        caller = request.caller
        values = {
            "requestId": request.id,
            "extendedRequestId": request.extended_id,
            "httpMethod": request.method,
            "resourcePath": request.route.path if request.route else "",
            "path": f"/{request.stage}{request.path}",
            "protocol": "HTTP/1.1",
            "stage": request.stage,
            "status": str(status),
            "apiId": self.id,
            "accountId": self._cloud.account,
            "domainName": f"{self.id}.execute-api.{self._cloud.region}.amazonaws.com",
            "requestTime": f"{when:%d/%b/%Y:%H:%M:%S} +0000",
            "requestTimeEpoch": str(int(request.started * 1000)),
            "identity.sourceIp": request.source_ip,
            "identity.userAgent": request.header("User-Agent"),
            "identity.caller": caller.key if caller else "",
            "identity.user": caller.key if caller else "",
            "identity.userArn": caller.arn if caller else "",
            "identity.apiKeyId": request.api_key_id,
            "integrationLatency": str(int(request.integration_seconds * 1000)),
            "integration.latency": str(int(request.integration_seconds * 1000)),
            "error.message": request.error,
            "error.messageString": json.dumps(request.error),
            "error.responseType": request.error_kind,
        }
        return {f"context.{name}": value for name, value in values.items()}

    # -- log and metrics ----------------------------------------------------------------------

    def _record(self, request: Request, stage: Any, name: str, answer: Answer) -> None:
        # A duration is real, whatever the rate of the clock: alarms on latency mean it.
        seconds = time.monotonic() - request.began
        settings = stage.access_log_settings or {}
        if settings.get("destinationArn") and settings.get("format"):
            variables = self._variables(request, answer.status) | {
                "context.responseLatency": str(int(seconds * 1000)),
                "context.responseLength": str(len(answer.body)),
            }
            line = _render(settings["format"], variables, missing="-")
            group = settings["destinationArn"].split(":log-group:")[-1].removesuffix(":*")
            stream = f"{self.id}-{request.stage}"
            self._cloud.functions.log(group, stream, [(int(request.started * 1000), line)])
        values = {
            "Count": (1.0, "Count"),
            "4XXError": (1.0 if 400 <= answer.status < 500 else 0.0, "Count"),
            "5XXError": (1.0 if answer.status >= 500 else 0.0, "Count"),
            "Latency": (seconds * 1000, "Milliseconds"),
        }
        if request.integration_seconds:
            values["IntegrationLatency"] = (request.integration_seconds * 1000, "Milliseconds")
        for dimensions in ({"ApiName": name}, {"ApiName": name, "Stage": request.stage}):
            for metric, (value, unit) in values.items():
                self._cloud.measure("AWS/ApiGateway", metric, dimensions, value, unit)


class _Verifier(SigV4Auth):
    """botocore's signer, used to compute the signature that a request should carry."""

    def __init__(self, credentials: BotoCredentials, region: str, signed: frozenset[str]) -> None:
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


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one, other)


def _fit(pattern: list[str], parts: list[str]) -> tuple[tuple[int, ...], dict[str, str]] | None:
    """Match a path to a resource's pattern; the lower the rank the better the match."""
    rank: list[int] = []
    parameters: dict[str, str] = {}
    for index, item in enumerate(pattern):
        if item.startswith("{") and item.endswith("+}"):
            if index >= len(parts):
                return None
            parameters[item[1:-2]] = "/".join(parts[index:])
            return (*rank, 2), parameters
        if index >= len(parts):
            return None
        if item.startswith("{") and item.endswith("}"):
            parameters[item[1:-1]] = parts[index]
            rank.append(1)
        elif item == parts[index]:
            rank.append(0)
        else:
            return None
    return (tuple(rank), parameters) if len(pattern) == len(parts) else None


def _is_binary(media: str, binary_types: tuple[str, ...]) -> bool:
    kind = media.split(";")[0].strip().lower()
    return any(item in {"*/*", kind} for item in binary_types)


def _render(template: str, variables: Mapping[str, str], missing: str = "") -> str:
    """Fill in `$context.name` in a template."""

    def fill(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[2]) or missing

    return VARIABLE.sub(fill, template)


class _Listener:
    """The HTTP server of one API."""

    def __init__(self, api: Api, port: int) -> None:
        handler = type("Handler", (_Handler,), {"api": api})
        self._server = _Server(("127.0.0.1", port), handler)
        self.port: int = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name=f"api {api.id}", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


class _Handler(BaseHTTPRequestHandler):
    """Read one HTTP request after the other and let the API answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        started = self.api._cloud.clock.now()
        if length > MAX_BODY_BYTES:
            # Only what is over the limit is not kept: the refusal is the same.
            left = length
            while left > 0 and (chunk := self.rfile.read(min(left, 1 << 20))):
                left -= len(chunk)
            body = b"\0" * (MAX_BODY_BYTES + 1)
        else:
            body = self.rfile.read(length)
        request = Request(
            method=self.command,
            target=self.path,
            headers=[(name, value) for name, value in self.headers.items()],
            body=body,
            source_ip=self.client_address[0],
            started=started,
        )
        answer = self.api.answer(request)
        lines = [f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('',))[0]}"]
        own = {"content-length", "connection", "transfer-encoding"}
        lines += [
            f"{name}: {value}".replace("\r", " ").replace("\n", " ")
            for name, value in answer.headers
            if name.lower() not in own
        ]
        lines += [
            f"Date: {self.date_time_string()}",
            f"x-amzn-RequestId: {request.id}",
            f"x-amz-apigw-id: {request.extended_id}",
            f"Content-Length: {len(answer.body)}",
            "",
            "",
        ]
        body = b"" if self.command == "HEAD" else answer.body
        self.wfile.write("\r\n".join(lines).encode("latin-1", "replace") + body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _answer

    def _refuse(self) -> None:
        """Refuse what an API cannot define, as RFC 9110 asks; AWS does not document its answer."""
        self.send_response(405)
        self.send_header("Allow", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    do_CONNECT = do_QUERY = do_TRACE = _refuse

    def log_message(self, format: str, *args: Any) -> None:
        """Leave the access log to the stage's settings."""
        logger.debug(format, *args)
