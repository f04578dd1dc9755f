"""Step Functions as deployed: moto's interpreter on our clock, with SageMaker's integration."""

from __future__ import annotations

import datetime as real_datetime
import json
import logging
import time as real_time
import types
import uuid
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from moto.core.config import default_user_config
from moto.core.models import botocore_stubber
from moto.stepfunctions.parser import models as parser_models
from moto.stepfunctions.parser.api import (
    ExecutionStatus,
)
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state import state as state_module
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval import (
    resource_eval_s3 as item_reader_s3,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import (
    distributed_iteration_component,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor.distributed_item_processor_worker import (  # noqa: E501
    DistributedItemProcessorWorker,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer.resource_eval import (  # noqa: E501
    resource_eval_s3 as result_writer_s3,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.result_writer.result_writer_decl import (  # noqa: E501
    ResultWriter,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task import (
    lambda_eval_utils,
    state_task_factory,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk,
    state_task_service_events,
    state_task_service_sfn,
    state_task_service_sns,
    state_task_service_sqs,
)
from moto.stepfunctions.parser.asl.component.state.fail import state_fail
from moto.stepfunctions.parser.asl.component.state.wait.wait_function import timestamp
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import (
    WaitFunction,
)
from moto.stepfunctions.parser.asl.eval.event import event_manager
from moto.stepfunctions.parser.backend import execution as execution_module
from moto.stepfunctions.parser.backend.execution import (
    BaseExecutionWorkerCommunication,
    Execution,
)
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from local.host import Host
from local.parts import Part
from local.services.states.execution_log import ExecutionLog
from local.services.states.sagemaker_task import SageMakerTask

logger = logging.getLogger(__name__)
# moto logs as errors what a state catches, or asks for by IsPresent; the history has them.
logging.getLogger("moto.stepfunctions.parser.asl.component.eval_component").setLevel(
    logging.CRITICAL
)

ENDED_METRICS = {
    "SUCCEEDED": "ExecutionsSucceeded",
    "FAILED": "ExecutionsFailed",
    "ABORTED": "ExecutionsAborted",
    "TIMED_OUT": "ExecutionsTimedOut",
}


class StateMachines(Part):
    """Run deployed state machines."""

    def __init__(self, cloud: Host) -> None:
        super().__init__(cloud)
        self._clients: dict[tuple[str, str], Any] = {}
        self._session: boto3.Session | None = None
        self._executed: bool | None = None

    def start(self) -> None:
        """Turn the interpreter on, on the simulated clock, with the services that we use."""
        config: Any = default_user_config
        self._executed = config["stepfunctions"]["execute_state_machine"]
        config["stepfunctions"]["execute_state_machine"] = True
        self._start_time()
        self._start_services()
        self._start_maps()
        self._start_executions()

    def stop(self) -> None:
        """Put moto's interpreter back as it was."""
        config: Any = default_user_config
        if self._executed is not None:
            config["stepfunctions"]["execute_state_machine"] = self._executed
        super().stop()

    # -- time ---------------------------------------------------------------------------------

    def _start_time(self) -> None:
        """Let the interpreter read, wait and stamp by the simulated clock."""
        clock, replace = self._cloud.clock, self._seams.replace

        class SimulatedDatetime(real_datetime.datetime):
            @classmethod
            def now(cls, tz: real_datetime.tzinfo | None = None) -> SimulatedDatetime:
                now = cls.fromtimestamp(clock.now(), real_datetime.UTC)
                return now if tz is not None else now.replace(tzinfo=None)

            def isoformat(self, sep: str = "T", timespec: str = "milliseconds") -> str:
                # The context object's times end in Z, not in +00:00.
                text = super().isoformat(sep, "milliseconds")
                return text.replace("+00:00", "Z")

            __str__ = isoformat

        datetimes = types.SimpleNamespace(
            datetime=SimulatedDatetime,
            timezone=real_datetime.timezone,
            timedelta=real_datetime.timedelta,
        )
        for module in (
            state_module,
            event_manager,
            execution_module,
            parser_models,
            timestamp,
        ):
            replace(module, "datetime", datetimes)

        def wait_interval(self: Any, env: Any, wait_seconds: float) -> None:
            del self
            clock.sleep(wait_seconds, interrupted=lambda: not env.is_running(), working=True)

        replace(WaitFunction, "_wait_interval", wait_interval)
        replace(
            retrier_decl,
            "time",
            types.SimpleNamespace(
                sleep=lambda seconds: clock.sleep(seconds, working=True), time=real_time.time
            ),
        )

    # -- services -----------------------------------------------------------------------------

    def _start_services(self) -> None:
        """Send the interpreter's calls to our endpoint as the machine's role; add SageMaker."""
        machines, replace = self, self._seams.replace
        factory: Any = state_task_factory
        service_for: Callable[[str], Any] = factory.state_task_service_for

        def client_for(region: str, service: str, state_credentials: Any = None) -> Any:
            return machines._client(region, service, getattr(state_credentials, "role_arn", ""))

        for module in (
            lambda_eval_utils,
            state_task_service_aws_sdk,
            state_task_service_events,
            state_task_service_sfn,
            state_task_service_sns,
            state_task_service_sqs,
            item_reader_s3,
            result_writer_s3,
        ):
            replace(module, "boto_client_for", client_for)

        def state_task_service_for(service_name: str) -> Any:
            if service_name == "sagemaker":
                return SageMakerTask(client_for, machines._cloud)
            return service_for(service_name)

        replace(factory, "state_task_service_for", state_task_service_for)

        def fail_name(name: str) -> Any:
            """Let a Fail state end with the error that was caught, also with one of `States.`."""
            if name.startswith("States."):
                return StatesErrorName.from_name(name)
            return CustomErrorName(name)

        # Developer Guide, "Fail workflow state": ErrorPath names any string; moto refuses these.
        replace(state_fail, "CustomErrorName", fail_name)

    def _client(self, region: str, service: str, role_arn: str) -> Any:
        key = (service, role_arn or "")
        if key not in self._clients:
            variables = self._cloud.environment(role_arn or None)
            # One session: it reads each service's model, tens of megabytes, only once.
            self._session = self._session or boto3.Session()
            self._clients[key] = self._session.client(
                service,  # type: ignore[call-overload]
                region_name=region,
                endpoint_url=None if botocore_stubber.enabled else self._cloud.endpoint,
                aws_access_key_id=variables.get("AWS_ACCESS_KEY_ID", "local"),
                aws_secret_access_key=variables.get("AWS_SECRET_ACCESS_KEY", "local"),
                aws_session_token=variables.get("AWS_SESSION_TOKEN"),
                config=Config(
                    parameter_validation=False,
                    retries={"total_max_attempts": 1},
                    read_timeout=930,  # A function may take 15 minutes.
                ),
            )
        return self._clients[key]

    # -- maps ---------------------------------------------------------------------------------

    def _start_maps(self) -> None:
        """Let a distributed map take any number of items and say how many there are."""
        component: Any = distributed_iteration_component.DistributedIterationComponent

        def eval_pool(worker: Any, job: Any, worker_frame: Any) -> None:
            """Process the items in a loop; moto recurses for each and fails at several hundred.

            The frame is closed before the last item is: the map waits for items, not for workers.
            """
            while job is not None:
                frame = worker_frame.open_inner_frame()
                worker._eval_job(env=frame, job=job)
                worker_frame.delete_frame(frame)
                failed = isinstance(job.job_output, Exception) or worker.stopped()
                following = None if failed else worker._job_pool.next_job()
                if following is None:
                    worker._env.delete_frame(worker_frame)
                worker._job_pool.close_job(job)
                job = following
                if job is None:
                    return
            worker._env.delete_frame(worker_frame)

        def map_run(iteration: Any, env: Any, eval_input: Any) -> None:
            """Say how many items are pending, and start no more workers than there are items."""
            items = env.stack[-1]
            record = eval_input.map_run_record
            for counts in (record.item_counter, record.execution_counter):
                # moto counts an item when it begins; AWS knows all of them from the start.
                counts.total = AllItems(len(items))
            asked = record.max_concurrency
            record.max_concurrency = min(asked, len(items)) or asked
            try:
                original_map_run(iteration, env, eval_input)
            finally:
                record.max_concurrency = asked

        def write_results(writer: Any, env: Any) -> None:
            """Evaluate the writer's parameters on the state's input, not on the map's results."""
            results = env.stack.pop()
            depth = len(env.stack)
            env.stack.append(env.states.get_input())
            writer.parargs.eval(env=env)
            parameters = env.stack.pop()
            del env.stack[depth:]
            env.stack += [results, parameters]
            writer.resource_eval.eval_resource(env=env)

        self._seams.replace(ResultWriter, "_eval_body", write_results)
        self._seams.replace(DistributedItemProcessorWorker, "_eval_pool", eval_pool)
        original_map_run: Callable[..., Any] = self._seams.replace(component, "_map_run", map_run)

    # -- executions ---------------------------------------------------------------------------

    def _start_executions(self) -> None:
        """Count executions as work, and report how they start and end."""
        machines, replace, clock = self, self._seams.replace, self._cloud.clock
        start_execution: Callable[..., Any] = StepFunctionsParserBackend.start_execution
        terminated: Callable[..., Any] = BaseExecutionWorkerCommunication.terminated

        def start_named_execution(
            backend: Any,
            state_machine_arn: str,
            name: str | None = None,
            execution_input: str | None = None,
            trace_header: str | None = None,
        ) -> Any:
            named = name or str(uuid.uuid4())
            execution = start_execution(
                backend, state_machine_arn, named, execution_input, trace_header
            )
            machines._count("ExecutionsStarted", execution, 1.0)
            # It may have ended already; that is reported by the one who ends it.
            machines._emit(execution, "RUNNING")
            return execution

        def start_worker(worker: Any) -> None:
            clock.spawn(worker._execution_logic, "state machine execution")

        def terminated_and_reported(communication: Any) -> None:
            terminated(communication)
            machines._report(communication.execution)

        def status(execution: Any) -> str:
            # moto lists an execution a moment before it has a status.
            return str((execution.exec_status or ExecutionStatus.RUNNING).value)

        def logged_execution(**given: Any) -> Any:
            machine = given["state_machine"]
            log = ExecutionLog.of(machines._cloud, machine, given["exec_arn"])
            return Execution(**{**given, "cloud_watch_logging_session": log})

        replace(parser_models, "Execution", logged_execution)
        replace(StepFunctionsParserBackend, "start_execution", start_named_execution)
        replace(ExecutionWorker, "start", start_worker)
        replace(BaseExecutionWorkerCommunication, "terminated", terminated_and_reported)
        replace(Execution, "status", property(status))

    def _report(self, execution: Any) -> None:
        self._count(ENDED_METRICS[execution.status], execution, 1.0)
        seconds = (execution.stop_date - execution.start_date).total_seconds()
        self._count("ExecutionTime", execution, seconds * 1000, "Milliseconds")
        self._emit(execution, execution.status)

    def _count(self, name: str, execution: Any, value: float, unit: str = "Count") -> None:
        dimensions = {"StateMachineArn": execution.state_machine_arn}
        self._cloud.metrics.put("AWS/States", name, dimensions, value, unit=unit)

    def _emit(self, execution: Any, status: str) -> None:
        """Emit what Step Functions says of an execution (Developer Guide, "Event examples")."""

        def milliseconds(date: Any) -> int | None:
            return None if date is None else int(date.timestamp() * 1000)

        done, ended = status == "SUCCEEDED", status != "RUNNING"
        detail = {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.state_machine_arn,
            "name": execution.name,
            "status": status,
            "startDate": milliseconds(execution.start_date),
            "stopDate": milliseconds(execution.stop_date) if ended else None,
            "input": execution.execution_input,
            "inputDetails": {"included": True},
            "output": json.dumps(execution.output) if done else None,
            "outputDetails": {"included": True} if done else None,
            "error": execution.error if ended else None,
            "cause": execution.cause if ended else None,
        }
        self._cloud.events.emit(
            "aws.states",
            "Step Functions Execution Status Change",
            detail,
            [execution.exec_arn],
        )


class AllItems:
    """Stand for a counter of moto's whose count is known from the start."""

    def __init__(self, items: int) -> None:
        self._items = items

    def count(self, increment: int = 1) -> None:
        """Count nothing: the item is among those known."""

    def get(self) -> int:
        """Return the number of items."""
        return self._items
