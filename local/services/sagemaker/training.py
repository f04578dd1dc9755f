"""One run of a training job: inputs, script, log, metrics, checkpoints, outputs."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from local.host import Host
from local.services.sagemaker.containers import HOST, failure_message
from local.services.sagemaker.job import GRACE_SECONDS, LOG_GROUP, Job, JobError
from local.services.sagemaker.transfers import (
    download_channel,
    download_files,
    list_keys,
    split_uri,
    upload_archive,
    upload_folder,
)

MAX_RUNTIME_SECONDS = 86400
CHECKPOINT_SYNC_SECONDS = 10.0

Watcher = Callable[[str, str], None]
Turn = Callable[[Job, str, str], None]


class Training:
    """Run training jobs to their ends.

    `turn` is called with each secondary status, each watcher with each line of a script's output.
    """

    def __init__(self, cloud: Host, turn: Turn, watchers: Sequence[Watcher]) -> None:
        self._cloud = cloud
        self._turn = turn
        self._watchers = watchers

    def run(self, job: Job) -> tuple[str, str | None]:
        """Run the job to its end; return its status and failure reason or secondary status."""
        record, container = job.record, job.container
        limit = (job.request.get("StoppingCondition") or {}).get(
            "MaxRuntimeInSeconds", MAX_RUNTIME_SECONDS
        )
        deadline = time.monotonic() + float(limit)
        while True:
            self._turn(job, "Downloading", "Downloading input data")
            container.prepare()
            for name, channel in container.channels.items():
                download_channel(self._s3(job), name, channel, container.channel(name))
            checkpoints = self._restore_checkpoints(job)
            if not self._fetch_source(job):
                container.unpack()
            command = container.command()
            self._turn(job, "Training", "Training image download completed. Training in progress.")
            record.training_start_time = record.training_start_time or self._cloud.clock.naive_utc()
            code, tail = self._execute(job, command, deadline, checkpoints)
            self._save_checkpoints(job, checkpoints)
            if not job.interrupted or job.stop_reason:
                break
            job.interrupted = False
            self._turn(job, "Interrupted", "The Spot instance was taken away")
        if code != 0 and job.stop_reason is None:
            return "Failed", failure_message(container, command, code, tail)
        self._turn(job, "Uploading", "Uploading generated training model")
        self._upload(job)
        if job.stop_reason:
            return "Stopped", job.stop_reason
        return "Completed", None

    def _fetch_source(self, job: Job) -> bool:
        """Unpack a source archive that is named in S3, which a job without network cannot."""
        source = job.container.decoded().get("sagemaker_submit_directory")
        if not isinstance(source, str) or not source.startswith("s3://"):
            return False
        if job.request.get("EnableNetworkIsolation"):
            raise JobError(
                "AlgorithmError: the job is network-isolated and cannot download"
                f" sagemaker_submit_directory {source}; pass the archive as an input channel"
            )
        bucket, key = split_uri(source)
        archive = job.container.input / "sourcedir.tar.gz"
        self._s3(job).download_file(bucket, key, str(archive))
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(job.container.code, filter="data")
        return True

    def _execute(
        self,
        job: Job,
        command: list[str],
        deadline: float,
        checkpoints: tuple[Path, str] | None,
    ) -> tuple[int, str]:
        """Run the script; return its exit code and the end of what it printed."""
        if job.stop_reason:
            return 0, ""
        extra = dict(job.request.get("Environment") or {})
        extra |= {"TRAINING_JOB_ARN": job.record.arn, "AWS_REGION": self._cloud.region}
        if job.request.get("EnableNetworkIsolation"):
            extra["AWS_EC2_METADATA_DISABLED"] = "true"
        else:
            extra |= self._cloud.environment(job.request.get("RoleArn"))
        process = subprocess.Popen(
            command,
            cwd=job.container.code,
            env=job.container.environment(extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        job.process = process
        if job.stop_reason:
            job.signal(signal.SIGTERM)
        done = threading.Event()

        def watch() -> None:
            while not done.wait(min(max(deadline - time.monotonic(), 0), CHECKPOINT_SYNC_SECONDS)):
                if time.monotonic() >= deadline:
                    job.stop_reason = "MaxRuntimeExceeded"
                    job.signal(signal.SIGTERM)
                    if not done.wait(GRACE_SECONDS):
                        job.signal(signal.SIGKILL)
                    return
                self._save_checkpoints(job, checkpoints)

        watcher = threading.Thread(target=watch, name=f"watch {job.name}", daemon=True)
        watcher.start()
        try:
            tail = self._follow(job, process)
            return process.wait(), tail
        finally:
            done.set()
            watcher.join()
            job.process = None

    def _follow(self, job: Job, process: subprocess.Popen[str]) -> str:
        """Read the script's lines: to the log group, the metrics, the watchers."""
        definitions = [
            (d["Name"], re.compile(d["Regex"]))
            for d in job.record.algorithm_specification.get("MetricDefinitions") or ()
        ]
        stream = f"{job.name}/{HOST}-{int(self._cloud.clock.now())}"
        lines: list[str] = []
        pending: list[dict[str, Any]] = []
        flushed = time.monotonic()
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.rstrip("\n")
            lines = [*lines[-19:], line]
            if line:
                pending.append({"timestamp": int(self._cloud.clock.now() * 1000), "message": line})
            for name, pattern in definitions:
                if found := pattern.search(line):
                    self._note_metric(job, name, found[1])
            for watcher in self._watchers:
                watcher(job.name, line)
            if time.monotonic() - flushed > 0.2 or len(pending) > 200:
                self._log(stream, pending)
                pending, flushed = [], time.monotonic()
        self._log(stream, pending)
        return "\n".join(lines)

    def _note_metric(self, job: Job, name: str, text: str) -> None:
        try:
            value = float(text)
        except ValueError:
            return
        job.metrics[name] = (value, self._cloud.clock.naive_utc())
        self._cloud.metrics.put(LOG_GROUP, name, {"TrainingJobName": job.name, "Host": HOST}, value)

    def _log(self, stream: str, events: list[dict[str, Any]]) -> None:
        if not events:
            return
        logs = self._cloud.client("logs")
        known = logs.exceptions.ResourceAlreadyExistsException
        with contextlib.suppress(known):
            logs.create_log_group(logGroupName=LOG_GROUP)
        with contextlib.suppress(known):
            logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
        logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)

    def _s3(self, job: Job) -> Any:
        """Return the client with which SageMaker reads and writes for a job: that of its role."""
        return self._cloud.client("s3", job.request.get("RoleArn") or "")

    def _restore_checkpoints(self, job: Job) -> tuple[Path, str] | None:
        config = job.request.get("CheckpointConfig") or {}
        if not config.get("S3Uri"):
            return None
        folder = Path(job.container.place(config.get("LocalPath") or "/opt/ml/checkpoints"))
        folder.mkdir(parents=True, exist_ok=True)
        uri = config["S3Uri"].rstrip("/") + "/"
        bucket, prefix = split_uri(uri)
        s3 = self._s3(job)
        keys = list_keys(s3, bucket, prefix)
        download_files(s3, bucket, [(key, folder / key[len(prefix) :]) for key in keys])
        return folder, uri

    def _save_checkpoints(self, job: Job, checkpoints: tuple[Path, str] | None) -> None:
        if checkpoints is not None:
            upload_folder(self._s3(job), *checkpoints, {})

    def _upload(self, job: Job) -> None:
        """Upload model and output data under S3OutputPath/JOB/output/."""
        s3, config = self._s3(job), job.request["OutputDataConfig"]
        base = f"{config['S3OutputPath'].rstrip('/')}/{job.name}/output"
        more: dict[str, str] = {}
        if config.get("KmsKeyId"):
            more = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": config["KmsKeyId"]}
        if config.get("CompressionType") == "NONE":
            artifacts = f"{base}/model/"
            upload_folder(s3, job.container.model, artifacts, more)
            upload_folder(s3, job.container.output / "data", f"{base}/data/", more)
        else:
            artifacts = f"{base}/model.tar.gz"
            upload_archive(s3, job.container.model, artifacts, more)
            if any((job.container.output / "data").iterdir()):
                upload_archive(s3, job.container.output / "data", f"{base}/output.tar.gz", more)
        job.record.model_artifacts = {"S3ModelArtifacts": artifacts}
