"""`python -m local`: leave a local cloud running, or run the whole loop once."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from core.errors import DriftlessError
from core.settings import load_settings
from local import demo
from local.cloud import Cloud
from local.deploy import DeployError
from ops.data import list_uploads, put_table
from ops.deployment import Deployment
from ops.waiting import (
    PENDING,
    explain_acceptance,
    explain_version,
    list_packages,
    list_waiting,
)

FOLDER = Path(".local")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    add_up_parser(subparsers)
    demo.add_parser(subparsers)
    args = parser.parse_args(arguments)
    try:
        return int(args.func(args))
    except (DriftlessError, DeployError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def add_up_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `up`."""
    parser = subparsers.add_parser(
        "up",
        help="deploy a stage to a local cloud and leave it running",
        description="Synthesise a stage, deploy it to a local cloud and serve until Ctrl-C.",
        epilog="example: python -m local up --port 4566",
    )
    parser.add_argument("--stage", default="local", help="the stage to synthesise (local)")
    parser.add_argument("--port", type=int, default=0, help="of the AWS endpoint (any free one)")
    parser.add_argument("--api-port", type=int, default=0, help="of the REST API (any free one)")
    parser.add_argument(
        "--rate",
        type=float,
        default=demo.CLOCK_RATE,
        help="how fast the cloud's clock runs: 60 brings the hourly check every minute (60)",
    )
    parser.add_argument(
        "--assembly", type=Path, help="deploy this cdk.out instead of synthesising one"
    )
    parser.add_argument("--no-data", action="store_true", help="leave the bucket empty")
    parser.add_argument("--once", action="store_true", help="end when everything is deployed")
    parser.set_defaults(func=up)


def up(args: argparse.Namespace) -> int:
    """Start a cloud, deploy a stage to it, say how to call it, and stay."""
    settings = load_settings(Path("project.toml"), args.stage)
    assembly = args.assembly or FOLDER / "cdk.out"
    if args.assembly is None:
        print(f"synthesising stage {args.stage} ...", flush=True)
        demo.synthesise(assembly, args.stage)
    began = time.monotonic()
    cloud_file = FOLDER / "cloud.json"
    with Cloud(FOLDER / "cloud", args.port, args.rate, api_port=args.api_port) as cloud:
        try:
            outputs = cloud.deploy(assembly)
            write_cloud_file(cloud, cloud_file)
            print(f"deployed {', '.join(outputs)} in {time.monotonic() - began:.1f} s")
            print(describe(cloud), flush=True)
            if not args.no_data:
                deployment = demo.connect_cloud(settings, cloud)
                put_tables(deployment, Path(settings.data.file))
                if wait_for_model(cloud, deployment):
                    print(describe_call(cloud, deployment), flush=True)
                else:
                    print(describe_waiting(deployment), flush=True)
            if not args.once:
                wait_for_end()
        finally:
            cloud_file.unlink(missing_ok=True)
    return 0


def put_tables(deployment: Deployment, source: Path) -> None:
    """Put the project's table, or the tables of its folder, under data/."""
    with tempfile.TemporaryDirectory() as converted:
        uploads, _ = list_uploads([source], Path(converted), deployment.settings.data)
        for upload in uploads:
            put_table(deployment, upload.path, upload.key)
    print(f"put {source} into s3://{deployment.bucket}/data/: training starts by itself")


def write_cloud_file(cloud: Cloud, path: Path) -> None:
    """Write what `python -m ops` needs in order to find this cloud; readable by its owner only."""
    operator = cloud.identity.operator
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "endpoint": cloud.endpoint,
        "region": cloud.region,
        "access_key_id": operator.key,
        "secret_access_key": operator.secret,
        "apis": cloud.apis,
        "pid": os.getpid(),
    }
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")


def describe(cloud: Cloud) -> str:
    """Say where the cloud and its APIs answer, with a call to copy."""
    operator = cloud.identity.operator
    exports = "\n".join(f"  export {k}={v}" for k, v in cloud.environment().items())
    lines = [f"\nAWS endpoint  {cloud.endpoint}\n{exports}"]
    for url in cloud.apis.values():
        lines.append(
            f"\nREST API      {url}\n"
            f"  curl --aws-sigv4 aws:amz:{cloud.region}:execute-api"
            f" --user {operator.key}:{operator.secret} {url}/health"
        )
    return "\n".join(lines)


def wait_for_model(cloud: Cloud, deployment: Deployment) -> bool:
    """Show the training job's progress until its model is live; False if it waits for a person.

    Raises DemoError where the run fails, or its model is rejected.
    """
    watched = demo.Demo(
        cloud, deployment.settings, Console(highlight=False, soft_wrap=True), deployment
    )
    with watched.show("training"):
        watched.wait_until("waiting for the run", watched.model_packages)
        # A package is created pending; what its run ends with is the decision.
        watched.wait_until("registering", lambda: not watched.is_running())
        package = watched.describe_package(-1)
        status = package["ModelApprovalStatus"]
        if status == PENDING:
            return False
        if status != "Approved":
            reason = package.get("ApprovalDescription", "")
            raise demo.DemoError(f"the model is registered as {status}, so none is live: {reason}")
        watched.wait_until(
            "promoting", lambda: deployment.model_uri != "none" and watched.is_settled()
        )
    return True


def describe_waiting(deployment: Deployment) -> str:
    """Say that the first model waits for a person, why, and how it goes live."""
    (version, *_) = list_waiting(deployment, list_packages(deployment), deployment.model_uri)
    lines = [
        f"\nmodel version {version['version']} waits for a person; none is live:",
        *explain_version(version),
        "in another terminal",
        f"  {version['approve']}",
        *explain_acceptance(version),
    ]
    return "\n".join(lines)


def describe_call(cloud: Cloud, deployment: Deployment) -> str:
    """Write a signed call of POST /predict, with a row that the model came with, to copy."""
    bucket, _, prefix = deployment.model_uri.removeprefix("s3://").partition("/")
    golden = deployment.client("s3").get_object(Bucket=bucket, Key=f"{prefix}golden.json")
    row = json.loads(golden["Body"].read())["rows"][0]
    body = json.dumps({"instances": [row]}, ensure_ascii=False).replace("'", "'\\''")
    operator = cloud.identity.operator
    return (
        f"\nthe model is live: {deployment.model_uri}\n"
        f"  curl --aws-sigv4 aws:amz:{cloud.region}:execute-api"
        f" --user {operator.key}:{operator.secret} \\\n"
        f"    -H 'content-type: application/json' {deployment.api_url}predict \\\n"
        f"    -d '{body}'\n"
        "or, in another terminal\n"
        "  python -m ops predict --golden --stage local\n"
        "  python -m ops status --stage local"
    )


def wait_for_end() -> None:
    """Wait for Ctrl-C or a termination signal."""
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    print("\nCtrl-C ends it.", flush=True)
    ended.wait()


if __name__ == "__main__":
    sys.exit(main())
