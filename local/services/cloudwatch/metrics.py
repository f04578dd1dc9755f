"""Metrics: what is put, what log lines carry, and the evaluation of alarms every minute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.logs.models import LogStream

from local.clock import Timer
from local.host import Host
from local.parts import Part
from local.services.cloudwatch.actions import AlarmActions
from local.services.cloudwatch.alarms import AlarmEvaluator
from local.services.cloudwatch.embedded import read_line
from local.services.cloudwatch.evaluation import compute_statistic
from local.services.cloudwatch.series import SeriesStore, name_series
from local.services.cloudwatch.wording import describe_state

EVALUATION_SECONDS = 60.0


class Metrics(Part):
    """Keep metric values by series and evaluate the deployed alarms on them."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self._store = SeriesStore()
        self._evaluator = AlarmEvaluator(cloud.clock, self._store)
        self._actions = AlarmActions(cloud)
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
                for measured in read_line(str(event["message"])):
                    metrics.put(*measured)
            return answer

        def put_metric_data_and_keep(
            backend: Any, namespace: str, metric_data: list[dict[str, Any]]
        ) -> None:
            timed = [
                datum if datum.get("Timestamp") else {**datum, "Timestamp": clock.naive_utc()}
                for datum in metric_data
            ]
            put_metric_data(backend, namespace, timed)
            metrics._store.keep(namespace, timed)

        def put_metric_alarm_in_its_state(backend: Any, name: str, *args: Any, **kw: Any) -> Any:
            before = backend.alarms.get(name)
            alarm = put_metric_alarm(backend, name, *args, **kw)
            if before is None:
                alarm.state_value = "INSUFFICIENT_DATA"
                alarm.state_updated_timestamp = clock.naive_utc()
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
            previous = describe_state(alarm)
            update_state(alarm, reason, reason_data or "{}", state_value)
            alarm.state_updated_timestamp = clock.naive_utc()
            if previous["value"] != state_value:
                metrics._actions.act(alarm, previous)

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
        super().stop()

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
        values = self._store.values(name_series(namespace, name, dimensions), start, end)
        return compute_statistic(values, statistic) if values else None

    def _backend(self) -> Any:
        return cloudwatch_backends[self._cloud.account][self._cloud.region]

    def alarm_state(self, name: str) -> str:
        """Return OK, ALARM or INSUFFICIENT_DATA."""
        return str(self._backend().alarms[name].state_value)

    def evaluate(self) -> None:
        """Evaluate every deployed alarm at the present simulated time."""
        self._evaluator.evaluate(self._backend().alarms)
