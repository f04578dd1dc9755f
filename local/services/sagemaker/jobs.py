"""Training jobs that run: SageMaker's API, and a job's way from its start to its end."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError
from moto.core.responses import ActionResult
from moto.sagemaker.exceptions import ResourceInUseException, ValidationError
from moto.sagemaker.models import sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from local.host import Host
from local.parts import Part
from local.services.sagemaker.containers import Container, ContainerError
from local.services.sagemaker.job import GRACE_SECONDS, Job, JobError, plain
from local.services.sagemaker.training import Training, Watcher
from local.services.sagemaker.tuning import Tunings

logger = logging.getLogger(__name__)

ENDED = frozenset({"Completed", "Failed", "Stopped"})


class Jobs(Part):
    """Run the training and tuning jobs that are created through SageMaker's API."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.RLock()
        self.watchers: list[Watcher] = []
        self._training = Training(cloud, self._turn, self.watchers)
        self._tunings = Tunings(cloud, self)

    def start(self) -> None:
        """Let SageMaker's API start, describe and stop jobs that really run."""
        jobs = self
        create_training: Callable[..., Any] = SageMakerResponse.create_training_job
        create_tuning: Callable[..., Any] = SageMakerResponse.create_hyper_parameter_tuning_job

        def create_training_job(response: Any) -> Any:
            request = _request(response)
            jobs._refuse_known(request["TrainingJobName"])
            answer = create_training(response)
            jobs.begin(request)
            return answer

        def stop_training_job(response: Any) -> Any:
            jobs.stop_job(str(response._get_param("TrainingJobName")))
            return ActionResult({})

        def create_hyper_parameter_tuning_job(response: Any) -> Any:
            request = _request(response)
            answer = create_tuning(response)
            jobs._tunings.begin(request)
            return answer

        def stop_hyper_parameter_tuning_job(response: Any) -> Any:
            jobs._tunings.stop(str(response._get_param("HyperParameterTuningJobName")))
            return ActionResult({})

        def list_training_jobs_for_hyper_parameter_tuning_job(response: Any) -> Any:
            name = str(response._get_param("HyperParameterTuningJobName"))
            return ActionResult({"TrainingJobSummaries": jobs._tunings.summaries(name)})

        replace, add = self._seams.replace, self._seams.add
        replace(SageMakerResponse, "create_training_job", create_training_job)
        replace(
            SageMakerResponse,
            "create_hyper_parameter_tuning_job",
            create_hyper_parameter_tuning_job,
        )
        add(SageMakerResponse, "stop_training_job", stop_training_job)
        add(SageMakerResponse, "stop_hyper_parameter_tuning_job", stop_hyper_parameter_tuning_job)
        add(
            SageMakerResponse,
            "list_training_jobs_for_hyper_parameter_tuning_job",
            list_training_jobs_for_hyper_parameter_tuning_job,
        )

    def stop(self) -> None:
        """Kill the processes that still run and put moto's parts back."""
        self._tunings.close()
        running = [job for job in self.all_jobs() if not job.ended.is_set()]
        for job in running:
            job.stop_reason = job.stop_reason or "Stopped"
            job.signal(signal.SIGKILL)
        for job in running:
            job.ended.wait(2)
        super().stop()

    # -- what others ask ----------------------------------------------------------------------

    def wait(self, name: str, timeout_seconds: float | None = None) -> bool:
        """Wait (real seconds) until a training or tuning job has ended; tell whether it has."""
        ended = self._tunings.find(name) or self._jobs[name].ended
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
                job.signal(signal.SIGKILL)

        job.signal(signal.SIGTERM)
        threading.Thread(target=kill, name=f"stop {job.name}", daemon=True).start()

    def all_jobs(self) -> list[Job]:
        """Return the training jobs, ended ones too."""
        with self._lock:
            return list(self._jobs.values())

    def _backend(self) -> Any:
        return sagemaker_backends[self._cloud.account][self._cloud.region]

    def _refuse_known(self, name: str) -> None:
        if name in self._backend().training_jobs:
            raise ResourceInUseException(
                message=f"Training job names must be unique within an AWS account and region, and"
                f" a training job with the name {name} already exists."
            )

    def begin(self, request: Mapping[str, Any]) -> Job:
        """Start a training job that was recorded at moto."""
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
        now = self._cloud.clock.naive_utc()
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
            outcome = self._training.run(job)
        except (JobError, ContainerError) as error:
            outcome = ("Failed", str(error))
        except ClientError as error:
            outcome = ("Failed", f"ClientError: {error}")
        except Exception as error:
            logger.exception("training job %s failed inside the local cloud", job.name)
            outcome = ("Failed", f"InternalServerError: {type(error).__name__}: {error}")
        status, reason = outcome
        now = self._cloud.clock.naive_utc()
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

    def _turn(self, job: Job, secondary: str, message: str) -> None:
        """Move a job to a secondary status and emit its state change."""
        record, now = job.record, self._cloud.clock.naive_utc()
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
            "aws.sagemaker", "SageMaker Training Job State Change", plain(detail), [record.arn]
        )


def _request(response: Any) -> dict[str, Any]:
    """Return what a SageMaker call asked for, as it was sent."""
    request: dict[str, Any] = copy.deepcopy(json.loads(response.body))
    return request
