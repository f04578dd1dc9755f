"""Functions run as Lambda runs them: the deployed zip, environment, timeout, version and role."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import moto
import pytest
from botocore.exceptions import ClientError

from local.cloud import Cloud
from local.seams import MOTO_VERSION
from tests.local.assembly import BUCKET, function, template, write_assembly


@pytest.fixture(scope="module")
def name(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Deploy a function with an alias `live` on version 1."""
    return deploy(cloud, tmp_path_factory.mktemp("assembly"))


def deploy(cloud: Cloud, folder: Path, **parameters: str) -> str:
    resources = function(BUCKET, "code.zip")
    body = template(resources, {"Name": {"Ref": "Function"}})
    assembly = write_assembly(folder, {"functions": body})
    return cloud.deploy(assembly, parameters={"functions": parameters})["functions"]["Name"]


def call(cloud: Cloud, name: str, event: dict[str, Any], qualifier: str = "live") -> Any:
    answer = cloud.functions.invoke(name, json.dumps(event).encode(), qualifier=qualifier)
    assert answer.error is None, answer.payload
    return json.loads(answer.payload)


def log_lines(cloud: Cloud, name: str) -> list[str]:
    logs, group = cloud.client("logs"), f"/aws/lambda/{name}"
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    return [
        event["message"]
        for stream in streams
        for event in logs.get_log_events(
            logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
        )["events"]
    ]


def test_moto_is_the_version_that_the_seams_were_written_for() -> None:
    """LambdaBackend.invoke and its neighbours are private to moto 5.2.5."""
    assert moto.__version__ == MOTO_VERSION == "5.2.5"


def test_the_deployed_environment_and_nothing_else(cloud: Cloud, name: str) -> None:
    """The process sees what was deployed, AWS's own variables, and none of this machine's."""
    answer = call(cloud, name, {"a": 1})
    assert answer["event"] == {"a": 1}
    assert answer["arn"].endswith(f":function:{name}:live")
    environment = answer["environment"]
    assert environment["MODEL_URI"] == "none"
    assert environment["AWS_LAMBDA_FUNCTION_VERSION"] == answer["version"]
    assert environment["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert "HOME" not in environment
    key = cloud.identity.find(environment["AWS_ACCESS_KEY_ID"])
    assert key is not None
    assert key.role.startswith("arn:aws:iam::123456789012:role/functions-Role-")


def test_only_the_asset_and_the_runtime_can_be_imported(cloud: Cloud, name: str) -> None:
    """A dependency that the asset lacks fails here as it would on AWS."""
    path = call(cloud, name, {})["path"]
    assert not [entry for entry in path if "site-packages" in entry]
    assert "boto3" in {item.name for item in cloud.functions.runtime.iterdir()}


def test_warm_processes_are_used_again(cloud: Cloud, name: str) -> None:
    """Calls one after the other are served by one process; calls at once by several."""
    assert len({call(cloud, name, {})["pid"] for _ in range(5)}) == 1
    pids: set[int] = set()

    def work() -> None:
        pids.add(call(cloud, name, {"sleep": 0.5})["pid"])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 3


@pytest.mark.parametrize(
    ("event", "error_type", "message"),
    [
        ({"fail": "no luck"}, "ValueError", "no luck"),
        ({"exit": True}, "Runtime.ExitError", "exit status 3"),
        ({"sleep": 30}, "Sandbox.Timedout", "Task timed out after 2.00 seconds"),
    ],
)
def test_failures(
    cloud: Cloud, name: str, event: dict[str, Any], error_type: str, message: str
) -> None:
    """Exception, exit and timeout are told apart in Lambda's words; the next call works."""
    answer = cloud.client("lambda").invoke(
        FunctionName=name, Qualifier="live", Payload=json.dumps(event), LogType="Tail"
    )
    error = json.loads(answer["Payload"].read())
    assert answer["FunctionError"] == "Unhandled"
    assert error["errorType"] == error_type
    assert message in error["errorMessage"]
    assert call(cloud, name, {"next": 1})["event"] == {"next": 1}
    assert any(message in line for line in log_lines(cloud, name))


def test_logs_are_lambdas(cloud: Cloud, name: str) -> None:
    """START, the function's own lines, END and REPORT, in this order."""
    request_id = cloud.functions.invoke(name, b'{"mark": 17}').request_id
    lines = log_lines(cloud, name)
    start = lines.index(f"START RequestId: {request_id} Version: $LATEST")
    assert lines[start + 1] == 'seen {"mark": 17}'
    assert lines[start + 2] == f"END RequestId: {request_id}"
    assert lines[start + 3].startswith(f"REPORT RequestId: {request_id}\tDuration: ")
    assert "Memory Size: 128 MB\tMax Memory Used: " in lines[start + 3]


def test_bad_payloads_are_refused(cloud: Cloud, name: str) -> None:
    """What is no JSON never reaches the function."""
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        cloud.client("lambda").invoke(FunctionName=name, Payload=b"{")


def test_reserved_concurrency_throttles(cloud: Cloud, name: str) -> None:
    """With no place reserved a call is a 429, named as Lambda names it."""
    client = cloud.client("lambda")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        with pytest.raises(ClientError) as caught:
            client.invoke(FunctionName=name)
        assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    finally:
        client.delete_function_concurrency(FunctionName=name)


def test_asynchronous_events_are_retried_and_reported(cloud: Cloud, name: str) -> None:
    """A failing event runs three times, then goes to the destination with its story."""
    sqs, client = cloud.client("sqs"), cloud.client("lambda")
    url = sqs.create_queue(QueueName="failed-events")["QueueUrl"]
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=1,
        DestinationConfig={
            "OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:123456789012:failed-events"}
        },
    )
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"fail": "async"}')
    assert answer["StatusCode"] == 202
    cloud.clock.advance(200)
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    record = json.loads(message["Body"])
    assert record["requestPayload"] == {"fail": "async"}
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2


def test_versions_do_not_change_and_aliases_weigh(cloud: Cloud, name: str, tmp_path: Path) -> None:
    """A new pointer is a new version; the old one answers as before; weights share the calls."""
    old = call(cloud, name, {})
    assert deploy(cloud, tmp_path, ModelUri="s3://models/1/") == name
    new = call(cloud, name, {})
    assert (old["model"], new["model"]) == ("none", "s3://models/1/")
    assert int(new["version"]) == int(old["version"]) + 1
    assert call(cloud, name, {}, old["version"])["model"] == "none"
    cloud.client("lambda").update_alias(
        FunctionName=name,
        Name="live",
        FunctionVersion=new["version"],
        RoutingConfig={"AdditionalVersionWeights": {old["version"]: 0.5}},
    )
    seen = [call(cloud, name, {})["version"] for _ in range(60)]
    assert 10 <= seen.count(old["version"]) <= 50


def test_a_deleted_version_leaves_its_number_to_nobody(
    cloud: Cloud, name: str, tmp_path: Path
) -> None:
    """Numbers only grow, whichever versions are deleted, and every one names its own version."""
    client = cloud.client("lambda")

    def publish(memory: int) -> str:
        client.update_function_configuration(FunctionName=name, MemorySize=memory)
        return str(client.publish_version(FunctionName=name)["Version"])

    numbers = [int(publish(memory)) for memory in (256, 257)]
    assert numbers[1] == numbers[0] + 1
    client.delete_function(FunctionName=name, Qualifier=str(numbers[0]))
    numbers += [int(publish(memory)) for memory in (258, 259)]
    assert numbers[1:] == [numbers[1], numbers[1] + 1, numbers[1] + 2]
    assert int(client.publish_version(FunctionName=name)["Version"]) == numbers[-1], "no change"
    for number, memory in zip(numbers[1:], (257, 258, 259), strict=True):
        arn = f"arn:aws:lambda:{cloud.region}:{cloud.account}:function:{name}:{number}"
        for which in ({"FunctionName": arn}, {"FunctionName": name, "Qualifier": str(number)}):
            found = client.get_function_configuration(**which)
            assert (found["Version"], found["MemorySize"]) == (str(number), memory)


def test_a_second_deploy_keeps_the_pointer(cloud: Cloud, name: str, tmp_path: Path) -> None:
    """Deploying again without the parameter leaves the promoted model live."""
    deploy(cloud, tmp_path, ModelUri="s3://models/2/")
    deploy(cloud, tmp_path)
    assert call(cloud, name, {})["model"] == "s3://models/2/"
