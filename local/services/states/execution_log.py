"""The log of an execution: its history, in the log group of its machine."""

from __future__ import annotations

import json
import logging
import types
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.api import LogLevel
from moto.stepfunctions.parser.asl.eval.event.logging import is_logging_enabled_for

from local.host import Host

logger = logging.getLogger(__name__)


class ExecutionLog:
    """Write an execution's history to the log group of its machine (Developer Guide, "Logging").

    It stands where moto 5.2.5 expects its own session, which cannot write.
    """

    def __init__(
        self, cloud: Host, configuration: Mapping[str, Any], group: str, stream: str, arn: str
    ) -> None:
        self.execution_arn = arn
        self.configuration = types.SimpleNamespace(
            include_execution_data=bool(configuration.get("includeExecutionData"))
        )
        self._cloud, self._group, self._stream = cloud, group, stream
        self._level = LogLevel(configuration["level"])
        self._made = False

    @classmethod
    def of(cls, cloud: Host, machine: Any, arn: str) -> ExecutionLog | None:
        """Return the log of an execution, None where its machine logs nothing."""
        configuration: Mapping[str, Any] = machine.loggingConfiguration or {}
        destinations = configuration.get("destinations") or ()
        if configuration.get("level", "OFF") == "OFF" or not destinations:
            return None
        group_arn = str(destinations[0]["cloudWatchLogsLogGroup"]["logGroupArn"])
        group = group_arn.split(":log-group:", 1)[1].split(":")[0]
        minute = cloud.clock.utc().strftime("%Y-%m-%d-%H-%M")
        stream = f"states/{machine.name}/{minute}/{arn.rsplit(':', 1)[-1][-8:]}"
        return cls(cloud, configuration, group, stream, arn)

    def log_level_filter(self, history_event_type: Any) -> bool:
        """Tell whether the machine's level records such an event."""
        return bool(is_logging_enabled_for(self._level, history_event_type))

    def publish_history_log(self, history_log: Mapping[str, Any]) -> None:
        """Write one event of the history."""
        logs = self._cloud.client("logs")
        at = int(self._cloud.clock.now() * 1000)
        message = json.dumps({**history_log, "event_timestamp": str(at)}, default=str)
        try:
            if not self._made:
                logs.create_log_stream(logGroupName=self._group, logStreamName=self._stream)
                self._made = True
            logs.put_log_events(
                logGroupName=self._group,
                logStreamName=self._stream,
                logEvents=[{"timestamp": at, "message": message}],
            )
        except ClientError:
            logger.exception("the history of %s cannot be logged", self.execution_arn)
