"""Metrics and alarms: embedded metric format, CloudWatch's evaluation rules, what alarms cause."""

from __future__ import annotations

import bisect
import json
import logging
import math
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.logs.models import LogStream

from local.clock import Timer
from local.host import Host
from local.metric_math import MetricMathError, Series, Windows, evaluate_expression
from local.seams import Seams

logger = logging.getLogger(__name__)

EVALUATION_SECONDS = 60.0
# CloudWatch looks at more periods than it evaluates; its own tables ("Configuring how CloudWatch
# alarms treat missing data") show two more.
EXTRA_PERIODS = 2
KEPT_VALUES = 100_000

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
_OF_STATE = re.compile(
    r"\b(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:\"([^\"]*)\"|'([^']*)'|([^()\"']*?))\s*\)"
)

SeriesKey = tuple[str, str, tuple[tuple[str, str], ...]]


class AlarmError(ValueError):
    """Say what in an alarm's definition is not understood."""


@dataclass(frozen=True)
class _Statistic:
    """One statistic of one metric over windows of a period."""

    key: SeriesKey
    statistic: str
    period_seconds: int


class Metrics:
    """Keep metric values by series and evaluate the deployed alarms on them."""

    def __init__(self, cloud: Host) -> None:
        self._cloud = cloud
        self._seams = Seams()
        self._lock = threading.RLock()
        self._series: dict[SeriesKey, tuple[list[float], list[float]]] = {}
        self._timer: Timer | None = None

    def start(self) -> None:
        """Read metric lines in logs, take PutMetricData, and evaluate alarms every minute."""
        metrics, clock = self, self._cloud.clock
        put_log_events: Callable[..., Any] = LogStream.put_log_events
        put_metric_data: Callable[..., Any] = CloudWatchBackend.put_metric_data
        put_metric_alarm: Callable[..., Any] = CloudWatchBackend.put_metric_alarm
        update_state: Callable[..., Any] = Alarm.update_state

        def put_log_events_and_metrics(stream: Any, log_events: list[dict[str, Any]]) -> Any:
            answer = put_log_events(stream, log_events)
            for event in log_events:
                metrics.read_line(str(event["message"]))
            return answer

        def put_metric_data_and_keep(
            backend: Any, namespace: str, metric_data: list[dict[str, Any]]
        ) -> None:
            timed = [
                datum
                if datum.get("Timestamp")
                else {**datum, "Timestamp": clock.utc().replace(tzinfo=None)}
                for datum in metric_data
            ]
            put_metric_data(backend, namespace, timed)
            metrics._keep(namespace, timed)

        def put_metric_alarm_in_its_state(backend: Any, name: str, *args: Any, **kw: Any) -> Any:
            before = backend.alarms.get(name)
            alarm = put_metric_alarm(backend, name, *args, **kw)
            if before is None:
                alarm.state_value = "INSUFFICIENT_DATA"
                alarm.state_updated_timestamp = clock.utc().replace(tzinfo=None)
            else:
                alarm.state_value = before.state_value
                alarm.state_reason = before.state_reason
                alarm.state_reason_data = before.state_reason_data
                alarm.state_updated_timestamp = before.state_updated_timestamp
                alarm.history = before.history
            return alarm

        def update_state_and_act(
            alarm: Any, reason: str, reason_data: str | None, state_value: str
        ) -> None:
            previous = metrics._describe_state(alarm)
            update_state(alarm, reason, reason_data or "{}", state_value)
            alarm.state_updated_timestamp = clock.utc().replace(tzinfo=None)
            if previous["value"] != state_value:
                metrics._act(alarm, previous)

        self._seams.replace(LogStream, "put_log_events", put_log_events_and_metrics)
        self._seams.replace(CloudWatchBackend, "put_metric_data", put_metric_data_and_keep)
        self._seams.replace(CloudWatchBackend, "put_metric_alarm", put_metric_alarm_in_its_state)
        self._seams.replace(Alarm, "update_state", update_state_and_act)
        self._seams.add(
            CloudWatchResponse, "put_composite_alarm", CloudWatchResponse.put_metric_alarm
        )
        next_minute = (clock.now() // EVALUATION_SECONDS + 1) * EVALUATION_SECONDS
        self._timer = clock.call_every(EVALUATION_SECONDS, self.evaluate, first=next_minute)

    def stop(self) -> None:
        """Stop evaluating and put moto's parts back."""
        if self._timer is not None:
            self._timer.cancel()
        self._seams.close()

    # -- values -------------------------------------------------------------------------------

    def put(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        value: float,
        time: float | None = None,
        unit: str = "None",
    ) -> None:
        """Record one value; `time` is in epoch seconds of the simulated clock."""
        at = self._cloud.clock.now() if time is None else time
        self._backend().put_metric_data(
            namespace,
            [
                {
                    "MetricName": name,
                    "Dimensions": [{"Name": n, "Value": v} for n, v in dimensions.items()],
                    "Timestamp": datetime.fromtimestamp(at, UTC).replace(tzinfo=None),
                    "Value": value,
                    "Unit": unit,
                }
            ],
        )

    def read_line(self, line: str) -> None:
        """Turn a log line in the embedded metric format into metric values."""
        if '"_aws"' not in line:
            return
        try:
            document = json.loads(line)
            directives = document["_aws"]["CloudWatchMetrics"]
            time = float(document["_aws"]["Timestamp"]) / 1000
        except (ValueError, KeyError, TypeError):
            return
        for directive in directives:
            for names in directive.get("Dimensions") or [[]]:
                if any(name not in document for name in names):
                    continue
                dimensions = {name: str(document[name]) for name in names}
                for metric in directive.get("Metrics", ()):
                    values = document.get(metric["Name"])
                    for value in values if isinstance(values, list) else [values]:
                        if isinstance(value, int | float):
                            self.put(
                                directive["Namespace"],
                                metric["Name"],
                                dimensions,
                                float(value),
                                time,
                                metric.get("Unit", "None"),
                            )

    def _keep(self, namespace: str, data: Iterable[Mapping[str, Any]]) -> None:
        for datum in data:
            dimensions = {d["Name"]: d["Value"] for d in datum.get("Dimensions") or ()}
            key = _key(namespace, datum["MetricName"], dimensions)
            stamp = datum["Timestamp"]
            if isinstance(stamp, str):
                stamp = datetime.fromisoformat(stamp)
            at = stamp.replace(tzinfo=stamp.tzinfo or UTC).timestamp()
            values = [float(v) for v in datum.get("Values") or [datum.get("Value") or 0.0]]
            counts = [int(float(c)) for c in datum.get("Counts") or [1] * len(values)]
            with self._lock:
                times, kept = self._series.setdefault(key, ([], []))
                for value, count in zip(values, counts, strict=False):
                    for _ in range(count):
                        place = bisect.bisect_right(times, at)
                        times.insert(place, at)
                        kept.insert(place, value)
                if len(times) > KEPT_VALUES:
                    del times[: KEPT_VALUES // 2], kept[: KEPT_VALUES // 2]

    def statistic(
        self,
        namespace: str,
        name: str,
        dimensions: Mapping[str, str],
        statistic: str,
        start: float,
        end: float,
    ) -> float | None:
        """Return a statistic over [start, end) in epoch seconds, None where there is no data."""
        values = self._values(_key(namespace, name, dimensions), start, end)
        return compute_statistic(values, statistic) if values else None

    def _values(self, key: SeriesKey, start: float, end: float) -> list[float]:
        with self._lock:
            times, values = self._series.get(key, ([], []))
            return values[bisect.bisect_left(times, start) : bisect.bisect_left(times, end)]

    # -- alarms -------------------------------------------------------------------------------

    def _backend(self) -> Any:
        return cloudwatch_backends[self._cloud.account][self._cloud.region]

    def alarm_state(self, name: str) -> str:
        """Return OK, ALARM or INSUFFICIENT_DATA."""
        return str(self._backend().alarms[name].state_value)

    def evaluate(self) -> None:
        """Evaluate every deployed alarm at the present simulated time."""
        end = self._cloud.clock.now() + 1e-3
        alarms = list(self._backend().alarms.values())
        for alarm in alarms:
            if alarm.rule is None:
                try:
                    self._evaluate_metric_alarm(alarm, end)
                except (AlarmError, MetricMathError):
                    logger.exception("alarm %s cannot be evaluated", alarm.name)
        composites = [alarm for alarm in alarms if alarm.rule is not None]
        for _ in composites:  # As often as composite alarms can stand on one another.
            changed = [self._evaluate_composite(alarm) for alarm in composites]
            if not any(changed):
                break

    def _evaluate_metric_alarm(self, alarm: Any, end: float) -> None:
        periods = int(alarm.evaluation_periods)
        needed = int(alarm.datapoints_to_alarm or periods)
        period, series, low = self._series_of(alarm, end, periods + EXTRA_PERIODS)
        if low and alarm.evaluate_low_sample_count_percentile == "ignore":
            return
        operator_name = str(alarm.comparison_operator)
        if operator_name not in _COMPARE:
            raise AlarmError(f"alarm {alarm.name}: {operator_name} is not modelled here")
        threshold = float(alarm.threshold)
        breaches = {age: _COMPARE[operator_name](value, threshold) for age, value in series.items()}
        state = judge_breaches(
            breaches, periods, needed, str(alarm.treat_missing_data or "missing")
        )
        if state is None or state == alarm.state_value:
            return
        used = sorted(series)[:periods]
        starts = [datetime.fromtimestamp(end - (age + 1) * period, UTC) for age in used]
        points = [(series[age], start) for age, start in zip(used, starts, strict=True)]
        reason = _reason(alarm, state, points, periods, needed)
        data = {
            "version": "1.0",
            "queryDate": _iso(self._cloud.clock.utc()),
            "startDate": _iso(datetime.fromtimestamp(end - periods * period, UTC)),
            "statistic": alarm.statistic or alarm.extended_statistic,
            "period": period,
            "recentDatapoints": [value for value, _ in reversed(points)],
            "threshold": threshold,
        }
        alarm.update_state(reason, json.dumps(data), state)

    def _series_of(self, alarm: Any, end: float, count: int) -> tuple[int, Series, bool]:
        """Return period, values by age of their window, and whether a percentile lacks samples."""
        if not alarm.metric_data_queries:
            dimensions = {d.name: d.value for d in alarm.dimensions}
            wanted = _Statistic(
                _key(alarm.namespace, alarm.metric_name, dimensions),
                str(alarm.statistic or alarm.extended_statistic),
                int(alarm.period),
            )
            series, low = self._windows_of(wanted, end, count)
            return wanted.period_seconds, series, low
        queries = list(alarm.metric_data_queries)
        periods = [int(q.metric_stat.period) for q in queries if q.metric_stat] + [
            int(q.period) for q in queries if q.period
        ]
        period = max(periods, default=60)
        named: dict[str, Series] = {}
        low = False
        for query in queries:
            if query.metric_stat:
                metric = query.metric_stat.metric
                wanted = _Statistic(
                    _key(
                        metric.namespace,
                        metric.metric_name,
                        {d.name: d.value for d in metric.dimensions},
                    ),
                    str(query.metric_stat.stat),
                    period,
                )
                named[query.id], few = self._windows_of(wanted, end, count)
                low = low or few
        pending = [query for query in queries if query.expression]
        while pending:
            # An expression may name others: take each as soon as what it names is there.
            names = {query.id for query in pending}
            ready = [
                q for q in pending if not names & set(re.findall(r"\b[a-z]\w*\b", q.expression))
            ]
            if not ready:
                raise AlarmError(f"alarm {alarm.name}: its expressions refer to each other")
            for query in ready:
                named[query.id] = evaluate_expression(
                    query.expression, named, Windows(count, float(period))
                )
            pending = [query for query in pending if query not in ready]
        shown = [q for q in queries if _is_true(q.return_data)]
        if len(shown) != 1:
            raise AlarmError(f"alarm {alarm.name}: exactly one of its metrics must return data")
        return period, named[shown[0].id], low

    def _windows_of(self, wanted: _Statistic, end: float, count: int) -> tuple[Series, bool]:
        series: Series = {}
        low = False
        for age in range(count):
            close = end - age * wanted.period_seconds
            values = self._values(wanted.key, close - wanted.period_seconds, close)
            if values:
                series[age] = compute_statistic(values, wanted.statistic)
                low = low or (age == 0 and _has_few_samples(values, wanted.statistic))
        return series, low

    def _evaluate_composite(self, alarm: Any) -> bool:
        holds = self._holds(str(alarm.rule))
        state = "ALARM" if holds else "OK"
        if state == alarm.state_value:
            return False
        data = {"triggeringAlarms": self._triggers(str(alarm.rule))}
        alarm.update_state(
            f"the alarm rule is {'true' if holds else 'false'}: {alarm.rule}",
            json.dumps(data),
            state,
        )
        return True

    def _holds(self, rule: str) -> bool:
        """Evaluate a composite alarm's rule (CloudWatch API Reference, PutCompositeAlarm)."""
        alarms = self._backend().alarms

        def replace(match: re.Match[str]) -> str:
            name = _alarm_name(match[2] or match[3] or match[4])
            if name not in alarms:
                raise AlarmError(f"the alarm rule {rule!r} names {name!r}, which does not exist")
            return str(alarms[name].state_value == match[1])

        text = _OF_STATE.sub(replace, rule)
        words = re.findall(r"\w+|[()]|\S", text)
        allowed = {
            "True": "True",
            "False": "False",
            "TRUE": "True",
            "FALSE": "False",
            "AND": "and",
            "OR": "or",
            "NOT": "not",
            "(": "(",
            ")": ")",
        }
        if unknown := [word for word in words if word not in allowed]:
            raise AlarmError(f"the alarm rule {rule!r} has {unknown[0]!r}, which is not understood")
        return bool(eval(" ".join(allowed[word] for word in words), {"__builtins__": {}}))  # noqa: S307

    def _triggers(self, rule: str) -> list[dict[str, Any]]:
        alarms = self._backend().alarms
        found = []
        for match in _OF_STATE.finditer(rule):
            alarm = alarms[_alarm_name(match[2] or match[3] or match[4])]
            state = self._describe_state(alarm)
            found.append(
                {
                    "arn": alarm.alarm_arn,
                    "state": {"value": state["value"], "timestamp": state["timestamp"]},
                }
            )
        return found

    # -- what a change of state causes --------------------------------------------------------

    def _describe_state(self, alarm: Any) -> dict[str, Any]:
        return {
            "value": alarm.state_value,
            "reason": alarm.state_reason,
            "reasonData": alarm.state_reason_data,
            "timestamp": _iso(alarm.state_updated_timestamp.replace(tzinfo=UTC)),
        }

    def _act(self, alarm: Any, previous: Mapping[str, Any]) -> None:
        """Emit the event and run the actions of the state that the alarm is now in."""
        state = self._describe_state(alarm)
        detail = {
            "alarmName": alarm.name,
            "state": state,
            "previousState": previous,
            "configuration": _configuration(alarm),
        }
        self._cloud.events.emit(
            "aws.cloudwatch", "CloudWatch Alarm State Change", detail, [alarm.alarm_arn]
        )
        actions: Sequence[str] = {
            "ALARM": alarm.alarm_actions,
            "OK": alarm.ok_actions,
            "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
        }[alarm.state_value]
        if not alarm.actions_enabled:
            return
        message = _message(alarm, state, previous, self._cloud.account, self._cloud.region)
        for action in actions or ():
            self._cloud.clock.spawn(
                lambda action=action: self._run_action(alarm, action, message, detail),  # type: ignore[misc]
                f"alarm {alarm.name}",
            )

    def _run_action(
        self, alarm: Any, action: str, message: Mapping[str, Any], detail: Mapping[str, Any]
    ) -> None:
        service = action.split(":")[2]
        if service == "sns":
            self._cloud.client("sns").publish(
                TopicArn=action,
                Subject=f'{alarm.state_value}: "{alarm.name}" in {self._cloud.region}'[:100],
                Message=json.dumps(message),
            )
        elif service == "lambda":
            event = {
                "source": "aws.cloudwatch",
                "alarmArn": alarm.alarm_arn,
                "accountId": self._cloud.account,
                "time": detail["state"]["timestamp"],
                "region": self._cloud.region,
                "alarmData": detail,
            }
            self._cloud.functions.invoke(action, json.dumps(event).encode(), asynchronous=True)
        else:
            logger.error("alarm %s: its action %s is not modelled here", alarm.name, action)


# -- rules of evaluation ----------------------------------------------------------------------


def judge_breaches(
    breaches: Mapping[int, bool], periods: int, needed: int, missing: str
) -> str | None:
    """Return the state that M-of-N with missing data gives, None to keep the present one.

    `breaches` says of each window with data, by age, whether it breaches; windows beyond `periods`
    serve only where newer ones are missing (CloudWatch User Guide, "Configuring how CloudWatch
    alarms treat missing data").
    """
    if not breaches:
        return {
            "missing": "INSUFFICIENT_DATA",
            "ignore": None,
            "breaching": "ALARM",
            "notBreaching": "OK",
        }[missing]
    real = sorted(breaches)[:periods]
    breaching = sum(breaches[age] for age in real)
    filled = periods - len(real) if missing == "breaching" else 0
    if breaching + filled >= needed:
        return "ALARM"
    if missing in ("breaching", "notBreaching") or len(real) == periods or breaching < len(real):
        return "OK"
    if missing == "ignore":
        return None
    # All that is there breaches, but it is less than needed: alarm only if the oldest of it is as
    # old as the points that are needed, so that an alarm does not start too early.
    return "ALARM" if max(real) + 1 >= needed else None


def compute_statistic(values: Sequence[float], statistic: str) -> float:
    """Return a CloudWatch statistic of at least one value; percentiles interpolate."""
    if statistic == "Sum":
        return math.fsum(values)
    if statistic == "Average":
        return math.fsum(values) / len(values)
    if statistic == "Minimum":
        return min(values)
    if statistic == "Maximum":
        return max(values)
    if statistic == "SampleCount":
        return float(len(values))
    if (percent := _percent(statistic)) is not None:
        ordered = sorted(values)
        place = percent / 100 * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
    raise AlarmError(f"the statistic {statistic!r} is not modelled here")


def _percent(statistic: str) -> float | None:
    found = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?|100)", statistic)
    return float(found[1]) if found else None


def _has_few_samples(values: Sequence[float], statistic: str) -> bool:
    percent = _percent(statistic)
    if percent is None:
        return False
    tail = min(percent, 100 - percent) / 100
    return tail > 0 and len(values) < 10 / tail


# -- shapes -----------------------------------------------------------------------------------


def _key(namespace: str, name: str, dimensions: Mapping[str, str]) -> SeriesKey:
    return namespace, name, tuple(sorted(dimensions.items()))


def _is_true(value: Any) -> bool:
    return value is None or str(value).lower() == "true"


def _alarm_name(text: str) -> str:
    return text.split(":alarm:", 1)[-1].strip()


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}+0000"


def _reason(
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
    breaches = _COMPARE[alarm.comparison_operator]
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


def _configuration(alarm: Any) -> dict[str, Any]:
    if alarm.rule is not None:
        return {"description": alarm.description or "", "alarmRule": alarm.rule}
    if alarm.metric_data_queries:
        metrics = []
        for query in alarm.metric_data_queries:
            entry: dict[str, Any] = {"id": query.id, "returnData": _is_true(query.return_data)}
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


def _message(
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
        trigger["Metrics"] = _configuration(alarm)["metrics"]
    else:
        trigger |= {
            "MetricName": alarm.metric_name,
            "Namespace": alarm.namespace,
            "Statistic": alarm.statistic or alarm.extended_statistic,
            "Period": alarm.period,
            "Dimensions": [{"name": d.name, "value": d.value} for d in alarm.dimensions],
        }
    return {**message, "Trigger": trigger}
