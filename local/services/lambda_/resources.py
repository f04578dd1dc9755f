"""Lambda's resource types: functions, versions, aliases, permissions, mappings, layers."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from local.resources import Kind, Made, Order, ResourceError
from local.services.lambda_.functions import Functions

FUNCTION = (
    "Handler",
    "Role",
    "Runtime",
    "Description",
    "MemorySize",
    "Timeout",
    "Environment",
    "VpcConfig",
    "Layers",
    "TracingConfig",
    "EphemeralStorage",
    "DeadLetterConfig",
    "KMSKeyArn",
    "LoggingConfig",
    "SnapStart",
)


class Function(Kind):
    """AWS::Lambda::Function."""

    type = "AWS::Lambda::Function"
    create_only = frozenset({"FunctionName", "PackageType"})

    def create(self, order: Order) -> Made:
        """Create the function from its deployed asset."""
        answer = order.call(
            "lambda",
            "CreateFunction",
            FunctionName=order.get("FunctionName") or order.name(),
            Code=_code(order),
            **self._settings(order),
            **order.given("Architectures", "PackageType"),
            Tags=order.get("Tags"),
        )
        name = answer["FunctionName"]
        self._reserve(order, name)
        return self._made(order, name)

    def update(self, order: Order) -> Made:
        """Update what changed: configuration, code, concurrency, tags."""
        name = order.physical_id
        if self._settings(order) != self._settings(order, order.previous):
            settings = {"Environment": {"Variables": {}}, "Description": ""}
            order.call(
                "lambda",
                "UpdateFunctionConfiguration",
                FunctionName=name,
                **(settings | self._settings(order)),
            )
        if order["Code"] != order.previous.get("Code"):
            order.call("lambda", "UpdateFunctionCode", FunctionName=name, **_code(order))
        self._reserve(order, name)
        return self._made(order, name)

    def delete(self, order: Order) -> None:
        """Delete the function with all its versions."""
        order.discard("lambda", "DeleteFunction", FunctionName=order.physical_id)

    @staticmethod
    def _settings(order: Order, properties: Mapping[str, Any] | None = None) -> dict[str, Any]:
        known = {
            *FUNCTION,
            "FunctionName",
            "Code",
            "Tags",
            "Architectures",
            "PackageType",
            "ReservedConcurrentExecutions",
        }
        unknown = set(order.properties) - known
        if unknown:
            raise ResourceError(
                f"the local cloud does not support AWS::Lambda::Function {sorted(unknown)}"
            )
        source = order.properties if properties is None else properties
        return {name: source[name] for name in FUNCTION if name in source}

    @staticmethod
    def _reserve(order: Order, name: str) -> None:
        reserved = order.get("ReservedConcurrentExecutions")
        if reserved is not None:
            order.call(
                "lambda",
                "PutFunctionConcurrency",
                FunctionName=name,
                ReservedConcurrentExecutions=reserved,
            )
        elif "ReservedConcurrentExecutions" in order.previous:
            order.discard("lambda", "DeleteFunctionConcurrency", FunctionName=name)

    @staticmethod
    def _made(order: Order, name: str) -> Made:
        return Made(name, {"Arn": order.arn("lambda", f"function:{name}")})


def _code(order: Order) -> dict[str, Any]:
    code = dict(order["Code"])
    if "ZipFile" in code:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("index.py", code["ZipFile"])
        return {"ZipFile": buffer.getvalue()}
    return code


class Version(Kind):
    """AWS::Lambda::Version: publishes the function as it stands; never changes."""

    type = "AWS::Lambda::Version"
    create_only = frozenset(
        {
            "FunctionName",
            "Description",
            "CodeSha256",
            "RuntimePolicy",
            "ProvisionedConcurrencyConfig",
        }
    )

    def create(self, order: Order) -> Made:
        """Publish a version; refuse, as AWS does, when nothing changed since the last one."""
        name = order["FunctionName"]
        client = order.cloud.client("lambda")
        before = {item["Version"] for item in _versions(client, name)}
        answer = order.call(
            "lambda", "PublishVersion", FunctionName=name, **order.given("Description")
        )
        version = answer["Version"]
        if version in before:
            raise ResourceError(
                f"A version for this Lambda function exists ( {version} ). Modify the function to"
                " create a new version."
            )
        wanted = order.get("CodeSha256")
        if wanted and wanted != answer["CodeSha256"]:
            raise ResourceError(f"CodeSha256 is {answer['CodeSha256']}, not {wanted}")
        arn = f"{answer['FunctionArn'].rsplit(':function:', 1)[0]}:function:"
        arn += f"{answer['FunctionName']}:{version}"
        return Made(arn, {"Version": version, "FunctionArn": arn})

    def delete(self, order: Order) -> None:
        """Delete the version."""
        order.discard(
            "lambda",
            "DeleteFunction",
            FunctionName=order["FunctionName"],
            Qualifier=order.attributes["Version"],
        )


def _versions(client: Any, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for page in client.get_paginator("list_versions_by_function").paginate(FunctionName=name):
        found.extend(page["Versions"])
    return found


class Alias(Kind):
    """AWS::Lambda::Alias; a new version goes live as its CodeDeploy update policy says."""

    type = "AWS::Lambda::Alias"
    create_only = frozenset({"FunctionName", "Name"})

    def create(self, order: Order) -> Made:
        """Create the alias; the first version goes live at once, as on AWS."""
        answer = order.call(
            "lambda",
            "CreateAlias",
            **order.given("FunctionName", "Name", "FunctionVersion", "Description"),
            RoutingConfig=_routing(order.get("RoutingConfig")),
        )
        arn = answer["AliasArn"]
        order.cloud.part(Functions).provision(
            arn,
            (order.get("ProvisionedConcurrencyConfig") or {}).get(
                "ProvisionedConcurrentExecutions", 0
            ),
        )
        return Made(arn, {"AliasArn": arn})

    def update(self, order: Order) -> Made:
        """Shift traffic under CodeDeploy when the policy asks for it, else at once."""
        name, alias = order["FunctionName"], order["Name"]
        policy = order.update_policy.get("CodeDeployLambdaAliasUpdate")
        version = order["FunctionVersion"]
        if policy and version != order.previous.get("FunctionVersion"):
            order.cloud.codedeploy.shift(
                application=policy["ApplicationName"],
                group=policy["DeploymentGroupName"],
                before_hook=policy.get("BeforeAllowTrafficHook", ""),
                after_hook=policy.get("AfterAllowTrafficHook", ""),
                function=name,
                alias=alias,
                version=version,
            )
        order.call(
            "lambda",
            "UpdateAlias",
            FunctionName=name,
            Name=alias,
            FunctionVersion=version,
            Description=order.get("Description", ""),
            RoutingConfig=_routing(order.get("RoutingConfig")) or {"AdditionalVersionWeights": {}},
        )
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the alias."""
        order.discard(
            "lambda", "DeleteAlias", FunctionName=order["FunctionName"], Name=order["Name"]
        )


def _routing(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not config:
        return None
    weights = {
        item["FunctionVersion"]: float(item["FunctionWeight"])
        for item in config.get("AdditionalVersionWeights") or []
    }
    return {"AdditionalVersionWeights": weights}


class Permission(Kind):
    """AWS::Lambda::Permission."""

    type = "AWS::Lambda::Permission"
    create_only = frozenset(
        {
            "FunctionName",
            "Action",
            "Principal",
            "SourceArn",
            "SourceAccount",
            "EventSourceToken",
            "FunctionUrlAuthType",
            "PrincipalOrgID",
        }
    )

    def create(self, order: Order) -> Made:
        """Add the statement to the function's policy."""
        sid = order.name(100)
        function, qualifier = _qualified(order["FunctionName"])
        order.call(
            "lambda",
            "AddPermission",
            StatementId=sid,
            FunctionName=function,
            Qualifier=qualifier,
            **order.rest("FunctionName"),
        )
        return Made(sid, {"Id": sid})

    def delete(self, order: Order) -> None:
        """Take the statement out of the policy."""
        function, qualifier = _qualified(order["FunctionName"])
        order.discard(
            "lambda",
            "RemovePermission",
            FunctionName=function,
            StatementId=order.physical_id,
            Qualifier=qualifier,
        )


def _qualified(function: str) -> tuple[str, str | None]:
    """Split a function's name or ARN from its version or alias."""
    name = function.rsplit(":function:", 1)[-1]
    bare, _, qualifier = name.partition(":")
    return bare, qualifier or None


class EventSourceMapping(Kind):
    """AWS::Lambda::EventSourceMapping."""

    type = "AWS::Lambda::EventSourceMapping"
    create_only = frozenset({"EventSourceArn", "StartingPosition", "StartingPositionTimestamp"})

    def create(self, order: Order) -> Made:
        """Create the mapping."""
        answer = order.call(
            "lambda",
            "CreateEventSourceMapping",
            **order.rest("Tags"),
        )
        uuid = answer["UUID"]
        arn = order.arn("lambda", f"event-source-mapping:{uuid}")
        return Made(uuid, {"Id": uuid, "EventSourceMappingArn": arn})

    def update(self, order: Order) -> Made:
        """Update the mapping."""
        order.call(
            "lambda",
            "UpdateEventSourceMapping",
            UUID=order.physical_id,
            **order.rest("Tags", *self.create_only),
        )
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the mapping."""
        order.discard("lambda", "DeleteEventSourceMapping", UUID=order.physical_id)


class EventInvokeConfig(Kind):
    """AWS::Lambda::EventInvokeConfig."""

    type = "AWS::Lambda::EventInvokeConfig"
    create_only = frozenset({"FunctionName", "Qualifier"})

    def create(self, order: Order) -> Made:
        """Put retries and destinations of asynchronous events."""
        order.call("lambda", "PutFunctionEventInvokeConfig", **order.properties)
        return Made(f"{order['FunctionName']}|{order['Qualifier']}")

    update = create

    def delete(self, order: Order) -> None:
        """Go back to AWS's own retries."""
        order.discard(
            "lambda",
            "DeleteFunctionEventInvokeConfig",
            **order.given("FunctionName", "Qualifier"),
        )


class LayerVersion(Kind):
    """AWS::Lambda::LayerVersion."""

    type = "AWS::Lambda::LayerVersion"
    create_only = frozenset(
        {
            "CompatibleArchitectures",
            "CompatibleRuntimes",
            "Content",
            "Description",
            "LayerName",
            "LicenseInfo",
        }
    )

    def create(self, order: Order) -> Made:
        """Publish the layer."""
        answer = order.call(
            "lambda",
            "PublishLayerVersion",
            LayerName=order.get("LayerName") or order.name(140),
            **order.rest("LayerName"),
        )
        arn = answer["LayerVersionArn"]
        return Made(arn, {"LayerVersionArn": arn})

    def delete(self, order: Order) -> None:
        """Delete the layer's version."""
        name, version = order.physical_id.split(":")[-2:]
        order.discard("lambda", "DeleteLayerVersion", LayerName=name, VersionNumber=version)


KINDS: tuple[type[Kind], ...] = (
    Function,
    Version,
    Alias,
    Permission,
    EventSourceMapping,
    EventInvokeConfig,
    LayerVersion,
)
