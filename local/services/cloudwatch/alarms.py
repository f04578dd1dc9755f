"""Evaluate alarms: each over its own windows, composite ones over the states of others."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.clock import Clock
from local.services.cloudwatch.composites import named_alarms, rule_holds
from local.services.cloudwatch.evaluation import (
    COMPARISONS,
    AlarmError,
    compute_statistic,
    has_few_samples,
    judge_breaches,
)
from local.services.cloudwatch.expressions import (
    MetricMathError,
    Series,
    Windows,
    evaluate_expression,
)
from local.services.cloudwatch.series import SeriesKey, SeriesStore, name_series
from local.services.cloudwatch.wording import (
    describe_state,
    explain_state,
    returns_data,
    write_time,
)

logger = logging.getLogger(__name__)

# CloudWatch looks at more periods than it evaluates; its own tables ("Configuring how CloudWatch
# alarms treat missing data") show two more.
EXTRA_PERIODS = 2


@dataclass(frozen=True)
class _Statistic:
    """One statistic of one metric over windows of a period."""

    key: SeriesKey
    statistic: str
    period_seconds: int


class AlarmEvaluator:
    """Evaluate alarms on the values of a store."""

    def __init__(self, clock: Clock, store: SeriesStore) -> None:
        self._clock = clock
        self._store = store

    def evaluate(self, alarms: Mapping[str, Any]) -> None:
        """Evaluate alarms at the present simulated time; their states change."""
        end = self._clock.now() + 1e-3
        every = list(alarms.values())
        for alarm in every:
            if alarm.rule is None:
                try:
                    self._evaluate_metric_alarm(alarm, end)
                except (AlarmError, MetricMathError):
                    logger.exception("alarm %s cannot be evaluated", alarm.name)
        composites = [alarm for alarm in every if alarm.rule is not None]
        for _ in composites:  # As often as composite alarms can stand on one another.
            changed = [self._evaluate_composite(alarm, alarms) for alarm in composites]
            if not any(changed):
                break

    def _evaluate_metric_alarm(self, alarm: Any, end: float) -> None:
        periods = int(alarm.evaluation_periods)
        needed = int(alarm.datapoints_to_alarm or periods)
        period, series, low = self._series_of(alarm, end, periods + EXTRA_PERIODS)
        if low and alarm.evaluate_low_sample_count_percentile == "ignore":
            return
        operator_name = str(alarm.comparison_operator)
        if operator_name not in COMPARISONS:
            raise AlarmError(f"alarm {alarm.name}: {operator_name} is not modelled here")
        threshold = float(alarm.threshold)
        breaches = {
            age: COMPARISONS[operator_name](value, threshold) for age, value in series.items()
        }
        state = judge_breaches(
            breaches, periods, needed, str(alarm.treat_missing_data or "missing")
        )
        if state is None or state == alarm.state_value:
            return
        used = sorted(series)[:periods]
        starts = [datetime.fromtimestamp(end - (age + 1) * period, UTC) for age in used]
        points = [(series[age], start) for age, start in zip(used, starts, strict=True)]
        reason = explain_state(alarm, state, points, periods, needed)
        data = {
            "version": "1.0",
            "queryDate": write_time(self._clock.utc()),
            "startDate": write_time(datetime.fromtimestamp(end - periods * period, UTC)),
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
                name_series(alarm.namespace, alarm.metric_name, dimensions),
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
                    name_series(
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
            # An expression may refer to others: evaluate each once those are known.
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
        shown = [q for q in queries if returns_data(q.return_data)]
        if len(shown) != 1:
            raise AlarmError(f"alarm {alarm.name}: exactly one of its metrics must return data")
        return period, named[shown[0].id], low

    def _windows_of(self, wanted: _Statistic, end: float, count: int) -> tuple[Series, bool]:
        series: Series = {}
        low = False
        for age in range(count):
            close = end - age * wanted.period_seconds
            values = self._store.values(wanted.key, close - wanted.period_seconds, close)
            if values:
                series[age] = compute_statistic(values, wanted.statistic)
                low = low or (age == 0 and has_few_samples(values, wanted.statistic))
        return series, low

    def _evaluate_composite(self, alarm: Any, alarms: Mapping[str, Any]) -> bool:
        holds = rule_holds(str(alarm.rule), alarms)
        state = "ALARM" if holds else "OK"
        if state == alarm.state_value:
            return False
        triggers = [_trigger(alarms[name]) for name in named_alarms(str(alarm.rule))]
        data = {"triggeringAlarms": triggers}
        alarm.update_state(
            f"the alarm rule is {'true' if holds else 'false'}: {alarm.rule}",
            json.dumps(data),
            state,
        )
        return True


def _trigger(alarm: Any) -> dict[str, Any]:
    state = describe_state(alarm)
    return {
        "arn": alarm.alarm_arn,
        "state": {"value": state["value"], "timestamp": state["timestamp"]},
    }
