"""The plan function: the state machine's first state."""

import functools
import json
import os
from datetime import timedelta
from typing import Any

from lambdas.plan.env import Environment
from lambdas.plan.ports import Bucket, ModelRegistry, ServingStack, StateMachine
from lambdas.plan.service import Request, Settings, plan


@functools.cache
def _environment() -> Environment:
    return Environment.read()


@functools.cache
def _ports() -> tuple[StateMachine, Bucket, ModelRegistry, ServingStack]:
    environment = _environment()
    return (
        StateMachine(),
        Bucket(environment.bucket),
        ModelRegistry(environment.model_package_group),
        ServingStack(environment.serving_stack),
    )


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Decide on ``{"execution", "started", "now", "input"}``; errors fail the state."""
    environment = _environment()
    settings = Settings(
        deployment=environment.deployment,
        bucket=environment.bucket,
        source_uri=environment.source_uri,
        settings_digest=environment.settings_digest,
        commit=environment.commit,
        region=os.environ.get("AWS_REGION", ""),
        min_new_labels=environment.min_new_labels,
        cool_down=timedelta(hours=environment.cool_down_hours),
        arrival=environment.data.arrival,
        table=environment.data,
    )
    decision = plan(Request.from_event(event), settings, *_ports())
    print(
        json.dumps(
            {
                "level": "info",
                "message": f"{decision.action}: {decision.reason}",
                "run": decision.run,
                "execution": event["execution"],
            }
        ),
        flush=True,
    )
    return decision.to_dict()
