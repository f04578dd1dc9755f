"""Alarms, whose text leads to their page of the runbook, and the metrics that they watch."""

from collections.abc import Mapping

from aws_cdk import Duration, aws_cloudwatch, aws_sns

from infra.deployment import Deployment, StageConstruct

RUNBOOK = "docs/runbook"


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
    deployment: Deployment, name: str, *, statistic: str, period: Duration | None = None
) -> aws_cloudwatch.Metric:
    """Name a metric that our functions write as EMF log lines."""
    return metric(
        "Driftless", name, {"Deployment": deployment.name}, statistic=statistic, period=period
    )


def alarm(
    scope: StageConstruct,
    construct_id: str,
    *,
    kind: str,
    says: str,
    topic: aws_sns.ITopic | None,
    of: aws_cloudwatch.IMetric,
    threshold: float,
    datapoints: tuple[int, int],
    missing: aws_cloudwatch.TreatMissingData = aws_cloudwatch.TreatMissingData.NOT_BREACHING,
    comparison: aws_cloudwatch.ComparisonOperator = (
        aws_cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
    ),
    version: str | None = None,
) -> aws_cloudwatch.Alarm:
    """Make an alarm; `datapoints` is M of N, `kind` names it and its page of the runbook.

    Missing data is no fault unless `missing` says otherwise: most metrics here have data only while
    something goes on. Without a topic the alarm only guards a traffic shift. One that watches a
    single version of a function is named after it and so made anew with it: an alarm that is only
    changed keeps its state (AWS page: PutMetricAlarm), and the version that rang would stop the
    release that mends it.
    """
    least, window = datapoints
    made = aws_cloudwatch.Alarm(
        scope,
        construct_id,
        # A fixed name: people read it in the message, event patterns and the runbook refer to it.
        alarm_name="-".join(filter(None, (scope.deployment.name, kind, version))),
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
