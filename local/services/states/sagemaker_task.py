"""SageMaker's integration in state machines, which moto's interpreter lacks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import (
    ResourceCondition,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (  # noqa: E501
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

from local.host import Host

# The calls of SageMaker that a state machine may make, and what describes and stops their jobs.
SAGEMAKER_JOBS = {
    "createtrainingjob": ("CreateTrainingJob", "TrainingJob"),
    "createhyperparametertuningjob": ("CreateHyperParameterTuningJob", "HyperParameterTuningJob"),
}


class SageMakerTask(StateTaskServiceCallback):
    """Run `sagemaker:createTrainingJob` and its tuning sibling, also with `.sync`."""

    def __init__(self, client_for: Callable[..., Any], cloud: Host) -> None:
        patterns: Any = {ResourceCondition.Sync}
        super().__init__(supported_integration_patterns=patterns)
        self._client_for = client_for
        self._cloud = cloud

    def _operation(self) -> tuple[str, str] | None:
        return SAGEMAKER_JOBS.get(self.resource.api_action.lower())

    def _get_supported_parameters(self) -> set[str] | None:
        operation = self._operation()
        if operation is None:
            return None
        model = self._cloud.client("sagemaker").meta.service_model
        shape: Any = model.operation_model(operation[0]).input_shape
        return set(shape.members)

    def _from_error(self, env: Any, ex: Exception) -> Any:
        if not isinstance(ex, ClientError):
            return super()._from_error(env=env, ex=ex)
        name = f"SageMaker.{self._error_name(ex.response['Error']['Code'])}"
        return self._failure(env, CustomErrorName(name), name, ex.response["Error"]["Message"])

    def _error_name(self, code: str) -> str:
        """Name a service error as Step Functions does: only what the call's model declares.

        Everything else, throttling included, is the client's base error.
        """
        operation = self._operation()
        model = self._cloud.client("sagemaker").meta.service_model
        declared = model.operation_model(operation[0]).error_shapes if operation else []
        names = {shape.name.removesuffix("Exception") for shape in declared}
        plain = code.removesuffix("Exception")
        return f"{plain}Exception" if plain in names else "AmazonSageMakerException"

    def _failure(self, env: Any, error_name: Any, error: str, cause: str) -> Any:
        details: Any = EventDetails
        return FailureEvent(
            env=env,
            error_name=error_name,
            event_type=HistoryEventType.TaskFailed,
            event_details=details(
                taskFailedEventDetails=TaskFailedEventDetails(
                    error=error,
                    cause=cause,
                    resource=self._get_sfn_resource(),
                    resourceType=self._get_sfn_resource_type(),
                )
            ),
        )

    def _eval_service_task(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        client = self._client_for(resource_runtime_part.region, "sagemaker", state_credentials)
        create = getattr(client, self._get_boto_service_action())
        response = create(**normalised_parameters)
        response.pop("ResponseMetadata", None)
        env.stack.append(response)

    def _eval_integration_pattern(
        self,
        env: Any,
        resource_runtime_part: Any,
        normalised_parameters: dict[str, Any],
        state_credentials: Any,
    ) -> None:
        """Wait for the job to end and put its description on the stack, or fail with it."""
        operation = self._operation()
        assert operation is not None
        kind = operation[1]
        name = str(normalised_parameters[f"{kind}Name"])
        env.stack.pop()
        client = self._client_for(resource_runtime_part.region, "sagemaker", state_credentials)
        snake = "training_job" if kind == "TrainingJob" else "hyper_parameter_tuning_job"
        while not self._cloud.jobs.wait(name, 0.2):
            if not env.is_running():
                getattr(client, f"stop_{snake}")(**{f"{kind}Name": name})
                break
        described = getattr(client, f"describe_{snake}")(**{f"{kind}Name": name})
        described.pop("ResponseMetadata", None)
        plain = _plain(described)
        if plain[f"{kind}Status"] != "Completed":
            error = StatesErrorNameType.StatesTaskFailed
            raise FailureEventException(
                self._failure(env, StatesErrorName(typ=error), error.to_name(), json.dumps(plain))
            )
        env.stack.append(plain)


def _plain(value: Any) -> Any:
    """Return a description as Step Functions passes it on: times as epoch milliseconds."""
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
