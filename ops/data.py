"""Upload tables to the bucket; their arrival starts a training run."""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.arrival import natural_order
from core.data_objects import recognise
from core.errors import OperationError
from core.settings.sections import Data
from ops.arriving import PREFIX, Upload, compare_with_stored
from ops.conversion import convert, is_convertible
from ops.deployment import Deployment, connect
from ops.screen import console, print_json


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `data`."""
    parser = subparsers.add_parser(
        "data",
        help="upload tables; training starts automatically",
        description="Upload tables to data/ in the bucket, after a look at what is there: what "
        "does not fit [data] arrival is not sent. Spreadsheets and JSON are converted to CSV on "
        "this machine. Their arrival starts a training run, which checks the columns against "
        "project.toml.",
        epilog="example: python -m ops data customers-2026-11.csv --stage prod",
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="file",
        help="CSV, Parquet, a spreadsheet, JSON, or a folder of them (default: [data] file)",
    )
    parser.add_argument(
        "--anyway", action="store_true", help="send what does not fit [data] arrival as well"
    )
    parser.add_argument("--sheet", default="", help="the sheet of a workbook that has several")
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def list_uploads(
    paths: Sequence[Path], converted: Path, data: Data, *, sheet: str = ""
) -> tuple[list[Upload], list[str]]:
    """List what is to be sent, in the order of its names, and say what of folders is left out.

    A folder's tables keep their paths below it. Spreadsheets and JSON are converted into the folder
    `converted`, as `data` says that tables are written. Raises OperationError for a named file that
    is no table.
    """
    uploads: list[Upload] = []
    left_out: list[str] = []
    for path, relative in _walk(paths):
        found = recognise(relative, path.stat().st_size)
        if found.kind == "table":
            uploads.append(Upload(path, PREFIX + relative))
        elif found.kind == "unread" and is_convertible(path) and path.stat().st_size:
            target = converted / f"{len(uploads)}.csv"
            convert(path, target, data, sheet=sheet)
            name = Path(relative).with_suffix(".csv").as_posix()
            uploads.append(Upload(target, PREFIX + name, source=path))
        elif path in paths:
            why = found.reason or "is no table: name a CSV or Parquet file"
            raise OperationError(f"{path} {why}")
        elif found.kind == "unread":
            left_out.append(f"{path} {found.reason}")
    keys = [upload.key for upload in uploads]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise OperationError(f"two of the files would be {twice}: rename one")
    if not uploads:
        raise OperationError("; ".join(["there is no table to send", *left_out]))
    return sorted(uploads, key=lambda upload: natural_order(upload.key)), left_out


def _walk(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Give each file, and its path below the folder that was named."""
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file())
            yield from ((file, file.relative_to(path).as_posix()) for file in inside)
        elif path.is_file():
            yield path, path.name
        else:
            raise OperationError(f"{path} is not a file: name a CSV or Parquet table")


def put_table(deployment: Deployment, path: Path, key: str | None = None) -> dict[str, object]:
    """Upload a table to `data/`, by default under its own name, and return what was stored.

    Raises OperationError for a file that training would not read.
    """
    if not path.is_file():
        raise OperationError(f"{path} is not a file: name a CSV or Parquet table")
    found = recognise(path.name, path.stat().st_size)
    if found.kind != "table":
        raise OperationError(f"{path} {found.reason or 'is no table: name a CSV or Parquet file'}")
    key = key or f"{PREFIX}{path.name}"
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
    """Upload the tables that the arguments name, unless they do not fit what is there."""
    deployment = connect(args.stage)
    paths: list[Path] = args.files
    if not paths and deployment.settings.data.file:
        paths = [Path(deployment.settings.data.file)]
    if not paths:
        raise OperationError("no table given: name a file, or set [data] file in project.toml")
    with tempfile.TemporaryDirectory() as folder:
        uploads, left_out = list_uploads(
            paths, Path(folder), deployment.settings.data, sheet=args.sheet
        )
        compared = compare_with_stored(deployment, uploads)
        if compared.misfit and not args.anyway:
            raise OperationError(
                f"nothing was sent: {compared.misfit}; then deploy, and send it again. "
                "--anyway sends it as it is: the run is held until [data] arrival fits"
            )
        stored = [
            put_table(deployment, upload.path, upload.key)
            | ({"converted_from": str(upload.source)} if upload.source else {})
            for upload in uploads
        ]
    if args.json:
        print_json(
            {
                "uploaded": stored,
                "left_out": left_out,
                "effect": compared.effect,
                "misfit": compared.misfit,
            }
        )
        return 0
    for entry in stored:
        origin = entry.get("converted_from")
        how = f", converted from {origin}" if origin else ""
        console.print(f"uploaded {entry['uri']} ({entry['bytes']:,} bytes{how})", markup=False)
    for sentence in left_out:
        console.print(f"not sent: {sentence}", markup=False)
    console.print(compared.effect, markup=False)
    if compared.misfit:
        console.print(f"the run will be held: {compared.misfit}", markup=False)
    console.print(
        f"a training run starts in {deployment.settings.retraining.debounce_seconds} s, follow it "
        "with `python -m ops status`",
        markup=False,
    )
    return 0
