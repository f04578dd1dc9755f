"""A deployment, and the stack and the construct that carry it: what every construct begins with."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from aws_cdk import CfnOutput, RemovalPolicy, Stack, Tags
from constructs import Construct

from core.settings import Settings
from infra.assets import Packager


@dataclass(frozen=True)
class Deployment:
    """What the constructs of a stage are made from."""

    settings: Settings
    packager: Packager
    commit: str

    @property
    def name(self) -> str:
        """Name the deployment: project and stage."""
        return self.settings.deployment

    @property
    def removal_policy(self) -> RemovalPolicy:
        """Keep what holds data in production; elsewhere let it go with its stack."""
        return RemovalPolicy.RETAIN if self.settings.is_production else RemovalPolicy.DESTROY

    def stack_name(self, part: str) -> str:
        """Name a stack of the deployment: training, serving or monitoring."""
        return f"{self.name}-{part}"


class StageStack(Stack):
    """A stack of one stage: a fixed name, no account and no region, the stage's tags."""

    def __init__(
        self, scope: Construct, deployment: Deployment, *, part: str, description: str
    ) -> None:
        """Name the stack; a production stack refuses to be deleted until told otherwise."""
        name = deployment.stack_name(part)
        settings = deployment.settings
        super().__init__(
            scope,
            name,
            stack_name=name,
            description=f"Driftless {deployment.name}: {description}",
            termination_protection=settings.is_production,
        )
        self.deployment = deployment
        for key, value in (
            ("project", settings.project.name),
            ("stage", settings.stage),
            ("deployment", deployment.name),
        ):
            Tags.of(self).add(key, value)

    def _output(self, values: Mapping[str, tuple[str, str]]) -> None:
        """Write the stack's outputs: name, value, description."""
        outputs = Construct(self, "Outputs")
        for name, (value, description) in values.items():
            output = CfnOutput(outputs, name, value=value, description=description)
            output.override_logical_id(name)


class StageConstruct(Construct):
    """A construct of one stage: it belongs to the deployment of the scope that it is made in."""

    def __init__(self, scope: "Scope", construct_id: str) -> None:
        """Take the deployment, and with it the settings, from the scope."""
        super().__init__(scope, construct_id)
        self.deployment: Deployment = scope.deployment
        self.settings = self.deployment.settings


Scope: TypeAlias = StageStack | StageConstruct


def read_commit(root: Path) -> str:
    """Give the sources' commit, with "-dirty" if they differ from it; "unknown" without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
