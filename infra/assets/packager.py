"""Package the functions and the training source without Docker: pinned wheels, fixed bytes.

What is built lies in `.build/`, keyed by a hash of everything that went in, so that an unchanged
input costs one hash. The same input gives the same bytes, on the same machine and with the same
tools.
"""

import functools
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from infra.assets.archives import add_to_zip, list_files, measure, write_tar
from infra.assets.bytecode import compile_bytecode, compiler_id, find_interpreter
from infra.assets.dependencies import (
    CONSTRAINTS,
    install_wheels,
    read_requirements,
    require_pins,
    strip,
)
from infra.assets.errors import AssetError
from infra.assets.targets import Target

# What SageMaker's scikit-learn container brings itself; vendoring it again would cost 300 MB.
IN_CONTAINER = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "threadpoolctl")

# Declared by onnxruntime for its tools, never imported by `onnxruntime.InferenceSession`.
UNUSED_IN_FUNCTIONS = ("flatbuffers", "ml-dtypes", "packaging", "protobuf")


@dataclass(frozen=True)
class Asset:
    """A packaged file and what it weighs."""

    path: Path
    unzipped_bytes: int
    files: int

    @property
    def packed_bytes(self) -> int:
        """Give the size that is uploaded."""
        return self.path.stat().st_size


class Packager:
    """Build assets from a source tree into its `.build` folder."""

    def __init__(
        self,
        root: Path,
        *,
        build: Path | None = None,
        report: Callable[[str], None] | None = None,
    ) -> None:
        """Read sources under `root`; keep results under `build` (default `root/.build`)."""
        self.root = root
        self.build = build or root / ".build"
        self._report = report or _print_to_stderr

    def package_function(
        self, name: str, target: Target, requirements: str = "requirements.txt"
    ) -> Asset:
        """Zip `core`, one function's folder and its dependencies.

        Raises AssetError if the handler is missing or a dependency is not pinned.
        """
        folder = self.root / "lambdas" / name
        handler = folder / "handler.py"
        if not handler.is_file():
            raise AssetError(
                f"function {name!r}: {handler.relative_to(self.root)} does not exist; "
                "an asset without its handler would deploy and then fail at the first call"
            )
        lines = read_requirements(folder / requirements)
        sources = {
            **self._read_tree("core"),
            "lambdas/__init__.py": (self.root / "lambdas/__init__.py").read_bytes(),
            **self._read_tree(f"lambdas/{name}"),
        }
        compiler = find_interpreter(target.python)
        if compiler is None:
            self._say_uncompiled(target)
        key = self._key("function", target.tag, lines, sources, compiler_id(compiler))

        def write(path: Path) -> None:
            dependencies = self._install(
                lines, target, unused=UNUSED_IN_FUNCTIONS, compiler=compiler
            )
            with tempfile.TemporaryDirectory(dir=self.build) as scratch:
                own = Path(scratch)
                for relative, content in sources.items():
                    file = own / relative
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(content)
                compile_bytecode(own, compiler)
                shutil.copyfile(self._packed(dependencies, ".zip"), path)
                add_to_zip(path, list_files(own))

        return self._cached(f"{name}-{key}.zip", name, write)

    def package_source(self, settings_json: str, target: Target) -> Asset:
        """Pack `core`, `training`, the settings and vendored dependencies as `sourcedir.tar.gz`.

        Its root has no requirements.txt and no setup.py, or SageMaker's toolkit would call pip,
        which a network-isolated job cannot do.
        """
        if not (self.root / "training/train.py").is_file():
            raise AssetError(
                "training source: training/train.py does not exist; the job would have no entry"
            )
        lines = read_requirements(self.root / "training/requirements.txt")
        sources = {
            **self._read_tree("core"),
            **self._read_tree("training"),
            "project.json": settings_json.encode(),
        }
        key = self._key("source", target.tag, lines, sources, "uncompiled")

        def write(path: Path) -> None:
            # Bytecode is left out: /opt/ml/code is writable and a job runs for minutes.
            vendored = self._install(lines, target, unused=IN_CONTAINER, compiler=None)
            write_tar(path, sources, before=self._packed(vendored, ".tar.gz"))

        return self._cached(f"sourcedir-{key}.tar.gz", "training source", write)

    def _read_tree(self, relative: str) -> dict[str, bytes]:
        """Read the Python files of a folder of the project, by their path under the root."""
        return {
            str(PurePosixPath(path.relative_to(self.root))): path.read_bytes()
            for path in sorted((self.root / relative).rglob("*.py"))
        }

    def _key(
        self,
        kind: str,
        tag: str,
        lines: Sequence[str],
        sources: Mapping[str, bytes],
        compiler: str,
    ) -> str:
        digest = hashlib.sha256()
        for part in (kind, tag, compiler, *lines, CONSTRAINTS.read_text(), _own_source()):
            digest.update(f"{len(part)}:{part}".encode())
        for name in sorted(sources):
            digest.update(f"{name}:{len(sources[name])}:".encode())
            digest.update(sources[name])
        return digest.hexdigest()[:16]

    def _cached(self, file_name: str, label: str, write: Callable[[Path], None]) -> Asset:
        """Give the file from the cache, or write it there first; says what it weighs."""
        path = self.build / "assets" / file_name
        built = not path.is_file()
        if built:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.{os.getpid()}")
            try:
                write(partial)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        note = path.with_name(f"{path.name}.size")
        if built or not note.is_file():
            note.write_text("{} {}".format(*measure(path)))
        size, files = (int(part) for part in note.read_text().split())
        asset = Asset(path, size, files)
        self._report(
            f"asset {label}: {size / 1e6:.1f} MB unzipped, "
            f"{asset.packed_bytes / 1e6:.1f} MB packed, {files} files{'' if built else ' (cached)'}"
        )
        return asset

    def _install(
        self,
        lines: Sequence[str],
        target: Target,
        *,
        unused: Sequence[str],
        compiler: Path | None,
    ) -> Path:
        """Install the requirements for the target, stripped and compiled; cached as a folder."""
        recipe = "\n".join(
            [
                target.tag,
                *lines,
                *unused,
                CONSTRAINTS.read_text(),
                _own_source(),
                compiler_id(compiler),
            ]
        )
        folder = self.build / "wheels" / hashlib.sha256(recipe.encode()).hexdigest()[:16]
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            work = Path(scratch) / "site"
            install_wheels(Path(scratch), work, lines, target, unused)
            require_pins(work, lines, target)
            strip(work)
            compile_bytecode(work, compiler)
            try:
                os.replace(work, folder)
            except OSError:
                # Another process finished the same folder first; its content is the same.
                if not folder.is_dir():
                    raise
        return folder

    def _packed(self, folder: Path, suffix: str) -> Path:
        """Compress installed dependencies once, not with every change of the code beside them."""
        path = folder.with_name(f"{folder.name}{suffix}")
        if not path.is_file():
            partial = path.with_name(f"{path.name}.{os.getpid()}")
            files = list_files(folder)
            if suffix == ".zip":
                zipfile.ZipFile(partial, "w").close()
                add_to_zip(partial, files)
            else:
                write_tar(partial, {f"vendor/{name}": at for name, at in files.items()})
            os.replace(partial, path)
        return path

    @functools.cache  # noqa: B019  (said once a packager, which lives as long as a synth)
    def _say_uncompiled(self, target: Target) -> None:
        self._report(
            f"asset: this machine has no Python {target.python}, so functions ship without "
            "bytecode and start up to three times slower; install it and synthesise again"
        )


@functools.cache
def _own_source() -> str:
    """Read the code that packages: another version of it may write other bytes."""
    return "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))


def _print_to_stderr(line: str) -> None:
    """Say it where it cannot mix with a template on standard output."""
    print(line, file=sys.stderr)
