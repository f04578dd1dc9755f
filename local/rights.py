"""What a call needs: the IAM actions of an operation, and the resources that it is asked of.

Each service declares this for its own calls, written from AWS's pages "Actions, resources, and
condition keys", for the calls that the functions, the jobs and the state machine make. An operation
that no service declares is judged by its action alone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.exceptions import UnknownServiceError
from moto.core.model import OperationModel
from moto.core.request import Request
from moto.core.routing import ServiceOperationRouter, get_service_router
from werkzeug.exceptions import NotFound

ANY = ""
"""The resource of a need that only names its action."""


@dataclass(frozen=True)
class Need:
    """One action on one resource, with what is known of the call for a policy's conditions."""

    action: str
    resource: str = ANY
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A call to an AWS service, as far as the right to make it depends on it."""

    service: str
    """The name that the call is signed for, which is the prefix of its IAM actions."""
    operation: str
    parameters: Mapping[str, Any]
    account: str
    region: str

    def arn(self, resource: str, service: str = "") -> str:
        """Name a resource of this account and region."""
        return f"arn:aws:{service or self.service}:{self.region}:{self.account}:{resource}"

    def text(self, name: str) -> str:
        """Give a parameter as text, empty where it is not given."""
        value = self.parameters.get(name) or ""
        return str(value[0] if isinstance(value, list) else value)

    def named(self, kind: str, parameter: str, separator: str = "/") -> str:
        """Give the ARN of the resource that a parameter names, by name or already by ARN."""
        name = self.text(parameter)
        return name if name.startswith("arn:") else self.arn(f"{kind}{separator}{name}")


Judge = Callable[[Call], Iterable[Need]]
"""Lists what a caller must be allowed for a call to be made."""
Reader = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]
"""Reads the operation and the parameters of a call from its WSGI environment."""


@dataclass(frozen=True)
class Rights:
    """What the services declare of their calls, together."""

    needs: Mapping[str, Judge]
    readers: Mapping[str, Reader]

    def read(self, service: str, environ: dict[str, Any], account: str, region: str) -> Call:
        """Read a call's operation and parameters, and leave its body to be read again."""
        reader = self.readers.get(service)
        if reader is not None:
            return Call(service, *reader(environ), account, region)
        return _read_call(service, environ, account, region)

    def of(self, call: Call) -> list[Need]:
        """List what a caller must be allowed for a call to be made."""
        name = f"{call.service}:{call.operation}"
        judge = self.needs.get(name) or self.needs.get(f"{call.service}:*")
        return list(judge(call)) if judge else [Need(name)]


def on(resource: Callable[[Call], str], action: str = "") -> Judge:
    """Ask for the operation's action (or another one) on the resource that a call names."""
    return lambda call: [Need(action or f"{call.service}:{call.operation}", resource(call))]


def read_body(environ: dict[str, Any]) -> bytes:
    """Read a request's body, and leave it to be read again."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _read_call(service: str, environ: dict[str, Any], account: str, region: str) -> Call:
    """Read a call in one of the protocols that most services share."""
    body = read_body(environ)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return Call(service, target.rsplit(".", 1)[-1], json.loads(body or b"{}"), account, region)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(body.decode("utf-8", "replace"))
        if "Action" in form:
            return Call(service, form["Action"][0], form, account, region)
    path = environ.get("PATH_INFO", "")
    try:
        operation, found = _match(service, environ)
    except (NotFound, UnknownServiceError):
        return Call(service, f"{environ['REQUEST_METHOD']} {path}", {}, account, region)
    query = parse_qs(environ.get("QUERY_STRING", ""))
    parameters = {**query, **{name: unquote(str(value)) for name, value in found.items()}}
    return Call(service, operation.name, parameters, account, region)


def _match(service: str, environ: dict[str, Any]) -> tuple[OperationModel, dict[str, Any]]:
    return _router(service).match(Request(environ))


@lru_cache
def _router(service: str) -> ServiceOperationRouter:
    return get_service_router(service)
