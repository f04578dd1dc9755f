"""The canary function: CodeDeploy's hook before traffic moves to a new version."""

import functools
import json
from typing import Any

from core.errors import DeliveryError
from lambdas.canary.env import Environment
from lambdas.canary.ports import BundleStore, Deployment, PredictFunction
from lambdas.canary.service import check


@functools.cache
def _ports() -> tuple[PredictFunction, BundleStore, Deployment]:
    return PredictFunction(Environment.read().predict_function), BundleStore(), Deployment()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Check the newest version and report the verdict to CodeDeploy.

    A verdict that cannot be reported raises: CodeDeploy then waits for its own timeout and rolls
    back. An error in the check itself is reported as a failure first, so that nobody waits for it.
    """
    functions, bundles, deployment = _ports()
    ids = (event["DeploymentId"], event["LifecycleEventHookExecutionId"])
    try:
        verdict = check(functions, bundles, _target(deployment, ids[0]))
    except Exception:
        deployment.report(*ids, "Failed")
        raise
    print(
        json.dumps(
            {
                "level": "info" if verdict.passed else "error",
                "message": verdict.reason,
                "rows": verdict.rows,
                "largest_difference": verdict.largest_difference,
                "deployment": ids[0],
            }
        ),
        flush=True,
    )
    deployment.report(*ids, "Succeeded" if verdict.passed else "Failed")
    return {"passed": verdict.passed, "reason": verdict.reason}


def _target(deployment: Deployment, deployment_id: str) -> str | None:
    """Return the version that traffic moves to, or nothing: then the newest is meant."""
    try:
        return deployment.target(deployment_id)
    except DeliveryError as error:
        print(json.dumps({"level": "warning", "message": str(error)}), flush=True)
        return None
