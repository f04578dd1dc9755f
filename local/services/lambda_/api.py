"""Lambda's API: moto keeps functions, versions and aliases; what it lacks is replaced here.

What moto would do with Docker is replaced at `LambdaBackend.invoke` and `LambdaFunction.invoke`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from moto.awslambda import models
from moto.awslambda.responses import LambdaResponse

from local.host import Throttled
from local.parts import Part
from local.services.lambda_.functions import Functions

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaFunction

# Settings of a function that moto does not keep.
KEPT = ("DeadLetterConfig", "LoggingConfig", "SnapStart")


class LambdaApi(Part):
    """Let Lambda's API run functions, and keep what moto forgets of them."""

    def start(self) -> None:
        """Put this in the place of moto's Docker runner."""
        functions = self._cloud.part(Functions)
        self._start_calls(functions)
        self._start_settings()
        self._start_versions(functions)
        self._seams.replace(LambdaResponse, "invoke", _answer_invoke)

    def _start_calls(self, functions: Functions) -> None:
        """Run what is called, whoever calls."""

        def invoke(
            backend: Any,
            function_name: str,
            qualifier: str | None,
            body: Any,
            headers: Mapping[str, str],
            response_headers: dict[str, Any],
        ) -> bytes:
            kind = _header(headers, "X-Amz-Invocation-Type") or "RequestResponse"
            if kind == "DryRun":
                functions.resolve(function_name, qualifier)
                return b""
            event = body.encode() if isinstance(body, str) else bytes(body or b"")
            answer = functions.invoke(
                function_name, event, qualifier=qualifier, asynchronous=kind == "Event"
            )
            response_headers["x-amzn-requestid"] = answer.request_id
            response_headers["Content-Length"] = str(len(answer.payload))
            if kind != "Event":
                response_headers["x-amz-executed-version"] = answer.version
                if _header(headers, "X-Amz-Log-Type") == "Tail":
                    response_headers["x-amz-log-result"] = base64.b64encode(
                        answer.log_tail
                    ).decode()
                if answer.error:
                    response_headers["x-amz-function-error"] = answer.error
            return answer.payload

        def invoke_function(
            function: LambdaFunction, body: str, headers: Any, response_headers: Any
        ) -> bytes:
            """Take what moto's own services push: SNS messages, log events, stream records."""
            arn = function.function_arn
            answer = functions.invoke(arn, body.encode(), asynchronous=True)
            response_headers["x-amzn-requestid"] = answer.request_id
            return answer.payload

        def send_nothing(backend: Any, function_arn: str, messages: Any, queue_arn: str) -> bool:
            """Leave messages in the queue: event source mappings poll it (`services/sqs`)."""
            return False

        self._seams.replace(models.LambdaBackend, "invoke", invoke)
        self._seams.replace(models.LambdaFunction, "invoke", invoke_function)
        self._seams.replace(models.LambdaBackend, "send_sqs_batch", send_nothing)

    def _start_settings(self) -> None:
        """Keep the settings that moto forgets."""

        def create_function(backend: Any, spec: dict[str, Any]) -> Any:
            publish = spec.pop("Publish", False)
            function = original_create(backend, spec)
            function.kept = {name: spec[name] for name in KEPT if name in spec}
            if publish:
                return backend.publish_version(function.function_name)
            return function

        def update_configuration(function: LambdaFunction, updates: dict[str, Any]) -> Any:
            kept = {name: updates[name] for name in KEPT if name in updates}
            vars(function)["kept"] = getattr(function, "kept", {}) | kept
            for name, attribute in (
                ("TracingConfig", "tracing_config"),
                ("KMSKeyArn", "kms_key_arn"),
            ):
                if name in updates:
                    setattr(function, attribute, updates[name])
            return original_update(function, updates)

        def get_configuration(function: LambdaFunction, on_create: bool = False) -> dict[str, Any]:
            kept = getattr(function, "kept", {})
            configuration: dict[str, Any] = original_get(function, on_create)
            group = f"/aws/lambda/{function.function_name}"
            configuration["LoggingConfig"] = {"LogFormat": "Text", "LogGroup": group}
            configuration["LoggingConfig"] |= kept.get("LoggingConfig", {})
            return configuration | {
                name: kept[name] for name in ("DeadLetterConfig",) if name in kept
            }

        replace = self._seams.replace
        original_create = replace(models.LambdaBackend, "create_function", create_function)
        original_update = replace(
            models.LambdaFunction, "update_configuration", update_configuration
        )
        original_get = replace(models.LambdaFunction, "get_configuration", get_configuration)

    def _start_versions(self, functions: Functions) -> None:
        """Give each version a number of its own, as AWS does."""

        def publish_version(storage: Any, name: str, description: str = "") -> Any:
            """Publish under a number that no deleted version had, as AWS does."""
            function = storage.get_function_by_name_or_arn_forbid_qualifier(name)
            highest = functions.highest.get(function.function_name, 0)
            before = list(storage.list_versions_by_function(name))
            published = original_publish(storage, name, description)
            new = all(published is not version for version in before)
            if new and int(published.version) <= highest:
                # moto counts the versions that are left, and may give a number twice.
                del storage._arns[published.function_arn]
                storage._arns |= {
                    v.function_arn: v for v in before if v.version == published.version
                }
                published.set_version(highest + 1)
                storage._arns[published.function_arn] = published
            functions.number(function.function_name, int(published.version))
            return published

        original_publish = self._seams.replace(
            models.LambdaStorage, "publish_version", publish_version
        )


def _answer_invoke(response: LambdaResponse) -> tuple[int, dict[str, Any], Any]:
    """Answer Invoke over HTTP with AWS's status codes and headers."""
    headers: dict[str, Any] = {"content-type": "application/json"}
    name = re.sub(r"^.*/functions/([^/]+)/invocations.*$", r"\1", response.path)
    kind = _header(response.headers, "X-Amz-Invocation-Type")
    try:
        payload = response.backend.invoke(
            unquote(name),
            response._get_param("Qualifier"),
            response.body,
            response.headers,
            headers,
        )
    except Throttled as error:
        body = {
            "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
            "Type": "User",
            "message": str(error),
        }
        headers["x-amzn-errortype"] = "TooManyRequestsException"
        headers["status"] = 429
        return 429, headers, json.dumps(body).encode()
    status = {"Event": 202, "DryRun": 204}.get(kind or "", 200)
    headers["status"] = status
    return status, headers, payload


def _header(headers: Mapping[str, str], name: str) -> str | None:
    for key, value in dict(headers).items():
        if key.lower() == name.lower():
            return value
    return None
