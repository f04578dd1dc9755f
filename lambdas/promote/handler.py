"""The promote function: a queue of approvals and stack outcomes, and a person's rollback."""

import functools
import json
from datetime import datetime
from typing import Any

from core.errors import DeliveryError, DriftlessError
from lambdas.promote.env import Environment
from lambdas.promote.ports import FunctionVersions, ModelRegistry, ServingStack
from lambdas.promote.service import (
    COMPLETE,
    StackBusyError,
    handle_message,
    prune,
    restore_shift,
    roll_back,
)


@functools.cache
def _environment() -> Environment:
    return Environment.read()


@functools.cache
def _ports() -> tuple[ModelRegistry, ServingStack]:
    environment = _environment()
    return ModelRegistry(environment.model_package_group), ServingStack(environment.serving_stack)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Work off a batch of SQS messages, or roll back when ``{"action": "rollback"}`` asks for it.

    A message that cannot be worked off yet is returned alone in ``batchItemFailures`` and comes
    back after the queue's visibility timeout (AWS: "Reporting batch item failures").
    """
    registry, serving = _ports()
    if event.get("action") == "rollback":
        return _roll_back(event, registry, serving)
    failures = []
    for record in event["Records"]:
        try:
            message = json.loads(record["body"])
            outcome = handle_message(message, registry, serving)
            _log("error" if outcome.failures else "info", outcome.message, record["messageId"])
            if outcome.failures:
                _count_failures(outcome.failures, message["time"])
            elif _is_completed_update(message):
                _prune(record["messageId"])
                if restore_shift(message["time"], serving):
                    _log("info", "the next release shifts gradually again", record["messageId"])
        except StackBusyError as error:
            _log("info", f"waiting: {error}", record["messageId"])
            failures.append({"itemIdentifier": record["messageId"]})
        except (DriftlessError, ValueError, KeyError, TypeError) as error:
            _log("error", f"{type(error).__name__}: {error}", record["messageId"])
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def _is_completed_update(message: dict[str, Any]) -> bool:
    details = (message.get("detail") or {}).get("status-details") or {}
    return details.get("status") in COMPLETE


def _prune(message_id: str) -> None:
    """Delete old versions once a release is through; a failure waits for the next one."""
    environment = _environment()
    try:
        deleted = prune(FunctionVersions(environment.predict_function), environment.keep_versions)
    except DeliveryError as error:
        _log("error", f"old function versions stay: {error}", message_id)
        return
    if deleted:
        _log("info", f"deleted function versions {', '.join(map(str, deleted))}", message_id)


def _roll_back(
    event: dict[str, Any], registry: ModelRegistry, serving: ServingStack
) -> dict[str, Any]:
    by = str(event.get("by") or "someone")
    to = event.get("to")
    try:
        outcome = roll_back(
            None if to is None else int(to), by, str(event.get("now", "")), registry, serving
        )
    except StackBusyError as error:
        outcome = {"status": "busy", "from": None, "to": to, "reason": str(error)}
    except DriftlessError as error:
        outcome = {"status": "refused", "from": None, "to": to, "reason": str(error)}
    _log("info", f"rollback: {outcome['status']}: {outcome['reason']}", "rollback")
    return outcome


def _count_failures(failures: int, time: str) -> None:
    """Write one line of CloudWatch's embedded metric format, at the event's time."""
    moment = datetime.fromisoformat(time)
    metric = {"Name": "PromotionFailures", "Unit": "Count"}
    directive = {"Namespace": "Driftless", "Dimensions": [["Deployment"]], "Metrics": [metric]}
    line = {
        "_aws": {
            "Timestamp": int(moment.timestamp() * 1000),
            "CloudWatchMetrics": [directive],
        },
        "Deployment": _environment().deployment,
        "PromotionFailures": failures,
    }
    print(json.dumps(line), flush=True)


def _log(level: str, message: str, message_id: str) -> None:
    print(json.dumps({"level": level, "message": message, "id": message_id}), flush=True)
