"""The Lambda proxy integration: its event, and the reading of a function's answer."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local.host import Host
from local.services.apigateway.messages import Answer, Refused, Request
from local.services.apigateway.routes import Route, Snapshot

logger = logging.getLogger(__name__)


def proxy_event(
    host: Host,
    api_id: str,
    request: Request,
    route: Route,
    stage: Any,
    snapshot: Snapshot,
    query: list[tuple[str, str]],
    path_parameters: Mapping[str, str],
) -> dict[str, Any]:
    """Build the proxy event as API Gateway sends it (REST, version 1)."""
    domain = f"{api_id}.execute-api.{host.region}.amazonaws.com"
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
        "requestContext": _context(host, api_id, request, route, snapshot, domain),
        "body": body,
        "isBase64Encoded": binary,
    }


def _context(
    host: Host, api_id: str, request: Request, route: Route, snapshot: Snapshot, domain: str
) -> dict[str, Any]:
    caller = request.caller
    identity: dict[str, Any] = {
        "cognitoIdentityPoolId": None,
        "accountId": host.account if caller else None,
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
        "accountId": host.account,
        "protocol": "HTTP/1.1",
        "stage": request.stage,
        "domainPrefix": api_id,
        "requestTimeEpoch": int(request.started * 1000),
        "requestId": request.id,
        "identity": identity,
        "domainName": domain,
        "deploymentId": snapshot.deployment_id,
        "apiId": api_id,
    }


def read_answer(request: Request, snapshot: Snapshot, payload: bytes) -> Answer:
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
        headers = [(str(name), str(value)) for name, value in (answer.get("headers") or {}).items()]
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


def mock_answer(route: Route) -> Answer:
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


def _is_binary(media: str, binary_types: tuple[str, ...]) -> bool:
    kind = media.split(";")[0].strip().lower()
    return any(item in {"*/*", kind} for item in binary_types)
