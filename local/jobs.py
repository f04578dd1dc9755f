"""Training and tuning jobs that run: SageMaker's API, the container's contract, S3 in and out."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from moto.core.responses import ActionResult
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from local.containers import HOST, Container, ContainerError, failure_message
from local.host import Host
from local.seams import Seams

logger = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
MAX_RUNTIME_SECONDS = 86400
# SageMaker grants a stopped job 120 seconds between SIGTERM and SIGKILL; a laptop's user less.
GRACE_SECONDS = 10.0
CHECKPOINT_SYNC_SECONDS = 10.0
ENDED = frozenset({"Completed", "Failed", "Stopped"})

Watcher = Callable[[str, str], None]


class JobError(RuntimeError):
    """Say why a job cannot run, in the words of its FailureReason."""


class Job:
    """One training job: its record at moto, its folder, its process."""

    def __init__(self, record: Any, request: Mapping[str, Any], container: Container) -> None:
        self.record = record
        self.request = request
        self.container = container
        self.name = str(record.training_job_name)
        self.ended = threading.Event()
        self.process: subprocess.Popen[str] | None = None
        self.stop_reason: str | None = None
        self.interrupted = False
        self.metrics: dict[str, tuple[float, datetime]] = {}


class Jobs:
    """Run the training and tuning jobs that are created through SageMaker's API."""

    def __init__(self, cloud: Host) -> None:
        self._cloud = cloud
        self._seams = Seams()
        self._jobs: dict[str, Job] = {}
        self._tunings: dict[str, threading.Event] = {}
        self._stopping: set[str] = set()
        self._lock = threading.RLock()
        self.watchers: list[Watcher] = []

    def start(self) -> None:
        """Let SageMaker's API start, describe and stop jobs that really run."""
        jobs = self
        create_training: Callable[..., Any] = SageMakerResponse.create_training_job
        create_tuning: Callable[..., Any] = SageMakerResponse.create_hyper_parameter_tuning_job
        create_package: Callable[..., Any] = SageMakerModelBackend.create_model_package
        update_package: Callable[..., Any] = SageMakerModelBackend.update_model_package

        def create_training_job(response: Any) -> Any:
            request = _request(response)
            jobs._refuse_known(request["TrainingJobName"])
            answer = create_training(response)
            jobs._begin(request)
            return answer

        def stop_training_job(response: Any) -> Any:
            jobs.stop_job(str(response._get_param("TrainingJobName")))
            return ActionResult({})

        def create_hyper_parameter_tuning_job(response: Any) -> Any:
            request = _request(response)
            answer = create_tuning(response)
            jobs._begin_tuning(request)
            return answer

        def stop_hyper_parameter_tuning_job(response: Any) -> Any:
            jobs.stop_tuning(str(response._get_param("HyperParameterTuningJobName")))
            return ActionResult({})

        def list_training_jobs_for_hyper_parameter_tuning_job(response: Any) -> Any:
            name = str(response._get_param("HyperParameterTuningJobName"))
            return ActionResult({"TrainingJobSummaries": jobs._summaries(name)})

        def create_model_package(backend: Any, *args: Any, **kw: Any) -> Any:
            arn = create_package(backend, *args, **kw)
            jobs._emit_package(arn, None)
            return arn

        def delete_model_package(response: Any) -> Any:
            jobs._delete_package(str(response._get_param("ModelPackageName")))
            return ActionResult({})

        def update_model_package(backend: Any, *args: Any, **kw: Any) -> Any:
            return jobs._update_package(backend, update_package, *args, **kw)

        replace, add = self._seams.replace, self._seams.add
        replace(SageMakerResponse, "create_training_job", create_training_job)
        replace(
            SageMakerResponse,
            "create_hyper_parameter_tuning_job",
            create_hyper_parameter_tuning_job,
        )
        add(SageMakerResponse, "stop_training_job", stop_training_job)
        add(SageMakerResponse, "delete_model_package", delete_model_package)
        add(SageMakerResponse, "stop_hyper_parameter_tuning_job", stop_hyper_parameter_tuning_job)
        add(
            SageMakerResponse,
            "list_training_jobs_for_hyper_parameter_tuning_job",
            list_training_jobs_for_hyper_parameter_tuning_job,
        )
        replace(SageMakerModelBackend, "create_model_package", create_model_package)
        replace(SageMakerModelBackend, "update_model_package", update_model_package)

    def stop(self) -> None:
        """Kill the processes that still run and put moto's parts back."""
        with self._lock:
            running = [job for job in self._jobs.values() if not job.ended.is_set()]
            self._stopping.update(self._tunings)
        for job in running:
            job.stop_reason = job.stop_reason or "Stopped"
            _signal(job.process, signal.SIGKILL)
        for job in running:
            job.ended.wait(2)
        self._seams.close()

    # -- what others ask ----------------------------------------------------------------------

    def wait(self, name: str, timeout_seconds: float | None = None) -> bool:
        """Wait (real seconds) until a training or tuning job has ended; tell whether it has."""
        with self._lock:
            ended = self._tunings.get(name) or self._jobs[name].ended
        with self._cloud.clock.idle():
            return ended.wait(timeout_seconds)

    def stop_job(self, name: str) -> None:
        """Stop a training job as StopTrainingJob does; what it has written is still uploaded."""
        job = self._jobs.get(name)
        if job is None:
            raise ValidationError(message=f"Requested resource not found: training job {name}.")
        if job.ended.is_set():
            raise ValidationError(
                message=f"The request was rejected because the training job {name} is in status"
                f" {job.record.training_job_status}."
            )
        job.record.training_job_status = "Stopping"
        job.stop_reason = "Stopped"
        self._terminate(job)

    def interrupt(self, name: str) -> None:
        """Take a Spot job's instance away: it starts again from its checkpoints."""
        job = self._jobs[name]
        if not job.record.enable_managed_spot_training:
            raise JobError(f"training job {name} does not run on Spot instances")
        job.interrupted = True
        self._terminate(job)

    def _terminate(self, job: Job) -> None:
        def kill() -> None:
            if not job.ended.wait(GRACE_SECONDS):
                _signal(job.process, signal.SIGKILL)

        _signal(job.process, signal.SIGTERM)
        threading.Thread(target=kill, name=f"stop {job.name}", daemon=True).start()

    def _backend(self) -> Any:
        return sagemaker_backends[self._cloud.account][self._cloud.region]

    # -- one job ------------------------------------------------------------------------------

    def _refuse_known(self, name: str) -> None:
        if name in self._backend().training_jobs:
            raise ResourceInUseException(
                message=f"Training job names must be unique within an AWS account and region, and"
                f" a training job with the name {name} already exists."
            )

    def _begin(self, request: Mapping[str, Any]) -> Job:
        name = request["TrainingJobName"]
        backend = self._backend()
        record = backend.training_jobs[name]
        container = Container(
            root=(self._cloud.folder / "jobs" / name / "opt" / "ml").resolve(),
            job_name=name,
            hyperparameters=dict(request.get("HyperParameters") or {}),
            channels={c["ChannelName"]: c for c in request.get("InputDataConfig") or ()},
            instance_type=(request.get("ResourceConfig") or {}).get("InstanceType", "local"),
        )
        job = Job(record, request, container)
        now = self._now()
        record.algorithm_specification = dict(request.get("AlgorithmSpecification") or {})
        record.environment = request.get("Environment")
        record.creation_time = record.last_modified_time = now
        record.training_job_status = "InProgress"
        record.secondary_status_transitions = []
        record.final_metric_data_list = None
        record.model_artifacts = None
        record.training_start_time = record.training_end_time = None
        with self._lock:
            self._jobs[name] = job
        self._turn(job, "Starting", "Starting the training job")
        self._cloud.clock.spawn(lambda: self._run(job), f"training job {name}")
        return job

    def _run(self, job: Job) -> None:
        record = job.record
        try:
            outcome = self._train(job)
        except (JobError, ContainerError) as error:
            outcome = ("Failed", str(error))
        except ClientError as error:
            outcome = ("Failed", f"ClientError: {error}")
        except Exception as error:
            logger.exception("training job %s failed inside the local cloud", job.name)
            outcome = ("Failed", f"InternalServerError: {type(error).__name__}: {error}")
        status, reason = outcome
        now = self._now()
        record.training_end_time = now
        started = record.training_start_time or record.creation_time
        record.training_time_in_seconds = max(int((now - started).total_seconds()), 0)
        record.billable_time_in_seconds = record.training_time_in_seconds
        record.final_metric_data_list = [
            {"MetricName": name, "Value": value, "Timestamp": at}
            for name, (value, at) in job.metrics.items()
        ] or None
        if status == "Failed":
            record.failure_reason = (reason or "")[:1024]
        record.training_job_status = status
        secondary = reason if status == "Stopped" and reason else status
        self._turn(job, secondary, record.__dict__.get("failure_reason") or "")
        if status == "Completed":
            shutil.rmtree(job.container.root.parents[1], ignore_errors=True)
        job.ended.set()

    def _train(self, job: Job) -> tuple[str, str | None]:
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
                self._download_channel(self._s3(job), name, channel, container.channel(name))
            checkpoints = self._restore_checkpoints(job)
            if not self._fetch_source(job):
                container.unpack()
            command = container.command()
            self._turn(job, "Training", "Training image download completed. Training in progress.")
            record.training_start_time = record.training_start_time or self._now()
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
        bucket, key = _split(source)
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
            _signal(process, signal.SIGTERM)
        done = threading.Event()

        def watch() -> None:
            while not done.wait(min(max(deadline - time.monotonic(), 0), CHECKPOINT_SYNC_SECONDS)):
                if time.monotonic() >= deadline:
                    job.stop_reason = "MaxRuntimeExceeded"
                    _signal(process, signal.SIGTERM)
                    if not done.wait(GRACE_SECONDS):
                        _signal(process, signal.SIGKILL)
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
            for watcher in self.watchers:
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
        job.metrics[name] = (value, self._now())
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

    # -- S3 -----------------------------------------------------------------------------------

    def _s3(self, job: Job) -> Any:
        """Return the client with which SageMaker reads and writes for a job: that of its role."""
        return self._cloud.client("s3", job.request.get("RoleArn") or "")

    def _download_channel(
        self, s3: Any, name: str, channel: Mapping[str, Any], folder: Path
    ) -> None:
        source = (channel.get("DataSource") or {}).get("S3DataSource") or {}
        kind = source.get("S3DataType", "S3Prefix")
        if kind != "S3Prefix" or channel.get("CompressionType") not in (None, "None"):
            raise JobError(
                f"ClientError: channel {name}: only S3DataType S3Prefix without compression is"
                f" modelled here, got {kind}"
            )
        bucket, prefix = _split(source["S3Uri"])
        keys = list(self._keys(s3, bucket, prefix))
        if not keys:
            raise JobError(
                "ClientError: Data download failed:No S3 objects found under S3 URL"
                f' "{source["S3Uri"]}" given in input data source. Please ensure that the bucket'
                " exists in the selected region, that objects exist under that S3 prefix, and that"
                " the role has s3:ListBucket permission on the bucket."
            )
        self._download(s3, bucket, [(key, folder / relative_key(key, prefix)) for key in keys])

    def _keys(self, s3: Any, bucket: str, prefix: str) -> Iterator[str]:
        pages = s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents") or ():
                if not item["Key"].endswith("/"):
                    yield item["Key"]

    def _download(self, s3: Any, bucket: str, files: list[tuple[str, Path]]) -> None:
        for key, path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            body = s3.get_object(Bucket=bucket, Key=key)["Body"]
            with path.open("wb") as file:
                shutil.copyfileobj(body, file)

    def _restore_checkpoints(self, job: Job) -> tuple[Path, str] | None:
        config = job.request.get("CheckpointConfig") or {}
        if not config.get("S3Uri"):
            return None
        folder = Path(job.container.place(config.get("LocalPath") or "/opt/ml/checkpoints"))
        folder.mkdir(parents=True, exist_ok=True)
        uri = config["S3Uri"].rstrip("/") + "/"
        bucket, prefix = _split(uri)
        s3 = self._s3(job)
        keys = self._keys(s3, bucket, prefix)
        self._download(s3, bucket, [(key, folder / key[len(prefix) :]) for key in keys])
        return folder, uri

    def _save_checkpoints(self, job: Job, checkpoints: tuple[Path, str] | None) -> None:
        if checkpoints is not None:
            self._upload_folder(self._s3(job), *checkpoints, {})

    def _upload(self, job: Job) -> None:
        """Upload model and output data under S3OutputPath/JOB/output/."""
        s3, config = self._s3(job), job.request["OutputDataConfig"]
        base = f"{config['S3OutputPath'].rstrip('/')}/{job.name}/output"
        more: dict[str, str] = {}
        if config.get("KmsKeyId"):
            more = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": config["KmsKeyId"]}
        if config.get("CompressionType") == "NONE":
            artifacts = f"{base}/model/"
            self._upload_folder(s3, job.container.model, artifacts, more)
            self._upload_folder(s3, job.container.output / "data", f"{base}/data/", more)
        else:
            artifacts = f"{base}/model.tar.gz"
            self._upload_archive(s3, job.container.model, artifacts, more)
            if any((job.container.output / "data").iterdir()):
                self._upload_archive(
                    s3, job.container.output / "data", f"{base}/output.tar.gz", more
                )
        job.record.model_artifacts = {"S3ModelArtifacts": artifacts}

    def _upload_folder(self, s3: Any, folder: Path, uri: str, more: Mapping[str, str]) -> None:
        bucket, prefix = _split(uri)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = prefix + path.relative_to(folder).as_posix()
                s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), **more)

    def _upload_archive(self, s3: Any, folder: Path, uri: str, more: Mapping[str, str]) -> None:
        archive = folder.parent / f"{folder.name}.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, arcname=path.name)
        bucket, key = _split(uri)
        s3.put_object(Bucket=bucket, Key=key, Body=archive.read_bytes(), **more)

    # -- events -------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._cloud.clock.utc().replace(tzinfo=None)

    def _turn(self, job: Job, secondary: str, message: str) -> None:
        """Move a job to a secondary status and emit its state change."""
        record, now = job.record, self._now()
        if record.secondary_status_transitions:
            record.secondary_status_transitions[-1]["EndTime"] = now
        entry = {"Status": secondary, "StartTime": now, "StatusMessage": message[:1024]}
        if record.training_job_status in ENDED:
            entry["EndTime"] = now
        record.secondary_status_transitions.append(entry)
        record.secondary_status = secondary
        record.last_modified_time = now
        detail = {
            name: value
            for name, value in record.response_object.items()
            if name != "Tags" and value is not None
        }
        self._cloud.events.emit(
            "aws.sagemaker", "SageMaker Training Job State Change", _plain(detail), [record.arn]
        )

    def _emit_package(self, arn: str, updated: list[str] | None) -> None:
        backend = self._backend()
        package = backend.model_packages[backend.model_package_name_mapping.get(arn, arn)]
        detail = {
            name: value
            for name, value in package.gen_response_object().items()
            if name != "Tags" and value is not None
        }
        detail["ModelPackageArn"] = detail.pop("Arn", package.arn)
        if updated is not None:
            detail["UpdatedModelPackageFields"] = updated
        self._cloud.events.emit(
            "aws.sagemaker", "SageMaker Model Package State Change", _plain(detail), [package.arn]
        )

    def _delete_package(self, name: str) -> None:
        backend = self._backend()
        arn = backend.model_package_name_mapping.get(name, name)
        if arn not in backend.model_packages:
            raise ValidationError(message=f"Model Package {name} does not exist.")
        package = backend.model_packages.pop(arn)
        for known in (package.model_package_name, arn):
            backend.model_package_name_mapping.pop(known, None)

    def _update_package(
        self, backend: Any, update: Callable[..., Any], *args: Any, **kw: Any
    ) -> Any:
        """Update what is named and keep the rest, which moto 5.2.5 forgets; then emit the event."""
        names = (
            "model_package_arn",
            "model_approval_status",
            "approval_description",
            "customer_metadata_properties",
            "customer_metadata_properties_to_remove",
            "additional_inference_specifications_to_add",
        )
        asked = {**dict(zip(names, args, strict=False)), **kw}
        arn = asked["model_package_arn"]
        package = backend.model_packages.get(backend.model_package_name_mapping.get(arn, arn))
        fields = {
            "model_approval_status": "ModelApprovalStatus",
            "approval_description": "ApprovalDescription",
            "customer_metadata_properties": "CustomerMetadataProperties",
            "customer_metadata_properties_to_remove": "CustomerMetadataProperties",
            "additional_inference_specifications_to_add": "AdditionalInferenceSpecifications",
        }
        updated = sorted({field for name, field in fields.items() if asked.get(name)})
        if package is not None:
            if not asked.get("model_approval_status"):
                asked["model_approval_status"] = package.model_approval_status
            if asked.get("approval_description") is None:
                asked["approval_description"] = package.approval_description
            asked["customer_metadata_properties"] = {
                **(package.customer_metadata_properties or {}),
                **(asked.get("customer_metadata_properties") or {}),
            }
        answer = update(backend, **asked)
        self._emit_package(arn, updated)
        return answer

    # -- tuning -------------------------------------------------------------------------------

    def _begin_tuning(self, request: Mapping[str, Any]) -> None:
        name = request["HyperParameterTuningJobName"]
        backend = self._backend()
        record = backend.hyper_parameter_tuning_jobs[name]
        record.hyper_parameter_tuning_job_status = "InProgress"
        record.creation_time = record.last_modified_time = self._now()
        record.hyper_parameter_tuning_end_time = None
        record.best_training_job = None
        ended = threading.Event()
        with self._lock:
            self._tunings[name] = ended
        self._cloud.clock.spawn(lambda: self._tune(record, request, ended), f"tuning job {name}")

    def stop_tuning(self, name: str) -> None:
        """Stop a tuning job and the training jobs it has started."""
        with self._lock:
            if name not in self._tunings or self._tunings[name].is_set():
                raise ValidationError(message=f"There is no running tuning job {name}.")
            self._stopping.add(name)
            children = [
                job.name
                for job in self._jobs.values()
                if job.record.__dict__.get("tuning_job_name") == name and not job.ended.is_set()
            ]
        for child in children:
            self.stop_job(child)

    def _tune(self, record: Any, request: Mapping[str, Any], ended: threading.Event) -> None:
        name = request["HyperParameterTuningJobName"]
        config = request["HyperParameterTuningJobConfig"]
        definition = request.get("TrainingJobDefinition") or request["TrainingJobDefinitions"][0]
        limits = config["ResourceLimits"]
        objective = config.get("HyperParameterTuningJobObjective") or {}
        seed = config.get("RandomSeed")
        points = draw_points(
            config.get("ParameterRanges") or definition.get("HyperParameterRanges") or {},
            int(limits["MaxNumberOfTrainingJobs"]),
            str(config.get("Strategy", "Random")),
            random.Random(name if seed is None else seed),
        )

        def run(numbered: tuple[int, Mapping[str, str]]) -> Job | None:
            number, point = numbered
            if name in self._stopping:
                return None
            job = self._begin_child(name, number, point, definition, objective)
            job.ended.wait()
            return job

        try:
            with ThreadPoolExecutor(int(limits.get("MaxParallelTrainingJobs", 1))) as pool:
                jobs = [job for job in pool.map(run, enumerate(points, 1)) if job is not None]
            self._finish_tuning(record, jobs, objective, stopped=name in self._stopping)
        except Exception as error:
            logger.exception("tuning job %s failed inside the local cloud", name)
            record.hyper_parameter_tuning_job_status = "Failed"
            record.failure_reason = f"InternalServerError: {error}"
        finally:
            record.hyper_parameter_tuning_end_time = record.last_modified_time = self._now()
            self._cloud.events.emit(
                "aws.sagemaker",
                "SageMaker HyperParameter Tuning Job State Change",
                _plain({k: v for k, v in record.describe().items() if v is not None}),
                [record.arn],
            )
            ended.set()

    def _begin_child(
        self,
        tuning: str,
        number: int,
        point: Mapping[str, str],
        definition: Mapping[str, Any],
        objective: Mapping[str, Any],
    ) -> Job:
        name = f"{tuning[:40]}-{number:03d}-{uuid.uuid4().hex[:8]}"
        static = dict(definition.get("StaticHyperParameters") or {})
        if objective:
            static["_tuning_objective_metric"] = objective["MetricName"]
        request = {
            **{k: v for k, v in definition.items() if k != "StaticHyperParameters"},
            "TrainingJobName": name,
            "HyperParameters": {**static, **point},
        }
        empty: dict[str, Any] = {}
        backend = self._backend()
        record = backend.create_training_job(
            training_job_name=name,
            hyper_parameters=request["HyperParameters"],
            algorithm_specification=dict(request["AlgorithmSpecification"]),
            role_arn=request["RoleArn"],
            input_data_config=request.get("InputDataConfig") or [],
            output_data_config=request["OutputDataConfig"],
            resource_config=request.get("ResourceConfig") or empty,
            vpc_config=request.get("VpcConfig"),
            stopping_condition=request.get("StoppingCondition"),
            tags=[],
            enable_network_isolation=request.get("EnableNetworkIsolation", False),
            enable_inter_container_traffic_encryption=False,
            enable_managed_spot_training=request.get("EnableManagedSpotTraining", False),
            checkpoint_config=request.get("CheckpointConfig"),
            debug_hook_config=None,
            debug_rule_configurations=None,
            tensor_board_output_config=None,
            experiment_config=None,
        )
        record.tuning_job_name = tuning
        record.tuning_job_arn = record.arn.replace(
            f"training-job/{name}", f"hyper-parameter-tuning-job/{tuning}"
        )
        record.tuned_hyper_parameters = dict(point)
        return self._begin(request)

    def _finish_tuning(
        self, record: Any, jobs: list[Job], objective: Mapping[str, Any], *, stopped: bool
    ) -> None:
        metric, sign = objective.get("MetricName"), 1
        if objective.get("Type") == "Minimize":
            sign = -1
        states = [str(job.record.training_job_status) for job in jobs]
        record.training_job_status_counters = {
            "Completed": states.count("Completed"),
            "InProgress": 0,
            "RetryableError": 0,
            "NonRetryableError": states.count("Failed"),
            "Stopped": states.count("Stopped"),
        }
        judged = [
            job
            for job in jobs
            if metric in job.metrics and job.record.training_job_status == "Completed"
        ]
        record.objective_status_counters = {
            "Succeeded": len(judged),
            "Pending": 0,
            "Failed": len(jobs) - len(judged),
        }
        if judged and metric is not None:
            best = max(judged, key=lambda job: sign * job.metrics[metric][0])
            record.best_training_job = {
                **self._summary(best),
                "FinalHyperParameterTuningJobObjectiveMetric": {
                    "Type": objective.get("Type"),
                    "MetricName": metric,
                    "Value": best.metrics[metric][0],
                },
                "ObjectiveStatus": "Succeeded",
            }
        if stopped:
            record.hyper_parameter_tuning_job_status = "Stopped"
        elif judged:
            record.hyper_parameter_tuning_job_status = "Completed"
        else:
            record.hyper_parameter_tuning_job_status = "Failed"
            record.failure_reason = "All training jobs failed. See them for their reasons."

    def _summary(self, job: Job) -> dict[str, Any]:
        record = job.record
        return {
            "TrainingJobName": job.name,
            "TrainingJobArn": record.arn,
            "CreationTime": record.creation_time,
            "TrainingStartTime": record.training_start_time,
            "TrainingEndTime": record.training_end_time,
            "TrainingJobStatus": record.training_job_status,
            "TunedHyperParameters": record.__dict__.get("tuned_hyper_parameters") or {},
        }

    def _summaries(self, tuning: str) -> list[dict[str, Any]]:
        with self._lock:
            return [
                {k: v for k, v in self._summary(job).items() if v is not None}
                for job in self._jobs.values()
                if job.record.__dict__.get("tuning_job_name") == tuning
            ]


def relative_key(key: str, prefix: str) -> str:
    """Return where in a channel's folder an object of an S3Prefix source goes."""
    if key == prefix:
        return key.rsplit("/", 1)[-1]
    if prefix.endswith("/") or key.startswith(prefix + "/"):
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]


def draw_points(
    ranges: Mapping[str, Any], count: int, strategy: str, generator: random.Random
) -> list[dict[str, str]]:
    """Draw hyperparameter values: every combination of a grid, else at random, seeded."""
    categorical = {r["Name"]: r["Values"] for r in ranges.get("CategoricalParameterRanges") or ()}
    if strategy == "Grid":
        combinations = itertools.product(*categorical.values())
        return [dict(zip(categorical, values, strict=True)) for values in combinations][:count]
    points = []
    for _ in range(count):
        point = {name: str(generator.choice(values)) for name, values in categorical.items()}
        for item in ranges.get("IntegerParameterRanges") or ():
            low, high = int(item["MinValue"]), int(item["MaxValue"])
            point[item["Name"]] = str(generator.randint(low, high))
        for item in ranges.get("ContinuousParameterRanges") or ():
            first, last = float(item["MinValue"]), float(item["MaxValue"])
            if item.get("ScalingType") == "Logarithmic":
                value = first * (last / first) ** generator.random()
            else:
                value = generator.uniform(first, last)
            point[item["Name"]] = repr(value)
        points.append(point)
    return points


def _request(response: Any) -> dict[str, Any]:
    """Return what a SageMaker call asked for, as it was sent."""
    request: dict[str, Any] = copy.deepcopy(json.loads(response.body))
    return request


def _split(uri: str) -> tuple[str, str]:
    if not uri.startswith("s3://"):
        raise JobError(f"ClientError: an S3 URI must start with s3://, got {uri!r}")
    bucket, _, key = uri[5:].partition("/")
    return bucket, key


def _plain(value: Any) -> Any:
    """Return a detail as SageMaker's events write it: times as epoch milliseconds."""
    if isinstance(value, datetime):
        return int(value.replace(tzinfo=value.tzinfo or UTC).timestamp() * 1000)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _signal(process: subprocess.Popen[str] | None, number: signal.Signals) -> None:
    """Signal a script and what it has started, which share its process group."""
    if process is None or process.poll() is not None:
        return
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
