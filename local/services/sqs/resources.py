"""SQS's resource types: queues and their policies."""

from __future__ import annotations

from typing import Any

from local.resources import Kind, Made, Order


class Queue(Kind):
    """AWS::SQS::Queue."""

    type = "AWS::SQS::Queue"
    create_only = frozenset({"QueueName", "FifoQueue"})

    def create(self, order: Order) -> Made:
        """Create the queue."""
        name = order.get("QueueName") or order.name(80)
        answer = order.call(
            "sqs",
            "CreateQueue",
            QueueName=name,
            Attributes=self._attributes(order),
            tags=order.get("Tags"),
        )
        url = answer["QueueUrl"]
        return Made(url, {"Arn": order.arn("sqs", name), "QueueName": name, "QueueUrl": url})

    def update(self, order: Order) -> Made:
        """Set the attributes again."""
        order.call(
            "sqs",
            "SetQueueAttributes",
            QueueUrl=order.physical_id,
            Attributes=self._attributes(order),
        )
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the queue."""
        order.discard("sqs", "DeleteQueue", QueueUrl=order.physical_id)

    @staticmethod
    def _attributes(order: Order) -> dict[str, Any]:
        return order.rest("QueueName", "Tags")


class QueuePolicy(Kind):
    """AWS::SQS::QueuePolicy."""

    type = "AWS::SQS::QueuePolicy"

    def create(self, order: Order) -> Made:
        """Put the policy on each queue."""
        for queue in order["Queues"]:
            order.call(
                "sqs",
                "SetQueueAttributes",
                QueueUrl=queue,
                Attributes={"Policy": order["PolicyDocument"]},
            )
        return Made(order.physical_id or order.name(), {"Id": order.logical_id})

    update = create

    def delete(self, order: Order) -> None:
        """Take the policy away."""
        for queue in order["Queues"]:
            order.discard("sqs", "SetQueueAttributes", QueueUrl=queue, Attributes={"Policy": ""})


KINDS: tuple[type[Kind], ...] = (
    Queue,
    QueuePolicy,
)
