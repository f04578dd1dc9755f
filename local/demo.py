"""The whole loop on this machine: deploy, put a table in the bucket, and then only watch.

Nothing here trains, registers, promotes or alarms. The demo puts objects into the bucket, calls the
REST API, moves the clock on, and looks; everything else is done by the deployed templates.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.status import Status

from core.errors import DriftlessError, OperationError
from core.settings import Settings, load_settings
from local.cloud import Cloud
from ops.deployment import Deployment
from ops.drift import read_drift

STEPS = (
    "deploy",
    "first_prediction",
    "no_false_alarm",
    "drift_alarm",
    "retrain",
    "second_version_live",
)
# A minute of the cloud's clock passes in a second, so that a canary of five minutes is watched in
# five seconds; the demo moves the clock on by itself from one hourly check to the next.
CLOCK_RATE = 60.0
HELD_OUT_ROWS = 200
RECALIBRATION = 1.12
STEP_TIMEOUT_SECONDS = 240.0
BATCH_ROWS = 50
SHOWN_CHANGES = 3


class DemoError(OperationError):
    """A step of the loop did not happen."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="run the whole loop once and say what happened",
        description="Deploy to a local cloud, train, serve, drift, alarm, retrain, serve again.",
        epilog="example: python -m local demo --json out.json",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the steps' outcomes")
    parser.set_defaults(func=main)


def recalibrate(row: dict[str, Any], factor: float = RECALIBRATION) -> dict[str, Any]:
    """Return a row of the breast cancer table as a scanner enlarged by `factor` reports it.

    Lengths (radius, perimeter) grow by the factor, areas by its square; ratios stay.
    """
    scaled = dict(row)
    for name, value in row.items():
        if "area" in name:
            scaled[name] = value * factor**2
        elif "radius" in name or "perimeter" in name:
            scaled[name] = value * factor
    return scaled


def split_table(path: Path, target: str, held_out: int) -> tuple[str, list[dict[str, Any]]]:
    """Split a CSV table of numbers: its first rows as CSV text, its last ones as typed rows."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    reader = csv.DictReader([lines[0], *lines[-held_out:]])
    rows = [
        {name: value if name == target else float(value) for name, value in row.items()}
        for row in reader
    ]
    return "".join(lines[:-held_out]), rows


class Demo:
    """Drive and watch the loop, and keep each step's outcome and seconds."""

    def __init__(
        self,
        cloud: Cloud,
        settings: Settings,
        console: Console,
        deployment: Deployment | None = None,
    ) -> None:
        self.cloud = cloud
        self.settings = settings
        self.console = console
        self.steps: dict[str, dict[str, Any]] = {}
        self.url = ""
        self.started = time.monotonic()
        self._status: Status | None = None
        self._said = ""
        self._deployment = deployment

    # -- watching -------------------------------------------------------------------------------

    @property
    def deployment(self) -> Deployment:
        """Return the deployed stage."""
        if self._deployment is None:
            raise DemoError("nothing is deployed yet")
        return self._deployment

    def say(self, text: str) -> None:
        """Print one line of what was seen."""
        self.console.print(f"  {text}", markup=False)

    def doing(self, text: str) -> None:
        """Show what is waited for, with the seconds so far; each thing once where no one looks."""
        if self.console.is_terminal and self._status is not None:
            self._status.update(f"{text} ({time.monotonic() - self.started:.0f} s)")
        elif text != self._said:
            self.say(f"{text} ...")
        self._said = text

    @contextmanager
    def show(self, title: str) -> Iterator[None]:
        """Show that something is under way, with the newest line of a training job's log."""
        self.cloud.jobs.watchers.append(self.show_job_line)
        try:
            with self.console.status(title) as self._status:
                yield
        finally:
            self._status = None
            self.cloud.jobs.watchers.remove(self.show_job_line)

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[dict[str, Any]]:
        """Time a step; what it leaves in `detail` is its outcome."""
        began = time.monotonic()
        outcome: dict[str, Any] = {"ok": False, "seconds": 0.0, "detail": ""}
        self.steps[name] = outcome
        self.console.print(f"[bold]{len(self.steps)}/{len(STEPS)} {title}[/bold]")
        try:
            with self.show(title):
                yield outcome
            outcome["ok"] = True
        except DriftlessError as error:
            outcome["detail"] = str(error)
            raise
        finally:
            outcome["seconds"] = round(time.monotonic() - began, 2)
        self.console.print(
            f"  [green]ok[/green] {outcome['seconds']:.1f} s  ", outcome["detail"], markup=True
        )

    def wait_until(
        self, what: str, look: Callable[[], Any], *, advance_seconds: float = 0.0
    ) -> Any:
        """Look until something is seen; between looks the cloud's clock may be moved on.

        Raises DemoError, saying what did not happen, after STEP_TIMEOUT_SECONDS.
        """
        deadline = time.monotonic() + STEP_TIMEOUT_SECONDS
        while True:
            self.doing(what)
            seen = look()
            if seen:
                return seen
            failure = self._failed_run()
            if failure:
                raise DemoError(f"the training run failed: {failure}")
            if time.monotonic() > deadline:
                raise DemoError(f"not seen within {STEP_TIMEOUT_SECONDS:.0f} s: {what}")
            if advance_seconds:
                self.cloud.clock.advance(advance_seconds)
            else:
                time.sleep(0.2)

    def _executions(self) -> list[dict[str, Any]]:
        machine = self.deployment.output("training", "StateMachineArn")
        client = self.deployment.client("stepfunctions")
        return list(client.list_executions(stateMachineArn=machine)["executions"])

    def is_running(self) -> bool:
        """Tell whether a training run is under way."""
        return any(execution["status"] == "RUNNING" for execution in self._executions())

    def _failed_run(self) -> str | None:
        if self._deployment is None:
            return None
        for execution in self._executions():
            if execution["status"] in ("FAILED", "TIMED_OUT", "ABORTED"):
                described = self.deployment.client("stepfunctions").describe_execution(
                    executionArn=execution["executionArn"]
                )
                return str(described.get("cause") or described.get("error") or "no cause given")
        return None

    def model_packages(self) -> list[dict[str, Any]]:
        """List the registered models, the oldest first."""
        group = self.deployment.output("training", "ModelPackageGroupName")
        client = self.deployment.client("sagemaker")
        found = client.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
        return sorted(found, key=lambda package: int(package["ModelPackageVersion"]))

    def describe_package(self, index: int) -> dict[str, Any]:
        """Describe one of the registered models, counted as in a list from the oldest."""
        arn = self.model_packages()[index]["ModelPackageArn"]
        client = self.deployment.client("sagemaker")
        return dict(client.describe_model_package(ModelPackageName=arn))

    def alarm(self, name: str) -> dict[str, Any]:
        """Return the state of one of the stage's alarms."""
        client = self.deployment.client("cloudwatch")
        found = client.describe_alarms(AlarmNames=[f"{self.deployment.name}-{name}"])
        alarms = found["MetricAlarms"] + found.get("CompositeAlarms", [])
        if not alarms:
            raise DemoError(f"alarm {self.deployment.name}-{name} is not deployed")
        return dict(alarms[0])

    def judged_windows(self) -> int:
        """Count the windows that the monitor has judged so far."""
        client = self.deployment.client("cloudwatch")
        now = self.cloud.clock.utc()
        found = client.get_metric_statistics(
            Namespace="Driftless",
            MetricName="DriftDetected",
            Dimensions=[{"Name": "Deployment", "Value": self.deployment.name}],
            StartTime=now.replace(year=now.year - 1),
            EndTime=now.replace(year=now.year + 1),
            Period=60,
            Statistics=["SampleCount"],
        )
        return int(sum(point["SampleCount"] for point in found["Datapoints"]))

    # -- acting ---------------------------------------------------------------------------------

    def predict(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Score rows over HTTP, in requests of BATCH_ROWS.

        Raises DemoError where a request is refused.
        """
        answers: list[dict[str, Any]] = []
        target = self.settings.problem.target
        for start in range(0, len(rows), BATCH_ROWS):
            batch = [
                {name: value for name, value in row.items() if name != target}
                for row in rows[start : start + BATCH_ROWS]
            ]
            status, answer = self.deployment.request("POST", "predict", {"instances": batch})
            if status != 200:
                raise DemoError(f"POST /predict answered {status}: {json.dumps(answer)[:400]}")
            answers += answer["predictions"]
        return answers

    def start_window(self) -> None:
        """Move the clock to just after the next hourly check, so that a window starts clean."""
        seconds = self.settings.monitoring.schedule_minutes * 60
        self.cloud.clock.advance(seconds - self.cloud.clock.now() % seconds + 1)

    def wait_for_window(self, what: str) -> None:
        """Move the clock on, check by check, until the monitor has judged one more window."""
        before = self.judged_windows()
        self.wait_until(
            what,
            lambda: self.judged_windows() > before,
            advance_seconds=self.settings.monitoring.schedule_minutes * 60,
        )

    def show_job_line(self, job: str, line: str) -> None:
        """Show the newest line of a training job's log."""
        if self.console.is_terminal:
            self.doing(f"{job[-6:]}: {line.strip()[:100]}")

    # -- the steps ------------------------------------------------------------------------------

    def run(self, assembly: Path) -> None:
        """Run the six steps; a step that fails ends the demo with its reason."""
        table = Path(self.settings.data.file or "")
        training_rows, held_out = split_table(
            table, self.settings.problem.target or "", HELD_OUT_ROWS
        )
        recalibrated = [recalibrate(row) for row in held_out]
        self._deploy(assembly)
        self._first_prediction(table.name, training_rows, held_out)
        self._no_false_alarm(held_out)
        answers = self._drift_alarm(recalibrated)
        self._retrain(recalibrated, answers)
        self._second_version_live(recalibrated)

    def _deploy(self, assembly: Path) -> None:
        with self.step("deploy", "synthesise and deploy the three stacks") as outcome:
            self.doing("cdk synth")
            synthesise(assembly)
            self.doing("deploying")
            self.cloud.deploy(assembly)
            self._deployment = connect_cloud(self.settings, self.cloud)
            self.url = self.deployment.api_url
            outcome["detail"] = f"{self.url}predict"

    def _first_prediction(
        self, name: str, training_rows: str, held_out: list[dict[str, Any]]
    ) -> None:
        with self.step("first_prediction", "a table arrives; a model is trained and live") as seen:
            bucket = self.deployment.bucket
            self.deployment.client("s3").put_object(
                Bucket=bucket, Key=f"data/{name}", Body=training_rows.encode()
            )
            rows = training_rows.count("\n") - 1
            self.say(f"put {rows} rows in s3://{bucket}/data/{name}; the S3 event starts the run")
            self.wait_until("waiting for the S3 event", self._executions)
            self.wait_until("training", self.model_packages)
            package = self.model_packages()[0]
            status = package["ModelApprovalStatus"]
            self.say(f"model version 1 is registered: {status}")
            if status != "Approved":
                raise DemoError(f"the first model is {status}, not Approved")
            example = {k: v for k, v in held_out[0].items() if k != self.settings.problem.target}

            def ask() -> Any:
                status, answer = self.deployment.request(
                    "POST", "predict", {"instances": [example]}
                )
                return answer if status == 200 else None

            answer = self.wait_until("promoting: golden rows, then traffic shifts", ask)
            seen["detail"] = json.dumps(answer["predictions"][0], ensure_ascii=False)

    def is_settled(self) -> bool:
        """Tell whether the serving stack is at rest; raises DemoError where it went back."""
        stack = f"{self.deployment.name}-serving"
        found = self.deployment.client("cloudformation").describe_stacks(StackName=stack)
        status = str(found["Stacks"][0]["StackStatus"])
        if "ROLLBACK" in status or "FAILED" in status:
            raise DemoError(f"stack {stack} is {status}")
        return status.endswith("_COMPLETE")

    def _no_false_alarm(self, held_out: list[dict[str, Any]]) -> None:
        with self.step("no_false_alarm", "held-out rows: no alarm may fire") as outcome:
            self.wait_until("the traffic shift ends", self.is_settled)
            self.start_window()
            self.predict(held_out)
            self.say(f"sent {len(held_out)} rows that the model has never seen")
            self.wait_for_window("the monitor judges the window")
            alarm = self.alarm("drift")
            if alarm["StateValue"] == "ALARM":
                raise DemoError(f"a false alarm: {alarm['StateReason']}")
            evidence = read_drift(self.deployment, "1d")["windows"][-1]["evidence"]
            outcome["detail"] = (
                f"{alarm['AlarmName']} is {alarm['StateValue']}: evidence {evidence:.2f}, "
                "the alarm's line is 1"
            )

    def _drift_alarm(self, recalibrated: list[dict[str, Any]]) -> list[dict[str, Any]]:
        title = f"a scanner recalibrated by {RECALIBRATION - 1:.0%}: the alarm fires"
        with self.step("drift_alarm", title) as outcome:
            self.start_window()
            answers = self.predict(recalibrated)
            self.say(f"sent {len(recalibrated)} rows, lengths x1.12 and areas x1.12 squared")
            self.wait_for_window("the monitor judges the window")
            self.wait_until(
                "the alarm is evaluated",
                lambda: self.alarm("drift")["StateValue"] == "ALARM",
                advance_seconds=60,
            )
            verdict = read_drift(self.deployment, "1d")["latest"]["verdict"]
            for change in verdict["ranking"][:SHOWN_CHANGES]:
                self.say(f"moved: {change['text']}")
            outcome["detail"] = f"{self.alarm('drift')['AlarmName']} is in ALARM"
        return answers

    def _retrain(self, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
        with self.step("retrain", "labels come back; the drift run trains on them") as outcome:
            target = self.settings.problem.target or ""
            labels = [
                {"id": answer["id"], "value": row[target]}
                for answer, row in zip(answers, rows, strict=True)
            ]
            status, answer = self.deployment.request("POST", "feedback", {"labels": labels})
            if status not in (200, 202):
                raise DemoError(f"POST /feedback answered {status}: {json.dumps(answer)[:400]}")
            self.say(f"posted {len(labels)} labels to /feedback")
            self.wait_until(
                "the monitor joins the labels; the run trains on them",
                lambda: self.model_packages()[1:],
                advance_seconds=self.settings.monitoring.schedule_minutes * 60,
            )
            package = self.describe_package(1)
            status, reason = package["ModelApprovalStatus"], package.get("ApprovalDescription", "")
            if status != "Approved":
                raise DemoError(f"the challenger is {status}: {reason}")
            outcome["detail"] = f"version 2 is {status}: {reason}"

    def _second_version_live(self, rows: list[dict[str, Any]]) -> None:
        with self.step("second_version_live", "the new version is promoted and live") as outcome:
            run = self.describe_package(1)["CustomerMetadataProperties"]["run"]
            example = {k: v for k, v in rows[0].items() if k != self.settings.problem.target}

            def ask() -> Any:
                _, answer = self.deployment.request("POST", "predict", {"instances": [example]})
                return answer if answer.get("model", {}).get("run") == run else None

            answer = self.wait_until("promoting: golden rows, then traffic shifts", ask)
            self.wait_until("the traffic shift ends", self.is_settled)
            outcome["detail"] = f"answers come from {answer['model']['run']}"


def connect_cloud(settings: Settings, cloud: Cloud) -> Deployment:
    """Connect the operator's commands to a cloud of this process."""
    environment = cloud.environment()
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    return Deployment(settings, session, cloud.endpoint, tuple(sorted(cloud.apis.items())))


def synthesise(assembly: Path, stage: str = "local") -> None:
    """Write the templates and assets of a stage to a folder, with the CDK command line.

    Raises DemoError with the CDK's own words where the synthesis fails.
    """
    done = subprocess.run(
        ["node_modules/.bin/cdk", "synth", "--quiet", "-c", f"stage={stage}", "-o", str(assembly)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise DemoError(f"cdk synth failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def describe_end(demo: Demo, folder: Path, seconds: float) -> str:
    """Say what happened and what to try next."""
    return f"""
The whole loop ran in {seconds:.0f} s on this machine, from what {folder}/cdk.out holds

  the API          {demo.url}predict  (it ends with this command)
  the model        {folder}/report.html  how well it does, and how that was found out
  the drift        {folder}/drift/index.html  every window that was judged
  the templates    {folder}/cdk.out/*.template.json

Three things to try next

  make up                                              the same cloud, left running for your curl
  python -m ops init customers.csv --target churned    your own table; no code is edited
  make deploy STAGE=dev                                the same templates, in your AWS account
"""


def save_artifacts(demo: Demo, folder: Path) -> None:
    """Copy the reports out of the bucket, which ends with the process."""
    deployment = demo.deployment
    s3 = deployment.client("s3")
    bucket, _, prefix = deployment.model_uri.removeprefix("s3://").partition("/")
    s3.download_file(bucket, prefix + "report.html", str(folder / "report.html"))
    (folder / "drift").mkdir()
    reports = "monitor/reports/"
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=reports).get("Contents", []):
        s3.download_file(
            bucket, item["Key"], str(folder / "drift" / item["Key"].removeprefix(reports))
        )


def main(args: argparse.Namespace) -> int:
    """Run the demo and return 0 where every step happened."""
    console = Console(highlight=False, soft_wrap=True)
    folder = Path(".local/demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = load_settings(Path("project.toml"), "local")
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="driftless-") as scratch,
        Cloud(Path(scratch), rate=CLOCK_RATE) as cloud,
    ):
        demo = Demo(cloud, settings, console)
        try:
            demo.run(folder / "cdk.out")
            save_artifacts(demo, folder)
        except DriftlessError as error:
            seconds = time.monotonic() - began
            console.print(f"[red]failed[/red] after {seconds:.0f} s:", str(error))
        finally:
            if args.json:
                outcome = {"steps": demo.steps, "url": demo.url}
                args.json.write_text(json.dumps(outcome, indent=2) + "\n")
    if all(demo.steps.get(name, {}).get("ok") for name in STEPS):
        console.print(describe_end(demo, folder, time.monotonic() - began), markup=False)
        return 0
    return 1


if __name__ == "__main__":
    sys.exit("run it as: python -m local demo")
