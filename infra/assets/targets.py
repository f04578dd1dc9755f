"""What an asset runs on: Lambda, SageMaker's container, or this machine for the local stage."""

import platform
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """The interpreter and machine that an asset runs on."""

    python: str
    """The minor version, as in "3.13"."""
    machine: str
    """aarch64 or x86_64."""
    platform: str
    """uv's name of the platform, as in "aarch64-manylinux_2_28"."""

    @property
    def tag(self) -> str:
        """Name the target in files and folders."""
        return f"python{self.python}-{self.platform}"


def lambda_target(architecture: str, *, local: bool) -> Target:
    """Give the target of a function: Lambda's python3.13, or this machine for the local stage."""
    if local:
        return host_target()
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[architecture]
    return Target("3.13", machine, f"{machine}-manylinux_2_28")


def container_target(*, local: bool) -> Target:
    """Give the target of a training job: SageMaker's scikit-learn container, or this machine."""
    return host_target() if local else Target("3.12", "x86_64", "x86_64-manylinux_2_28")


def host_target() -> Target:
    """Describe the interpreter that runs this."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    system = "macos" if sys.platform == "darwin" else "manylinux_2_28"
    return Target(
        f"{sys.version_info.major}.{sys.version_info.minor}", machine, f"{machine}-{system}"
    )
