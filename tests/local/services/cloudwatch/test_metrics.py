"""Alarms are evaluated as CloudWatch documents it, and their changes cause what is deployed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.services.cloudwatch.composites import rule_holds
from local.services.cloudwatch.evaluation import AlarmError, compute_statistic, judge_breaches
from local.services.cloudwatch.expressions import MetricMathError, Windows, evaluate_expression
from tests.local.parts import REGION, PartsHost

# The two tables of the CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing
# data": oldest point first, X breaches, 0 does not, - is missing; None = the state is kept.
ORDER = ("missing", "ignore", "breaching", "notBreaching")
THREE_OF_THREE = [
    ("0-X-X", ("OK", "OK", "OK", "OK")),
    ("----0", ("OK", "OK", "OK", "OK")),
    ("-----", ("INSUFFICIENT_DATA", None, "ALARM", "OK")),
    ("0XX-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("--X--", ("ALARM", None, "ALARM", "OK")),
]
TWO_OF_THREE = [
    ("0-X-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("00X0X", ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("0-X--", ("OK", "OK", "ALARM", "OK")),
    ("----0", ("OK", "OK", "ALARM", "OK")),
    ("---X-", ("ALARM", None, "ALARM", "OK")),
]


def _breaches(points: str) -> dict[int, bool]:
    return {age: point == "X" for age, point in enumerate(reversed(points)) if point != "-"}


@pytest.mark.parametrize(
    ("needed", "points", "missing", "state"),
    [
        (needed, points, missing, state)
        for needed, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
        for points, states in table
        for missing, state in zip(ORDER, states, strict=True)
    ],
)
def test_missing_data_is_treated_as_documented(
    needed: int, points: str, missing: str, state: str | None
) -> None:
    assert judge_breaches(_breaches(points), 3, needed, missing) == state


def test_an_alarm_does_not_start_before_enough_points_could_be_there() -> None:
    assert judge_breaches(_breaches("----X"), 3, 3, "missing") is None
    assert judge_breaches(_breaches("----X"), 1, 1, "missing") == "ALARM"


@given(st.text(alphabet="X0", min_size=1, max_size=8), st.data())
def test_with_all_data_there_it_is_m_of_n(points: str, data: st.DataObject) -> None:
    needed = data.draw(st.integers(1, len(points)))
    expected = "ALARM" if points.count("X") >= needed else "OK"
    for missing in ORDER:
        assert judge_breaches(_breaches(points), len(points), needed, missing) == expected


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("Sum", 10.0),
        ("Average", 2.5),
        ("Minimum", 1.0),
        ("Maximum", 4.0),
        ("SampleCount", 4.0),
        ("p50", 2.5),
        ("p100", 4.0),
        ("p0", 1.0),
        ("p99.9", 3.997),
    ],
)
def test_statistics(statistic: str, expected: float) -> None:
    assert compute_statistic([4.0, 1.0, 3.0, 2.0], statistic) == pytest.approx(expected)


def test_an_unknown_statistic_is_named() -> None:
    with pytest.raises(AlarmError, match="'IQM'"):
        compute_statistic([1.0], "IQM")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("m1 / m2", {0: 2.0}),
        ("100 * (m1 / m2)", {0: 200.0}),
        ("m1 / FILL(m2, 1)", {0: 2.0, 1: 6.0}),
        ("FILL(m2, 0)", {0: 2.0, 1: 0.0, 2: 0.0}),
        ("FILL(m1, REPEAT)", {0: 4.0, 1: 6.0}),
        ("IF(m1 > 5, 1, 0)", {0: 0.0, 1: 1.0}),
        ("IF(m1 > 5 AND m1 < 7, m1)", None),
        ("IF(m1 > 5 || m1 == 4, m1, 0)", {0: 4.0, 1: 6.0}),
        ("SUM([m1, m2])", {0: 6.0, 1: 6.0}),
        ("MAX(METRICS())", {0: 4.0, 1: 6.0}),
        ("ABS(-m2)", {0: 2.0}),
        ("m1 - m1 * 2 + 1", {0: -3.0, 1: -5.0}),
        ("1 / (m2 - 2)", {}),
        ("DIFF(m1)", {0: -2.0}),
        ("RATE(m1)", {0: -2.0 / 60}),
        ("7", {0: 7.0, 1: 7.0, 2: 7.0}),
        ("m3 + 1", None),
        ("m1 +", None),
        ("__import__('os')", None),
        ("METRICS()", None),
    ],
)
def test_metric_math(expression: str, expected: dict[int, float] | None) -> None:
    series = {"m1": {0: 4.0, 1: 6.0}, "m2": {0: 2.0}}
    if expected is None:
        with pytest.raises(MetricMathError):
            evaluate_expression(expression, series, Windows(3, 60.0))
        return
    assert evaluate_expression(expression, series, Windows(3, 60.0)) == pytest.approx(expected)


# -- deployed alarms --------------------------------------------------------------------------


def put_alarm(host: PartsHost, name: str = "a", **more: Any) -> None:
    host.client("cloudwatch").put_metric_alarm(
        **{
            "AlarmName": name,
            "Namespace": "N",
            "MetricName": "M",
            "Dimensions": [{"Name": "D", "Value": "v"}],
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "EvaluationPeriods": 1,
            "Period": 60,
            "Statistic": "Maximum",
            "Threshold": 1.0,
            **more,
        }
    )


def test_moto_5_2_5_offers_the_seams() -> None:
    """Moto 5.2.5: alarms change by Alarm.update_state; log lines pass LogStream.put_log_events."""
    from moto.cloudwatch.models import Alarm, CloudWatchBackend
    from moto.logs.models import LogStream

    assert "update_state" in vars(Alarm)
    assert {"put_metric_data", "put_metric_alarm"} <= set(vars(CloudWatchBackend))
    assert "put_log_events" in vars(LogStream)


def test_a_new_alarm_lacks_data_and_an_update_keeps_the_state(host: PartsHost) -> None:
    put_alarm(host)
    assert host.metrics.alarm_state("a") == "INSUFFICIENT_DATA"
    host.metrics.put("N", "M", {"D": "v"}, 1.0)
    host.metrics.evaluate()
    assert host.metrics.alarm_state("a") == "ALARM"
    put_alarm(host, Threshold=2.0)
    assert host.metrics.alarm_state("a") == "ALARM"
    host.metrics.evaluate()
    assert host.metrics.alarm_state("a") == "OK"


def test_a_change_of_state_notifies_the_topic_and_emits_the_event(host: PartsHost) -> None:
    topic_queue, topic_arn_queue = host.queue("topic")
    topic = host.client("sns").create_topic(Name="t")["TopicArn"]
    host.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=topic_arn_queue)
    event_queue, event_arn = host.queue("events")
    host.rule("r", {"detail-type": ["CloudWatch Alarm State Change"]}, event_arn)
    put_alarm(host, AlarmActions=[topic], AlarmDescription="see the runbook")
    host.metrics.put("N", "M", {"D": "v"}, 3.0)
    host.clock.advance(60)
    (published,) = host.messages(topic_queue)
    assert published["Subject"] == f'ALARM: "a" in {REGION}'
    message = json.loads(published["Message"])
    assert (message["NewStateValue"], message["OldStateValue"]) == ("ALARM", "INSUFFICIENT_DATA")
    assert message["AlarmDescription"] == "see the runbook"
    assert message["Trigger"]["MetricName"] == "M"
    (event,) = host.messages(event_queue)
    detail = event["detail"]
    assert detail["alarmName"] == "a"
    assert detail["state"]["value"] == "ALARM"
    assert detail["previousState"]["value"] == "INSUFFICIENT_DATA"
    (metric,) = detail["configuration"]["metrics"]
    assert metric["metricStat"]["metric"]["dimensions"] == {"D": "v"}
    assert event["resources"] == [f"arn:aws:cloudwatch:{REGION}:123456789012:alarm:a"]
    assert json.loads(detail["state"]["reasonData"])["recentDatapoints"] == [3.0]
    reason = detail["state"]["reason"]
    assert reason.startswith("Threshold Crossed: 1 out of the last 1 datapoints [3.0 (")
    assert "was greater than or equal to the threshold (1.0)" in reason


def test_a_state_set_by_hand_acts_too_unless_actions_are_off(host: PartsHost) -> None:
    url, arn = host.queue("q")
    topic = host.client("sns").create_topic(Name="t")["TopicArn"]
    host.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    put_alarm(host, "on", AlarmActions=[topic])
    put_alarm(host, "off", AlarmActions=[topic], ActionsEnabled=False)
    for name in ("on", "off"):
        host.client("cloudwatch").set_alarm_state(
            AlarmName=name, StateValue="ALARM", StateReason="a drill"
        )
    assert host.clock.settle(10)
    (message,) = host.messages(url)
    assert json.loads(message["Message"])["AlarmName"] == "on"


def test_ignored_missing_data_keeps_an_alarm_until_a_zero_comes(host: PartsHost) -> None:
    """The drift alarms: one point a window, nothing in between."""
    put_alarm(host, TreatMissingData="ignore")
    host.metrics.put("N", "M", {"D": "v"}, 1.0)
    host.clock.advance(3600)
    assert host.metrics.alarm_state("a") == "ALARM"
    host.metrics.put("N", "M", {"D": "v"}, 0.0)
    host.clock.advance(300)
    assert host.metrics.alarm_state("a") == "OK"


def test_missing_data_can_breach(host: PartsHost) -> None:
    """The heartbeat alarm: nothing in two periods."""
    put_alarm(
        host,
        EvaluationPeriods=2,
        Period=3600,
        ComparisonOperator="LessThanThreshold",
        Statistic="Sum",
        TreatMissingData="breaching",
    )
    host.metrics.put("N", "M", {"D": "v"}, 1.0)
    host.clock.advance(60)
    assert host.metrics.alarm_state("a") == "OK"
    host.clock.advance(3600 * 5)
    assert host.metrics.alarm_state("a") == "ALARM"


def test_percentiles_of_few_samples_can_be_ignored(host: PartsHost) -> None:
    common = {"Statistic": "", "ExtendedStatistic": "p99", "Threshold": 50.0}
    common.pop("Statistic")
    for name, policy in (("eager", "evaluate"), ("wary", "ignore")):
        host.client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            Namespace="N",
            MetricName="M",
            ComparisonOperator="GreaterThanThreshold",
            EvaluationPeriods=1,
            Period=60,
            EvaluateLowSampleCountPercentile=policy,
            **common,
        )
    for value in (1.0, 2.0, 100.0):
        host.metrics.put("N", "M", {}, value)
    host.metrics.evaluate()
    assert host.metrics.alarm_state("eager") == "ALARM"
    assert host.metrics.alarm_state("wary") == "INSUFFICIENT_DATA"


def test_an_alarm_on_metric_math(host: PartsHost) -> None:
    def metric(name: str) -> dict[str, Any]:
        return {
            "Metric": {"Namespace": "N", "MetricName": name, "Dimensions": []},
            "Period": 60,
            "Stat": "Sum",
        }

    host.client("cloudwatch").put_metric_alarm(
        AlarmName="rate",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Threshold=5.0,
        Metrics=[
            {"Id": "percent", "Expression": "100 * share", "ReturnData": True},
            {"Id": "share", "Expression": "errors / calls", "ReturnData": False},
            {"Id": "errors", "MetricStat": metric("Errors"), "ReturnData": False},
            {"Id": "calls", "MetricStat": metric("Calls"), "ReturnData": False},
        ],
    )
    for _ in range(10):
        host.metrics.put("N", "Calls", {}, 1.0)
    host.metrics.put("N", "Errors", {}, 1.0)
    host.metrics.evaluate()
    assert host.metrics.alarm_state("rate") == "ALARM"


def test_composite_alarms_follow_the_alarms_they_name(host: PartsHost) -> None:
    put_alarm(host, "one")
    put_alarm(host, "two", MetricName="Other")
    host.client("cloudwatch").put_composite_alarm(
        AlarmName="both", AlarmRule='ALARM("one") AND NOT OK(two) AND TRUE'
    )
    host.client("cloudwatch").put_composite_alarm(
        AlarmName="above", AlarmRule="ALARM(both) OR FALSE"
    )
    host.metrics.evaluate()
    assert host.metrics.alarm_state("above") == "OK"
    host.metrics.put("N", "M", {"D": "v"}, 1.0)
    host.metrics.evaluate()
    assert host.metrics.alarm_state("above") == "ALARM"
    with pytest.raises(AlarmError, match="does not exist"):
        rule_holds('ALARM("nobody")', host.metrics._backend().alarms)


def test_metric_lines_in_logs_become_metrics_by_their_dimensions(host: PartsHost) -> None:
    logs = host.client("logs")
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    now = host.clock.now()
    line = {
        "_aws": {
            "Timestamp": int(now * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": "Driftless",
                    "Dimensions": [["Deployment"]],
                    "Metrics": [{"Name": "Rows", "Unit": "Count"}, {"Name": "Many"}],
                }
            ],
        },
        "Deployment": "d",
        "Rows": 7,
        "Many": [1, 2, 3],
    }
    messages = [json.dumps(line), "not json", '{"_aws": "nor this"}']
    logs.put_log_events(
        logGroupName="g",
        logStreamName="s",
        logEvents=[{"timestamp": int(now * 1000), "message": m} for m in messages],
    )
    for name, total in (("Rows", 7.0), ("Many", 6.0)):
        value = host.metrics.statistic(
            "Driftless", name, {"Deployment": "d"}, "Sum", now - 60, now + 60
        )
        assert value == total
    at = datetime.fromtimestamp(now, UTC)
    answer = host.client("cloudwatch").get_metric_statistics(
        Namespace="Driftless",
        MetricName="Rows",
        Dimensions=[{"Name": "Deployment", "Value": "d"}],
        StartTime=at - timedelta(minutes=5),
        EndTime=at + timedelta(minutes=5),
        Period=60,
        Statistics=["Sum"],
    )
    assert [point["Sum"] for point in answer["Datapoints"]] == [7.0]


def test_put_metric_data_counts_with_values_and_counts(host: PartsHost) -> None:
    host.client("cloudwatch").put_metric_data(
        Namespace="N",
        MetricData=[
            {"MetricName": "M", "Values": [1.0, 5.0], "Counts": [3, 1]},
            {"MetricName": "M", "Value": 2.0},
        ],
    )
    now = host.clock.now()
    assert host.metrics.statistic("N", "M", {}, "Sum", now - 60, now + 1) == 10.0
    assert host.metrics.statistic("N", "Absent", {}, "Sum", now - 60, now + 1) is None


def test_an_alarm_that_cannot_be_read_does_not_stop_the_others(
    host: PartsHost, caplog: pytest.LogCaptureFixture
) -> None:
    put_alarm(host, "odd", ComparisonOperator="LessThanLowerOrGreaterThanUpperThreshold")
    put_alarm(host, "plain")
    host.metrics.put("N", "M", {"D": "v"}, 1.0)
    host.metrics.evaluate()
    assert host.metrics.alarm_state("plain") == "ALARM"
    assert "not modelled here" in caplog.text
