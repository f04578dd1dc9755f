"""Scheduled rules on the simulated clock: `rate(...)` and `cron(...)` as EventBridge reads them."""

from __future__ import annotations

import calendar
import logging
import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from moto.events.models import EventsBackend

from local.clock import Timer
from local.host import Host
from local.parts import Part
from local.services.events.bus import Events

logger = logging.getLogger(__name__)

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_LAST_YEAR = 2199


class ScheduleError(ValueError):
    """Say what in a schedule expression is not understood."""


class SchedulingHost(Host, Protocol):
    """A cloud whose bus sends to a rule's targets."""

    @property
    def events(self) -> Events:
        """The event bus, with the rules that it knows."""


class Schedules(Part):
    """Send scheduled events to the targets of deployed rules."""

    _cloud: SchedulingHost

    def __init__(self, cloud: SchedulingHost) -> None:
        super().__init__(cloud)
        self._lock = threading.RLock()
        self._timers: dict[str, tuple[str, Timer]] = {}

    def start(self) -> None:
        """Follow the rules as they are made, changed, disabled and deleted."""
        for name in ("put_rule", "enable_rule", "disable_rule", "delete_rule"):
            self._follow(name)
        self.refresh()

    def stop(self) -> None:
        """Cancel what is scheduled and put moto's parts back."""
        with self._lock:
            for _, timer in self._timers.values():
                timer.cancel()
            self._timers.clear()
        super().stop()

    def _follow(self, name: str) -> None:
        schedules = self
        original: Callable[..., Any] = getattr(EventsBackend, name)

        def changed(backend: Any, *args: Any, **kw: Any) -> Any:
            answer = original(backend, *args, **kw)
            schedules.refresh()
            return answer

        self._seams.replace(EventsBackend, name, changed)

    def refresh(self) -> None:
        """Schedule what is new or changed, and cancel what is gone."""
        with self._lock:
            wanted = {
                rule.name: rule
                for rule in self._cloud.events.rules()
                if rule.scheduled_expression and rule.state == "ENABLED"
            }
            for name, (expression, timer) in list(self._timers.items()):
                if name not in wanted or wanted[name].scheduled_expression != expression:
                    timer.cancel()
                    del self._timers[name]
            for name, rule in wanted.items():
                if name not in self._timers:
                    self._schedule(name, str(rule.scheduled_expression), self._cloud.clock.now())

    def _schedule(self, name: str, expression: str, after: float) -> None:
        try:
            due = next_time(expression, after)
        except ScheduleError:
            logger.exception("rule %s never runs", name)
            return
        if due is None:
            return
        timer = self._cloud.clock.call_at(due, lambda: self._fire(name, expression, due))
        self._timers[name] = (expression, timer)

    def _fire(self, name: str, expression: str, due: float) -> None:
        with self._lock:
            rule = next((r for r in self._cloud.events.rules() if r.name == name), None)
            if rule is None or rule.state != "ENABLED":
                return
            self._schedule(name, expression, due)
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": self._cloud.account,
            "time": datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._cloud.region,
            "resources": [rule.arn],
            "detail": {},
        }
        self._cloud.events.send(rule, event)


def next_time(expression: str, after: float) -> float | None:
    """Return when a schedule runs next after a time (epoch seconds, UTC), None if never again."""
    if found := re.fullmatch(r"rate\((\d+) (minute|hour|day)(s?)\)", expression):
        value, unit, plural = int(found[1]), found[2], bool(found[3])
        if value < 1 or plural != (value != 1):
            raise ScheduleError(
                f"{expression!r}: the unit must fit the number, which is at least 1"
            )
        return after + value * _UNITS[unit]
    if found := re.fullmatch(r"cron\(([^)]*)\)", expression):
        fields = found[1].split()
        if len(fields) != 6:
            raise ScheduleError(f"{expression!r} must have six fields, it has {len(fields)}")
        return _Cron.read(expression, fields).after(after)
    raise ScheduleError(
        f"cannot read the schedule {expression!r}; it is rate(5 minutes) or cron(0 6 * * ? *)"
    )


@dataclass(frozen=True)
class _Cron:
    """Hold the values that each field of a cron expression allows."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: str
    months: frozenset[int]
    weekdays: str
    years: frozenset[int]

    @classmethod
    def read(cls, expression: str, fields: list[str]) -> _Cron:
        minutes, hours, days, months, weekdays, years = (field.upper() for field in fields)
        if (days == "?") == (weekdays == "?"):
            raise ScheduleError(
                f"{expression!r}: exactly one of day-of-month and day-of-week must be ?"
            )
        cron = cls(
            minutes=_values(expression, minutes, 0, 59),
            hours=_values(expression, hours, 0, 23),
            days=days,
            months=_values(expression, months, 1, 12, _MONTHS),
            weekdays=weekdays,
            years=_values(expression, years, 1970, _LAST_YEAR),
        )
        cron._days_of(2024, 1, expression)  # Read both day fields now, so that mistakes show.
        return cron

    def after(self, time: float) -> float | None:
        """Return the first allowed minute after a time."""
        start = datetime.fromtimestamp(time, UTC).replace(second=0, microsecond=0)
        start += timedelta(minutes=1)
        for year in sorted(year for year in self.years if year >= start.year):
            for month in sorted(self.months):
                if (year, month) < (start.year, start.month):
                    continue
                for day in sorted(self._days_of(year, month, "")):
                    for hour in sorted(self.hours):
                        for minute in sorted(self.minutes):
                            moment = datetime(year, month, day, hour, minute, tzinfo=UTC)
                            if moment >= start:
                                return moment.timestamp()
        return None

    def _days_of(self, year: int, month: int, expression: str) -> set[int]:
        last = calendar.monthrange(year, month)[1]
        if self.days != "?":
            return {
                day
                for part in self.days.split(",")
                for day in _month_days(expression, part, year, month, last)
                if day <= last
            }
        return {
            day
            for part in self.weekdays.split(",")
            for day in _week_days(expression, part, year, month, last)
        }


def _month_days(expression: str, part: str, year: int, month: int, last: int) -> set[int]:
    if part == "L":
        return {last}
    if found := re.fullmatch(r"(\d+)W", part):
        # The weekday nearest to the day, within the month.
        day = min(int(found[1]), last)
        weekday = calendar.weekday(year, month, day)
        if weekday == 5:
            return {day - 1 if day > 1 else day + 2}
        if weekday == 6:
            return {day + 1 if day < last else day - 2}
        return {day}
    return set(_values(expression, part, 1, 31))


def _week_days(expression: str, part: str, year: int, month: int, last: int) -> set[int]:
    def on(weekday: int) -> list[int]:
        # EventBridge counts from Sunday = 1, Python from Monday = 0.
        return [
            d
            for d in range(1, last + 1)
            if (calendar.weekday(year, month, d) + 1) % 7 + 1 == weekday
        ]

    if found := re.fullmatch(r"([1-7]|[A-Z]{3})L", part):
        return {on(_number(expression, found[1], _WEEKDAYS))[-1]}
    if found := re.fullmatch(r"([1-7]|[A-Z]{3})#([1-5])", part):
        days = on(_number(expression, found[1], _WEEKDAYS))
        return set(days[int(found[2]) - 1 : int(found[2])])
    if part == "L":
        return set(on(7))
    return {day for weekday in _values(expression, part, 1, 7, _WEEKDAYS) for day in on(weekday)}


def _values(
    expression: str, field: str, low: int, high: int, names: dict[str, int] | None = None
) -> frozenset[int]:
    """Read a field of numbers: `*`, `a`, `a-b`, `a/step`, `a-b/step`, in lists."""
    values: set[int] = set()
    for part in field.split(","):
        body, _, step = part.partition("/")
        first, dash, second = body.partition("-")
        if body == "*":
            start, end = low, high
        else:
            start = _number(expression, first, names)
            end = _number(expression, second, names) if dash else (high if step else start)
        if step and not (step.isdigit() and int(step) > 0):
            raise ScheduleError(f"{expression!r}: {part!r} has no usable step")
        if not (low <= start <= high and low <= end <= high):
            raise ScheduleError(f"{expression!r}: {part!r} is not within {low}-{high}")
        if end < start:  # A range may wrap: FRI-MON.
            values |= {*range(start, high + 1), *range(low, end + 1)}
        else:
            values |= set(range(start, end + 1, int(step or 1)))
    return frozenset(values)


def _number(expression: str, text: str, names: dict[str, int] | None) -> int:
    if names and text in names:
        return names[text]
    if not text.isdigit():
        raise ScheduleError(f"{expression!r}: cannot read {text!r}")
    return int(text)
