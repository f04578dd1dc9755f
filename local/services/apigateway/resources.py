"""API Gateway's resource types: REST APIs, their routes, checks, stages, keys and plans."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from local.resources import Kind, Made, Order, ResourceError
from local.services.apigateway.gateway import Gateway

INTEGRATIONS = frozenset({"AWS_PROXY", "MOCK"})


def _replace(path: str, value: Any) -> dict[str, str]:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return {"op": "replace", "path": path, "value": text}


class RestApi(Kind):
    """AWS::ApiGateway::RestApi."""

    type = "AWS::ApiGateway::RestApi"

    def create(self, order: Order) -> Made:
        """Create the API; its routes are resources of their own."""
        if "Body" in order.properties or "BodyS3Location" in order.properties:
            raise ResourceError("the local cloud does not import an API from an OpenAPI body")
        answer = order.call(
            "apigateway",
            "CreateRestApi",
            **order.rest("Tags", "Parameters"),
            tags=order.get("Tags"),
        )
        api = answer["id"]
        self._patch(order, api, self._media(order, {}))
        order.cloud.part(Gateway).add(api)
        return Made(api, {"RootResourceId": answer["rootResourceId"], "RestApiId": api})

    def update(self, order: Order) -> Made:
        """Change name, description, policy and binary types."""
        operations = [
            _replace(f"/{name[0].lower()}{name[1:]}", order.get(name, ""))
            for name in ("Name", "Description", "ApiKeySourceType", "DisableExecuteApiEndpoint")
            if order.get(name) != order.previous.get(name)
        ]
        if order.get("Policy") != order.previous.get("Policy"):
            operations.append(_replace("/policy", json.dumps(order.get("Policy", ""))))
        if order.get("EndpointConfiguration") != order.previous.get("EndpointConfiguration"):
            (kind,) = order["EndpointConfiguration"]["Types"]
            operations.append(_replace("/endpointConfiguration/types/0", kind))
        self._patch(order, order.physical_id, operations + self._media(order, order.previous))
        return Made(order.physical_id, order.attributes)

    @staticmethod
    def _media(order: Order, previous: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return what brings the binary media types up to date; moto's create leaves them out."""
        wanted = set(order.get("BinaryMediaTypes") or [])
        had = set(previous.get("BinaryMediaTypes") or [])
        return [
            {
                "op": "add" if kind in wanted else "remove",
                "path": "/binaryMediaTypes",
                "value": kind,
            }
            for kind in sorted(wanted ^ had)
        ]

    @staticmethod
    def _patch(order: Order, api: str, operations: list[dict[str, str]]) -> None:
        if operations:
            order.call("apigateway", "UpdateRestApi", restApiId=api, patchOperations=operations)

    def delete(self, order: Order) -> None:
        """Delete the API and stop its listener."""
        order.cloud.part(Gateway).remove(order.physical_id)
        order.discard("apigateway", "DeleteRestApi", restApiId=order.physical_id)


class IdentifiedKind(Kind):
    """A type whose resources have an id that API Gateway gives them."""

    noun: ClassVar[str]
    # The API's parameter for the id, and the attribute under which Fn::GetAtt finds it.
    id_parameter: ClassVar[str]
    id_attribute: ClassVar[str]

    def create(self, order: Order) -> Made:
        """Create the resource."""
        answer = order.call("apigateway", f"Create{self.noun}", **self.parameters(order))
        return Made(answer["id"], {self.id_attribute: answer["id"]})

    def parameters(self, order: Order) -> dict[str, Any]:
        """Return what the creating call is given."""
        return order.rest()

    def update(self, order: Order) -> Made:
        """Change what can be changed in place."""
        operations = self.changes(order)
        if operations:
            order.call(
                "apigateway", f"Update{self.noun}", **self._where(order), patchOperations=operations
            )
        return Made(order.physical_id, order.attributes)

    def changes(self, order: Order) -> list[dict[str, str]]:
        """Return the patch operations that bring the resource up to date."""
        return []

    def delete(self, order: Order) -> None:
        """Delete the resource."""
        order.discard("apigateway", f"Delete{self.noun}", **self._where(order))

    def _where(self, order: Order) -> dict[str, Any]:
        return {**order.given("RestApiId"), self.id_parameter: order.physical_id}


class Resource(IdentifiedKind):
    """AWS::ApiGateway::Resource: one part of a path."""

    type = "AWS::ApiGateway::Resource"
    create_only = frozenset({"RestApiId", "ParentId", "PathPart"})
    noun, id_parameter, id_attribute = "Resource", "resourceId", "ResourceId"


class Method(Kind):
    """AWS::ApiGateway::Method, with its integration."""

    type = "AWS::ApiGateway::Method"
    create_only = frozenset({"RestApiId", "ResourceId", "HttpMethod"})

    def create(self, order: Order) -> Made:
        """Put method, integration and responses."""
        where = order.given("RestApiId", "ResourceId", "HttpMethod")
        order.call(
            "apigateway",
            "PutMethod",
            **where,
            authorizationType=order.get("AuthorizationType", "NONE"),
            **order.given(
                "AuthorizerId",
                "ApiKeyRequired",
                "OperationName",
                "RequestParameters",
                "RequestModels",
                "RequestValidatorId",
                "AuthorizationScopes",
            ),
        )
        for response in order.get("MethodResponses") or []:
            order.call("apigateway", "PutMethodResponse", **where, **response)
        integration = dict(order.get("Integration") or {})
        if integration:
            if integration.get("Type") not in INTEGRATIONS:
                raise ResourceError(
                    f"the local cloud does not support integration type {integration.get('Type')}"
                )
            responses = integration.pop("IntegrationResponses", None) or []
            method = integration.pop("IntegrationHttpMethod", None)
            order.call(
                "apigateway",
                "PutIntegration",
                **where,
                integrationHttpMethod=method,
                **integration,
            )
            for response in responses:
                order.call("apigateway", "PutIntegrationResponse", **where, **response)
        return Made(f"{order['RestApiId']}|{order['ResourceId']}|{order['HttpMethod']}")

    update = Kind.remake

    def delete(self, order: Order) -> None:
        """Delete the method."""
        order.discard(
            "apigateway", "DeleteMethod", **order.given("RestApiId", "ResourceId", "HttpMethod")
        )


class Model(Kind):
    """AWS::ApiGateway::Model."""

    type = "AWS::ApiGateway::Model"
    create_only = frozenset({"RestApiId", "Name", "ContentType"})

    def create(self, order: Order) -> Made:
        """Create the model."""
        name = order.physical_id or order.get("Name") or re.sub(r"\W", "", order.name(120))
        order.call(
            "apigateway",
            "CreateModel",
            name=name,
            contentType=order.get("ContentType", "application/json"),
            **order.given("RestApiId", "Description", "Schema"),
        )
        return Made(name)

    update = Kind.remake

    def delete(self, order: Order) -> None:
        """Delete the model."""
        order.discard(
            "apigateway", "DeleteModel", restApiId=order["RestApiId"], modelName=order.physical_id
        )


class RequestValidator(IdentifiedKind):
    """AWS::ApiGateway::RequestValidator."""

    type = "AWS::ApiGateway::RequestValidator"
    create_only = frozenset({"RestApiId", "Name"})
    noun, id_parameter = "RequestValidator", "requestValidatorId"
    id_attribute = "RequestValidatorId"

    def parameters(self, order: Order) -> dict[str, Any]:
        """Return the validator with a name, made up where none is given."""
        return {"Name": order.name(128)} | order.rest()

    def changes(self, order: Order) -> list[dict[str, str]]:
        """Change what is validated."""
        return [
            _replace(f"/{name[0].lower()}{name[1:]}", order.get(name, False))
            for name in ("ValidateRequestBody", "ValidateRequestParameters")
        ]


class GatewayResponse(Kind):
    """AWS::ApiGateway::GatewayResponse: how the gateway words an answer of its own."""

    type = "AWS::ApiGateway::GatewayResponse"
    create_only = frozenset({"RestApiId", "ResponseType"})

    def create(self, order: Order) -> Made:
        """Put the response."""
        order.call("apigateway", "PutGatewayResponse", **order.properties)
        made = f"{order['RestApiId']}|{order['ResponseType']}"
        return Made(made, {"Id": made})

    update = create

    def delete(self, order: Order) -> None:
        """Go back to the gateway's own wording."""
        order.discard(
            "apigateway", "DeleteGatewayResponse", **order.given("RestApiId", "ResponseType")
        )


class Deployment(IdentifiedKind):
    """AWS::ApiGateway::Deployment: a snapshot of the API, which a stage serves and keeps."""

    type = "AWS::ApiGateway::Deployment"
    create_only = frozenset({"RestApiId", "DeploymentCanarySettings"})
    noun, id_parameter, id_attribute = "Deployment", "deploymentId", "DeploymentId"

    def create(self, order: Order) -> Made:
        """Take the snapshot."""
        made = super().create(order)
        order.cloud.part(Gateway).snapshot(order["RestApiId"], made.physical_id)
        return made

    def parameters(self, order: Order) -> dict[str, Any]:
        """Return the API, and the stage where one is made at the same time."""
        return order.given("RestApiId", "Description", "StageName", variables="StageVariables")


class Stage(Kind):
    """AWS::ApiGateway::Stage."""

    type = "AWS::ApiGateway::Stage"
    create_only = frozenset({"RestApiId", "StageName"})
    _settings: ClassVar[dict[str, str]] = {
        "LoggingLevel": "logging/loglevel",
        "DataTraceEnabled": "logging/dataTrace",
        "MetricsEnabled": "metrics/enabled",
        "ThrottlingBurstLimit": "throttling/burstLimit",
        "ThrottlingRateLimit": "throttling/rateLimit",
        "CachingEnabled": "caching/enabled",
        "CacheTtlInSeconds": "caching/ttlInSeconds",
        "CacheDataEncrypted": "caching/dataEncrypted",
    }

    def create(self, order: Order) -> Made:
        """Create the stage and its settings."""
        name = order["StageName"]
        order.call(
            "apigateway",
            "CreateStage",
            **order.given("RestApiId", "StageName", "DeploymentId"),
            **order.given(
                "Description",
                "Variables",
                "TracingEnabled",
                "CacheClusterEnabled",
                "CacheClusterSize",
            ),
            tags=order.get("Tags"),
        )
        self._patch(order)
        return Made(name)

    def update(self, order: Order) -> Made:
        """Serve another deployment, change the settings."""
        self._patch(order)
        return Made(order.physical_id)

    def _patch(self, order: Order) -> None:
        operations = [
            _replace(f"/{name[0].lower()}{name[1:]}", order[name])
            for name in ("DeploymentId", "Description", "TracingEnabled")
            if name in order.properties
        ]
        for name, value in (order.get("Variables") or {}).items():
            operations.append(_replace(f"/variables/{name}", value))
        for name, value in (order.get("AccessLogSetting") or {}).items():
            field = f"{name[0].lower()}{name[1:]}"
            operations.append(_replace(f"/accessLogSettings/{field}", value))
        for setting in order.get("MethodSettings") or []:
            path = setting.get("ResourcePath", "/*")
            path = "*" if path == "/*" else path.replace("/", "~1")
            where = f"/{path}/{setting.get('HttpMethod', '*')}"
            for key, value in setting.items():
                if key in {"ResourcePath", "HttpMethod"}:
                    continue
                if key not in self._settings:
                    raise ResourceError(f"the local cloud does not support the setting {key}")
                operations.append(_replace(f"{where}/{self._settings[key]}", value))
        order.call(
            "apigateway",
            "UpdateStage",
            **order.given("RestApiId", "StageName"),
            patchOperations=operations,
        )

    def delete(self, order: Order) -> None:
        """Delete the stage."""
        order.discard("apigateway", "DeleteStage", **order.given("RestApiId", "StageName"))


class Account(Kind):
    """AWS::ApiGateway::Account: the role with which the gateway logs."""

    type = "AWS::ApiGateway::Account"

    def create(self, order: Order) -> Made:
        """Set the role."""
        order.call(
            "apigateway",
            "UpdateAccount",
            patchOperations=[_replace("/cloudwatchRoleArn", order.get("CloudWatchRoleArn", ""))],
        )
        return Made(order.physical_id or order.name(), {"Id": order.logical_id})

    update = create

    def delete(self, order: Order) -> None:
        """Leave the account's setting, as CloudFormation does."""


class ApiKey(IdentifiedKind):
    """AWS::ApiGateway::ApiKey."""

    type = "AWS::ApiGateway::ApiKey"
    create_only = frozenset({"Name", "Value", "GenerateDistinctId"})
    noun, id_parameter, id_attribute = "ApiKey", "apiKey", "APIKeyId"

    def parameters(self, order: Order) -> dict[str, Any]:
        """Return the key with a name, made up where none is given."""
        return {"Name": order.name()} | order.rest()

    def changes(self, order: Order) -> list[dict[str, str]]:
        """Change description and whether the key is enabled."""
        return [
            _replace(f"/{name.lower()}", order[name])
            for name in ("Description", "Enabled")
            if name in order.properties
        ]


class UsagePlan(IdentifiedKind):
    """AWS::ApiGateway::UsagePlan."""

    type = "AWS::ApiGateway::UsagePlan"
    create_only = frozenset({"ApiStages"})
    noun, id_parameter, id_attribute = "UsagePlan", "usagePlanId", "Id"

    def parameters(self, order: Order) -> dict[str, Any]:
        """Return the plan with a name, made up where none is given."""
        return {"Name": order.get("UsagePlanName") or order.name(), **order.rest("UsagePlanName")}

    def changes(self, order: Order) -> list[dict[str, str]]:
        """Change name, description, throttle and quota."""
        operations = [_replace("/name", order.get("UsagePlanName", order.physical_id))]
        operations.append(_replace("/description", order.get("Description", "")))
        for group, fields in (
            ("Throttle", ("RateLimit", "BurstLimit")),
            ("Quota", ("Limit", "Period", "Offset")),
        ):
            wanted = order.get(group) or {}
            if not wanted and order.previous.get(group):
                operations.append({"op": "remove", "path": f"/{group.lower()}", "value": ""})
            for name in fields:
                if name in wanted:
                    path = f"/{group.lower()}/{name[0].lower()}{name[1:]}"
                    value = int(float(wanted[name])) if group == "Throttle" else wanted[name]
                    operations.append(_replace(path, value))
        return operations


class UsagePlanKey(Kind):
    """AWS::ApiGateway::UsagePlanKey."""

    type = "AWS::ApiGateway::UsagePlanKey"
    create_only = frozenset({"KeyId", "KeyType", "UsagePlanId"})

    def create(self, order: Order) -> Made:
        """Put the key under the plan."""
        order.call("apigateway", "CreateUsagePlanKey", **order.properties)
        made = f"{order['KeyId']}:{order['UsagePlanId']}"
        return Made(made, {"Id": made})

    def delete(self, order: Order) -> None:
        """Take the key out of the plan."""
        order.discard("apigateway", "DeleteUsagePlanKey", **order.given("KeyId", "UsagePlanId"))


KINDS: tuple[type[Kind], ...] = (
    RestApi,
    Resource,
    Method,
    Model,
    RequestValidator,
    GatewayResponse,
    Deployment,
    Stage,
    Account,
    ApiKey,
    UsagePlan,
    UsagePlanKey,
)
