"""A packaged function with a role, a log group and a stated environment of its own."""

from collections.abc import Mapping

from aws_cdk import Duration, aws_lambda

from infra.assets import Target, lambda_target
from infra.deployment import Scope, StageConstruct
from infra.grants import acknowledge, service_role
from infra.storage import log_group


class PackagedFunction(StageConstruct):
    """Run one folder of `lambdas/`; it may write its log lines and do what it is granted."""

    def __init__(
        self,
        scope: Scope,
        construct_id: str,
        *,
        name: str,
        environment: Mapping[str, str],
        timeout_seconds: int,
        memory_mb: int,
        description: str,
        requirements: str = "requirements.txt",
        version_description: str | None = None,
        snap_start: bool = False,
    ) -> None:
        """Package `lambdas/<name>` and make the function; a version is described as told."""
        super().__init__(scope, construct_id)
        settings = self.settings
        target = lambda_target(settings.serving.architecture, local=settings.is_local)
        asset = self.deployment.packager.package_function(name, target, requirements)
        self.log_group = log_group(self)
        self.role = service_role(
            self,
            "Role",
            service="lambda.amazonaws.com",
            says=f"what the {name} function may do",
        )
        self.log_group.grant_write(self.role)
        self.function = aws_lambda.Function(
            self,
            "Function",
            description=description,
            code=aws_lambda.Code.from_asset(str(asset.path)),
            handler=f"lambdas.{name}.handler.handler",
            runtime=_runtime(target),
            architecture=_architecture(target),
            environment={"DEPLOYMENT": self.deployment.name, **environment},
            timeout=Duration.seconds(timeout_seconds),
            memory_size=memory_mb,
            role=self.role,
            log_group=self.log_group,
            snap_start=aws_lambda.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
            current_version_options=None
            if version_description is None
            else aws_lambda.VersionOptions(
                # Create-only: a new value publishes a new version. In production the old one stays.
                description=version_description,
                removal_policy=self.deployment.removal_policy,
            ),
        )
        acknowledge(
            self.function,
            "AwsSolutions-L1",
            because="The runtime is the minor version that the dependencies are built, compiled "
            "and measured for.",
        )


def _runtime(target: Target) -> aws_lambda.Runtime:
    return aws_lambda.Runtime(
        f"python{target.python}", aws_lambda.RuntimeFamily.PYTHON, supports_snap_start=True
    )


def _architecture(target: Target) -> aws_lambda.Architecture:
    arm = target.machine == "aarch64"
    return aws_lambda.Architecture.ARM_64 if arm else aws_lambda.Architecture.X86_64
