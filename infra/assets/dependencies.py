"""The pinned wheels of an asset: read, installed for a target, checked, stripped and compiled."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from infra.assets.errors import AssetError
from infra.assets.targets import Target

CONSTRAINTS = Path(__file__).with_name("constraints.txt")

# Folders and files of wheels that never run: tests, sources of extensions, command line tools.
_STRIPPED_FOLDERS = frozenset({"__pycache__", "bin", "include", "test", "tests", "_pyinstaller"})
_STRIPPED_SUFFIXES = frozenset(
    {".a", ".c", ".cc", ".cpp", ".h", ".pxd", ".pxi", ".pyi", ".pyx", ".typed"}
)
_STRIPPED_PATHS = (
    "numpy/f2py/",
    "onnx/backend/test/",
    "onnx/examples/",
    "onnxruntime/backend/",
    "onnxruntime/datasets/",
    "onnxruntime/quantization/",
    "onnxruntime/tools/",
    "onnxruntime/transformers/",
    "pyarrow/includes/",
    "pyarrow/src/",
)
# Extensions that nothing here loads, and copies under names that only a compiler asks for.
_STRIPPED_FILES = (
    "pyarrow/*flight*",
    "pyarrow/_substrait*",
    "pyarrow/libarrow_python*.so",
    "pyarrow/libarrow_python*.so.*.*.*",
)

# The least a distribution needs for `importlib.metadata.version`; readmes and records stay behind.
_METADATA_HEADERS = ("Metadata-Version", "Name", "Version")


def read_requirements(path: Path) -> list[str]:
    """Read the lines of a requirements file, those of the files that it includes first.

    Raises AssetError for a missing file.
    """
    if not path.is_file():
        raise AssetError(f"{path.name} of {path.parent.name!r} does not exist; list its pins there")
    lines: list[str] = []
    for line in path.read_text().splitlines():
        line = line.split(" #")[0].strip()
        if line.startswith("-r "):
            lines += read_requirements(path.parent / line[3:].strip())
        elif line and not line.startswith("#"):
            lines.append(line)
    return lines


def install_wheels(
    scratch: Path, folder: Path, lines: Sequence[str], target: Target, unused: Sequence[str]
) -> None:
    """Install wheels for the target; from uv's cache alone where that holds everything."""
    requirements = scratch / "requirements.txt"
    requirements.write_text("\n".join(lines) + "\n")
    excluded = scratch / "excluded.txt"
    excluded.write_text("\n".join(unused) + "\n")
    command = [
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-config"),
        "--system-certs",  # pyproject.toml says so for the rest, and --no-config passes over it
        *("--target", str(folder), "--no-build", "--no-compile-bytecode"),
        *("--python-platform", target.platform, "--python-version", target.python),
        *("--requirement", str(requirements), "--constraint", str(CONSTRAINTS)),
        *("--excludes", str(excluded), "--link-mode", "copy"),
    ]
    offline = subprocess.run([*command, "--offline"], capture_output=True, text=True, check=False)
    if offline.returncode == 0:
        return
    shutil.rmtree(folder, ignore_errors=True)
    online = subprocess.run(command, capture_output=True, text=True, check=False)
    if online.returncode != 0:
        raise AssetError(
            f"dependencies for {target.tag} cannot be installed; uv says:\n{online.stderr.strip()}"
        )


def require_pins(folder: Path, lines: Sequence[str], target: Target) -> None:
    """Refuse a distribution that no requirement and no constraint pins to its version."""
    pinned = dict(read_pins([*lines, *read_requirements(CONSTRAINTS)], target))
    for info in sorted(folder.glob("*.dist-info")):
        name, version = info.name.removesuffix(".dist-info").split("-", 1)
        wanted = pinned.get(_canonical(name))
        if wanted != version:
            raise AssetError(
                f"{name} {version} came along for {target.tag} but is "
                f"{'not pinned' if wanted is None else f'pinned to {wanted}'}; "
                f"write {_canonical(name)}=={version} into infra/assets/{CONSTRAINTS.name}"
            )


def read_pins(lines: Iterable[str], target: Target) -> Iterator[tuple[str, str]]:
    """Give the name and version of every pin that holds for the target's Python."""
    current = tuple(int(part) for part in target.python.split("."))
    for line in lines:
        pin, _, marker = (part.strip() for part in line.partition(";"))
        bound = re.fullmatch(r'python_version\s*(>=|<)\s*"(\d+)\.(\d+)"', marker)
        if bound:
            limit = (int(bound[2]), int(bound[3]))
            if (current >= limit) != (bound[1] == ">="):
                continue
        elif marker:
            raise AssetError(
                f"requirement {line!r}: only python_version markers (>=, <) are understood here"
            )
        name, separator, version = pin.partition("==")
        if not separator:
            raise AssetError(f"requirement {line!r}: pin it to one version, as in name==1.2.3")
        yield _canonical(name.partition("[")[0]), version.strip()


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def strip(folder: Path) -> None:
    """Remove what never runs, and cut each distribution's metadata to its name and version."""
    for info in folder.glob("*.dist-info"):
        metadata = (info / "METADATA").read_text(encoding="utf-8").splitlines()
        kept = [line for line in metadata if line.split(":")[0] in _METADATA_HEADERS][:3]
        shutil.rmtree(info)
        info.mkdir()
        (info / "METADATA").write_text("\n".join(kept) + "\n", encoding="utf-8")
    for path in sorted(folder.rglob("*"), reverse=True):
        relative = path.relative_to(folder)
        if path.is_dir():
            below = f"{PurePosixPath(relative)}/"
            if path.name in _STRIPPED_FOLDERS or below in _STRIPPED_PATHS:
                shutil.rmtree(path)
        elif (
            path.suffix in _STRIPPED_SUFFIXES
            or path.name == ".lock"
            or any(relative.match(pattern) for pattern in _STRIPPED_FILES)
        ):
            path.unlink()
