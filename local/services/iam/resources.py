"""IAM's resource types: roles and policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.resources import Kind, Made, Order


class Role(Kind):
    """AWS::IAM::Role."""

    type = "AWS::IAM::Role"
    create_only = frozenset({"RoleName", "Path"})

    def create(self, order: Order) -> Made:
        """Create the role with its policies."""
        answer = order.call(
            "iam",
            "CreateRole",
            RoleName=order.get("RoleName") or order.name(),
            AssumeRolePolicyDocument=order["AssumeRolePolicyDocument"],
            **order.given("Path", "Description", "MaxSessionDuration", "PermissionsBoundary"),
            Tags=order.get("Tags"),
        )["Role"]
        self._attach(order, answer["RoleName"], {})
        return Made(answer["RoleName"], {"Arn": answer["Arn"], "RoleId": answer["RoleId"]})

    def update(self, order: Order) -> Made:
        """Bring trust, description and policies up to date."""
        name = order.physical_id
        order.call(
            "iam",
            "UpdateAssumeRolePolicy",
            RoleName=name,
            PolicyDocument=order["AssumeRolePolicyDocument"],
        )
        order.call(
            "iam",
            "UpdateRole",
            RoleName=name,
            **order.given("Description", "MaxSessionDuration"),
        )
        self._attach(order, name, order.previous)
        return Made(name, order.attributes)

    @staticmethod
    def _attach(order: Order, name: str, previous: Mapping[str, Any]) -> None:
        wanted = set(order.get("ManagedPolicyArns") or [])
        had = set(previous.get("ManagedPolicyArns") or [])
        for arn in sorted(wanted - had):
            order.call("iam", "AttachRolePolicy", RoleName=name, PolicyArn=arn)
        for arn in sorted(had - wanted):
            order.discard("iam", "DetachRolePolicy", RoleName=name, PolicyArn=arn)
        policies = order.get("Policies") or []
        inline = {item["PolicyName"]: item["PolicyDocument"] for item in policies}
        for policy, document in inline.items():
            order.call(
                "iam", "PutRolePolicy", RoleName=name, PolicyName=policy, PolicyDocument=document
            )
        for item in previous.get("Policies") or []:
            if item["PolicyName"] not in inline:
                order.discard(
                    "iam", "DeleteRolePolicy", RoleName=name, PolicyName=item["PolicyName"]
                )

    def delete(self, order: Order) -> None:
        """Take the policies away, then the role."""
        name = order.physical_id
        for arn in order.get("ManagedPolicyArns") or []:
            order.discard("iam", "DetachRolePolicy", RoleName=name, PolicyArn=arn)
        for item in order.get("Policies") or []:
            order.discard("iam", "DeleteRolePolicy", RoleName=name, PolicyName=item["PolicyName"])
        order.discard("iam", "DeleteRole", RoleName=name)


class InlinePolicy(Kind):
    """AWS::IAM::Policy: one inline policy on roles, users and groups."""

    type = "AWS::IAM::Policy"
    create_only = frozenset({"PolicyName"})
    _holders = (("Roles", "Role"), ("Users", "User"), ("Groups", "Group"))

    def create(self, order: Order) -> Made:
        """Put the policy on each holder."""
        for plural, one in self._holders:
            for holder in order.get(plural) or []:
                order.call(
                    "iam",
                    f"Put{one}Policy",
                    **{f"{one}Name": holder},
                    PolicyName=order["PolicyName"],
                    PolicyDocument=order["PolicyDocument"],
                )
        return Made(order["PolicyName"])

    def update(self, order: Order) -> Made:
        """Put the policy again and take it from holders that are gone."""
        for plural, one in self._holders:
            for holder in set(order.previous.get(plural) or []) - set(order.get(plural) or []):
                order.discard(
                    "iam",
                    f"Delete{one}Policy",
                    **{f"{one}Name": holder},
                    PolicyName=order.physical_id,
                )
        return self.create(order)

    def delete(self, order: Order) -> None:
        """Take the policy from each holder."""
        for plural, one in self._holders:
            for holder in order.get(plural) or []:
                order.discard(
                    "iam",
                    f"Delete{one}Policy",
                    **{f"{one}Name": holder},
                    PolicyName=order.physical_id,
                )


class ManagedPolicy(Kind):
    """AWS::IAM::ManagedPolicy."""

    type = "AWS::IAM::ManagedPolicy"
    create_only = frozenset({"ManagedPolicyName", "Path", "Description"})
    _holders = InlinePolicy._holders

    def create(self, order: Order) -> Made:
        """Create the policy and attach it."""
        answer = order.call(
            "iam",
            "CreatePolicy",
            PolicyName=order.get("ManagedPolicyName") or order.name(128),
            PolicyDocument=order["PolicyDocument"],
            **order.given("Path", "Description"),
        )
        arn = answer["Policy"]["Arn"]
        self._attach(order, arn, order.properties, "Attach")
        return Made(arn, {"PolicyArn": arn})

    @staticmethod
    def _attach(order: Order, arn: str, held: Mapping[str, Any], verb: str) -> None:
        for plural, one in ManagedPolicy._holders:
            for holder in held.get(plural) or []:
                call = order.call if verb == "Attach" else order.discard
                call("iam", f"{verb}{one}Policy", **{f"{one}Name": holder}, PolicyArn=arn)

    def update(self, order: Order) -> Made:
        """Put a new default version and attach again."""
        order.call(
            "iam",
            "CreatePolicyVersion",
            PolicyArn=order.physical_id,
            SetAsDefault=True,
            PolicyDocument=order["PolicyDocument"],
        )
        self._attach(order, order.physical_id, order.previous, "Detach")
        self._attach(order, order.physical_id, order.properties, "Attach")
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Detach the policy and delete it."""
        self._attach(order, order.physical_id, order.properties, "Detach")
        order.discard("iam", "DeletePolicy", PolicyArn=order.physical_id)


KINDS: tuple[type[Kind], ...] = (
    Role,
    InlinePolicy,
    ManagedPolicy,
)
