"""Targets: which Python an asset runs on, and which one compiles for it."""

import sys
from pathlib import Path

from infra.assets.bytecode import find_interpreter
from infra.assets.targets import container_target, host_target, lambda_target


def test_targets() -> None:
    """Lambda's Python for functions, the container's for jobs, this machine's when local."""
    assert lambda_target("arm64", local=False).tag == "python3.13-aarch64-manylinux_2_28"
    assert container_target(local=False).tag == "python3.12-x86_64-manylinux_2_28"
    assert lambda_target("arm64", local=True) == container_target(local=True) == host_target()


def test_an_interpreter_is_one_that_answers() -> None:
    """The running one serves its own minor; a version that nobody has is None."""
    assert find_interpreter(host_target().python) == Path(sys.executable)
    assert find_interpreter("3.99") is None
