"""What calls to SQS need (see `local.rights`)."""

from __future__ import annotations

from local.rights import Call, Judge, on


def _queue(call: Call) -> str:
    return call.arn(call.text("QueueUrl").rsplit("/", 1)[-1])


NEEDS: dict[str, Judge] = {
    f"sqs:{operation}": on(_queue)
    for operation in ("ChangeMessageVisibility", "DeleteMessage", "ReceiveMessage", "SendMessage")
}
