"""Metric values, kept by series in the order of their times."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

KEPT_VALUES = 100_000

SeriesKey = tuple[str, str, tuple[tuple[str, str], ...]]


def name_series(namespace: str, name: str, dimensions: Mapping[str, str]) -> SeriesKey:
    """Return the key of a metric's series: its dimensions in any order mean the same."""
    return namespace, name, tuple(sorted(dimensions.items()))


class SeriesStore:
    """Keep metric values by series; drop the older half of a series that grows too long."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._series: dict[SeriesKey, tuple[list[float], list[float]]] = {}

    def keep(self, namespace: str, data: Iterable[Mapping[str, Any]]) -> None:
        """Keep what PutMetricData was given."""
        for datum in data:
            dimensions = {d["Name"]: d["Value"] for d in datum.get("Dimensions") or ()}
            key = name_series(namespace, datum["MetricName"], dimensions)
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

    def values(self, key: SeriesKey, start: float, end: float) -> list[float]:
        """Return the values of [start, end) in epoch seconds, in the order of their times."""
        with self._lock:
            times, values = self._series.get(key, ([], []))
            return values[bisect.bisect_left(times, start) : bisect.bisect_left(times, end)]
