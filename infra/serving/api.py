"""The REST API: its gateway, its routes to the live version, and the refusals of the gateway."""

import json
from typing import Any

from aws_cdk import aws_apigateway, aws_lambda

from core.settings import Settings
from infra.deployment import Scope, StageConstruct
from infra.grants import acknowledge
from infra.storage import log_group

API_STAGE = "v1"

# The body's outline; what is inside a row is the contract's matter, in the function.
_BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "predict": ("instances", {"type": "object"}),
    "feedback": ("labels", {"type": "object", "required": ["id", "value"]}),
}


class Api(StageConstruct):
    """Take requests over HTTPS, and let in who may call."""

    def __init__(self, scope: Scope, construct_id: str, *, alias: aws_lambda.IFunction) -> None:
        """Make the gateway and its routes to the alias of the live version."""
        super().__init__(scope, construct_id)
        self.api = self._gateway()
        self._routes(alias)

    def _gateway(self) -> aws_apigateway.RestApi:
        settings = self.settings
        logs = log_group(self, "AccessLogs")
        api = aws_apigateway.RestApi(
            self,
            "Api",
            # Named after the deployment: CloudWatch's metrics of an API carry its name.
            rest_api_name=self.deployment.name,
            description=f"{settings.project.name}, stage {settings.stage}",
            endpoint_types=[aws_apigateway.EndpointType.REGIONAL],
            # API Gateway writes access logs only under a role set for the account and region, which
            # the account's other APIs then use too. Production leaves it behind; another stage
            # goes without a trace.
            cloud_watch_role=True,
            cloud_watch_role_removal_policy=self.deployment.removal_policy,
            deploy_options=aws_apigateway.StageOptions(
                stage_name=API_STAGE,
                metrics_enabled=True,
                throttling_rate_limit=settings.serving.rate_limit,
                throttling_burst_limit=settings.serving.burst_limit,
                access_log_destination=aws_apigateway.LogGroupLogDestination(logs),
                access_log_format=aws_apigateway.AccessLogFormat.custom(_access_log_format()),
            ),
        )
        api.node.try_remove_child("Endpoint")  # an output under a generated name, beside ApiUrl
        _acknowledge_api(api)
        return api

    def _routes(self, alias: aws_lambda.IFunction) -> None:
        """Lead every path to the live version; check who calls, and the outline of bodies."""
        serving = self.settings.serving
        integration = aws_apigateway.LambdaIntegration(
            alias, proxy=True, scope_permission_to_method=False
        )
        validator = aws_apigateway.RequestValidator(
            self,
            "BodyValidator",
            rest_api=self.api,
            validate_request_body=True,
            validate_request_parameters=True,
        )
        caller = _authorization(self.settings)
        anyone: dict[str, Any] = {"authorization_type": aws_apigateway.AuthorizationType.NONE}
        for path, verb in (
            ("predict", "POST"),
            ("feedback", "POST"),
            ("model", "GET"),
            ("health", "GET"),
            ("openapi.json", "GET"),
            ("docs", "GET"),
        ):
            resource = self.api.root.add_resource(path)
            public = serving.public_docs and path in ("openapi.json", "docs")
            options = dict(anyone if public else caller)
            if path in _BODIES:
                options["request_validator"] = validator
                options["request_models"] = {"application/json": self._body_model(path)}
            resource.add_method(verb, integration, **options)
            # The function answers other methods with 405, and other paths with 404; a gateway says
            # "Missing Authentication Token" to both.
            resource.add_method("ANY", integration, **caller)
            if serving.cors_origins:
                # A browser asks this before it may sign anything; the function knows the origins.
                resource.add_method("OPTIONS", integration, **anyone)
        self.api.root.add_method("ANY", integration, **caller)
        self.api.root.add_resource("{path+}").add_method("ANY", integration, **caller)
        self._refusals()
        if serving.auth == "api_key":
            self._usage_plan()

    def _body_model(self, path: str) -> aws_apigateway.Model:
        member, item = _BODIES[path]
        return aws_apigateway.Model(
            self,
            f"{path.capitalize()}Body",
            rest_api=self.api,
            content_type="application/json",
            schema=aws_apigateway.JsonSchema(
                schema=aws_apigateway.JsonSchemaVersion.DRAFT4,
                type=aws_apigateway.JsonSchemaType.OBJECT,
                required=[member],
                properties={
                    member: aws_apigateway.JsonSchema(
                        type=aws_apigateway.JsonSchemaType.ARRAY,
                        min_items=1,
                        items=aws_apigateway.JsonSchema(
                            type=aws_apigateway.JsonSchemaType.OBJECT,
                            required=item.get("required"),
                        ),
                    )
                },
            ),
        )

    def _refusals(self) -> None:
        """Answer what the gateway itself refuses as problem documents (RFC 9457)."""
        origins = self.settings.serving.cors_origins
        # A gateway cannot choose among origins; with several, its own refusals stay unreadable to
        # pages.
        cors = {"Access-Control-Allow-Origin": f"'{origins[0]}'"} if len(origins) == 1 else {}
        kinds = aws_apigateway.ResponseType
        forbidden = "The caller may not do this"
        for name, kind, status, title, headers in (
            ("BadBody", kinds.BAD_REQUEST_BODY, "400", "The body lacks the required outline", {}),
            (
                # The name is the gateway's; every path is deployed, so only unsigned calls get it.
                "Unsigned",
                kinds.MISSING_AUTHENTICATION_TOKEN,
                "401",
                "The request is not signed",
                {"WWW-Authenticate": "'AWS4-HMAC-SHA256'"},
            ),
            ("WronglySigned", kinds.INVALID_SIGNATURE, "403", "The signature is wrong", {}),
            ("Expired", kinds.EXPIRED_TOKEN, "403", "The signature has expired", {}),
            ("Denied", kinds.ACCESS_DENIED, "403", forbidden, {}),
            ("NoKey", kinds.INVALID_API_KEY, "403", "The API key is missing or unknown", {}),
            ("TooLarge", kinds.REQUEST_TOO_LARGE, "413", "The body is too large", {}),
            ("Throttled", kinds.THROTTLED, "429", "Too many requests", {"Retry-After": "'1'"}),
            ("Spent", kinds.QUOTA_EXCEEDED, "429", "The quota is used up", {"Retry-After": "'60'"}),
            ("Refused", kinds.DEFAULT_4_XX, None, "The request is refused", {}),
            ("Failed", kinds.DEFAULT_5_XX, None, "The service failed", {}),
        ):
            what = "validationErrorString" if kind is kinds.BAD_REQUEST_BODY else "message"
            body = {
                "type": "about:blank",
                "title": title,
                **({"status": int(status)} if status else {}),
                "detail": f"$context.error.{what}",
                "request": "$context.requestId",
            }
            self.api.add_gateway_response(
                name,
                type=kind,
                status_code=status,
                response_headers={
                    "Content-Type": "'application/problem+json'",
                    **headers,
                    **cors,
                },
                templates={"application/json": _template(body)},
            )

    def _usage_plan(self) -> None:
        """Let holders of the key in, within the same limits."""
        serving = self.settings.serving
        plan = self.api.add_usage_plan(
            "UsagePlan",
            description=f"{self.deployment.name}: who holds a key",
            throttle=aws_apigateway.ThrottleSettings(
                rate_limit=serving.rate_limit, burst_limit=serving.burst_limit
            ),
        )
        plan.add_api_key(self.api.add_api_key("ApiKey", description=self.deployment.name))
        plan.add_api_stage(stage=self.api.deployment_stage)


def _authorization(settings: Settings) -> dict[str, Any]:
    kinds = aws_apigateway.AuthorizationType
    if settings.serving.auth == "iam":
        return {"authorization_type": kinds.IAM}
    return {
        "authorization_type": kinds.NONE,
        "api_key_required": settings.serving.auth == "api_key",
    }


def _acknowledge_api(api: aws_apigateway.RestApi) -> None:
    acknowledge(
        api,
        "AwsSolutions-COG4",
        because="Callers are services: they sign requests or hold a key; no user pool has a part.",
    )
    acknowledge(
        api,
        "AwsSolutions-APIG4",
        because="Only what must be open is: CORS preflights, the documentation if public_docs says "
        "so, and all if [serving] auth does, which a production stage refuses.",
    )
    acknowledge(
        api,
        "AwsSolutions-APIG3",
        because="A web ACL costs by the month while idle. Requests are signed and throttled; "
        "docs/security.md says when to add one.",
    )
    acknowledge(
        api,
        "AwsSolutions-APIG6",
        because="Access logs and the function's own log tell every request; execution logs would "
        "add a log group without retention that no stack owns.",
    )
    acknowledge(
        api,
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
        "AmazonAPIGatewayPushToCloudWatchLogs]",
        because="The role that API Gateway demands for its logs, with the policy made for it.",
    )


def _access_log_format() -> str:
    """Write one JSON line a request: who, what, how long; never the body."""
    fields = {
        "request": "$context.requestId",
        "time": "$context.requestTimeEpoch",
        "ip": "$context.identity.sourceIp",
        "caller": "$context.identity.userArn",
        "method": "$context.httpMethod",
        "path": "$context.path",
        "status": "$context.status",
        "bytes": "$context.responseLength",
        "latency_ms": "$context.responseLatency",
        "integration_ms": "$context.integration.latency",
        "error": "$context.error.responseType",
    }
    return json.dumps(fields)


def _template(body: dict[str, Any]) -> str:
    """Write a gateway template; $context.error.messageString brings its own quotes."""
    return json.dumps(body).replace('"$context.error.message"', "$context.error.messageString")
