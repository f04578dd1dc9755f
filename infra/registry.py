"""The model registry: one package group, and the function that gates what enters it."""

from aws_cdk import Aws, aws_iam, aws_sagemaker
from constructs import Construct

from core.settings import Settings
from infra.assets import Packager
from infra.functions import PackagedFunction
from infra.grants import BY_NUMBER, BY_PREFIX, allow
from infra.storage import Storage, removal_policy


def package_arns(settings: Settings) -> list[str]:
    """Give the ARNs of the model package group and of its packages."""
    base = f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}"
    return [
        f"{base}:model-package-group/{settings.deployment}",
        f"{base}:model-package/{settings.deployment}/*",
    ]


def allow_packages(role: aws_iam.Role, settings: Settings, *actions: str) -> None:
    """Let a role list model packages, and do these actions on those of this deployment."""
    allow(
        role,
        "sagemaker:ListModelPackages",
        on=["*"],
        because="SageMaker's List calls know no resources (AWS page: Actions, resources, and "
        "condition keys for Amazon SageMaker); a grant on the group would never match.",
    )
    allow(role, *actions, on=package_arns(settings), because=BY_NUMBER)


class Registry(Construct):
    """Keep every trained model with its verdict: Approved, PendingManualApproval or Rejected."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        packager: Packager,
        storage: Storage,
        inference_image: str,
    ) -> None:
        """Make the group and the register function."""
        super().__init__(scope, construct_id)
        self.group = aws_sagemaker.CfnModelPackageGroup(
            self,
            "Group",
            # Named: the approval event and every listing carry the group's name.
            model_package_group_name=settings.deployment,
            model_package_group_description=f"Models of {settings.project.name}, "
            f"stage {settings.stage}",
        )
        self.group.apply_removal_policy(removal_policy(settings))
        self.register = PackagedFunction(
            self,
            "Register",
            name="register",
            settings=settings,
            packager=packager,
            description="Applies the gates to a trained bundle and creates its model package",
            environment={
                "BUCKET": storage.bucket.bucket_name,
                "MODEL_PACKAGE_GROUP": self.group.model_package_group_name,
                "INFERENCE_IMAGE": inference_image,
                "GATES": settings.gates.model_dump_json(include={"minimum", "maximum"}),
                "APPROVAL": settings.gates.approval,
            },
            timeout_seconds=120,
            memory_mb=512,
        )
        allow(
            self.register.role,
            "s3:GetObject",
            on=storage.objects(self, "models/", "runs/"),
            because=BY_PREFIX,
        )
        allow_packages(
            self.register.role,
            settings,
            "sagemaker:CreateModelPackage",
            "sagemaker:DescribeModelPackage",
            "sagemaker:UpdateModelPackage",
        )
