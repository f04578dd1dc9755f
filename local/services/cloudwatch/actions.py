"""What an alarm's change of state causes: its event, and the actions of its new state."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from local.host import Host
from local.services.cloudwatch.wording import (
    describe_configuration,
    describe_state,
    write_message,
)

logger = logging.getLogger(__name__)


class AlarmActions:
    """Emit the events of alarms and run their actions."""

    def __init__(self, cloud: Host) -> None:
        self._cloud = cloud

    def act(self, alarm: Any, previous: Mapping[str, Any]) -> None:
        """Emit the event and run the actions of the state that the alarm is now in."""
        state = describe_state(alarm)
        detail = {
            "alarmName": alarm.name,
            "state": state,
            "previousState": previous,
            "configuration": describe_configuration(alarm),
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
        message = write_message(alarm, state, previous, self._cloud.account, self._cloud.region)
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
