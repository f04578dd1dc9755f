"""KMS's resource types: keys and their aliases."""

from __future__ import annotations

from local.resources import Kind, Made, Order, tags


class Key(Kind):
    """AWS::KMS::Key."""

    type = "AWS::KMS::Key"
    create_only = frozenset({"KeySpec", "KeyUsage", "MultiRegion"})

    def create(self, order: Order) -> Made:
        """Create the key."""
        answer = order.call(
            "kms",
            "CreateKey",
            **order.given("Description", "KeySpec", "KeyUsage", "MultiRegion"),
            Policy=order.get("KeyPolicy"),
            Tags=[{"TagKey": k, "TagValue": v} for k, v in tags(order.get("Tags")).items()],
        )
        key = answer["KeyMetadata"]
        made = Made(key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})
        self._rotate(order, key["KeyId"])
        return made

    @staticmethod
    def _rotate(order: Order, key: str) -> None:
        if str(order.get("EnableKeyRotation", False)).lower() == "true":
            order.call("kms", "EnableKeyRotation", KeyId=key)

    def update(self, order: Order) -> Made:
        """Put policy, description and rotation."""
        key = order.physical_id
        if order.get("KeyPolicy"):
            order.call(
                "kms", "PutKeyPolicy", KeyId=key, PolicyName="default", Policy=order["KeyPolicy"]
            )
        order.call(
            "kms", "UpdateKeyDescription", KeyId=key, Description=order.get("Description", "")
        )
        self._rotate(order, key)
        return Made(key, order.attributes)

    def delete(self, order: Order) -> None:
        """Schedule the key's deletion, as CloudFormation does."""
        order.discard(
            "kms",
            "ScheduleKeyDeletion",
            KeyId=order.physical_id,
            PendingWindowInDays=int(order.get("PendingWindowInDays", 30)),
        )


class KeyAlias(Kind):
    """AWS::KMS::Alias."""

    type = "AWS::KMS::Alias"
    create_only = frozenset({"AliasName"})

    def create(self, order: Order) -> Made:
        """Create the alias."""
        order.call(
            "kms", "CreateAlias", AliasName=order["AliasName"], TargetKeyId=order["TargetKeyId"]
        )
        return Made(order["AliasName"])

    def update(self, order: Order) -> Made:
        """Point the alias at another key."""
        order.call(
            "kms", "UpdateAlias", AliasName=order.physical_id, TargetKeyId=order["TargetKeyId"]
        )
        return Made(order.physical_id)

    def delete(self, order: Order) -> None:
        """Delete the alias."""
        order.discard("kms", "DeleteAlias", AliasName=order.physical_id)


KINDS: tuple[type[Kind], ...] = (
    Key,
    KeyAlias,
)
