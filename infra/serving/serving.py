"""What answers requests: the function, the version of it that one parameter picks, its alarms."""

import json

from aws_cdk import CfnParameter, aws_cloudwatch, aws_lambda, aws_sns
from constructs import Construct

from infra.alarms import alarm, metric
from infra.deployment import Scope, StageConstruct
from infra.functions import PackagedFunction
from infra.serving.api import API_STAGE, Api
from infra.serving.engine import engine_requirements, serving_engine
from infra.storage import Storage

ALIAS = "live"


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


class Serving(StageConstruct):
    """Answer requests with the live version of the predict function."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        storage: Storage,
        topic: aws_sns.ITopic,
        model_uri: CfnParameter,
    ) -> None:
        """Make the function, its live alias, the API in front of it and the alarms about both."""
        super().__init__(scope, construct_id)
        self.predict = self._function(storage, model_uri)
        self.version = self.predict.function.current_version
        self.alias = aws_lambda.Alias(
            self,
            "Live",
            alias_name=ALIAS,
            version=self.version,
            description="What the API calls; moved by CodeDeploy",
            provisioned_concurrent_executions=self.settings.serving.provisioned_concurrency or None,
        )
        # "Default" stays out of the logical ids: they are those of a deployed API.
        self.api = Api(self, "Default", alias=self.alias).api
        self._alarms(topic)

    def _function(self, storage: Storage, model_uri: CfnParameter) -> PackagedFunction:
        settings = self.settings
        serving = settings.serving
        engine = serving_engine(settings)
        predict = PackagedFunction(
            self,
            "Predict",
            name="predict",
            requirements=engine_requirements(engine),
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
        storage.allow(predict.role, "s3:GetObject", below=["models/"])
        storage.allow(predict.role, "s3:PutObject", below=["labels/"])
        return predict

    def _alarms(self, topic: aws_sns.ITopic) -> None:
        api = {"ApiName": self.deployment.name, "Stage": API_STAGE}
        latency_ms = self.settings.serving.latency_alarm_ms
        # The average of 5XXError is the share of requests that failed. 3 of 5 minutes: a single
        # failed call at night is a share of 100%, and no reason to wake anyone. No traffic, no
        # data, no alarm.
        alarm(
            self,
            "ServerErrorsAlarm",
            kind="server-errors",
            says="At least 1% of requests failed on the server's side.",
            topic=topic,
            of=metric("AWS/ApiGateway", "5XXError", api, statistic="Average"),
            threshold=0.01,
            datapoints=(3, 5),
        )
        # 5 of 5 minutes: a cold start or a burst passes in less.
        alarm(
            self,
            "LatencyAlarm",
            kind="latency",
            says=f"The slowest 1% of requests take over {latency_ms} ms.",
            topic=topic,
            of=metric("AWS/ApiGateway", "Latency", api, statistic="p99"),
            threshold=latency_ms,
            datapoints=(5, 5),
            comparison=aws_cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        )
        # Lambda refused to run the function: the account's concurrency is used up. 3 of 5 minutes
        # lets a burst pass that clients retry.
        alarm(
            self,
            "ThrottlesAlarm",
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
        )
