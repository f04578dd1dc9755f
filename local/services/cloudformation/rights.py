"""What calls to CloudFormation need (see `local.rights`)."""

from __future__ import annotations

from local.rights import Call, Judge, on


def _stack(call: Call) -> str:
    name = call.text("StackName")
    # The last part of a stack's ARN is an id that no policy can know.
    return name if name.startswith("arn:") else call.arn(f"stack/{name}/id")


NEEDS: dict[str, Judge] = {
    f"cloudformation:{operation}": on(_stack)
    for operation in ("CancelUpdateStack", "DescribeStackEvents", "DescribeStacks", "UpdateStack")
}
