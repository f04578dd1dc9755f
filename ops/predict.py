"""Score rows with the live model over its REST API."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from core.errors import OperationError
from ops.deployment import connect
from ops.screen import print_json


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `predict`."""
    parser = subparsers.add_parser(
        "predict",
        help="score rows with the live model through its API",
        description="Send rows (a JSON object, or a list of them) to POST /predict and print the "
        "response.",
        epilog='example: echo \'[{"age": 41, "plan": "pro"}]\' | python -m ops predict -',
    )
    parser.add_argument("file", nargs="?", default="-", help="a JSON file, or - for standard input")
    parser.add_argument(
        "--golden", action="store_true", help="send the first 3 golden rows of the live model"
    )
    parser.add_argument("--explain", action="store_true", help="include each column's contribution")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.set_defaults(func=main)


def read_rows(text: str, source: str) -> list[dict[str, Any]]:
    """Parse rows from JSON text: one object, a list of them, or a whole request.

    Raises OperationError where it is none of the three.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise OperationError(f"{source} is not JSON: {error}") from error
    if isinstance(value, dict):
        value = value.get("instances", [value])
    if not (isinstance(value, list) and value and all(isinstance(row, dict) for row in value)):
        raise OperationError(f"{source} must hold a row (an object) or a list of rows")
    return value


def main(args: argparse.Namespace) -> int:
    """Score the rows and print the response; the exit status is 1 unless it is 200."""
    deployment = connect(args.stage)
    if args.golden:
        bucket, _, prefix = deployment.model_uri.removeprefix("s3://").partition("/")
        if not prefix:
            raise OperationError("no model is live yet: see `python -m ops status`")
        body = deployment.client("s3").get_object(Bucket=bucket, Key=prefix + "golden.json")
        rows = json.loads(body["Body"].read())["rows"][:3]
    elif args.file == "-":
        rows = read_rows(sys.stdin.read(), "standard input")
    else:
        try:
            rows = read_rows(Path(args.file).read_text(encoding="utf-8-sig"), args.file)
        except (OSError, UnicodeDecodeError) as error:
            raise OperationError(f"{args.file} cannot be read: {error}") from error
    path = "predict?explain=true" if args.explain else "predict"
    status, answer = deployment.request("POST", path, {"instances": rows})
    print_json(answer)
    return 0 if status == 200 else 1
