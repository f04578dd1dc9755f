"""Deployed state machines run: SageMaker and Lambda tasks, waits on our clock, retries, events."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.awslambda.models import LambdaBackend

from local.services.sagemaker.jobs import Jobs
from local.services.states.machines import StateMachines
from tests.local.parts import ACCOUNT, PartsHost
from tests.local.services.sagemaker.test_jobs import Factory

ROLE = f"arn:aws:iam::{ACCOUNT}:role/machine"


class Foreman:
    """Make and run state machines."""

    def __init__(self, host: PartsHost) -> None:
        self.host = host
        self.states = host.client("stepfunctions")

    def make(self, states: dict[str, Any], name: str = "machine") -> str:
        definition = {"StartAt": next(iter(states)), "States": states}
        arn: str = self.states.create_state_machine(
            name=name, definition=json.dumps(definition), roleArn=ROLE
        )["stateMachineArn"]
        return arn

    def begin(self, arn: str, given: Any = None) -> str:
        execution: str = self.states.start_execution(
            stateMachineArn=arn, input=json.dumps(given or {})
        )["executionArn"]
        return execution

    def describe(self, execution: str) -> dict[str, Any]:
        described: dict[str, Any] = self.states.describe_execution(executionArn=execution)
        return described

    def run(self, states: dict[str, Any], given: Any = None) -> dict[str, Any]:
        execution = self.begin(self.make(states), given)
        assert self.host.clock.settle(30)
        return self.describe(execution)

    def count(self, arn: str, name: str) -> float | None:
        now = self.host.clock.now()
        dimensions = {"StateMachineArn": arn}
        return self.host.metrics.statistic("AWS/States", name, dimensions, "Sum", 0, now + 1)


@pytest.fixture
def foreman(host: PartsHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Foreman]:
    host.jobs = Jobs(host)  # type: ignore[attr-defined]
    host.start(host.jobs, StateMachines(host))  # type: ignore[attr-defined]

    def invoke(
        backend: Any, function_name: str, qualifier: Any, body: Any, headers: Any, answer: Any
    ) -> bytes:
        outcome = host.functions.invoke(function_name, body if body else b"{}")
        if outcome.error:
            answer["x-amz-function-error"] = outcome.error
        return outcome.payload

    monkeypatch.setattr(LambdaBackend, "invoke", invoke)
    return Foreman(host)


def call(function: str, **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function, "Payload.$": "$"},
        "ResultSelector": {"answer.$": "$.Payload"},
        "End": True,
        **more,
    }


def test_moto_5_2_5_offers_the_seams() -> None:
    """Moto 5.2.5: the interpreter refuses sagemaker; its parts are where they are replaced."""
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
        state_task_service_factory as factory,
    )
    from moto.stepfunctions.parser.asl.component.state.wait.wait_function import wait_function

    assert "sagemaker" in factory._UNSUPPORTED_SERVICE_NAMES
    assert "_wait_interval" in vars(wait_function.WaitFunction)


def test_a_function_is_called_with_the_context_object(foreman: Foreman) -> None:
    foreman.host.functions.handlers["plan"] = lambda event: {"got": event}
    parameters = {
        "FunctionName": "plan",
        "Payload": {
            "execution.$": "$$.Execution.Id",
            "started.$": "$$.Execution.StartTime",
            "now.$": "$$.State.EnteredTime",
            "input.$": "$$.Execution.Input",
        },
    }
    foreman.host.clock.advance(86400 * 3)
    described = foreman.run({"Plan": call("plan", Parameters=parameters)}, {"trigger": "data"})
    assert described["status"] == "SUCCEEDED", described
    got = json.loads(described["output"])["answer"]["got"]
    assert got["input"] == {"trigger": "data"}
    assert got["execution"] == described["executionArn"]
    day = foreman.host.clock.utc().strftime("%Y-%m-%dT")
    for name in ("started", "now"):
        assert got[name].startswith(day)
        assert got[name].endswith("Z")
        assert len(got[name]) == len("2026-01-01T00:00:00.000Z")


def test_waits_pass_with_the_simulated_clock(foreman: Foreman) -> None:
    arn = foreman.make(
        {"Wait": {"Type": "Wait", "Seconds": 600, "Next": "Done"}, "Done": {"Type": "Succeed"}}
    )
    execution = foreman.begin(arn)
    foreman.host.clock.advance(590)
    assert foreman.describe(execution)["status"] == "RUNNING"
    running = foreman.states.list_executions(stateMachineArn=arn, statusFilter="RUNNING")
    assert [run["executionArn"] for run in running["executions"]] == [execution]
    foreman.host.clock.advance(20)
    described = foreman.describe(execution)
    assert described["status"] == "SUCCEEDED"
    assert 595 < (described["stopDate"] - described["startDate"]).total_seconds() < 615


def test_a_waiting_execution_can_be_stopped(foreman: Foreman) -> None:
    arn = foreman.make({"Wait": {"Type": "Wait", "Seconds": 600, "End": True}})
    execution = foreman.begin(arn)
    wait_until(lambda: foreman.host.clock.settle(1))
    foreman.states.stop_execution(executionArn=execution)
    wait_until(lambda: foreman.count(arn, "ExecutionsAborted") == 1)
    assert foreman.describe(execution)["status"] == "ABORTED"


def test_wait_until_a_timestamp(foreman: Foreman) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(foreman.host.clock.now() + 300))
    execution = foreman.begin(
        foreman.make({"Wait": {"Type": "Wait", "TimestampPath": "$.at", "End": True}}), {"at": at}
    )
    foreman.host.clock.advance(200)
    assert foreman.describe(execution)["status"] == "RUNNING"
    foreman.host.clock.advance(120)
    assert foreman.describe(execution)["status"] == "SUCCEEDED"


def test_errors_are_retried_on_the_clock_and_caught(foreman: Foreman) -> None:
    times: list[float] = []

    def fail(event: Any) -> Any:
        times.append(foreman.host.clock.now())
        raise ValueError("not today")

    foreman.host.functions.handlers["f"] = fail
    retry = [
        {
            "ErrorEquals": ["ValueError"],
            "IntervalSeconds": 30,
            "MaxAttempts": 2,
            "BackoffRate": 2,
        }
    ]
    catch = [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Choose"}]
    choose = {
        "Type": "Choice",
        "Choices": [{"Variable": "$.error.Error", "StringEquals": "ValueError", "Next": "Known"}],
        "Default": "Unknown",
    }
    states = {
        "Call": call("f", Retry=retry, Catch=catch),
        "Choose": choose,
        "Known": {"Type": "Pass", "End": True},
        "Unknown": {"Type": "Fail"},
    }
    execution = foreman.begin(foreman.make(states))
    foreman.host.clock.advance(200)
    described = foreman.describe(execution)
    assert described["status"] == "SUCCEEDED", described
    assert "not today" in json.loads(described["output"])["error"]["Cause"]
    assert [round(b - a) for a, b in itertools.pairwise(times)] == [30, 60]


def test_a_failed_execution_is_counted_and_emitted(foreman: Foreman) -> None:
    url, arn = foreman.host.queue("q")
    pattern = {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {"status": ["FAILED"]},
    }
    foreman.host.rule("r", pattern, arn)
    machine = foreman.make({"No": {"Type": "Fail", "Error": "E", "Cause": "because"}})
    foreman.begin(machine)
    assert foreman.host.clock.settle(10)
    assert foreman.count(machine, "ExecutionsFailed") == 1
    assert foreman.count(machine, "ExecutionsStarted") == 1
    assert foreman.count(machine, "ExecutionsSucceeded") is None
    (event,) = foreman.host.messages(url)
    assert (event["detail"]["error"], event["detail"]["cause"]) == ("E", "because")
    assert event["detail"]["stateMachineArn"] == machine


def test_topics_are_published_to(foreman: Foreman) -> None:
    url, queue = foreman.host.queue("q")
    topic = foreman.host.client("sns").create_topic(Name="t")["TopicArn"]
    foreman.host.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    notify = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sns:publish",
        "Parameters": {"TopicArn": topic, "Subject": "Failed", "Message.$": "$.cause"},
        "End": True,
    }
    assert foreman.run({"Notify": notify}, {"cause": {"a": 1}})["status"] == "SUCCEEDED"
    (message,) = foreman.host.messages(url)
    assert (message["Subject"], json.loads(message["Message"])) == ("Failed", {"a": 1})


def train(factory: Factory, script: str, **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createTrainingJob.sync",
        "Parameters": {
            "TrainingJobName.$": "$.run",
            "HyperParameters": {
                "sagemaker_program": "training/train.py",
                "sagemaker_submit_directory": "/opt/ml/input/data/code/abc.tar.gz",
            },
            **factory.definition(script),
        },
        "ResultPath": "$.training",
        "End": True,
        **more,
    }


def test_a_training_job_is_run_to_its_end(foreman: Foreman) -> None:
    factory = Factory(foreman.host, foreman.host.jobs)  # type: ignore[attr-defined]
    script = "import os, time; time.sleep(0.3); open(os.environ['SM_MODEL_DIR'] + '/m', 'w')"
    described = foreman.run({"Train": train(factory, script)}, {"run": "run-1"})
    assert described["status"] == "SUCCEEDED", described
    output = json.loads(described["output"])
    assert output["run"] == "run-1"
    artifacts = output["training"]["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifacts == "s3://bucket/models/run-1/output/model/"
    assert output["training"]["TrainingJobStatus"] == "Completed"
    assert isinstance(output["training"]["CreationTime"], int)


def test_a_failed_training_job_fails_its_state_with_the_description(foreman: Foreman) -> None:
    factory = Factory(foreman.host, foreman.host.jobs)  # type: ignore[attr-defined]
    catch = [{"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.error", "Next": "Caught"}]
    states = {
        "Train": train(factory, "raise SystemExit('no labels')", Catch=catch),
        "Caught": {"Type": "Pass", "End": True},
    }
    described = foreman.run(states, {"run": "run-1"})
    assert described["status"] == "SUCCEEDED", described
    cause = json.loads(json.loads(described["output"])["error"]["Cause"])
    assert cause["TrainingJobStatus"] == "Failed"
    assert "no labels" in cause["FailureReason"]


def test_a_refused_call_has_sagemakers_error_name(foreman: Foreman) -> None:
    factory = Factory(foreman.host, foreman.host.jobs)  # type: ignore[attr-defined]
    states = {"Train": train(factory, "pass")}
    assert foreman.run(states, {"run": "same"})["status"] == "SUCCEEDED"
    again = foreman.run(states, {"run": "same"})
    assert again["status"] == "FAILED"
    assert again["error"] == "SageMaker.ResourceInUseException"


def test_stopping_an_execution_stops_its_job(foreman: Foreman) -> None:
    factory = Factory(foreman.host, foreman.host.jobs)  # type: ignore[attr-defined]
    arn = foreman.make({"Train": train(factory, "import time; time.sleep(60)")})
    execution = foreman.begin(arn, {"run": "run-1"})
    wait_until(lambda: "run-1" in factory.jobs._jobs)
    foreman.states.stop_execution(executionArn=execution)
    assert foreman.host.clock.settle(20)
    described = factory.sagemaker.describe_training_job(TrainingJobName="run-1")
    assert described["TrainingJobStatus"] == "Stopped"


def test_a_tuning_job_is_run_to_its_end(foreman: Foreman) -> None:
    factory = Factory(foreman.host, foreman.host.jobs)  # type: ignore[attr-defined]
    definition = factory.definition("import os; print('auc=0.' + os.environ['SM_HP_K'])")
    definition["StaticHyperParameters"] = {
        "sagemaker_program": "training/train.py",
        "sagemaker_submit_directory": "/opt/ml/input/data/code/abc.tar.gz",
    }
    tune = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync",
        "Parameters": {
            "HyperParameterTuningJobName.$": "$.run",
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {
                    "Type": "Maximize",
                    "MetricName": "holdout:auc",
                },
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
                "ParameterRanges": {
                    "IntegerParameterRanges": [{"Name": "k", "MinValue": "1", "MaxValue": "9"}]
                },
            },
            "TrainingJobDefinition": definition,
        },
        "End": True,
    }
    described = foreman.run({"Tune": tune}, {"run": "tune-1"})
    assert described["status"] == "SUCCEEDED", described
    best = json.loads(described["output"])["BestTrainingJob"]
    assert best["TrainingJobName"].startswith("tune-1-")


def test_the_history_is_logged_as_the_machine_asks(foreman: Foreman) -> None:
    logs = foreman.host.client("logs")
    logs.create_log_group(logGroupName="states")
    group = f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:states:*"
    for level in ("ALL", "ERROR"):
        definition = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "E"}}}
        arn = foreman.states.create_state_machine(
            name=f"logs-{level}",
            definition=json.dumps(definition),
            roleArn=ROLE,
            loggingConfiguration={
                "level": level,
                "includeExecutionData": True,
                "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}],
            },
        )["stateMachineArn"]
        foreman.begin(arn, {"a": 1})
    assert foreman.host.clock.settle(10)

    def kinds(level: str) -> list[str]:
        (stream,) = logs.describe_log_streams(
            logGroupName="states", logStreamNamePrefix=f"states/logs-{level}/"
        )["logStreams"]
        found = logs.get_log_events(
            logGroupName="states", logStreamName=stream["logStreamName"], startFromHead=True
        )
        return [json.loads(event["message"])["type"] for event in found["events"]]

    assert kinds("ALL") == ["ExecutionStarted", "FailStateEntered", "ExecutionFailed"]
    assert kinds("ERROR") == ["FailStateEntered", "ExecutionFailed"]


def test_executions_without_a_name_each_get_their_own(foreman: Foreman) -> None:
    arn = foreman.make({"Done": {"Type": "Succeed"}})
    assert foreman.begin(arn) != foreman.begin(arn)


def test_a_service_that_is_not_modelled_is_refused_when_the_machine_is_made(
    foreman: Foreman,
) -> None:
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sagemaker:createEndpoint",
        "Parameters": {},
        "End": True,
    }
    with pytest.raises(ClientError, match="createEndpoint not recognized"):
        foreman.make({"Make": state})


def test_a_rule_starts_a_machine(foreman: Foreman) -> None:
    arn = foreman.make({"Done": {"Type": "Succeed"}})
    foreman.host.rule("r", {"source": ["driftless"]}, arn, Input='{"trigger": "drift"}')
    foreman.host.events.emit("driftless", "Labels Ready", {})
    assert foreman.host.clock.settle(10)
    (run,) = foreman.states.list_executions(stateMachineArn=arn)["executions"]
    assert run["status"] == "SUCCEEDED"


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_distributed_map_takes_its_items_from_s3_and_any_number_of_them(
    foreman: Foreman,
) -> None:
    """Items of a listed file, more than Python would recurse; all are counted from the start."""
    s3 = foreman.host.client("s3")
    s3.create_bucket(
        Bucket="lists", CreateBucketConfiguration={"LocationConstraint": foreman.host.region}
    )
    s3.put_object(Bucket="lists", Key="items.json", Body=json.dumps(list(range(600))).encode())
    where = {"Bucket.$": "$.bucket", "Key.$": "$.key"}
    states = {
        "Each": {
            "Type": "Map",
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": where,
            },
            "ItemSelector": {"item.$": "$$.Map.Item.Value", "bucket.$": "$.bucket"},
            "MaxConcurrencyPath": "$.workers",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "One",
                "States": {"One": {"Type": "Pass", "End": True}},
            },
            "ResultWriter": {
                "Resource": "arn:aws:states:::s3:putObject",
                "Parameters": {"Bucket.$": "$.bucket", "Prefix": "results"},
            },
            "ResultPath": "$.map",
            "End": True,
        }
    }
    execution = foreman.begin(
        foreman.make(states), {"bucket": "lists", "key": "items.json", "workers": 2}
    )
    assert foreman.host.clock.settle(30)
    described = foreman.describe(execution)
    assert described["status"] == "SUCCEEDED", described
    output = json.loads(described["output"])
    assert output["bucket"] == "lists"
    assert output["map"]["ResultWriterDetails"]["Bucket"] == "lists"
    (run,) = foreman.states.list_map_runs(executionArn=execution)["mapRuns"]
    counts = foreman.states.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]
    assert (counts["total"], counts["succeeded"], counts["running"]) == (600, 600, 0)
