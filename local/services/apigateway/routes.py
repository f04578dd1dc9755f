"""What a stage serves: the routes, checks and responses of an API as it was deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft4Validator  # type: ignore[import-untyped]


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


def take_snapshot(api: Any, deployment_id: str) -> Snapshot:
    """Return an API as moto holds it now, for the stages that will serve this deployment."""
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
    return Snapshot(
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


def match_route(snapshot: Snapshot, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Find the route of a request: literal parts before `{name}` before `{name+}`."""
    parts = [unquote(part) for part in path.strip("/").split("/") if part]
    best: tuple[tuple[int, ...], Mapping[str, Route], dict[str, str]] | None = None
    for template, methods in snapshot.routes.items():
        pattern = [part for part in template.strip("/").split("/") if part]
        found = _fit(pattern, parts)
        if found is None:
            continue
        rank, parameters = found
        if best is None or rank < best[0]:
            best = (rank, methods, parameters)
    if best is not None:
        route = best[1].get(method) or best[1].get("ANY")
        if route is not None:
            return route, best[2]
    return None


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
