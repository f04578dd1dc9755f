"""How traffic moves to a new version: a hook, alarms on that version alone, and CodeDeploy."""

from aws_cdk import (
    CfnCondition,
    CfnParameter,
    Duration,
    Fn,
    aws_cloudwatch,
    aws_codedeploy,
)
from constructs import Construct

from core.settings import Settings
from infra.alarms import alarm, metric
from infra.deployment import Scope, StageConstruct
from infra.functions import PackagedFunction
from infra.grants import acknowledge, acknowledge_wildcards, allow
from infra.serving.serving import ALIAS, Serving
from infra.storage import Storage


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


class TrafficShift(StageConstruct):
    """Move the live alias to a new version step by step, and back if it misbehaves."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        storage: Storage,
        serving: Serving,
    ) -> None:
        """Make the canary function, the rollback alarms and the deployment group of the alias."""
        super().__init__(scope, construct_id)
        self.canary = self._canary(storage, serving)
        alarms = self._rollback_alarms(serving)
        self.application = aws_codedeploy.LambdaApplication(self, "Application")
        shift = _shift(self.settings.serving.traffic_shift)
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

    def _canary(self, storage: Storage, serving: Serving) -> PackagedFunction:
        predict = serving.predict.function
        canary = PackagedFunction(
            self,
            "Canary",
            name="canary",
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
        storage.allow(canary.role, "s3:GetObject", below=["models/"])
        return canary

    def _rollback_alarms(self, serving: Serving) -> list[aws_cloudwatch.Alarm]:
        """Watch the newest version alone.

        An alarm that the old version can trip would stop the very deployment that mends it.
        """
        settings = self.settings
        function = serving.predict.function
        dimensions = {
            "FunctionName": function.function_name,
            "Resource": f"{function.function_name}:{ALIAS}",
            "ExecutedVersion": serving.version.version,
        }
        errors = alarm(
            self,
            "ErrorsAlarm",
            kind="release-errors",
            # One crash in a canary's share of the traffic is enough: better an idle rollback than 1
            # in 10 requests failing. 1 of 1, because a shift lasts minutes.
            says="The newest version crashed; a shift of traffic to it is rolled back.",
            topic=None,
            of=metric("AWS/Lambda", "Errors", dimensions, statistic="Sum"),
            threshold=1,
            datapoints=(1, 1),
            version=serving.version.version,
        )
        latency = alarm(
            self,
            "LatencyAlarm",
            kind="release-latency",
            # 2 of 3 minutes: the first minute of a new version is cold starts.
            says=f"The newest version takes over {settings.serving.latency_alarm_ms} ms; "
            "a shift of traffic to it is rolled back.",
            topic=None,
            of=metric("AWS/Lambda", "Duration", dimensions, statistic="p99"),
            threshold=settings.serving.latency_alarm_ms,
            datapoints=(2, 3),
            comparison=aws_cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            version=serving.version.version,
        )
        if not settings.serving.release_shift:
            return [errors, latency]
        predictions = alarm(
            self,
            "PredictionsAlarm",
            kind="release-predictions",
            # 1 of 1: each minute is a test of its own, strict enough for every minute of a shift.
            says="The newest version answers otherwise than the one before on the same traffic; "
            "a shift of traffic to it is rolled back.",
            topic=None,
            of=release_difference(settings, serving.version.version),
            threshold=1,
            datapoints=(1, 1),
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
