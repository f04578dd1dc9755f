"""Show the monitor's verdicts: the newest, and those of earlier windows."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from core.errors import OperationError
from ops.deployment import Deployment, connect
from ops.screen import console, print_json, print_table

STATE = "monitor/state.json"
SHOWN_COLUMNS = 12
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `drift`."""
    parser = subparsers.add_parser(
        "drift",
        help="show what has changed since training",
        description="Show the monitor's newest verdict, and the windows judged since a time.",
        epilog="example: python -m ops drift --since 7d",
    )
    parser.add_argument("--stage", help="the stage (default: [project] stage)")
    parser.add_argument(
        "--since",
        metavar="WHEN",
        default="1d",
        help="show windows since a time (2026-01-31 or 2026-01-31T12:00) or an age (90m, 24h, 7d); "
        "default: 1d",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=main)


def parse_since(text: str, now: datetime) -> datetime:
    """Parse a time or an age; raises OperationError that shows both forms."""
    if age := re.fullmatch(r"(\d+)([mhd])", text):
        return now - timedelta(**{UNITS[age[2]]: int(age[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise OperationError(
            f"--since {text!r} is neither a time (2026-01-31T12:00) nor an age (90m, 24h, 7d)"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_json(deployment: Deployment, key: str) -> Any:
    """Read a JSON object from the stage's bucket; None where it does not exist."""
    client = deployment.client("s3")
    try:
        return json.loads(client.get_object(Bucket=deployment.bucket, Key=key)["Body"].read())
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise


def read_drift(deployment: Deployment, since: str) -> dict[str, Any]:
    """Collect the monitor's state, its newest verdict, and the windows since a time.

    Ages are relative to the monitor's last run, because the local cloud's clock can be moved
    forward.
    """
    state = read_json(deployment, STATE)
    if state is None:
        return {"deployment": deployment.name, "time": None, "latest": None, "windows": []}
    now = datetime.fromtimestamp(state["time"] / 1000, UTC)
    start = parse_since(since, now)
    windows = [w for w in state["history"] if datetime.fromisoformat(w["end"]) >= start]
    counting = state.get("counting") or None
    latest = state["history"][-1] if state["history"] else None
    return {
        "deployment": deployment.name,
        "time": now,
        "report": f"s3://{deployment.bucket}/monitor/reports/index.html",
        "standing": state["standing"],
        "latest": latest and read_json(deployment, f"monitor/reports/{latest['name']}.json"),
        "windows": windows,
        "quality": state["quality"],
        "counting": counting and datetime.fromtimestamp(counting / 1000, UTC),
        "labels": {key: state["labels"][key] for key in ("total", "new", "last")},
        "problems": state["problems"],
    }


def main(args: argparse.Namespace) -> int:
    """Print drift and quality; the exit status is 0 with or without drift."""
    found = read_drift(connect(args.stage), args.since)
    if args.json:
        print_json(found)
        return 0
    if found["time"] is None:
        console.print(f"{found['deployment']}: the monitor has not run yet", markup=False)
        return 0
    console.print(f"{found['deployment']}  as of {found['time']:%Y-%m-%d %H:%M} UTC", markup=False)
    latest = found["latest"]
    if latest is None:
        console.print("No window has been judged yet: too few predictions so far.")
    else:
        verdict = latest["verdict"]
        word = f"drift since {latest['since']}" if verdict["alarm"] else "no drift"
        console.print(
            f"{word}: {latest['rows']} predictions until {latest['end']}, model {latest['run']}",
            style="bold red" if verdict["alarm"] else "bold green",
            markup=False,
        )
        console.print(verdict["calibration"], style="dim", markup=False)
        print_table(
            "Largest changes (evidence of 1 or more alarms)",
            ("change", "evidence", ""),
            [
                (f["text"], _evidence(f["evidence"] / f["threshold"]), "alarms" * f["alarms"])
                for f in verdict["ranking"][:SHOWN_COLUMNS]
            ],
        )
        if latest["estimated_quality"] is not None:
            console.print(
                f"Estimated accuracy {latest['estimated_quality']:.3f}"
                " (from the scores alone; a change in what the label means does not show)"
            )
    for run, quality in found["quality"].items():
        for line in describe_quality(run, quality):
            console.print(line, markup=False)
    if found["windows"]:
        print_table(
            f"Windows since {args.since}",
            ("until (UTC)", "rows", "evidence", "largest change"),
            [
                (
                    _moment(w["end"]),
                    w["rows"],
                    f"{_evidence(w['evidence'])}{' DRIFT' if w['alarm'] else ''}",
                    w["top"],
                )
                for w in found["windows"]
            ],
        )
    elif latest is not None:
        console.print(f"No window was judged since {args.since}.", markup=False)
    if found["counting"] is not None:
        console.print(
            f"! large backlog: parallel functions have been counting captures since "
            f"{found['counting']:%Y-%m-%d %H:%M} UTC; windows are judged when they finish",
            markup=False,
        )
    for problem in found["problems"]:
        console.print(f"! {problem}", markup=False)
    console.print(f"report: {found['report']}", markup=False)
    return 0


def describe_quality(run: str, quality: dict[str, Any]) -> Iterator[str]:
    """Say what labels show of one version: now, first and since, and why an alarm is on."""
    dropped = "  DROPPED" if quality["dropped"] else ""
    yield (
        f"{quality['metric']} on {quality['rows']} labelled predictions: {_interval(quality)}, "
        f"holdout {_number(quality['expected'])}{dropped}  [{run}]"
    )
    first, recent = quality.get("first"), quality.get("recent")
    if first and recent:
        yield (
            f"  first {first['rows']}: {_interval(first)}; "
            f"the {recent['rows']} since then: {_interval(recent)}"
        )
    if quality.get("sentence"):
        yield f"  {quality['sentence']}"


def _interval(part: dict[str, Any]) -> str:
    if part["low"] is None:
        return _number(part["value"])
    return f"{_number(part['value'])} ({_number(part['low'])} to {_number(part['high'])})"


def _number(value: float | None) -> str:
    return "cannot be computed" if value is None else f"{value:.4f}"


def _moment(text: str) -> str:
    """Shorten `2026-01-31T12:00:00Z`."""
    return text[:16].replace("T", " ")


def _evidence(ratio: float | None) -> str:
    return f"{max(ratio or 0.0, 0.0):.2f}"
