"""The API: gateway, function, the version that one parameter picks, and how traffic moves to it."""

import json
from typing import Any

from aws_cdk import (
    CfnCondition,
    CfnParameter,
    Duration,
    Fn,
    aws_apigateway,
    aws_cloudwatch,
    aws_codedeploy,
    aws_lambda,
    aws_sns,
)
from constructs import Construct

from core.settings import Settings
from infra.alarms import alarm, metric
from infra.assets import Packager
from infra.functions import PackagedFunction
from infra.grants import BY_PREFIX, acknowledge, acknowledge_wildcards, allow
from infra.storage import Storage, log_group, removal_policy

ALIAS = "live"
API_STAGE = "v1"

# Candidates whose fitted models fold into tables; others are served by onnxruntime.
_FOLDED_TASKS = ("binary", "multiclass", "regression")
_FOLDED_CANDIDATES = frozenset({"dummy", "linear", "boosting", "forest"})

# The body's outline; what is inside a row is the contract's matter, in the function.
_BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "predict": ("instances", {"type": "object"}),
    "feedback": ("labels", {"type": "object", "required": ["id", "value"]}),
}


def serving_engine(settings: Settings) -> str:
    """Give the engine that the predict asset carries: "table" or "onnx"."""
    if settings.serving.engine != "auto":
        return settings.serving.engine
    foldable = (
        settings.problem.task in _FOLDED_TASKS
        and set(settings.training.candidates) <= _FOLDED_CANDIDATES
    )
    return "table" if foldable else "onnx"


def model_parameter(scope: Construct) -> CfnParameter:
    """Make the one pointer: which model is live.

    It becomes the description of the function's version, which has at most 256 characters.
    """
    parameter = CfnParameter(
        scope,
        "ModelUri",
        type="String",
        default="none",
        max_length=256,
        allowed_pattern=r"^(none|s3://[a-z0-9][a-z0-9.-]+/[A-Za-z0-9!_.*'()/-]+/)$",
        constraint_description='is "none" or the s3:// folder of a model bundle, ending in "/"',
        description="The live model. Promotion and rollback change this and nothing else.",
    )
    parameter.override_logical_id("ModelUri")
    return parameter


def shift_parameter(scope: Construct) -> CfnParameter:
    """Make the parameter by which a rollback, unlike a promotion, moves all traffic at once."""
    parameter = CfnParameter(
        scope,
        "TrafficShift",
        type="String",
        default="gradual",
        allowed_values=["gradual", "at_once"],
        description="gradual: as [serving] traffic_shift says. Rollback sets at_once, for once.",
    )
    parameter.override_logical_id("TrafficShift")
    return parameter


class Serving(Construct):
    """Answer requests with the live version of the predict function."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        packager: Packager,
        storage: Storage,
        topic: aws_sns.ITopic,
        model_uri: CfnParameter,
    ) -> None:
        """Make the function, its live alias, the API in front of it and the alarms about both."""
        super().__init__(scope, construct_id)
        self.predict = self._function(settings, packager, storage, model_uri)
        self.version = self.predict.function.current_version
        self.alias = aws_lambda.Alias(
            self,
            "Live",
            alias_name=ALIAS,
            version=self.version,
            description="What the API calls; moved by CodeDeploy",
            provisioned_concurrent_executions=settings.serving.provisioned_concurrency or None,
        )
        self.api = self._api(settings)
        self._routes(settings)
        self._alarms(settings, topic)

    def _function(
        self,
        settings: Settings,
        packager: Packager,
        storage: Storage,
        model_uri: CfnParameter,
    ) -> PackagedFunction:
        serving = settings.serving
        engine = serving_engine(settings)
        predict = PackagedFunction(
            self,
            "Predict",
            name="predict",
            settings=settings,
            packager=packager,
            requirements="requirements-onnx.txt" if engine == "onnx" else "requirements.txt",
            description="Answers the REST API with the model that MODEL_URI names",
            environment={
                "MODEL_URI": model_uri.value_as_string,
                "LABELS_URI": storage.uri("labels/"),
                "MAX_ROWS": str(serving.max_rows),
                "CAPTURE_SAMPLE_RATE": f"{settings.capture.sample_rate:g}",
                "CORS_ORIGINS": ",".join(serving.cors_origins),
                "ENGINE": engine,
                "AUTH": serving.auth,
                "PUBLIC_DOCS": json.dumps(serving.public_docs),
            },
            timeout_seconds=serving.timeout_seconds,
            memory_mb=serving.memory_mb,
            version_description=model_uri.value_as_string,
            snap_start=serving.snap_start,
        )
        for action, prefix in (("s3:GetObject", "models/"), ("s3:PutObject", "labels/")):
            allow(predict.role, action, on=storage.objects(self, prefix), because=BY_PREFIX)
        return predict

    def _api(self, settings: Settings) -> aws_apigateway.RestApi:
        logs = log_group(self, "AccessLogs", settings=settings)
        api = aws_apigateway.RestApi(
            self,
            "Api",
            # Named after the deployment: CloudWatch's metrics of an API carry its name.
            rest_api_name=settings.deployment,
            description=f"{settings.project.name}, stage {settings.stage}",
            endpoint_types=[aws_apigateway.EndpointType.REGIONAL],
            # API Gateway writes access logs only under a role set for the account and region, which
            # the account's other APIs then use too. Production leaves it behind; another stage
            # goes without a trace.
            cloud_watch_role=True,
            cloud_watch_role_removal_policy=removal_policy(settings),
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

    def _routes(self, settings: Settings) -> None:
        """Lead every path to the live version; check who calls, and the outline of bodies."""
        integration = aws_apigateway.LambdaIntegration(
            self.alias, proxy=True, scope_permission_to_method=False
        )
        validator = aws_apigateway.RequestValidator(
            self,
            "BodyValidator",
            rest_api=self.api,
            validate_request_body=True,
            validate_request_parameters=True,
        )
        caller = _authorization(settings)
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
            public = settings.serving.public_docs and path in ("openapi.json", "docs")
            options = dict(anyone if public else caller)
            if path in _BODIES:
                options["request_validator"] = validator
                options["request_models"] = {"application/json": self._body_model(path)}
            resource.add_method(verb, integration, **options)
            # What else is asked here is answered 405, and elsewhere 404, by the function: a gateway
            # says "Missing Authentication Token" to both.
            resource.add_method("ANY", integration, **caller)
            if settings.serving.cors_origins:
                # A browser asks this before it may sign anything; the function knows the origins.
                resource.add_method("OPTIONS", integration, **anyone)
        self.api.root.add_method("ANY", integration, **caller)
        self.api.root.add_resource("{path+}").add_method("ANY", integration, **caller)
        self._refusals(settings)
        if settings.serving.auth == "api_key":
            self._usage_plan(settings)

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

    def _refusals(self, settings: Settings) -> None:
        """Answer what the gateway itself refuses as problem documents (RFC 9457)."""
        origins = settings.serving.cors_origins
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

    def _usage_plan(self, settings: Settings) -> None:
        """Let holders of the key in, within the same limits."""
        plan = self.api.add_usage_plan(
            "UsagePlan",
            description=f"{settings.deployment}: who holds a key",
            throttle=aws_apigateway.ThrottleSettings(
                rate_limit=settings.serving.rate_limit, burst_limit=settings.serving.burst_limit
            ),
        )
        plan.add_api_key(self.api.add_api_key("ApiKey", description=settings.deployment))
        plan.add_api_stage(stage=self.api.deployment_stage)

    def _alarms(self, settings: Settings, topic: aws_sns.ITopic) -> None:
        api = {"ApiName": settings.deployment, "Stage": API_STAGE}
        quiet = aws_cloudwatch.TreatMissingData.NOT_BREACHING
        # The average of 5XXError is the share of requests that failed. 3 of 5 minutes: a single
        # failed call at night is a share of 100%, and no reason to wake anyone. No traffic, no
        # data, no alarm.
        alarm(
            self,
            "ServerErrorsAlarm",
            settings=settings,
            kind="server-errors",
            says="At least 1% of requests failed on the server's side.",
            topic=topic,
            of=metric("AWS/ApiGateway", "5XXError", api, statistic="Average"),
            threshold=0.01,
            datapoints=(3, 5),
            missing=quiet,
        )
        # 5 of 5 minutes: a cold start or a burst passes in less.
        alarm(
            self,
            "LatencyAlarm",
            settings=settings,
            kind="latency",
            says=f"The slowest 1% of requests take over {settings.serving.latency_alarm_ms} ms.",
            topic=topic,
            of=metric("AWS/ApiGateway", "Latency", api, statistic="p99"),
            threshold=settings.serving.latency_alarm_ms,
            datapoints=(5, 5),
            missing=quiet,
            comparison=aws_cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        )
        # Lambda refused to run the function: the account's concurrency is used up. 3 of 5 minutes
        # lets a burst pass that clients retry.
        alarm(
            self,
            "ThrottlesAlarm",
            settings=settings,
            kind="throttles",
            says="Lambda turned requests away: the account's concurrency is used up.",
            topic=topic,
            of=metric(
                "AWS/Lambda",
                "Throttles",
                {"FunctionName": self.predict.function.function_name},
                statistic="Sum",
            ),
            threshold=1,
            datapoints=(3, 5),
            missing=quiet,
        )


class TrafficShift(Construct):
    """Move the live alias to a new version step by step, and back if it misbehaves."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        packager: Packager,
        storage: Storage,
        serving: Serving,
    ) -> None:
        """Make the canary function, the rollback alarms and the deployment group of the alias."""
        super().__init__(scope, construct_id)
        self.canary = self._canary(settings, packager, storage, serving)
        alarms = self._rollback_alarms(settings, serving)
        self.application = aws_codedeploy.LambdaApplication(self, "Application")
        shift = _shift(settings.serving.traffic_shift)
        self.group = aws_codedeploy.LambdaDeploymentGroup(
            self,
            "Group",
            application=self.application,
            alias=serving.alias,
            pre_hook=self.canary.function,
            alarms=alarms,
            deployment_config=shift,
            auto_rollback=aws_codedeploy.AutoRollbackConfig(
                failed_deployment=True, stopped_deployment=True, deployment_in_alarm=True
            ),
        )
        allow(
            self.canary.role,
            "codedeploy:GetDeployment",
            "codedeploy:PutLifecycleEventHookExecutionStatus",
            on=[self.group.deployment_group_arn],
        )
        _acknowledge_group(self.group, self.canary)
        group = self.group.node.default_child
        assert isinstance(group, aws_codedeploy.CfnDeploymentGroup)
        urgent = CfnCondition(
            self,
            "AtOnce",
            expression=Fn.condition_equals(shift_parameter(self).value_as_string, "at_once"),
        )
        at_once = aws_codedeploy.LambdaDeploymentConfig.ALL_AT_ONCE
        group.deployment_config_name = Fn.condition_if(
            urgent.logical_id, at_once.deployment_config_name, shift.deployment_config_name
        ).to_string()
        # The alias moves only after the alarms watch the new version and the group knows how.
        for made in (*alarms, group):
            serving.alias.node.add_dependency(made)

    def _canary(
        self, settings: Settings, packager: Packager, storage: Storage, serving: Serving
    ) -> PackagedFunction:
        predict = serving.predict.function
        canary = PackagedFunction(
            self,
            "Canary",
            name="canary",
            settings=settings,
            packager=packager,
            description="Replays the golden rows on a new version before it gets any traffic",
            environment={"PREDICT_FUNCTION": predict.function_name},
            timeout_seconds=120,
            memory_mb=512,
        )
        every_version = [predict.function_arn, f"{predict.function_arn}:*"]
        allow(
            canary.role,
            "lambda:ListVersionsByFunction",
            "lambda:InvokeFunction",
            on=every_version,
            because="Every version of one function: the newest is not known when this is written.",
        )
        allow(canary.role, "s3:GetObject", on=storage.objects(self, "models/"), because=BY_PREFIX)
        return canary

    def _rollback_alarms(self, settings: Settings, serving: Serving) -> list[aws_cloudwatch.Alarm]:
        """Watch the newest version alone.

        An alarm that the old version can trip would stop the very deployment that mends it.
        """
        function = serving.predict.function
        dimensions = {
            "FunctionName": function.function_name,
            "Resource": f"{function.function_name}:{ALIAS}",
            "ExecutedVersion": serving.version.version,
        }
        quiet = aws_cloudwatch.TreatMissingData.NOT_BREACHING
        errors = alarm(
            self,
            "ErrorsAlarm",
            settings=settings,
            kind="release-errors",
            # One crash in a canary's share of the traffic is enough: better an idle rollback than 1
            # in 10 requests failing. 1 of 1, because a shift lasts minutes.
            says="The newest version crashed; a shift of traffic to it is rolled back.",
            topic=None,
            of=metric("AWS/Lambda", "Errors", dimensions, statistic="Sum"),
            threshold=1,
            datapoints=(1, 1),
            missing=quiet,
            version=serving.version.version,
        )
        latency = alarm(
            self,
            "LatencyAlarm",
            settings=settings,
            kind="release-latency",
            # 2 of 3 minutes: the first minute of a new version is cold starts.
            says=f"The newest version takes over {settings.serving.latency_alarm_ms} ms; "
            "a shift of traffic to it is rolled back.",
            topic=None,
            of=metric("AWS/Lambda", "Duration", dimensions, statistic="p99"),
            threshold=settings.serving.latency_alarm_ms,
            datapoints=(2, 3),
            missing=quiet,
            comparison=aws_cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            version=serving.version.version,
        )
        if not settings.serving.release_shift:
            return [errors, latency]
        predictions = alarm(
            self,
            "PredictionsAlarm",
            settings=settings,
            kind="release-predictions",
            # 1 of 1: each minute is a test of its own, strict enough for every minute of a shift.
            says="The newest version answers otherwise than the one before on the same traffic; "
            "a shift of traffic to it is rolled back.",
            topic=None,
            of=release_difference(settings, serving.version.version),
            threshold=1,
            datapoints=(1, 1),
            missing=quiet,
            version=serving.version.version,
        )
        return [errors, latency, predictions]


# Per minute, of two versions that answer alike, fewer than 1 in 25,000 differ so: simulated for
# scores that are uniform, U-shaped, skewed, rare events, normal and lognormal (tests/infra).
RELEASE_Z = 5
RELEASE_LEAST_REQUESTS = 50


def release_difference(settings: Settings, version: str) -> aws_cloudwatch.MathExpression:
    """Say, as 1 or 0 a minute, whether a version's mean answer differs from the others'.

    CodeDeploy deals requests to the versions at random, so within a minute both see the same
    traffic, and the means of their requests' scores differ by chance alone unless the versions do.
    Two conditions: Welch's statistic beyond `RELEASE_Z`, and a difference of at least
    `[serving] release_shift` standard deviations of the version before. Sums over all versions less
    those of the newest are those of the one before, whatever its number. A minute with fewer than
    `RELEASE_LEAST_REQUESTS` of either says nothing.
    """
    metrics: dict[str, aws_cloudwatch.IMetric] = {}
    for letters, dimensions in (
        ("nsq", {"Deployment": settings.deployment}),
        ("mtr", {"Deployment": settings.deployment, "Version": version}),
    ):
        for letter, name in zip(
            letters, ("ScoredRequests", "ScoreSum", "ScoreSquares"), strict=True
        ):
            metrics[letter] = metric("Driftless", name, dimensions, statistic="Sum")
    difference = "(t/m-(s-t)/(n-m))^2"
    new_variance = "(r/m-(t/m)^2)"
    old_variance = "((q-r)/(n-m)-((s-t)/(n-m))^2)"
    floor = settings.serving.release_shift
    return aws_cloudwatch.MathExpression(
        expression=(
            f"(m>={RELEASE_LEAST_REQUESTS})*((n-m)>={RELEASE_LEAST_REQUESTS})"
            f"*({difference}>{RELEASE_Z**2}*({new_variance}/m+{old_variance}/(n-m)))"
            f"*({difference}>{floor**2:g}*{old_variance})"
        ),
        using_metrics=metrics,
        period=Duration.minutes(1),
        label="the newest version answers otherwise",
    )


def _shift(name: str) -> aws_codedeploy.ILambdaDeploymentConfig:
    config: aws_codedeploy.ILambdaDeploymentConfig = getattr(
        aws_codedeploy.LambdaDeploymentConfig, name.upper()
    )
    return config


def shift_minutes(name: str) -> int:
    """Give how long a traffic shift takes, from its name."""
    words = name.split("_")
    if name == "all_at_once":
        return 0
    minutes = int(words[-2])
    return minutes if words[0] == "canary" else 9 * minutes


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


def _acknowledge_group(
    group: aws_codedeploy.LambdaDeploymentGroup, canary: PackagedFunction
) -> None:
    acknowledge(
        group,
        "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
        "AWSCodeDeployRoleForLambdaLimited]",
        because="CodeDeploy's own policy for Lambda, the limited one.",
    )
    acknowledge_wildcards(
        group,
        on=[f"{canary.function.function_arn}:*"],
        because="CodeDeploy calls the hook by its unqualified or its versioned name.",
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
