"""The gateway's own answers and log lines: `$context` variables and the templates they fill."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from local.host import Host
from local.services.apigateway.messages import ERROR_TYPES, Answer, Refused, Request
from local.services.apigateway.routes import Snapshot

VARIABLE = re.compile(r"\$!?(?:\{(context\.[\w.]+)\}|(context\.[\w.]*\w))")


def context_variables(host: Host, api_id: str, request: Request, status: int) -> dict[str, str]:
    """Return what `$context` holds of a request once its status is known."""
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
        "apiId": api_id,
        "accountId": host.account,
        "domainName": f"{api_id}.execute-api.{host.region}.amazonaws.com",
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


def refuse(
    host: Host, api_id: str, request: Request, refused: Refused, snapshot: Snapshot
) -> Answer:
    """Word a refusal as the deployed GatewayResponse does, else as the gateway itself does."""
    status = refused.status
    family = "DEFAULT_4XX" if status < 500 else "DEFAULT_5XX"
    deployed = snapshot.responses.get(refused.kind) or snapshot.responses.get(family) or {}
    status = deployed.get("status") or status
    variables = context_variables(host, api_id, request, status) | {
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
    return Answer(status, headers, render(templates[media], variables).encode())


def render(template: str, variables: Mapping[str, str], missing: str = "") -> str:
    """Fill in `$context.name` in a template."""

    def fill(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[2]) or missing

    return VARIABLE.sub(fill, template)
