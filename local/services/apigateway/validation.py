"""Checks of a request's parameters and body, as the deployed validator asks for them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from local.services.apigateway.messages import Refused, Request
from local.services.apigateway.routes import Route, Snapshot


def validate_request(
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
