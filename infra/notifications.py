"""The topic that alarms, functions and state machines write to."""

from aws_cdk import Aws, aws_iam, aws_kms, aws_sns

from infra.deployment import Scope, StageConstruct
from infra.grants import allow

# What writes to the topic under its own name; functions and the state machine use their roles.
_PUBLISHERS = ("cloudwatch.amazonaws.com", "budgets.amazonaws.com")


class Notifications(StageConstruct):
    """Carry every alarm on one topic, encrypted with a key that CloudWatch may use, TLS only."""

    def __init__(self, scope: Scope, construct_id: str) -> None:
        """Make the key and the topic; subscribe `[monitoring] email` if there is one."""
        super().__init__(scope, construct_id)
        # A key of our own: CloudWatch cannot publish to a topic under the AWS-managed key aws/sns.
        self.key = aws_kms.Key(
            self,
            "Key",
            description=f"{self.deployment.name}: notifications",
            enable_key_rotation=True,
            removal_policy=self.deployment.removal_policy,
        )
        self.topic = aws_sns.Topic(
            self, "Topic", display_name=self.deployment.name, master_key=self.key, enforce_ssl=True
        )
        ours = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        principals: list[aws_iam.IPrincipal] = [
            aws_iam.ServicePrincipal(service) for service in _PUBLISHERS
        ]
        self.key.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=principals,
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
                conditions=ours,
            )
        )
        self.topic.add_to_resource_policy(
            aws_iam.PolicyStatement(
                principals=principals,
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions=ours,
            )
        )
        if self.settings.monitoring.email:
            aws_sns.Subscription(
                self,
                "Email",
                topic=self.topic,
                protocol=aws_sns.SubscriptionProtocol.EMAIL,
                endpoint=self.settings.monitoring.email,
            )

    def allow_publish(self, role: aws_iam.Role) -> None:
        """Let a role write to the topic, under the key that encrypts it."""
        allow(role, "sns:Publish", on=[self.topic.topic_arn])
        allow(role, "kms:Decrypt", "kms:GenerateDataKey", on=[self.key.key_arn])
