"""CloudFormation's own resource type: what a template says about itself."""

from __future__ import annotations

from local.resources import Kind, Made, Order


class Metadata(Kind):
    """AWS::CDK::Metadata: says which constructs made the template, makes nothing."""

    type = "AWS::CDK::Metadata"

    def create(self, order: Order) -> Made:
        """Take note of it."""
        return Made(order.physical_id or order.name())

    update = create

    def delete(self, order: Order) -> None:
        """Forget it."""


KINDS: tuple[type[Kind], ...] = (Metadata,)
