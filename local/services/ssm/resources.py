"""Systems Manager's resource type: the parameter."""

from __future__ import annotations

from local.resources import Kind, Made, Order


class Parameter(Kind):
    """AWS::SSM::Parameter."""

    type = "AWS::SSM::Parameter"
    create_only = frozenset({"Name"})

    def create(self, order: Order) -> Made:
        """Create the parameter."""
        return self._put(order, order.get("Name") or order.name(), overwrite=False)

    def update(self, order: Order) -> Made:
        """Overwrite the parameter."""
        return self._put(order, order.physical_id, overwrite=True)

    @staticmethod
    def _put(order: Order, name: str, *, overwrite: bool) -> Made:
        order.call(
            "ssm",
            "PutParameter",
            Name=name,
            Overwrite=overwrite,
            **order.given("Type", "Value", "Description", "AllowedPattern", "Tier", "DataType"),
        )
        return Made(name, {"Type": order["Type"], "Value": order["Value"]})

    def delete(self, order: Order) -> None:
        """Delete the parameter."""
        order.discard("ssm", "DeleteParameter", Name=order.physical_id)


KINDS: tuple[type[Kind], ...] = (Parameter,)
