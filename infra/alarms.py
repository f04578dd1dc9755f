"""The topic that alarms speak to, and the alarm whose text leads to its runbook page."""

from collections.abc import Mapping

from aws_cdk import Aws, Duration, aws_cloudwatch, aws_iam, aws_kms, aws_sns
from constructs import Construct

from core.settings import Settings
from infra.storage import removal_policy

RUNBOOK = "docs/runbook"

# What writes to the topic under its own name; functions and the state machine use their roles.
_PUBLISHERS = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")


class Notifications(Construct):
    """Carry every alarm on one topic, encrypted with a key that CloudWatch may use, TLS only."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        """Make the key and the topic; subscribe `[monitoring] email` if there is one."""
        super().__init__(scope, construct_id)
        # A key of our own: CloudWatch cannot publish to a topic under the AWS-managed key aws/sns.
        self.key = aws_kms.Key(
            self,
            "Key",
            description=f"{settings.deployment}: notifications",
            enable_key_rotation=True,
            removal_policy=removal_policy(settings),
        )
        self.topic = aws_sns.Topic(
            self, "Topic", display_name=settings.deployment, master_key=self.key, enforce_ssl=True
        )
        ours = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        principals: list[aws_iam.IPrincipal] = [
            aws_iam.ServicePrincipal(service) for service in _PUBLISHERS
        ]
        self.key.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=principals,
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions=ours,
            )
        )
        self.topic.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=principals,
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions=ours,
            )
        )
        if settings.monitoring.email:
            aws_sns.Subscription(
                self,
                "Email",
                topic=self.topic,
                protocol=aws_sns.SubscriptionProtocol.EMAIL,
                endpoint=settings.monitoring.email,
            )


def metric(
    namespace: str,
    name: str,
    dimensions: Mapping[str, str],
    *,
    statistic: str,
    period: Duration | None = None,
) -> aws_cloudwatch.Metric:
    """Name a metric; a period of one minute unless told otherwise."""
    return aws_cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dict(dimensions),
        statistic=statistic,
        period=period or Duration.minutes(1),
    )


def own_metric(
    settings: Settings, name: str, *, statistic: str, period: Duration | None = None
) -> aws_cloudwatch.Metric:
    """Name a metric that our functions write as EMF log lines."""
    return metric(
        "Driftless", name, {"Deployment": settings.deployment}, statistic=statistic, period=period
    )


def alarm(
    scope: Construct,
    construct_id: str,
    *,
    settings: Settings,
    kind: str,
    says: str,
    topic: aws_sns.ITopic | None,
    of: aws_cloudwatch.IMetric,
    threshold: float,
    datapoints: tuple[int, int],
    missing: aws_cloudwatch.TreatMissingData,
    comparison: aws_cloudwatch.ComparisonOperator = (
        aws_cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
    ),
    version: str | None = None,
) -> aws_cloudwatch.Alarm:
    """Make an alarm; `datapoints` is M of N, `kind` names it and its page of the runbook.

    Without a topic it only guards a traffic shift. One that watches a single version of a function
    is named after it and so made anew with it: an alarm that is only changed keeps its state (AWS
    page: PutMetricAlarm), and the version that rang would stop the release that mends it.
    """
    least, window = datapoints
    made = aws_cloudwatch.Alarm(
        scope,
        construct_id,
        # A fixed name: people read it in the message, event patterns and the runbook refer to it.
        alarm_name="-".join(filter(None, (settings.deployment, kind, version))),
        alarm_description=f"{says} What to do: {RUNBOOK}/{kind}.md",
        metric=of,
        threshold=threshold,
        comparison_operator=comparison,
        datapoints_to_alarm=least,
        evaluation_periods=window,
        treat_missing_data=missing,
    )
    if topic is not None:
        resource = made.node.default_child
        assert isinstance(resource, aws_cloudwatch.CfnAlarm)
        resource.alarm_actions = [topic.topic_arn]
        resource.ok_actions = [topic.topic_arn]
    return made
