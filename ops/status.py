"""Show the live model, recent models and runs, and the alarms."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ops.deployment import Deployment, connect
from ops.screen import console, describe_age, print_json, print_table
from ops.train import summarise_run
from ops.waiting import explain_acceptance, explain_version, list_packages, list_waiting

RECENT = 5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `status`."""
    parser = subparsers.add_parser(
        "status",
        help="show what needs a person, the live model, runs and alarms",
        description="Show what needs a person (versions that wait for approval, alarms that are "
        "on), the live model, the newest models and runs, and all alarms.",
        epilog="example: python -m ops status --stage prod --json",
    )
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def read_status(deployment: Deployment) -> dict[str, Any]:
    """Collect what waits for a person, the live model, newest models and runs, and alarms."""
    machine = deployment.output("training", "StateMachineArn")
    runs = deployment.client("stepfunctions").list_executions(
        stateMachineArn=machine, maxResults=RECENT
    )["executions"]
    sagemaker = deployment.client("sagemaker")
    models = []
    live, packages = deployment.model_uri, list_packages(deployment)
    for package in packages[:RECENT]:
        whole = sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
        metadata = whole.get("CustomerMetadataProperties", {})
        models.append(
            {
                "version": package["ModelPackageVersion"],
                "approval": package["ModelApprovalStatus"],
                "promotion": metadata.get("promotion"),
                "run": metadata.get("run"),
                "uri": metadata.get("model_uri"),
                "created": package["CreationTime"],
                "doubts": metadata.get("doubts"),
                "reason": whole.get("ApprovalDescription"),
            }
        )
    pages = deployment.client("cloudwatch").get_paginator("describe_alarms")
    alarms = [
        {
            "name": alarm["AlarmName"],
            "says": alarm.get("AlarmDescription"),
            "state": alarm["StateValue"],
            "since": alarm.get("StateUpdatedTimestamp"),
            "reason": alarm.get("StateReason"),
        }
        for page in pages.paginate(AlarmNamePrefix=f"{deployment.name}-")
        for alarm in page["MetricAlarms"] + page.get("CompositeAlarms", [])
    ]
    described = [
        deployment.client("stepfunctions").describe_execution(executionArn=run["executionArn"])
        for run in runs
    ]
    return {
        "deployment": deployment.name,
        "now": deployment.now(),
        "api": deployment.api_url,
        "waiting": list_waiting(deployment, packages, live),
        "live": live,
        "models": models,
        "runs": [
            {
                "name": run["name"],
                "status": run["status"],
                "started": run["startDate"],
                **describe_end(run),
            }
            for run in described
        ],
        "unread": list_unread(described),
        "alarms": sorted(alarms, key=lambda alarm: (alarm["state"] != "ALARM", alarm["name"])),
    }


def list_needs(status: dict[str, Any]) -> list[str]:
    """Write what needs a person: versions that wait, then alarms that are on."""
    lines = []
    for version in status["waiting"]:
        age = describe_age(version["created"], status["now"])
        lines.append(f"version {version['version']} waits for a person, for {age}:")
        lines += explain_version(version)
        lines.append(f"  approve it, once: {version['approve']}")
        lines += [f"  {line}" for line in explain_acceptance(version)]
    for alarm in status["alarms"]:
        if alarm["state"] == "ALARM":
            kind = alarm["name"].removeprefix(f"{status['deployment']}-")
            lines.append(f"alarm {kind} is on: {alarm['says'] or alarm['reason']}")
    return ["needs a person", *(f"  {line}" for line in lines), ""] if lines else []


def list_unread(executions: Sequence[dict[str, Any]]) -> list[str]:
    """Give what the newest run that ended well did not read under `data/`, with what to do."""
    for execution in executions:
        if execution["status"] == "SUCCEEDED":
            output = json.loads(execution.get("output") or "{}")
            return list(output.get("plan", {}).get("unread", ()))
    return []


def describe_end(execution: dict[str, Any]) -> dict[str, Any]:
    """Say how an execution ended, and why: held, skip, a registry's status, or the failure."""
    if execution["status"] == "SUCCEEDED":
        summary = summarise_run(json.loads(execution.get("output") or "{}"))
        outcome = "held" if summary["outcome"] == "hold" else summary["outcome"]
        return {"outcome": outcome, "reason": summary["reason"]}
    failure = execution.get("cause") or execution.get("error")
    return {"outcome": None, "reason": failure}


def main(args: argparse.Namespace) -> int:
    """Print the status; the exit status is 0 even where alarms are on."""
    status = read_status(connect(args.stage))
    if args.json:
        print_json(status)
        return 0
    console.print(f"{status['deployment']}  {status['api']}", markup=False)
    for line in list_needs(status):
        console.print(line, markup=False)
    console.print(f"live model: {status['live']}", markup=False)
    print_table(
        "models",
        ("version", "approval", "promotion", "run", "age", "reason"),
        (
            (
                model["version"],
                model["approval"],
                "live" if model["uri"] == status["live"] else model["promotion"],
                model["run"],
                describe_age(model["created"], status["now"]),
                model["reason"],
            )
            for model in status["models"]
        ),
    )
    print_table(
        "runs",
        ("execution", "status", "outcome", "age", "reason"),
        (
            (
                run["name"],
                run["status"],
                run["outcome"],
                describe_age(run["started"], status["now"]),
                run["reason"],
            )
            for run in status["runs"]
        ),
    )
    for sentence in status["unread"]:
        console.print(f"not read: {sentence}", markup=False)
    print_table(
        "alarms",
        ("alarm", "state", "reason"),
        (
            (
                alarm["name"].removeprefix(f"{status['deployment']}-"),
                alarm["state"].replace("_", " ").lower() if alarm["state"] != "ALARM" else "ALARM",
                alarm["reason"] if alarm["state"] == "ALARM" else "",
            )
            for alarm in status["alarms"]
        ),
    )
    return 0
