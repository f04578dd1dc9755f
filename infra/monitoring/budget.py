"""The budget of a deployment."""

from aws_cdk import aws_budgets

from infra.deployment import Scope, StageConstruct
from infra.notifications import Notifications


class Budget(StageConstruct):
    """Write to the topic when the month's cost nears `[budget] monthly_usd`."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        notifications: Notifications,
    ) -> None:
        """Make the budget over what carries this deployment's tags."""
        super().__init__(scope, construct_id)
        kinds = aws_budgets.CfnBudget
        subscriber = kinds.SubscriberProperty(
            subscription_type="SNS", address=notifications.topic.topic_arn
        )
        # Real cost at 80% and 100%, and the forecast of the whole month: the first warns while
        # there is still time.
        notices = [("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
        kinds(
            self,
            "Budget",
            budget=kinds.BudgetDataProperty(
                budget_name=self.deployment.name,
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=kinds.SpendProperty(
                    amount=self.settings.budget.monthly_usd, unit="USD"
                ),
                cost_filters={"TagKeyValue": [f"user:deployment${self.deployment.name}"]},
            ),
            notifications_with_subscribers=[
                kinds.NotificationWithSubscribersProperty(
                    notification=kinds.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[subscriber],
                )
                for kind, percent in notices
            ],
        )
