"""CodeDeploy for Lambda: hooks, traffic weights over time, alarms, rollback.

moto keeps applications, groups and deployments as records; what makes a deployment move is here.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import moto.codedeploy.urls
from moto.codedeploy.exceptions import CodeDeployException
from moto.codedeploy.models import codedeploy_backends
from moto.codedeploy.responses import CodeDeployResponse
from moto.core.responses import ActionResult, EmptyResult

from local.host import Host
from local.parts import Part
from local.resources import ResourceError

logger = logging.getLogger(__name__)
PATH = "{0}/$"
SHIFT = re.compile(r"Lambda(Canary|Linear)(\d+)Percent(?:Every)?(\d+)Minutes?$")
HOOK_SECONDS = 3600.0  # CodeDeploy waits an hour for a hook's verdict
WATCH_SECONDS = 10.0  # how often alarms are looked at while traffic shifts


@dataclass
class Hook:
    """One run of a hook function, and the verdict that it is to give."""

    deployment_id: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: str = ""
    told: threading.Event = field(default_factory=threading.Event)


class DeploymentFailed(Exception):
    """A deployment did not get through; the message says at which step and why."""


class CodeDeployApi(CodeDeployResponse):
    """moto's CodeDeploy API and the operations that deployments of functions need."""

    codedeploy: CodeDeploy

    def put_lifecycle_event_hook_execution_status(self) -> ActionResult:
        """PutLifecycleEventHookExecutionStatus."""
        hook_id = self._get_param("lifecycleEventHookExecutionId")
        status = self._get_param("status")
        hook = self.codedeploy.hooks.get(hook_id)
        if hook is None or hook.deployment_id != self._get_param("deploymentId"):
            raise CodeDeployException(
                "InvalidLifecycleEventHookExecutionIdException",
                f"The lifecycle event hook execution {hook_id} does not exist.",
            )
        if status not in {"Succeeded", "Failed"}:
            raise CodeDeployException(
                "InvalidLifecycleEventHookExecutionStatusException",
                f"{status!r} is no verdict: Succeeded or Failed.",
            )
        if not hook.told.is_set():
            hook.status = status
            hook.told.set()
        return ActionResult({"lifecycleEventHookExecutionId": hook_id})

    def delete_application(self) -> EmptyResult:
        """DeleteApplication, with its groups."""
        name = self._get_param("applicationName")
        backend = self.codedeploy_backend
        backend.applications.pop(name, None)
        backend.deployment_groups.pop(name, None)
        return EmptyResult()

    def delete_deployment_group(self) -> ActionResult:
        """DeleteDeploymentGroup."""
        groups = self.codedeploy_backend.deployment_groups
        groups.get(self._get_param("applicationName"), {}).pop(
            self._get_param("deploymentGroupName"), None
        )
        return ActionResult({"hooksNotCleanedUp": []})


class CodeDeploy(Part):
    """Carry out deployments of function versions."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self.hooks: dict[str, Hook] = {}

    def start(self) -> None:
        """Add what moto's CodeDeploy API lacks."""
        api: Any = type("CodeDeployApi", (CodeDeployApi,), {"codedeploy": self})
        paths = dict(moto.codedeploy.urls.url_paths)
        paths[PATH] = api.dispatch
        self._seams.replace(moto.codedeploy.urls, "url_paths", paths)

    def _backend(self) -> Any:
        return codedeploy_backends[self._cloud.account][self._cloud.region]

    def shift(
        self,
        *,
        application: str,
        group: str,
        before_hook: str,
        after_hook: str,
        function: str,
        alias: str,
        version: str,
    ) -> None:
        """Move an alias to a version; on failure put it back and raise ResourceError."""
        lambdas = self._cloud.client("lambda")
        current = lambdas.get_alias(FunctionName=function, Name=alias)["FunctionVersion"]
        record = self._record(application, group, function, alias, current, version)
        settings = record.deployment_group
        try:
            self._refuse_alarms(settings)
            self._run_hook(record, before_hook, "BeforeAllowTraffic")
            for weight, seconds in _steps(str(record.deployment_config_name)):
                lambdas.update_alias(
                    FunctionName=function,
                    Name=alias,
                    FunctionVersion=current,
                    RoutingConfig={"AdditionalVersionWeights": {version: weight}},
                )
                self._watch(settings, seconds)
            lambdas.update_alias(
                FunctionName=function,
                Name=alias,
                FunctionVersion=version,
                RoutingConfig={"AdditionalVersionWeights": {}},
            )
            self._run_hook(record, after_hook, "AfterAllowTraffic")
            self._refuse_alarms(settings)
        except Exception as error:
            if not isinstance(error, DeploymentFailed):
                logger.exception("deployment %s", record.deployment_id)
            lambdas.update_alias(
                FunctionName=function,
                Name=alias,
                FunctionVersion=current,
                RoutingConfig={"AdditionalVersionWeights": {}},
            )
            self._finish(record, "Failed", str(error))
            raise ResourceError(
                f"Rollback successful: the deployment {record.deployment_id} of version {version}"
                f" was rolled back to version {current}: {error}"
            ) from error
        self._finish(record, "Succeeded", "")

    def _record(
        self, application: str, group: str, function: str, alias: str, current: str, version: str
    ) -> Any:
        content = {
            "version": 0.0,
            "Resources": [
                {
                    alias: {
                        "Type": "AWS::Lambda::Function",
                        "Properties": {
                            "Name": function,
                            "Alias": alias,
                            "CurrentVersion": current,
                            "TargetVersion": version,
                        },
                    }
                }
            ],
        }
        answer = self._cloud.client("codedeploy").create_deployment(
            applicationName=application,
            deploymentGroupName=group,
            revision={
                "revisionType": "AppSpecContent",
                "appSpecContent": {"content": json.dumps(content)},
            },
        )
        record = self._backend().deployments[answer["deploymentId"]]
        record.status, record.creator = "InProgress", "CloudFormation"
        record.create_time = record.start_time = self._now()
        self._emit(record)
        return record

    def _finish(self, record: Any, status: str, reason: str) -> None:
        record.status, record.complete_time = status, self._now()
        if reason:
            record.deployment_status_messages.append(reason)
        self._emit(record)

    def _emit(self, record: Any) -> None:
        state = {"InProgress": "START", "Succeeded": "SUCCESS", "Failed": "FAILURE"}
        region, account = self._cloud.region, self._cloud.account
        self._cloud.events.emit(
            "aws.codedeploy",
            "CodeDeploy Deployment State-change Notification",
            {
                "region": region,
                "deploymentId": record.deployment_id,
                "instanceGroupId": record.deployment_group.deployment_group_id,
                "deploymentGroup": record.deployment_group_name,
                "application": record.application_name,
                "state": state[record.status],
            },
            [f"arn:aws:codedeploy:{region}:{account}:application:{record.application_name}"],
        )

    def _now(self) -> datetime:
        return self._cloud.clock.utc()

    def _run_hook(self, record: Any, function: str, step: str) -> None:
        """Call a hook and wait for its verdict."""
        if not function:
            return
        hook = Hook(record.deployment_id)
        self.hooks[hook.id] = hook
        event = {"DeploymentId": hook.deployment_id, "LifecycleEventHookExecutionId": hook.id}
        try:
            answer = self._cloud.functions.invoke(function, json.dumps(event).encode())
            if not hook.told.is_set() and answer.error:
                said = json.loads(answer.payload or b"{}").get("errorMessage", answer.error)
                raise DeploymentFailed(f"the {step} hook {function} failed: {said}")
            waited = 0.0
            while not hook.told.is_set() and waited < HOOK_SECONDS:
                self._cloud.clock.sleep(WATCH_SECONDS)
                waited += WATCH_SECONDS
        finally:
            del self.hooks[hook.id]
        if hook.status != "Succeeded":
            verdict = hook.status or "no verdict within an hour"
            raise DeploymentFailed(f"the {step} hook {function} said: {verdict}")

    def _watch(self, settings: Any, seconds: float) -> None:
        """Let simulated time pass while every alarm stays quiet."""
        end = self._cloud.clock.now() + seconds
        while (left := end - self._cloud.clock.now()) > 0:
            self._cloud.clock.sleep(min(left, WATCH_SECONDS))
            self._refuse_alarms(settings)

    def _refuse_alarms(self, settings: Any) -> None:
        configuration = settings.alarm_configuration
        if configuration is None:
            return
        if isinstance(configuration, dict):
            enabled, alarms = configuration.get("enabled"), configuration.get("alarms") or []
        else:
            enabled, alarms = configuration.enabled, configuration.alarms
        names = [alarm["name"] for alarm in alarms]
        if not enabled or not names:
            return
        found = self._cloud.client("cloudwatch").describe_alarms(AlarmNames=names)
        ringing = [a["AlarmName"] for a in found["MetricAlarms"] if a["StateValue"] == "ALARM"]
        if ringing:
            raise DeploymentFailed(f"alarm {', '.join(sorted(ringing))} is in ALARM")


def _steps(config: str) -> Iterator[tuple[float, float]]:
    """Yield the weights of the new version before it takes all, each with its seconds."""
    if config.endswith("LambdaAllAtOnce"):
        return
    found = SHIFT.search(config)
    if found is None:
        raise DeploymentFailed(f"the local cloud does not know the deployment config {config}")
    kind, percent, seconds = found[1], int(found[2]), int(found[3]) * 60.0
    if kind == "Canary":
        yield percent / 100, seconds
        return
    share = percent
    while share < 100:
        yield share / 100, seconds
        share += percent
