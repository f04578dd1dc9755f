"""Schedules run on the clock, as EventBridge reads their expressions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.services.events.schedules import ScheduleError, Schedules, next_time
from tests.local.parts import PartsHost

START = datetime(2026, 1, 1, 0, 0, tzinfo=UTC).timestamp()  # A Thursday.


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(1 minute)", "2026-01-01 00:01"),
        ("rate(5 minutes)", "2026-01-01 00:05"),
        ("rate(1 hour)", "2026-01-01 01:00"),
        ("rate(7 days)", "2026-01-08 00:00"),
        ("cron(0 6 * * ? *)", "2026-01-01 06:00"),
        ("cron(0/15 * * * ? *)", "2026-01-01 00:15"),
        ("cron(0 18 ? * MON-FRI *)", "2026-01-01 18:00"),
        ("cron(0 0 ? * FRI-MON *)", "2026-01-02 00:00"),
        ("cron(0 10 ? * 2 *)", "2026-01-05 10:00"),
        ("cron(0 8 1 * ? *)", "2026-01-01 08:00"),
        ("cron(0 0 L * ? *)", "2026-01-31 00:00"),
        ("cron(0 0 3W * ? *)", "2026-01-02 00:00"),
        ("cron(0 0 ? * 6L *)", "2026-01-30 00:00"),
        ("cron(0 0 ? * TUE#3 *)", "2026-01-20 00:00"),
        ("cron(0 0 ? * L *)", "2026-01-03 00:00"),
        ("cron(30 4 31 JAN,MAR ? *)", "2026-01-31 04:30"),
        ("cron(0 0 29 2 ? *)", "2028-02-29 00:00"),
        ("cron(0 0 1 1 ? 2030)", "2030-01-01 00:00"),
        ("cron(0 0 1 1 ? 2020)", None),
    ],
)
def test_expressions(expression: str, expected: str | None) -> None:
    due = next_time(expression, START)
    shown = None if due is None else datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%d %H:%M")
    assert shown == expected


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minutes)",
        "rate(5 minute)",
        "rate(0 minutes)",
        "every day",
        "cron(0 6 * * ?)",
        "cron(0 6 * * * *)",
        "cron(0 6 ? * ? *)",
        "cron(60 6 * * ? *)",
        "cron(x 6 * * ? *)",
        "cron(0/0 6 * * ? *)",
        "cron(0 6 ? * XYZ *)",
    ],
)
def test_mistakes_are_named(expression: str) -> None:
    with pytest.raises(ScheduleError, match="'"):
        next_time(expression, START)


@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.floats(min_value=0, max_value=4e9, allow_nan=False),
)
@settings(max_examples=50, deadline=None)
def test_a_daily_schedule_runs_within_a_day_at_its_minute(
    minute: int, hour: int, after: float
) -> None:
    due = next_time(f"cron({minute} {hour} * * ? *)", after)
    assert due is not None
    assert 0 < due - after <= 86400
    moment = datetime.fromtimestamp(due, UTC)
    assert (moment.hour, moment.minute, moment.second) == (hour, minute, 0)


@pytest.fixture
def schedules(host: PartsHost) -> Iterator[Schedules]:
    schedules = Schedules(host)
    host.start(schedules)
    return schedules


def test_moto_5_2_5_offers_the_seams() -> None:
    """Moto 5.2.5: rules change through these methods of the backend."""
    from moto.events.models import EventsBackend, Rule

    assert {"put_rule", "enable_rule", "disable_rule", "delete_rule"} <= set(vars(EventsBackend))
    assert "scheduled_expression" in Rule.__init__.__code__.co_names


def test_a_rule_sends_the_scheduled_event_each_time(host: PartsHost, schedules: Schedules) -> None:
    url, arn = host.queue("q")
    events = host.client("events")
    rule = events.put_rule(Name="r", ScheduleExpression="rate(1 hour)")["RuleArn"]
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn}])
    start = host.clock.now()
    host.clock.advance(3 * 3600 + 5)
    got = host.messages(url)
    assert [event["detail-type"] for event in got] == ["Scheduled Event"] * 3
    assert got[0]["source"] == "aws.events"
    assert got[0]["resources"] == [rule]
    assert got[0]["detail"] == {}
    times = sorted(
        datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%S%z").timestamp() for event in got
    )
    assert [round(time - start, -1) for time in times] == [3600, 7200, 10800]


def test_rules_are_followed_as_they_change(host: PartsHost, schedules: Schedules) -> None:
    url, arn = host.queue("q")
    events = host.client("events")
    events.put_rule(Name="r", ScheduleExpression="rate(1 hour)")
    events.put_targets(Rule="r", Targets=[{"Id": "1", "Arn": arn}])
    events.disable_rule(Name="r")
    host.clock.advance(3700)
    assert host.messages(url) == []
    events.enable_rule(Name="r")
    events.put_rule(Name="r", ScheduleExpression="rate(10 minutes)")
    host.clock.advance(1250)
    assert len(host.messages(url)) == 2
    events.remove_targets(Rule="r", Ids=["1"])
    events.delete_rule(Name="r")
    host.clock.advance(7200)
    assert host.messages(url) == []


def test_a_rule_that_cannot_be_read_is_reported(
    host: PartsHost, schedules: Schedules, caplog: pytest.LogCaptureFixture
) -> None:
    host.client("events").put_rule(Name="r", ScheduleExpression="cron(0 6 * * * *)")
    assert "exactly one of day-of-month" in caplog.text
