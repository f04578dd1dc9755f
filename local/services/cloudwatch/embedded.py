"""The embedded metric format: metric values that are written as log lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple


class Measured(NamedTuple):
    """One value of one metric, as a log line gives it."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    value: float
    time: float
    unit: str


def read_line(line: str) -> Iterator[Measured]:
    """Yield the metric values of a log line; a line in another format has none."""
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
                        yield Measured(
                            directive["Namespace"],
                            metric["Name"],
                            dimensions,
                            float(value),
                            time,
                            metric.get("Unit", "None"),
                        )
