"""A small hand-written cloud assembly: one function behind an alias and a REST API."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HANDLER = """
import json
import os
import sys
import time


def handler(event, context):
    print("seen", json.dumps(event)[:100])
    if "sleep" in event:
        time.sleep(event["sleep"])
    if event.get("fail"):
        raise ValueError(event["fail"])
    if event.get("exit"):
        os._exit(3)
    if "httpMethod" in event:
        return {
            "statusCode": 200,
            "headers": {"X-Version": context.function_version},
            "body": json.dumps({"event": event, "version": context.function_version}),
        }
    return {
        "event": event,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "model": os.environ["MODEL_URI"],
        "environment": dict(os.environ),
        "path": sys.path,
        "pid": os.getpid(),
        "remaining": context.get_remaining_time_in_millis(),
    }
"""


def role(service: str = "lambda") -> dict[str, Any]:
    """Return a role that a service may assume."""
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": f"{service}.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            },
            # What a role may do is the matter of test_identity.py.
            "Policies": [
                {
                    "PolicyName": "everything",
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
                    },
                }
            ],
        },
    }


def function(bucket: str, key: str) -> dict[str, Any]:
    """Return the resources of a function with one pointer: ModelUri."""
    return {
        "Role": role(),
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Code": {"S3Bucket": {"Fn::Sub": bucket}, "S3Key": key},
                "Handler": "index.handler",
                "Runtime": "python3.13",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Timeout": 2,
                "Environment": {"Variables": {"MODEL_URI": {"Ref": "ModelUri"}}},
            },
        },
        "Version": {
            "Type": "AWS::Lambda::Version",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "FunctionName": {"Ref": "Function"},
                "Description": {"Ref": "ModelUri"},
            },
        },
        "Alias": {
            "Type": "AWS::Lambda::Alias",
            "Properties": {
                "FunctionName": {"Ref": "Function"},
                "FunctionVersion": {"Fn::GetAtt": ["Version", "Version"]},
                "Name": "live",
            },
        },
    }


def template(
    resources: Mapping[str, Any], outputs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a template with the one parameter."""
    return {
        "Parameters": {"ModelUri": {"Type": "String", "Default": "none"}},
        "Resources": dict(resources),
        "Outputs": {name: {"Value": value} for name, value in (outputs or {}).items()},
    }


def write_assembly(
    folder: Path, stacks: Mapping[str, Mapping[str, Any]], sources: Mapping[str, str] | None = None
) -> Path:
    """Write a cloud assembly; each source becomes a zip asset whose key is `<name>.zip`."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, Any] = {}
    for name, text in (sources or {"code": HANDLER}).items():
        source = folder / f"asset.{name}"
        source.mkdir(exist_ok=True)
        (source / "index.py").write_text(text)
        files[hashlib.sha256(name.encode()).hexdigest()] = {
            "source": {"path": source.name, "packaging": "zip"},
            "destinations": {
                "current": {
                    "bucketName": BUCKET,
                    "objectKey": f"{name}.zip",
                }
            },
        }
    artifacts: dict[str, Any] = {}
    for index, (name, body) in enumerate(stacks.items()):
        (folder / f"{name}.template.json").write_text(json.dumps(body))
        (folder / f"{name}.assets.json").write_text(json.dumps({"version": "48", "files": files}))
        artifacts[f"{name}.assets"] = {
            "type": "cdk:asset-manifest",
            "properties": {"file": f"{name}.assets.json"},
        }
        before = list(stacks)[:index]
        artifacts[name] = {
            "type": "aws:cloudformation:stack",
            "dependencies": [f"{name}.assets", *before],
            "properties": {"templateFile": f"{name}.template.json"},
        }
    (folder / "manifest.json").write_text(json.dumps({"version": "48", "artifacts": artifacts}))
    return folder


BUCKET = "cdk-hnb659fds-assets-${AWS::AccountId}-${AWS::Region}"
