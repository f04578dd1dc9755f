"""One training job: its record at moto, its request, its container, its process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local.services.sagemaker.containers import Container

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
# SageMaker waits 120 seconds between SIGTERM and SIGKILL; here the wait is shorter.
GRACE_SECONDS = 10.0


class JobError(RuntimeError):
    """Say why a job cannot run, in the words of its FailureReason."""


class Job:
    """One training job: its record at moto, its folder, its process."""

    def __init__(self, record: Any, request: Mapping[str, Any], container: Container) -> None:
        self.record = record
        self.request = request
        self.container = container
        self.name = str(record.training_job_name)
        self.ended = threading.Event()
        self.process: subprocess.Popen[str] | None = None
        self.stop_reason: str | None = None
        self.interrupted = False
        self.metrics: dict[str, tuple[float, datetime]] = {}

    def signal(self, number: signal.Signals) -> None:
        """Signal the script and what it has started, which share its process group."""
        process = self.process
        if process is None or process.poll() is not None:
            return
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return


def plain(value: Any) -> Any:
    """Return a detail as SageMaker's events write it: times as epoch milliseconds."""
    if isinstance(value, datetime):
        return int(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1000)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
