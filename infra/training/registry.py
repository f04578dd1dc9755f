"""The model registry: one package group, and the function that gates what enters it."""

from aws_cdk import Aws, aws_sagemaker

from infra.deployment import Deployment, Scope, StageConstruct
from infra.functions import PackagedFunction
from infra.grants import allow
from infra.storage import Storage


def package_arns(deployment: Deployment) -> list[str]:
    """Give the ARNs of the model package group and of its packages."""
    base = f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}"
    return [
        f"{base}:model-package-group/{deployment.name}",
        f"{base}:model-package/{deployment.name}/*",
    ]


def allow_packages(function: PackagedFunction, *actions: str) -> None:
    """Let a function list model packages, and do these actions on those of its deployment."""
    allow(
        function.role,
        "sagemaker:ListModelPackages",
        on=["*"],
        because="SageMaker's List calls know no resources (AWS page: Actions, resources, and "
        "condition keys for Amazon SageMaker); a grant on the group would never match.",
    )
    allow(
        function.role,
        *actions,
        on=package_arns(function.deployment),
        because="Packages are numbered within this deployment's group.",
    )


class Registry(StageConstruct):
    """Keep every trained model with its verdict: Approved, PendingManualApproval or Rejected."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        storage: Storage,
        inference_image: str,
    ) -> None:
        """Make the group and the register function."""
        super().__init__(scope, construct_id)
        settings = self.settings
        self.group = aws_sagemaker.CfnModelPackageGroup(
            self,
            "Group",
            # Named: the approval event and every listing carry the group's name.
            model_package_group_name=self.deployment.name,
            model_package_group_description=f"Models of {settings.project.name}, "
            f"stage {settings.stage}",
        )
        self.group.apply_removal_policy(self.deployment.removal_policy)
        self.register = PackagedFunction(
            self,
            "Register",
            name="register",
            description="Applies the gates to a trained bundle and creates its model package",
            environment={
                "STAGE": settings.stage,
                "BUCKET": storage.bucket.bucket_name,
                "MODEL_PACKAGE_GROUP": self.group.model_package_group_name,
                "INFERENCE_IMAGE": inference_image,
                "GATES": settings.gates.model_dump_json(include={"minimum", "maximum", "accepted"}),
                "APPROVAL": settings.gates.approval,
            },
            timeout_seconds=120,
            memory_mb=512,
        )
        storage.allow(self.register.role, "s3:GetObject", below=["models/", "runs/"])
        allow_packages(
            self.register,
            "sagemaker:CreateModelPackage",
            "sagemaker:DescribeModelPackage",
            "sagemaker:UpdateModelPackage",
        )
