"""The bucket that holds everything, and the log groups."""

from collections.abc import Sequence

from aws_cdk import Duration, Fn, Stack, aws_iam, aws_logs, aws_s3
from constructs import Construct

from infra.deployment import Scope, StageConstruct
from infra.grants import BY_PREFIX, acknowledge, allow


def log_group(scope: StageConstruct, construct_id: str = "Logs") -> aws_logs.LogGroup:
    """Make a log group that forgets after `[retention] logs_days`."""
    return aws_logs.LogGroup(
        scope,
        construct_id,
        retention=_retention(scope.settings.retention.logs_days),
        removal_policy=scope.deployment.removal_policy,
    )


def _retention(days: int) -> aws_logs.RetentionDays:
    """Give the CDK's name of a number of days."""
    names = {
        1: "ONE_DAY",
        3: "THREE_DAYS",
        5: "FIVE_DAYS",
        7: "ONE_WEEK",
        14: "TWO_WEEKS",
        30: "ONE_MONTH",
        60: "TWO_MONTHS",
        90: "THREE_MONTHS",
        120: "FOUR_MONTHS",
        150: "FIVE_MONTHS",
        180: "SIX_MONTHS",
        365: "ONE_YEAR",
        400: "THIRTEEN_MONTHS",
        545: "EIGHTEEN_MONTHS",
        731: "TWO_YEARS",
        1096: "THREE_YEARS",
        1827: "FIVE_YEARS",
        2192: "SIX_YEARS",
        2557: "SEVEN_YEARS",
        2922: "EIGHT_YEARS",
        3288: "NINE_YEARS",
        3653: "TEN_YEARS",
    }
    return aws_logs.RetentionDays[names[days]]


class Storage(StageConstruct):
    """Hold data, models, captures, labels, reports: one versioned, encrypted, TLS-only bucket."""

    def __init__(self, scope: Scope, construct_id: str) -> None:
        """Make the bucket; its events go to EventBridge without a custom resource."""
        super().__init__(scope, construct_id)
        retention = self.settings.retention
        self.bucket = aws_s3.Bucket(
            self,
            "Bucket",
            versioned=True,
            encryption=aws_s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            block_public_access=aws_s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=aws_s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            removal_policy=self.deployment.removal_policy,
            lifecycle_rules=[
                aws_s3.LifecycleRule(
                    id="abandoned-uploads",
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                ),
                _expire("captures", "captures/", retention.captures_days),
                # Records that Firehose could not convert, kept as long as those that it could.
                _expire("captures-failed", "captures-failed/", retention.captures_days),
                _expire("reports", "monitor/", retention.reports_days),
                # Checkpoints serve one Spot job, which ends within days.
                _expire("checkpoints", "checkpoints/", 30),
            ],
        )
        bucket = self.bucket.node.default_child
        assert isinstance(bucket, aws_s3.CfnBucket)
        # Bucket(event_bridge_enabled=True) would bring a custom resource; the property needs none.
        bucket.notification_configuration = aws_s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=aws_s3.CfnBucket.EventBridgeConfigurationProperty(
                event_bridge_enabled=True
            )
        )

        acknowledge(
            self.bucket,
            "AwsSolutions-S1",
            because="Access logs would need a second bucket and cost by the request; CloudTrail "
            "data events record the same, for accounts that want them.",
        )
        self._export = f"{Stack.of(self).stack_name}:BucketArn"
        Stack.of(self).export_value(self.bucket.bucket_arn, name=self._export)

    def arn(self, scope: Construct) -> str:
        """Give the bucket's ARN, as the stack of `scope` names it: elsewhere by its export."""
        here = Stack.of(scope).stack_name == Stack.of(self).stack_name
        return self.bucket.bucket_arn if here else Fn.import_value(self._export)

    def objects(self, scope: Construct, *prefixes: str) -> list[str]:
        """Give the ARNs of the objects below these prefixes, as the stack of `scope` names them."""
        return [f"{self.arn(scope)}/{prefix}*" for prefix in prefixes]

    def allow(self, role: aws_iam.Role, *actions: str, below: Sequence[str]) -> None:
        """Let a role do these actions on the objects below these prefixes."""
        allow(role, *actions, on=self.objects(role, *below), because=BY_PREFIX)

    def uri(self, prefix: str) -> str:
        """Give the s3:// URI of a prefix of the bucket."""
        return f"s3://{self.bucket.bucket_name}/{prefix}"


def _expire(name: str, prefix: str, days: int) -> aws_s3.LifecycleRule:
    return aws_s3.LifecycleRule(
        id=name,
        prefix=prefix,
        expiration=Duration.days(days),
        noncurrent_version_expiration=Duration.days(7),
    )
