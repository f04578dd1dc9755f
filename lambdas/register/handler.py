"""The register function: the state machine's last state."""

import functools
import json
from typing import Any

from lambdas.register.env import Environment
from lambdas.register.ports import BundleStore, ModelRegistry
from lambdas.register.service import Policy, Request, Stage, register


@functools.cache
def _environment() -> Environment:
    return Environment.read()


@functools.cache
def _ports() -> tuple[BundleStore, ModelRegistry]:
    return BundleStore(), ModelRegistry(_environment().model_package_group)


def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Register ``{"run", "model_uri", "job_arn", "now"}``; errors fail the state."""
    environment = _environment()
    gates = environment.gates
    policy = Policy(gates.minimum, gates.maximum, environment.approval, gates.accepted)
    stage = Stage(environment.deployment, environment.stage, environment.inference_image)
    bundles, registry = _ports()
    request = Request.from_event(event)
    outcome = register(request, policy, stage, bundles, registry)
    print(
        json.dumps(
            {
                "level": "info",
                "message": f"{outcome['status']}: {outcome['reason']}",
                "run": request.run,
                "package": outcome["package_arn"],
            }
        ),
        flush=True,
    )
    return outcome
