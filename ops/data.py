"""Upload a table to the bucket; its arrival starts a training run."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from core.errors import OperationError
from ops.deployment import Deployment, connect
from ops.screen import console, print_json

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `data`."""
    parser = subparsers.add_parser(
        "data",
        help="upload a table; training starts automatically",
        description="Upload a table to data/ in the bucket. Its arrival starts a training run, "
        "which checks the columns against project.toml.",
        epilog="example: python -m ops data customers-2026-11.csv --stage prod",
    )
    parser.add_argument("file", nargs="?", help="CSV or Parquet (default: [data] file)")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def put_table(deployment: Deployment, path: Path) -> dict[str, object]:
    """Upload a table to `data/` under its own name and return what was stored.

    Raises OperationError for a file that training would not read.
    """
    if not path.is_file():
        raise OperationError(f"{path} is not a file: name a CSV or Parquet table")
    if not path.name.lower().endswith(SUFFIXES):
        raise OperationError(f"{path} must end in one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise OperationError(f"{path} is empty")
    key = f"data/{path.name}"
    s3 = deployment.client("s3")
    s3.upload_file(str(path), deployment.bucket, key)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    version = s3.head_object(Bucket=deployment.bucket, Key=key).get("VersionId")
    return {
        "uri": f"s3://{deployment.bucket}/{key}",
        "version_id": version,
        "bytes": path.stat().st_size,
        "sha256": digest,
    }


def main(args: argparse.Namespace) -> int:
    """Upload the table that the arguments name."""
    deployment = connect(args.stage)
    file = args.file or deployment.settings.data.file
    if not file:
        raise OperationError("no table given: name a file, or set [data] file in project.toml")
    stored = put_table(deployment, Path(file))
    if args.json:
        print_json(stored)
    else:
        console.print(
            f"uploaded {stored['uri']} ({stored['bytes']:,} bytes); a training run starts in "
            f"{deployment.settings.retraining.debounce_seconds} s, follow it with "
            "`python -m ops status`",
            markup=False,
        )
    return 0
