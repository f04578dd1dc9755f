"""The monitor: runs on a schedule, judges the windows that are complete, counts batches."""

import functools
import json
from datetime import datetime
from typing import Any

from core.errors import DriftlessError
from lambdas.monitor.env import Environment
from lambdas.monitor.ports import Bucket, EventBus, Log, Stopwatch, Topic
from lambdas.monitor.service import Monitor, Ports
from lambdas.monitor.storage import Entry

RESERVE_SECONDS = 90.0
"""What a run keeps of its time for judging, reports and messages."""


@functools.cache
def _environment() -> Environment:
    return Environment.read()


@functools.cache
def _clients() -> tuple[Bucket, Topic, EventBus]:
    environment = _environment()
    return Bucket(environment.bucket), Topic(environment.topic_arn), EventBus()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run once for the scheduled event `{"time": "2026-01-31T12:00:00Z"}`.

    With `"counted": true` the objects that a run handed over have been counted; with `"batch":
    [[key, bytes, tag], ...]` this is one of the workers that count them (infra/counting.py).
    """
    environment = _environment()
    bucket, topic, bus = _clients()
    now = round(datetime.fromisoformat(event["time"]).timestamp() * 1000)
    remaining = getattr(context, "get_remaining_time_in_millis", lambda: 900_000)() / 1000.0
    watch = Stopwatch(max(remaining - RESERVE_SECONDS, remaining / 2))
    log = Log()
    monitor = Monitor(
        deployment=environment.deployment,
        stage=environment.stage,
        bucket_name=environment.bucket,
        runbook_url=environment.runbook_url,
        settings=environment.settings.model_dump(),
        ports=Ports(bucket, topic, bus, log, watch),
    )
    try:
        if "batch" in event:
            done = monitor.count((Entry(*given) for given in event["batch"]), now)
        else:
            done = monitor.run(now, after_count=event.get("counted", False))
    except DriftlessError as error:
        # The alarm on missing MonitorRuns follows from the failure; the log says why.
        print(json.dumps({"level": "error", "message": str(error)}), flush=True)
        raise
    log.write({"level": "info", **done})
    return done
