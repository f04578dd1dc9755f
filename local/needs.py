"""What a call needs: the IAM actions of an operation, and the resources that it is asked of.

Written from AWS's pages "Actions, resources, and condition keys" of each service, for the calls
that the functions, the jobs and the state machine make. An operation that is not listed is judged
by its action alone.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.exceptions import UnknownServiceError
from moto.codedeploy.models import codedeploy_backends
from moto.core.model import OperationModel
from moto.core.request import Request
from moto.core.routing import ServiceOperationRouter, get_service_router
from moto.sns.models import sns_backends
from werkzeug.exceptions import NotFound

ANY = ""
"""The resource of a need that only names its action."""


@dataclass(frozen=True)
class Need:
    """One action on one resource, with what is known of the call for a policy's conditions."""

    action: str
    resource: str = ANY
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A call to an AWS service, as far as the right to make it depends on it."""

    service: str
    """The name that the call is signed for, which is the prefix of its IAM actions."""
    operation: str
    parameters: Mapping[str, Any]
    account: str
    region: str

    def arn(self, resource: str, service: str = "") -> str:
        """Name a resource of this account and region."""
        return f"arn:aws:{service or self.service}:{self.region}:{self.account}:{resource}"

    def text(self, name: str) -> str:
        """Give a parameter as text, empty where it is not given."""
        value = self.parameters.get(name) or ""
        return str(value[0] if isinstance(value, list) else value)

    def named(self, kind: str, parameter: str, separator: str = "/") -> str:
        """Give the ARN of the resource that a parameter names, by name or already by ARN."""
        name = self.text(parameter)
        return name if name.startswith("arn:") else self.arn(f"{kind}{separator}{name}")


def read_call(service: str, environ: dict[str, Any], account: str, region: str) -> Call:
    """Read a call's operation and parameters, and leave its body to be read again."""
    if service == "s3":
        return Call(service, *_read_s3(environ), account, region)
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return Call(service, target.rsplit(".", 1)[-1], json.loads(body or b"{}"), account, region)
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(body.decode("utf-8", "replace"))
        if "Action" in form:
            return Call(service, form["Action"][0], form, account, region)
    path = environ.get("PATH_INFO", "")
    try:
        operation, found = _match(service, environ)
    except (NotFound, UnknownServiceError):
        return Call(service, f"{environ['REQUEST_METHOD']} {path}", {}, account, region)
    query = parse_qs(environ.get("QUERY_STRING", ""))
    parameters = {**query, **{name: unquote(str(value)) for name, value in found.items()}}
    return Call(service, operation.name, parameters, account, region)


def _match(service: str, environ: dict[str, Any]) -> tuple[OperationModel, dict[str, Any]]:
    return _router(service).match(Request(environ))


@lru_cache
def _router(service: str) -> ServiceOperationRouter:
    return get_service_router(service)


def _read_s3(environ: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Read bucket, key, query and the source of a copy; a bucket may be part of the host's name."""
    host = environ.get("HTTP_HOST", "").split(":")[0]
    path = environ.get("PATH_INFO", "").lstrip("/")
    if host.endswith(".localhost"):
        bucket, key = host.removesuffix(".localhost"), path
    else:
        bucket, _, key = path.partition("/")
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    parameters: dict[str, Any] = {"bucket": bucket, "key": key, "query": query}
    if "HTTP_X_AMZ_COPY_SOURCE" in environ:
        parameters["source"] = unquote(environ["HTTP_X_AMZ_COPY_SOURCE"]).lstrip("/")
    if environ["REQUEST_METHOD"] == "POST" and "delete" in query:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        parameters["keys"] = re.findall(r"<Key>(.*?)</Key>", body.decode("utf-8", "replace"))
    return environ["REQUEST_METHOD"], parameters


def needs(call: Call) -> list[Need]:
    """List what a caller must be allowed for a call to be made."""
    if call.service == "s3":
        return list(_need_of_s3(call))
    name = f"{call.service}:{call.operation}"
    if name in _FREE:
        return []
    if name in _SEVERAL:
        return list(_SEVERAL[name](call))
    action = _RENAMED.get(name, name)
    where = _RESOURCES.get(name)
    return [Need(action, where(call) if where else ANY)]


def _need_of_s3(call: Call) -> Iterator[Need]:
    method, given = call.operation, call.parameters
    query: Mapping[str, list[str]] = given["query"]
    bucket = f"arn:aws:s3:::{given['bucket']}"
    item = f"{bucket}/{given['key']}"
    if not given["bucket"]:
        yield Need("s3:ListAllMyBuckets", "*")
    elif "keys" in given:
        yield from (Need("s3:DeleteObject", f"{bucket}/{key}") for key in given["keys"])
    elif given["key"]:
        if "source" in given:
            source, _, version = given["source"].partition("?versionId=")
            yield Need(f"s3:GetObject{'Version' if version else ''}", f"arn:aws:s3:::{source}")
        yield Need(f"s3:{_object_action(method, query)}", item)
    else:
        action = _bucket_action(method, query)
        yield Need(f"s3:{action}", bucket, {"s3:prefix": query.get("prefix", [""])[0]})


def _object_action(method: str, query: Mapping[str, list[str]]) -> str:
    if method == "DELETE" and "uploadId" in query:
        return "AbortMultipartUpload"
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "POST": "Put", "DELETE": "Delete"}[method]
    what = next((name for name in ("tagging", "acl") if name in query), "").capitalize()
    version = "Version" if "versionId" in query and verb != "Put" else ""
    return f"{verb}Object{version}{what}"


def _bucket_action(method: str, query: Mapping[str, list[str]]) -> str:
    if method == "PUT" and not query:
        return "CreateBucket"
    if method == "DELETE" and not query:
        return "DeleteBucket"
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Put", "POST": "Put"}[method]
    for name, action in _BUCKET_PARTS.items():
        if name in query:
            return action.format(verb)
    return "ListBucket"


_BUCKET_PARTS = {
    "versions": "ListBucketVersions",
    "uploads": "ListBucketMultipartUploads",
    "location": "GetBucketLocation",
    "versioning": "{}BucketVersioning",
    "policy": "{}BucketPolicy",
    "tagging": "{}BucketTagging",
    "encryption": "{}EncryptionConfiguration",
    "lifecycle": "{}LifecycleConfiguration",
    "notification": "{}BucketNotification",
    "publicAccessBlock": "{}BucketPublicAccessBlock",
}


def _stack(call: Call) -> str:
    name = call.text("StackName")
    # The last part of a stack's ARN is an id that no policy can know.
    return name if name.startswith("arn:") else call.arn(f"stack/{name}/id")


def _function(call: Call) -> str:
    arn = call.named("function", "FunctionName", ":")
    qualifier = call.text("Qualifier")
    return f"{arn}:{qualifier}" if qualifier else arn


def _queue(call: Call) -> str:
    return call.arn(call.text("QueueUrl").rsplit("/", 1)[-1])


def _deployment_group(call: Call) -> str:
    made = codedeploy_backends[call.account][call.region].deployments.get(call.text("deploymentId"))
    if made is None:
        return ANY
    return call.arn(f"deploymentgroup:{made.application_name}/{made.deployment_group_name}")


def _publish(call: Call) -> Iterator[Need]:
    """Ask for the topic, and for the key that encrypts it (AWS page: Key management)."""
    topic = call.text("TopicArn")
    yield Need("sns:Publish", topic)
    known = sns_backends[call.account][call.region].topics.get(topic)
    key = known.kms_master_key_id if known else ""
    if key and not key.startswith("alias/"):
        arn = key if key.startswith("arn:") else call.arn(f"key/{key}", "kms")
        yield Need("kms:GenerateDataKey", arn)
        yield Need("kms:Decrypt", arn)


def _put_events(call: Call) -> Iterator[Need]:
    for entry in call.parameters.get("Entries", ()):
        bus = entry.get("EventBusName", "default")
        yield Need(
            "events:PutEvents",
            bus if bus.startswith("arn:") else call.arn(f"event-bus/{bus}"),
            {
                "events:source": entry.get("Source", ""),
                "events:detail-type": entry.get("DetailType", ""),
            },
        )


def _create_package(call: Call) -> Iterator[Need]:
    """Ask for the group, and for the version of it that the package becomes."""
    group = call.text("ModelPackageGroupName").rsplit("/", 1)[-1]
    yield Need("sagemaker:CreateModelPackage", call.arn(f"model-package-group/{group}"))
    yield Need("sagemaker:CreateModelPackage", call.arn(f"model-package/{group}/1"))


def _create_job(call: Call) -> Iterator[Need]:
    """Ask for the job, for its tags, and for handing over the role that it runs under."""
    if call.operation == "CreateTrainingJob":
        job = call.named("training-job", "TrainingJobName")
        definition = call.parameters
    else:
        job = call.named("hyper-parameter-tuning-job", "HyperParameterTuningJobName")
        definition = call.parameters.get("TrainingJobDefinition", {})
    yield Need(f"sagemaker:{call.operation}", job)
    if call.parameters.get("Tags"):
        yield Need("sagemaker:AddTags", job)
    yield Need(
        "iam:PassRole",
        definition.get("RoleArn", ""),
        {"iam:PassedToService": "sagemaker.amazonaws.com"},
    )


# Calls that anybody may make.
_FREE = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})

# Operations whose action has another name.
_RENAMED = {"lambda:Invoke": "lambda:InvokeFunction"}

_SEVERAL: dict[str, Callable[[Call], Iterator[Need]]] = {
    "events:PutEvents": _put_events,
    "sagemaker:CreateHyperParameterTuningJob": _create_job,
    "sagemaker:CreateModelPackage": _create_package,
    "sagemaker:CreateTrainingJob": _create_job,
    "sns:Publish": _publish,
}

_RESOURCES: dict[str, Callable[[Call], str]] = {
    "cloudformation:CancelUpdateStack": _stack,
    "cloudformation:DescribeStackEvents": _stack,
    "cloudformation:DescribeStacks": _stack,
    "cloudformation:UpdateStack": _stack,
    "codedeploy:GetDeployment": _deployment_group,
    "codedeploy:PutLifecycleEventHookExecutionStatus": _deployment_group,
    "firehose:PutRecord": lambda call: call.named("deliverystream", "DeliveryStreamName"),
    "firehose:PutRecordBatch": lambda call: call.named("deliverystream", "DeliveryStreamName"),
    "kms:Decrypt": lambda call: call.named("key", "KeyId"),
    "kms:GenerateDataKey": lambda call: call.named("key", "KeyId"),
    "lambda:DeleteFunction": _function,
    "lambda:GetAlias": _function,
    "lambda:GetFunction": _function,
    "lambda:Invoke": _function,
    "lambda:ListVersionsByFunction": _function,
    "sagemaker:DescribeHyperParameterTuningJob": lambda call: call.named(
        "hyper-parameter-tuning-job", "HyperParameterTuningJobName"
    ),
    "sagemaker:DescribeModelPackage": lambda call: call.named("model-package", "ModelPackageName"),
    "sagemaker:DescribeTrainingJob": lambda call: call.named("training-job", "TrainingJobName"),
    # List calls know no resources: only a grant on "*" allows them.
    "sagemaker:ListModelPackages": lambda call: "*",
    "sagemaker:UpdateModelPackage": lambda call: call.named("model-package", "ModelPackageArn"),
    "sqs:ChangeMessageVisibility": _queue,
    "sqs:DeleteMessage": _queue,
    "sqs:ReceiveMessage": _queue,
    "sqs:SendMessage": _queue,
    "ssm:GetParameter": lambda call: call.arn(f"parameter/{call.text('Name').lstrip('/')}"),
    "states:DescribeExecution": lambda call: call.text("executionArn"),
    "states:ListExecutions": lambda call: call.text("stateMachineArn"),
    "states:StartExecution": lambda call: call.text("stateMachineArn"),
    "sts:AssumeRole": lambda call: call.text("RoleArn"),
}
