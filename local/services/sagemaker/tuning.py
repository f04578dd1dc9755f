"""Tuning jobs: which points are drawn, and the training jobs that try them."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import sagemaker_backends

from local.host import Host
from local.services.sagemaker.job import Job, plain

logger = logging.getLogger(__name__)


class Trainer(Protocol):
    """Run the training jobs of a tuning job."""

    def begin(self, request: Mapping[str, Any]) -> Job:
        """Start a training job that was recorded at moto."""

    def stop_job(self, name: str) -> None:
        """Stop a training job."""

    def all_jobs(self) -> list[Job]:
        """Return the training jobs, ended ones too."""


class Tunings:
    """Run tuning jobs."""

    def __init__(self, cloud: Host, trainer: Trainer) -> None:
        self._cloud = cloud
        self._trainer = trainer
        self._ended: dict[str, threading.Event] = {}
        self._stopping: set[str] = set()
        self._lock = threading.RLock()

    def find(self, name: str) -> threading.Event | None:
        """Return what is set when a tuning job ends, None if there is no such job."""
        with self._lock:
            return self._ended.get(name)

    def close(self) -> None:
        """Let no tuning job start another training job."""
        with self._lock:
            self._stopping.update(self._ended)

    def _backend(self) -> Any:
        return sagemaker_backends[self._cloud.account][self._cloud.region]

    def begin(self, request: Mapping[str, Any]) -> None:
        """Start a tuning job that was recorded at moto."""
        name = request["HyperParameterTuningJobName"]
        backend = self._backend()
        record = backend.hyper_parameter_tuning_jobs[name]
        record.hyper_parameter_tuning_job_status = "InProgress"
        record.creation_time = record.last_modified_time = self._cloud.clock.naive_utc()
        record.hyper_parameter_tuning_end_time = None
        record.best_training_job = None
        ended = threading.Event()
        with self._lock:
            self._ended[name] = ended
        self._cloud.clock.spawn(lambda: self._tune(record, request, ended), f"tuning job {name}")

    def stop(self, name: str) -> None:
        """Stop a tuning job and the training jobs it has started."""
        with self._lock:
            if name not in self._ended or self._ended[name].is_set():
                raise ValidationError(message=f"There is no running tuning job {name}.")
            self._stopping.add(name)
        for child in [job.name for job in self._children(name) if not job.ended.is_set()]:
            self._trainer.stop_job(child)

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
            record.hyper_parameter_tuning_end_time = record.last_modified_time = (
                self._cloud.clock.naive_utc()
            )
            self._cloud.events.emit(
                "aws.sagemaker",
                "SageMaker HyperParameter Tuning Job State Change",
                plain({k: v for k, v in record.describe().items() if v is not None}),
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
        return self._trainer.begin(request)

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

    def summaries(self, tuning: str) -> list[dict[str, Any]]:
        """Describe the training jobs that a tuning job has started, by name as AWS lists them."""
        return [
            {k: v for k, v in self._summary(job).items() if v is not None}
            for job in sorted(self._children(tuning), key=lambda job: job.name)
        ]

    def _children(self, tuning: str) -> list[Job]:
        return [
            job
            for job in self._trainer.all_jobs()
            if job.record.__dict__.get("tuning_job_name") == tuning
        ]


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
