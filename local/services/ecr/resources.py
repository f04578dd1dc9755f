"""ECR's resource type: the repository."""

from __future__ import annotations

from local.resources import Kind, Made, Order


class Repository(Kind):
    """AWS::ECR::Repository."""

    type = "AWS::ECR::Repository"
    create_only = frozenset({"RepositoryName", "EncryptionConfiguration"})

    def create(self, order: Order) -> Made:
        """Create the repository with its policies."""
        answer = order.call(
            "ecr",
            "CreateRepository",
            RepositoryName=order.get("RepositoryName") or order.name(256, lower=True),
            **order.given(
                "ImageTagMutability",
                "ImageScanningConfiguration",
                "EncryptionConfiguration",
                tags="Tags",
            ),
        )
        repository = answer["repository"]
        made = Made(
            repository["repositoryName"],
            {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]},
        )
        self._configure(order, made.physical_id)
        return made

    @staticmethod
    def _configure(order: Order, name: str) -> None:
        if order.get("RepositoryPolicyText"):
            order.call(
                "ecr",
                "SetRepositoryPolicy",
                repositoryName=name,
                policyText=order["RepositoryPolicyText"],
            )
        lifecycle = (order.get("LifecyclePolicy") or {}).get("LifecyclePolicyText")
        if lifecycle:
            order.call(
                "ecr", "PutLifecyclePolicy", repositoryName=name, lifecyclePolicyText=lifecycle
            )

    def update(self, order: Order) -> Made:
        """Put the policies again."""
        self._configure(order, order.physical_id)
        return Made(order.physical_id, order.attributes)

    def delete(self, order: Order) -> None:
        """Delete the repository."""
        order.discard("ecr", "DeleteRepository", repositoryName=order.physical_id, force=True)


KINDS: tuple[type[Kind], ...] = (Repository,)
