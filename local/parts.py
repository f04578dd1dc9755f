"""The live parts of the local cloud, in the order in which they start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local.events import Events
from local.jobs import Jobs
from local.metrics import Metrics
from local.queues import Queues
from local.schedules import Schedules
from local.statemachines import StateMachines
from local.streams import Streams

PARTS: dict[str, Callable[..., Any]] = {
    "metrics": Metrics,
    "streams": Streams,
    "events": Events,
    "jobs": Jobs,
    "machines": StateMachines,
    "queues": Queues,
    "schedules": Schedules,
}
