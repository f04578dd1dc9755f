"""SNS, SQS, EventBridge: what carries messages and events."""

from __future__ import annotations

from typing import Any

from local.resources.base import Kind, Made, Order, ResourceError, tags


class Topic(Kind):
    """AWS::SNS::Topic."""

    type = "AWS::SNS::Topic"
    create_only = frozenset({"TopicName", "FifoTopic"})
    _attributes = (
        "DisplayName",
        "KmsMasterKeyId",
        "FifoTopic",
        "ContentBasedDeduplication",
        "TracingConfig",
        "SignatureVersion",
    )

    def create(self, order: Order) -> Made:
        """Create the topic and its subscriptions."""
        name = order.get("TopicName") or order.name(256)
        answer = order.call(
            "sns",
            "CreateTopic",
            Name=name,
            Attributes=order.given(*self._attributes),
            Tags=[{"Key": k, "Value": v} for k, v in tags(order.get("Tags")).items()],
        )
        arn = answer["TopicArn"]
        for subscription in order.get("Subscription") or []:
            order.call("sns", "Subscribe", TopicArn=arn, **subscription)
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    def update(self, order: Order) -> Made:
        """Set the attributes again."""
        for name in self._attributes:
            if name in order.properties or name in order.previous:
                order.call(
                    "sns",
                    "SetTopicAttributes",
                    TopicArn=order.physical_id,
                    AttributeName=name,
                    AttributeValue=order.get(name, ""),
                )
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the topic."""
        order.discard("sns", "DeleteTopic", TopicArn=order.physical_id)


class TopicPolicy(Kind):
    """AWS::SNS::TopicPolicy."""

    type = "AWS::SNS::TopicPolicy"

    def create(self, order: Order) -> Made:
        """Put the policy on each topic."""
        for topic in order["Topics"]:
            order.call(
                "sns",
                "SetTopicAttributes",
                TopicArn=topic,
                AttributeName="Policy",
                AttributeValue=order["PolicyDocument"],
            )
        return Made(order.physical_id or order.name(), {"Id": order.logical_id})

    update = create

    def delete(self, order: Order) -> None:
        """Leave the topics, which go with their stack."""


class Subscription(Kind):
    """AWS::SNS::Subscription."""

    type = "AWS::SNS::Subscription"
    create_only = frozenset({"TopicArn", "Protocol", "Endpoint"})
    _attributes = (
        "DeliveryPolicy",
        "FilterPolicy",
        "FilterPolicyScope",
        "RawMessageDelivery",
        "RedrivePolicy",
        "SubscriptionRoleArn",
    )

    def create(self, order: Order) -> Made:
        """Subscribe."""
        answer = order.call(
            "sns",
            "Subscribe",
            ReturnSubscriptionArn=True,
            **order.given("TopicArn", "Protocol", "Endpoint"),
            Attributes=order.given(*self._attributes),
        )
        arn = answer["SubscriptionArn"]
        return Made(arn, {"Arn": arn})

    def update(self, order: Order) -> Made:
        """Set the attributes again."""
        for name in self._attributes:
            if name in order.properties:
                order.call(
                    "sns",
                    "SetSubscriptionAttributes",
                    SubscriptionArn=order.physical_id,
                    AttributeName=name,
                    AttributeValue=order[name],
                )
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Unsubscribe."""
        order.discard("sns", "Unsubscribe", SubscriptionArn=order.physical_id)


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
            tags=tags(order.get("Tags")),
        )
        cloud = order.cloud
        arn = f"arn:aws:sqs:{cloud.region}:{cloud.account}:{name}"
        url = answer["QueueUrl"]
        return Made(url, {"Arn": arn, "QueueName": name, "QueueUrl": url})

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


class Rule(Kind):
    """AWS::Events::Rule."""

    type = "AWS::Events::Rule"
    create_only = frozenset({"Name", "EventBusName"})

    def create(self, order: Order) -> Made:
        """Create the rule with its targets."""
        return self._put(order, order.get("Name") or order.name())

    def update(self, order: Order) -> Made:
        """Put the rule again and drop targets that are gone."""
        gone = {target["Id"] for target in order.previous.get("Targets") or []} - {
            target["Id"] for target in order.get("Targets") or []
        }
        name = order.attributes["Name"]
        if gone:
            order.call("events", "RemoveTargets", Rule=name, Ids=sorted(gone))
        return self._put(order, name)

    @staticmethod
    def _put(order: Order, name: str) -> Made:
        answer = order.call("events", "PutRule", Name=name, **order.rest("Name", "Targets"))
        targets = order.get("Targets") or []
        if targets:
            failed = order.call(
                "events",
                "PutTargets",
                Rule=name,
                Targets=targets,
                **order.given("EventBusName"),
            )
            if failed.get("FailedEntryCount"):
                raise ResourceError(f"targets were refused: {failed['FailedEntries']}")
        return Made(name, {"Arn": answer["RuleArn"], "Name": name})

    def delete(self, order: Order) -> None:
        """Delete the rule with its targets."""
        name = order.attributes["Name"]
        ids = [target["Id"] for target in order.get("Targets") or []]
        if ids:
            order.discard("events", "RemoveTargets", Rule=name, Ids=ids)
        order.discard("events", "DeleteRule", Name=name)


class Schedule(Kind):
    """AWS::Scheduler::Schedule."""

    type = "AWS::Scheduler::Schedule"
    create_only = frozenset({"Name", "GroupName"})

    def create(self, order: Order) -> Made:
        """Create the schedule."""
        name = order.get("Name") or order.name()
        answer = order.call("scheduler", "CreateSchedule", Name=name, **order.rest("Name"))
        return Made(name, {"Arn": answer["ScheduleArn"]})

    def update(self, order: Order) -> Made:
        """Update the schedule."""
        order.call("scheduler", "UpdateSchedule", Name=order.physical_id, **order.rest("Name"))
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the schedule."""
        order.discard(
            "scheduler", "DeleteSchedule", Name=order.physical_id, **order.given("GroupName")
        )
