"""SNS's resource types: topics, their policies and subscriptions."""

from __future__ import annotations

from local.resources import Kind, Made, Order


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
            Tags=order.get("Tags"),
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


KINDS: tuple[type[Kind], ...] = (
    Topic,
    TopicPolicy,
    Subscription,
)
