"""The CloudFormation API, as boto3 and the CDK command line speak it, over `stacks`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlparse

import moto.cloudformation.urls
from moto.cloudformation.exceptions import CloudFormationError
from moto.core.responses import ActionResult, BaseResponse, EmptyResult

from local.parts import Part
from local.services.cloudformation.intrinsics import TemplateError, parse_template, text
from local.services.cloudformation.model import (
    ChangeSet,
    Event,
    Plan,
    Resource,
    Stack,
    StackError,
)
from local.services.cloudformation.stacks import Stacks

PATH = "{0}/$"


class StacksApi(Part):
    """Let AWS's API reach the stacks."""

    def start(self) -> None:
        """Put this API in the place of moto's."""
        stacks = self._cloud.part(Stacks)
        api: Any = type("CloudFormationApi", (CloudFormationApi,), {"stacks": stacks})
        paths = dict(moto.cloudformation.urls.url_paths)
        paths[PATH] = api.dispatch
        self._seams.replace(moto.cloudformation.urls, "url_paths", paths)


class CloudFormationApi(BaseResponse):
    """Answer each CloudFormation operation; moto parses requests and writes responses."""

    stacks: Stacks

    def __init__(self) -> None:
        super().__init__(service_name="cloudformation")
        self.automated_parameter_parsing = True

    def call_action(self) -> Any:
        """Turn what the engine refuses into the API's error."""
        try:
            return super().call_action()
        except (StackError, TemplateError) as error:
            code = getattr(error, "code", "ValidationError")
            status, headers, body = self.serialized(
                ActionResult(CloudFormationError(code, str(error)))
            )
            headers["status"] = status
            return status, headers, body

    # -- what requests carry ------------------------------------------------------------------

    def _body(self, stack: Stack | None) -> str:
        body, url = self._get_param("TemplateBody"), self._get_param("TemplateURL")
        previous = self._get_bool_param("UsePreviousTemplate", False)
        if previous and (body or url):
            raise StackError(
                "You cannot specify both usePreviousTemplate and Template Body/Template URL."
            )
        if previous:
            if stack is None or stack.plan is None:
                raise StackError("Cannot use the previous template: there is none")
            return stack.plan.body
        if body:
            return str(body)
        if not url:
            raise StackError("Either Template URL or Template Body must be specified.")
        return self._fetch(url)

    def _fetch(self, url: str) -> str:
        parts = urlparse(url)
        host, path = parts.hostname or "", unquote(parts.path.lstrip("/"))
        if host == "localhost" or host.startswith(("s3.", "s3-", "127.")):
            bucket, _, key = path.partition("/")
        else:
            bucket, key = host.split(".")[0], path
        return self.stacks.read_object(bucket, key)

    def _plan(self, stack: Stack | None) -> Plan:
        tags = self._get_param("Tags")
        if tags is None and stack is not None and stack.plan is not None:
            kept = dict(stack.plan.tags)
        else:
            kept = {tag["Key"]: tag["Value"] for tag in tags or []}
        return self.stacks.plan(self._body(stack), self._get_param("Parameters") or [], kept, stack)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"role_arn": self._get_param("RoleARN"), "token": self._token()}
        if self._get_param("Capabilities"):
            options["capabilities"] = tuple(self._get_param("Capabilities"))
        if self._get_param("NotificationARNs"):
            options["notification_arns"] = tuple(self._get_param("NotificationARNs"))
        return options

    def _token(self) -> str:
        return self._get_param("ClientRequestToken") or ""

    def _stack(self) -> Stack:
        return self.stacks.find(self._get_param("StackName"))

    # -- stacks -------------------------------------------------------------------------------

    def create_stack(self) -> ActionResult:
        """CreateStack."""
        options = self._options()
        options["protected"] = self._get_bool_param("EnableTerminationProtection", False)
        stack = self.stacks.create(self._get_param("StackName"), self._plan(None), **options)
        return ActionResult({"StackId": stack.id})

    def update_stack(self) -> ActionResult:
        """UpdateStack."""
        stack = self._stack()
        self.stacks.update(stack.id, self._plan(stack), **self._options())
        return ActionResult({"StackId": stack.id})

    def delete_stack(self) -> EmptyResult:
        """DeleteStack."""
        self.stacks.delete(self._get_param("StackName"), self._token())
        return EmptyResult()

    def update_termination_protection(self) -> ActionResult:
        """UpdateTerminationProtection."""
        stack = self._stack()
        stack.protected = self._get_bool_param("EnableTerminationProtection", False)
        return ActionResult({"StackId": stack.id})

    def describe_stacks(self) -> ActionResult:
        """DescribeStacks."""
        name = self._get_param("StackName")
        stacks = [self.stacks.find(name)] if name else self.stacks.all()
        return ActionResult({"Stacks": [_stack(stack) for stack in stacks]})

    def list_stacks(self) -> ActionResult:
        """ListStacks."""
        wanted = self._get_param("StackStatusFilter") or []
        summaries = [
            _stack(stack)
            for stack in self.stacks.all(deleted=True)
            if not wanted or stack.status in wanted
        ]
        return ActionResult({"StackSummaries": summaries})

    def describe_stack_events(self) -> ActionResult:
        """DescribeStackEvents, the newest first."""
        events = [_event(event) for event in reversed(self._stack().events)]
        return ActionResult({"StackEvents": events})

    def describe_stack_resources(self) -> ActionResult:
        """DescribeStackResources."""
        stack, wanted = self._stack(), self._get_param("LogicalResourceId")
        found = [
            _resource(stack, resource)
            for name, resource in list(stack.resources.items())
            if not wanted or name == wanted
        ]
        return ActionResult({"StackResources": found})

    def describe_stack_resource(self) -> ActionResult:
        """DescribeStackResource."""
        stack, name = self._stack(), self._get_param("LogicalResourceId")
        if name not in stack.resources:
            raise StackError(f"Resource {name} does not exist for stack {stack.name}")
        return ActionResult({"StackResourceDetail": _resource(stack, stack.resources[name])})

    def list_stack_resources(self) -> ActionResult:
        """ListStackResources."""
        stack = self._stack()
        found = [_resource(stack, resource) for resource in list(stack.resources.values())]
        return ActionResult({"StackResourceSummaries": found})

    def list_exports(self) -> ActionResult:
        """ListExports."""
        exports = [
            {"ExportingStackId": stack.id, "Name": name, "Value": value}
            for name, (stack, value) in self.stacks.exports().items()
        ]
        return ActionResult({"Exports": exports})

    def get_template(self) -> ActionResult:
        """GetTemplate: of a change set, of the stack, or of its change set under review."""
        name = self._get_param("ChangeSetName")
        if name:
            plan: Plan | None = self.stacks.change_set(name, self._get_param("StackName")).plan
        else:
            plan = self._stack().plan
        return ActionResult(
            {
                "TemplateBody": plan.body if plan else "",
                "StagesAvailable": ["Original", "Processed"],
            }
        )

    def get_template_summary(self) -> ActionResult:
        """GetTemplateSummary."""
        name = self._get_param("StackName")
        if name:
            plan = self.stacks.find(name).plan
            template: Mapping[str, Any] = plan.template if plan else {"Resources": {}}
        else:
            template = parse_template(self._body(None))
        types = sorted({body["Type"] for body in template["Resources"].values()})
        summary: dict[str, Any] = {
            "Parameters": _parameters(template),
            "ResourceTypes": types,
            "Metadata": json.dumps(template.get("Metadata", {})),
        }
        if any(kind.startswith("AWS::IAM::") for kind in types):
            summary["Capabilities"] = ["CAPABILITY_NAMED_IAM"]
        if "Description" in template:
            summary["Description"] = template["Description"]
        return ActionResult(summary)

    def validate_template(self) -> ActionResult:
        """ValidateTemplate: that it parses and that each type is known."""
        template = parse_template(self._body(None))
        defaults = [
            {"ParameterKey": key, "ParameterValue": ""} for key in template.get("Parameters") or {}
        ]
        self.stacks.plan(self._body(None), defaults, {}, None)
        return ActionResult({"Parameters": _parameters(template)})

    def get_stack_policy(self) -> ActionResult:
        """GetStackPolicy."""
        return ActionResult({"StackPolicyBody": self._stack().policy or None})

    def set_stack_policy(self) -> EmptyResult:
        """SetStackPolicy."""
        self._stack().policy = self._get_param("StackPolicyBody")
        return EmptyResult()

    # -- change sets --------------------------------------------------------------------------

    def create_change_set(self) -> ActionResult:
        """CreateChangeSet, with UsePreviousValue resolved against the stack as it stands."""
        change_set = self.stacks.create_change_set(
            self._get_param("StackName"),
            self._get_param("ChangeSetName"),
            self._get_param("ChangeSetType") or "UPDATE",
            self._plan,
            self._get_param("Description") or "",
            **self._options(),
        )
        return ActionResult({"Id": change_set.id, "StackId": change_set.stack.id})

    def _change_set(self) -> ChangeSet:
        return self.stacks.change_set(
            self._get_param("ChangeSetName"), self._get_param("StackName")
        )

    def describe_change_set(self) -> ActionResult:
        """DescribeChangeSet."""
        change_set = self._change_set()
        described = _change_set(change_set) | {
            "Parameters": _given(change_set.plan),
            "Changes": change_set.changes,
            "Capabilities": list(change_set.stack.capabilities),
            "Tags": [{"Key": key, "Value": value} for key, value in change_set.plan.tags],
        }
        return ActionResult(described)

    def execute_change_set(self) -> EmptyResult:
        """ExecuteChangeSet."""
        self.stacks.execute(self._change_set(), self._token())
        return EmptyResult()

    def delete_change_set(self) -> EmptyResult:
        """DeleteChangeSet; one that is not there is no error."""
        try:
            change_set = self._change_set()
        except StackError:
            return EmptyResult()
        del change_set.stack.change_sets[change_set.id]
        return EmptyResult()

    def list_change_sets(self) -> ActionResult:
        """ListChangeSets."""
        found = [_change_set(change_set) for change_set in self._stack().change_sets.values()]
        return ActionResult({"Summaries": found})


def _given(plan: Plan) -> list[dict[str, str]]:
    declared = plan.template.get("Parameters") or {}
    return [
        {
            "ParameterKey": key,
            "ParameterValue": "****"
            if text(body.get("NoEcho", False)).lower() == "true"
            else plan.parameters.get(key, text(body.get("Default", ""))),
        }
        for key, body in declared.items()
    ]


def _stack(stack: Stack) -> dict[str, Any]:
    described: dict[str, Any] = {
        "StackId": stack.id,
        "StackName": stack.name,
        "CreationTime": stack.created,
        "StackStatus": stack.status,
        "DisableRollback": False,
        "EnableTerminationProtection": stack.protected,
        "NotificationARNs": list(stack.notification_arns),
        "Capabilities": list(stack.capabilities),
        "Tags": [],
        "Outputs": list(stack.outputs.values()),
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
    }
    if stack.reason:
        described["StackStatusReason"] = stack.reason
    if stack.updated is not None:
        described["LastUpdatedTime"] = stack.updated
    if stack.role_arn:
        described["RoleARN"] = stack.role_arn
    if stack.plan is not None:
        described["Parameters"] = _given(stack.plan)
        described["Tags"] = [{"Key": key, "Value": value} for key, value in stack.plan.tags]
        if "Description" in stack.plan.template:
            described["Description"] = stack.plan.template["Description"]
    if stack.status == "DELETE_COMPLETE":
        described["DeletionTime"] = stack.events[-1].time
    return described


def _event(event: Event) -> dict[str, Any]:
    described = {
        "StackId": event.stack_id,
        "EventId": event.id,
        "StackName": event.stack_name,
        "LogicalResourceId": event.logical_id,
        "PhysicalResourceId": event.physical_id,
        "ResourceType": event.type,
        "Timestamp": event.time,
        "ResourceStatus": event.status,
    }
    if event.reason:
        described["ResourceStatusReason"] = event.reason
    if event.token:
        described["ClientRequestToken"] = event.token
    return described


def _resource(stack: Stack, resource: Resource) -> dict[str, Any]:
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.physical_id,
        "ResourceType": resource.type,
        "Timestamp": resource.updated,
        "LastUpdatedTimestamp": resource.updated,
        "ResourceStatus": resource.status,
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }


def _change_set(change_set: ChangeSet) -> dict[str, Any]:
    described = {
        "ChangeSetId": change_set.id,
        "ChangeSetName": change_set.name,
        "StackId": change_set.stack.id,
        "StackName": change_set.stack.name,
        "Description": change_set.description,
        "CreationTime": change_set.created,
        "Status": change_set.status,
        "ExecutionStatus": change_set.execution_status,
    }
    if change_set.reason:
        described["StatusReason"] = change_set.reason
    return described


def _parameters(template: Mapping[str, Any]) -> list[dict[str, Any]]:
    parameters = []
    for key, body in (template.get("Parameters") or {}).items():
        parameter = {
            "ParameterKey": key,
            "ParameterType": body.get("Type", "String"),
            "NoEcho": text(body.get("NoEcho", False)).lower() == "true",
            "Description": body.get("Description", ""),
        }
        if "Default" in body:
            parameter["DefaultValue"] = text(body["Default"])
        parameters.append(parameter)
    return parameters
