"""Install a peer into a virtual environment of its own, once.

Peers pin versions that conflict with the project's and with each other's, so none is installed into
the project's environment. The standard library is enough here: this module is also imported in the
peers' environments.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from core.errors import OperationError

HOME = Path(__file__).resolve().parents[2] / ".build" / "bench" / "peers"
INSTALL_TIMEOUT_SECONDS = 900


def provide(name: str, packages: Sequence[str]) -> Path:
    """Install the packages into the peer's environment if they are not there; return its Python.

    Raises OperationError with the installer's last line where that fails.
    """
    folder = HOME / name
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    wanted = "\n".join(packages)
    if installed.is_file() and installed.read_text() == wanted:
        return python
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "-q", "--python", str(python), *packages],
    ):
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_TIMEOUT_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OperationError(f"not installed: {error!r}"[:200]) from error
        if done.returncode:
            raise OperationError(f"not installed: {last_line(done.stderr)}")
    installed.write_text(wanted)
    return python


def last_line(text: str) -> str:
    """Return the last line of a process's error output, which usually names the cause."""
    return (text.strip().splitlines() or ["no error message"])[-1][:200]
