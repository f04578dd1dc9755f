"""One REST API: from an HTTP request to an HTTP response, with its log line and its metrics."""

from __future__ import annotations

import fnmatch
import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from local.clock import Clock
from local.host import AccessDenied, Host, Throttled
from local.services.apigateway.limits import Limits, find_plan
from local.services.apigateway.messages import MAX_BODY_BYTES, Answer, Refused, Request
from local.services.apigateway.proxy import mock_answer, proxy_event, read_answer
from local.services.apigateway.routes import Route, Snapshot, match_route
from local.services.apigateway.signatures import verify_signature
from local.services.apigateway.validation import validate_request
from local.services.apigateway.wording import context_variables, refuse, render

logger = logging.getLogger(__name__)
MAX_SECONDS = 29.0


class Deployed(Protocol):
    """Hold what is deployed of all APIs."""

    snapshots: dict[str, Snapshot]

    def api(self, api_id: str) -> Any:
        """Return moto's state of one API."""

    def backend(self) -> Any:
        """Return moto's state of all APIs."""


class Api:
    """One REST API."""

    def __init__(self, cloud: Host, state: Deployed, api_id: str) -> None:
        self._cloud = cloud
        self._state = state
        self.id = api_id
        self._limits = Limits(cloud.clock)

    @property
    def clock(self) -> Clock:
        """Return the cloud's clock."""
        return self._cloud.clock

    def answer(self, request: Request) -> Answer:
        """Answer one request, write its access log line and its metrics."""
        path, _, _ = request.target.partition("?")
        _, request.stage, *rest = (*path.split("/", 2), "")[:3] if path != "/" else ("", "", "")
        request.path = "/" + (rest[0] if rest else "")
        api = self._state.api(self.id)
        stage = api.stages.get(unquote(request.stage))
        snapshot = self._state.snapshots.get(stage.deployment_id) if stage else None
        if stage is None or snapshot is None:
            return self._plain(403, "Forbidden", request, "ForbiddenException")
        try:
            answer = self._serve(request, stage, snapshot)
        except Refused as refused:
            request.error, request.error_kind = str(refused), refused.kind
            answer = refuse(self._cloud, self.id, request, refused, snapshot)
        except Exception:
            logger.exception("%s %s", request.method, request.target)
            answer = refuse(
                self._cloud, self.id, request, Refused("API_CONFIGURATION_ERROR"), snapshot
            )
        self._record(request, stage, api.name, answer)
        return answer

    def _serve(self, request: Request, stage: Any, snapshot: Snapshot) -> Answer:
        found = match_route(snapshot, request.method, request.path)
        if found is None:
            raise Refused("MISSING_AUTHENTICATION_TOKEN")
        route, path_parameters = found
        request.route = route
        # Checked before the signature: the listener does not keep a body over the limit.
        if len(request.body) > MAX_BODY_BYTES:
            raise Refused("REQUEST_TOO_LARGE")
        if route.authorization == "AWS_IAM":
            request.caller = verify_signature(request, self._cloud.identity, self._cloud.region)
            if request.caller.role:
                try:
                    self._cloud.identity.authorise(
                        request.caller.role,
                        "execute-api:Invoke",
                        self._arn(request),
                    )
                except AccessDenied as denied:
                    raise Refused("ACCESS_DENIED", str(denied)) from denied
        elif route.authorization != "NONE":
            raise Refused("API_CONFIGURATION_ERROR", status=500)
        plan = find_plan(request, self._state.backend(), self.id) if route.key_required else None
        self._limits.throttle(request, route, stage, plan)
        query = parse_qsl(urlsplit(request.target).query, keep_blank_values=True)
        validate_request(request, route, snapshot, query, path_parameters)
        if route.integration.get("type") == "MOCK":
            return mock_answer(route)
        event = proxy_event(
            self._cloud, self.id, request, route, stage, snapshot, query, path_parameters
        )
        return self._call(request, route, snapshot, event)

    def _arn(self, request: Request) -> str:
        """Name the method that a request calls."""
        return (
            f"arn:aws:execute-api:{self._cloud.region}:{self._cloud.account}:{self.id}/"
            f"{request.stage}/{request.method}{request.path}"
        )

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
        return read_answer(request, snapshot, answer.payload)

    def _may_call(self, arn: str, request: Request) -> bool:
        """Tell whether a deployed permission lets this API call the function."""
        function, _ = self._cloud.functions.resolve(arn)
        source = self._arn(request)
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

    @staticmethod
    def _plain(status: int, message: str, request: Request, kind: str) -> Answer:
        body = json.dumps({"message": message}).encode()
        headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", kind)]
        return Answer(status, headers, body)

    def _record(self, request: Request, stage: Any, name: str, answer: Answer) -> None:
        # Durations are measured in real time, whatever the clock's rate: latency alarms need that.
        seconds = time.monotonic() - request.began
        settings = stage.access_log_settings or {}
        if settings.get("destinationArn") and settings.get("format"):
            variables = context_variables(self._cloud, self.id, request, answer.status) | {
                "context.responseLatency": str(int(seconds * 1000)),
                "context.responseLength": str(len(answer.body)),
            }
            line = render(settings["format"], variables, missing="-")
            group = settings["destinationArn"].split(":log-group:")[-1].removesuffix(":*")
            stream = f"{self.id}-{request.stage}"
            self._cloud.logs.write(group, stream, [(int(request.started * 1000), line)])
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
                self._cloud.metrics.put("AWS/ApiGateway", metric, dimensions, value, unit=unit)
