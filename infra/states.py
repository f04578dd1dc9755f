"""State machines: their states in the Amazon States Language, and the one place that renders them.

The states are dictionaries in the language itself. The CDK's task constructs cannot say them within
these rights: `LambdaInvoke` grants every version of a function besides the function,
`DistributedMap` grants its reader the whole bucket, and tuning jobs have no construct.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import ArnFormat, Stack, aws_iam, aws_lambda, aws_stepfunctions

from infra.deployment import StageConstruct
from infra.grants import acknowledge, acknowledge_wildcards, allow
from infra.storage import log_group

State = dict[str, Any]

ANY_ERROR = "States.ALL"

# Faults of Lambda, not of the request: 5xx answers and too many calls at once (Step Functions
# Developer Guide, "Handle Lambda service exceptions").
LAMBDA_FAULTS = (
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
)
# The account's quota of instances or jobs is used up; others may end. Named after the exception
# that SageMaker's API declares (API Reference, "CreateTrainingJob": ResourceLimitExceeded).
SAGEMAKER_QUOTA = ("SageMaker.ResourceLimitExceededException",)
# What SageMaker's API does not declare, throttling and internal failures among it, comes under the
# name of the service's general exception. So does a request that is not allowed or not valid.
SAGEMAKER_FAULTS = ("SageMaker.AmazonSageMakerException",)


def retry(
    *errors: str,
    attempts: int,
    interval_seconds: int = 2,
    backoff: float = 2,
    jitter: bool = True,
) -> State:
    """Try a task again after these errors, each time later; jitter spreads the times."""
    rule: State = {
        "ErrorEquals": list(errors),
        "IntervalSeconds": interval_seconds,
        "MaxAttempts": attempts,
        "BackoffRate": backoff,
    }
    return {**rule, "JitterStrategy": "FULL"} if jitter else rule


def never_retry(*errors: str) -> State:
    """Give a task up at once after these errors; it stands before the rules that try again."""
    return {"ErrorEquals": list(errors), "MaxAttempts": 0}


def catch_all(next_state: str, **fields: Any) -> list[State]:
    """Go on in another state after any error; `ResultPath` says what becomes of the input."""
    return [{"ErrorEquals": [ANY_ERROR], **fields, "Next": next_state}]


def invoke(function_arn: str, payload: Mapping[str, Any], **fields: Any) -> State:
    """Write a task that calls a function and waits for its answer."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": function_arn, "Payload": dict(payload)},
        **fields,
    }


def publish(topic_arn: str, *, subject: str, message: str, **fields: Any) -> State:
    """Write a task that sends a message to people and keeps the state's input.

    `message` is a path or an intrinsic function, `subject` a path or a text, of a mail: at most
    100 characters of ASCII (SNS API Reference, "Publish").
    """
    name = "Subject.$" if subject.startswith("$") else "Subject"
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sns:publish",
        "Parameters": {"TopicArn": topic_arn, name: subject, "Message.$": message},
        "ResultPath": None,
        "Retry": [retry(ANY_ERROR, attempts=3, jitter=False)],
        **fields,
    }


def map_list(
    label: str,
    *,
    bucket: str,
    key: str,
    selector: Mapping[str, str],
    states: Mapping[str, State],
    **fields: Any,
) -> State:
    """Write a distributed map over a JSON list in S3; the first of its states is the start.

    `bucket` and `key` are paths to where the list lies, `selector` makes an item's input.
    """
    return {
        "Type": "Map",
        "Label": label,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket.$": bucket, "Key.$": key},
        },
        "ItemSelector": dict(selector),
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": next(iter(states)),
            "States": dict(states),
        },
        **fields,
    }


def render(scope: StageConstruct, definition: Mapping[str, Any]) -> str:
    """Write a definition as JSON text, its nulls too: `"ResultPath": null` keeps a state's input.

    The CDK drops None from what Python hands over; its token for null passes.
    """
    return Stack.of(scope).to_json_string(_keep_nulls(definition))


def _keep_nulls(value: Any) -> Any:
    if value is None:
        return aws_stepfunctions.JsonPath.DISCARD
    if isinstance(value, Mapping):
        return {name: _keep_nulls(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_keep_nulls(item) for item in value]
    return value


def make_machine(
    scope: StageConstruct,
    *,
    says: str,
    definition: Mapping[str, Any],
    functions: Sequence[aws_lambda.IFunction],
    log_data: bool = False,
) -> aws_stepfunctions.StateMachine:
    """Make a state machine with a log and traces, which may call these functions."""
    logs = log_group(scope)
    machine = aws_stepfunctions.StateMachine(
        scope,
        "Machine",
        comment=f"{scope.deployment.name}: {says}",
        definition_body=aws_stepfunctions.DefinitionBody.from_string(render(scope, definition)),
        logs=aws_stepfunctions.LogOptions(
            destination=logs,
            level=aws_stepfunctions.LogLevel.ALL,
            include_execution_data=log_data or None,
        ),
        tracing_enabled=True,
    )
    role = machine_role(machine)
    for function in functions:
        allow(role, "lambda:InvokeFunction", on=[function.function_arn])
    acknowledge(
        role,
        "AwsSolutions-IAM5[Resource::*]",
        because="What Step Functions needs to deliver its logs and traces: those actions know "
        "no resources (AWS page: Using CloudWatch Logs to log execution history).",
    )
    return machine


def machine_role(machine: aws_stepfunctions.StateMachine) -> aws_iam.Role:
    """Give the role that the CDK made for a machine."""
    role = machine.role
    assert isinstance(role, aws_iam.Role)
    return role


def allow_children(scope: StageConstruct, machine: aws_stepfunctions.StateMachine) -> None:
    """Let a machine with a distributed map start, see and stop the executions of its items."""
    _allow_on_executions(
        scope,
        "RunChildren",
        machine,
        role=machine_role(machine),
        on_machine="states:StartExecution",
        on_executions=["states:DescribeExecution", "states:StopExecution"],
        because="The children of one machine, whatever they are called.",
    )


def allow_see_runs(
    scope: StageConstruct, machine: aws_stepfunctions.StateMachine, role: aws_iam.IRole
) -> None:
    """Let a role list a machine's runs and describe them."""
    _allow_on_executions(
        scope,
        "SeeRuns",
        machine,
        role=role,
        on_machine="states:ListExecutions",
        on_executions=["states:DescribeExecution"],
        because="The runs of one machine, whatever they are called.",
    )


def _allow_on_executions(
    scope: StageConstruct,
    construct_id: str,
    machine: aws_stepfunctions.StateMachine,
    *,
    role: aws_iam.IRole,
    on_machine: str,
    on_executions: Sequence[str],
    because: str,
) -> None:
    """Make a policy of its own: the machine itself depends on the role's other policy."""
    executions = Stack.of(scope).format_arn(
        service="states",
        resource="execution",
        resource_name=f"{machine.state_machine_name}:*",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    policy = aws_iam.Policy(
        scope,
        construct_id,
        roles=[role],
        statements=[
            aws_iam.PolicyStatement(actions=[on_machine], resources=[machine.state_machine_arn]),
            aws_iam.PolicyStatement(actions=list(on_executions), resources=[executions]),
        ],
    )
    acknowledge_wildcards(policy, on=[executions], because=because)
