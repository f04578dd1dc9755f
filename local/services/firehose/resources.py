"""Firehose's resource type: the delivery stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.resources import Kind, Made, NamedKind, Order


class DeliveryStream(NamedKind):
    """AWS::KinesisFirehose::DeliveryStream."""

    type = "AWS::KinesisFirehose::DeliveryStream"
    create_only = frozenset(
        {"DeliveryStreamName", "DeliveryStreamType", "KinesisStreamSourceConfiguration"}
    )

    service, created_by, deleted_by = "firehose", "CreateDeliveryStream", "DeleteDeliveryStream"
    name_property = "DeliveryStreamName"

    def attributes(self, order: Order, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ARN."""
        return {"Arn": answer["DeliveryStreamARN"]}

    def update(self, order: Order) -> Made:
        """Update the destination."""
        described: dict[str, Any] = order.call(
            "firehose", "DescribeDeliveryStream", DeliveryStreamName=order.physical_id
        )["DeliveryStreamDescription"]
        order.call(
            "firehose",
            "UpdateDestination",
            DeliveryStreamName=order.physical_id,
            CurrentDeliveryStreamVersionId=described["VersionId"],
            DestinationId=described["Destinations"][0]["DestinationId"],
            ExtendedS3DestinationUpdate=order["ExtendedS3DestinationConfiguration"],
        )
        return Made(order.physical_id, order.attributes)


KINDS: tuple[type[Kind], ...] = (DeliveryStream,)
