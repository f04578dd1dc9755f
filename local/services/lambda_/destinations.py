"""Where what became of an asynchronous event is told: destinations and dead-letter queues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local.host import Host
from local.services.lambda_.invocation import Invocation


def report_outcome(
    cloud: Host,
    settings: Mapping[str, Any],
    name: str,
    arn: str,
    payload: bytes,
    answer: Invocation,
    attempts: int,
) -> None:
    """Tell a destination what became of an asynchronous event."""
    target = settings.get("DestinationConfig", {}).get(name, {}).get("Destination")
    if not target:
        return
    condition = "Success" if name == "OnSuccess" else "RetriesExhausted"
    record = {
        "version": "1.0",
        "timestamp": datetime.fromtimestamp(cloud.clock.now(), UTC).isoformat(),
        "requestContext": {
            "requestId": answer.request_id,
            "functionArn": arn,
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "requestPayload": json.loads(payload),
        "responseContext": {"statusCode": 200, "executedVersion": answer.version},
        "responsePayload": json.loads(answer.payload or b"null"),
    }
    send_message(cloud, target, json.dumps(record))


def send_message(cloud: Host, target: str, message: str) -> None:
    """Send a message to a queue, a topic, a function or an event bus, by its ARN."""
    service = target.split(":")[2]
    if service == "sqs":
        queue_name = target.rsplit(":", 1)[-1]
        sqs = cloud.client("sqs")
        url = sqs.get_queue_url(QueueName=queue_name)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=message)
    elif service == "sns":
        cloud.client("sns").publish(TopicArn=target, Message=message)
    elif service == "lambda":
        cloud.functions.invoke(target, message.encode(), asynchronous=True)
    elif service == "events":
        cloud.client("events").put_events(
            Entries=[
                {
                    "Source": "lambda",
                    "DetailType": "Lambda Function Invocation Result",
                    "Detail": message,
                    "EventBusName": target.rsplit("/", 1)[-1],
                }
            ]
        )
