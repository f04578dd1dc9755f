"""What calls to CodeDeploy need (see `local.rights`)."""

from __future__ import annotations

from moto.codedeploy.models import codedeploy_backends

from local.rights import ANY, Call, Judge, on


def _deployment_group(call: Call) -> str:
    made = codedeploy_backends[call.account][call.region].deployments.get(call.text("deploymentId"))
    if made is None:
        return ANY
    return call.arn(f"deploymentgroup:{made.application_name}/{made.deployment_group_name}")


NEEDS: dict[str, Judge] = {
    "codedeploy:GetDeployment": on(_deployment_group),
    "codedeploy:PutLifecycleEventHookExecutionStatus": on(_deployment_group),
}
