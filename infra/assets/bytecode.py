"""Bytecode for the interpreter of a target, compiled by one of the same version on this machine."""

import functools
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from infra.assets.errors import AssetError


@functools.cache
def find_interpreter(minor: str) -> Path | None:
    """Find an interpreter of this minor version on the machine, to compile bytecode with.

    Looks at the running one, PATH, pyenv and uv's own, and downloads nothing.
    """
    if minor == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    named = f"python{minor}"
    found = [shutil.which(named), *sorted(pyenv.glob(f"{minor}.*/bin/{named}"))]
    found += sorted(managed.glob(f"cpython-{minor}.*/bin/{named}"))
    for candidate in found:
        # A pyenv shim is on PATH even where it refuses to run.
        if candidate is not None and _answers(Path(candidate), minor):
            return Path(candidate)
    return None


def _answers(interpreter: Path, minor: str) -> bool:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [interpreter, "-c", program], capture_output=True, text=True, timeout=30, check=False
        )
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == minor


def compiler_id(interpreter: Path | None) -> str:
    """Name the compiler by its version: two patch releases may write different bytecode."""
    if interpreter is None:
        return "uncompiled"
    return _full_version(interpreter)


@functools.cache
def _full_version(interpreter: Path) -> str:
    if interpreter == Path(sys.executable):
        return platform.python_version()
    program = "import platform; print(platform.python_version())"
    done = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def compile_bytecode(folder: Path, interpreter: Path | None) -> None:
    """Compile to bytecode that is never checked against its source.

    /var/task is read-only, so a function without bytecode compiles anew at every cold start. The
    hash seed is fixed because the order of a set constant in the bytecode depends on it.
    """
    if interpreter is None:
        return
    command = [str(interpreter), "-m", "compileall", "-q", "-f"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", "/var/task"]
    done = subprocess.run(
        [*command, str(folder)],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssetError(f"{interpreter} cannot compile {folder.name}: {done.stdout.strip()}")
