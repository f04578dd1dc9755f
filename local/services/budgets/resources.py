"""Budgets' resource type: the budget."""

from __future__ import annotations

from typing import Any

from local.resources import Kind, Made, Order


class Budget(Kind):
    """AWS::Budgets::Budget."""

    type = "AWS::Budgets::Budget"

    def replaces(self, order: Order, changed: frozenset[str]) -> bool:
        """Ask for a new budget when it is renamed."""
        now, before = order.properties.get("Budget", {}), order.previous.get("Budget", {})
        return bool(now.get("BudgetName") != before.get("BudgetName"))

    def create(self, order: Order) -> Made:
        """Create the budget with its notifications."""
        budget: dict[str, Any] = dict(order["Budget"])
        name = order.physical_id or budget.get("BudgetName") or order.name(100)
        order.call(
            "budgets",
            "CreateBudget",
            AccountId=order.cloud.account,
            Budget=budget | {"BudgetName": name},
            **order.given("NotificationsWithSubscribers"),
        )
        return Made(name)

    update = Kind.remake  # moto has no UpdateBudget

    def delete(self, order: Order) -> None:
        """Delete the budget."""
        order.discard(
            "budgets", "DeleteBudget", AccountId=order.cloud.account, BudgetName=order.physical_id
        )


KINDS: tuple[type[Kind], ...] = (Budget,)
