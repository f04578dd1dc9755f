"""How CloudWatch words an alarm: its reason, its configuration in events, its message."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from local.services.cloudwatch.evaluation import COMPARISONS


def write_time(time: datetime) -> str:
    """Write a time as CloudWatch does."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}+0000"


def describe_state(alarm: Any) -> dict[str, Any]:
    """Return the state of an alarm as its events carry it."""
    return {
        "value": alarm.state_value,
        "reason": alarm.state_reason,
        "reasonData": alarm.state_reason_data,
        "timestamp": write_time(alarm.state_updated_timestamp.replace(tzinfo=UTC)),
    }


def returns_data(value: Any) -> bool:
    """Read a metric query's ReturnData, which is true where it is left out."""
    return value is None or str(value).lower() == "true"


def explain_state(
    alarm: Any, state: str, points: Sequence[tuple[float, datetime]], periods: int, needed: int
) -> str:
    """Return why an alarm changes, in CloudWatch's words."""
    if not points:
        plural = "" if periods == 1 else "s"
        reason = f"no datapoints were received for {periods} period{plural}"
        if state == "INSUFFICIENT_DATA":
            return f"Insufficient Data: {reason}."
        treated = "Breaching" if state == "ALARM" else "NonBreaching"
        return (
            f"Threshold Crossed: {reason} and {periods} missing datapoint{plural} were treated as"
            f" [{treated}]."
        )
    breaches = COMPARISONS[alarm.comparison_operator]
    threshold = float(alarm.threshold)
    telling = [
        (value, start)
        for value, start in points
        if breaches(value, threshold) == (state == "ALARM")
    ] or list(points)
    shown = ", ".join(f"{value} ({start:%d/%m/%y %H:%M:%S})" for value, start in telling)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(alarm.comparison_operator)).lower()
    verb = "was" if len(telling) == 1 else "were"
    negation = "" if state == "ALARM" else " not"
    minimum = f"minimum {needed} datapoint{'' if needed == 1 else 's'}"
    return (
        f"Threshold Crossed: {len(telling)} out of the last {len(points)} datapoints [{shown}]"
        f" {verb}{negation} {words.removesuffix(' threshold')} the threshold ({threshold})"
        f" ({minimum} for {alarm.state_value} -> {state} transition)."
    )


def describe_configuration(alarm: Any) -> dict[str, Any]:
    """Return an alarm's configuration as its events carry it."""
    if alarm.rule is not None:
        return {"description": alarm.description or "", "alarmRule": alarm.rule}
    if alarm.metric_data_queries:
        metrics = []
        for query in alarm.metric_data_queries:
            entry: dict[str, Any] = {"id": query.id, "returnData": returns_data(query.return_data)}
            if query.expression:
                entry["expression"] = query.expression
                entry["label"] = query.label or ""
            else:
                stat = query.metric_stat
                entry["metricStat"] = {
                    "metric": {
                        "namespace": stat.metric.namespace,
                        "name": stat.metric.metric_name,
                        "dimensions": {d.name: d.value for d in stat.metric.dimensions},
                    },
                    "period": int(stat.period),
                    "stat": stat.stat,
                }
            metrics.append(entry)
    else:
        metrics = [
            {
                "id": "m1",
                "metricStat": {
                    "metric": {
                        "namespace": alarm.namespace,
                        "name": alarm.metric_name,
                        "dimensions": {d.name: d.value for d in alarm.dimensions},
                    },
                    "period": int(alarm.period),
                    "stat": alarm.statistic or alarm.extended_statistic,
                },
                "returnData": True,
            }
        ]
    return {"description": alarm.description or "", "metrics": metrics}


def write_message(
    alarm: Any, state: Mapping[str, Any], previous: Mapping[str, Any], account: str, region: str
) -> dict[str, Any]:
    """Return the document that CloudWatch publishes to an alarm's topics."""
    message: dict[str, Any] = {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": account,
        "NewStateValue": state["value"],
        "NewStateReason": state["reason"],
        "StateChangeTime": state["timestamp"],
        "Region": region,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": previous["value"],
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
    }
    if alarm.rule is not None:
        return {**message, "AlarmRule": alarm.rule}
    trigger: dict[str, Any] = {
        "ComparisonOperator": alarm.comparison_operator,
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints_to_alarm,
        "Threshold": alarm.threshold,
        "TreatMissingData": alarm.treat_missing_data or "",
    }
    if alarm.metric_data_queries:
        trigger["Metrics"] = describe_configuration(alarm)["metrics"]
    else:
        trigger |= {
            "MetricName": alarm.metric_name,
            "Namespace": alarm.namespace,
            "Statistic": alarm.statistic or alarm.extended_statistic,
            "Period": alarm.period,
            "Dimensions": [{"name": d.name, "value": d.value} for d in alarm.dimensions],
        }
    return {**message, "Trigger": trigger}
