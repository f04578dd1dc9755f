"""Package the functions and the training source without Docker: pinned wheels, fixed bytes.

What is built lies in `.build/`, keyed by a hash of everything that went in, so that an unchanged
input costs one hash. The same input gives the same bytes, on the same machine and with the same
tools.
"""

import functools
import gzip
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.errors import DriftlessError

CONSTRAINTS = Path(__file__).with_name("constraints.txt")

# What SageMaker's scikit-learn container brings itself; vendoring it again would cost 300 MB.
IN_CONTAINER = ("joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "threadpoolctl")

# Declared by onnxruntime for its tools, never imported by `onnxruntime.InferenceSession`.
UNUSED_IN_FUNCTIONS = ("flatbuffers", "ml-dtypes", "packaging", "protobuf")

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

# A fixed date, the earliest that a zip can hold: the same content then has the same bytes.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


class AssetError(DriftlessError):
    """An asset that cannot be packaged; the text says which, why and what to do."""


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
        key = self._key("function", target.tag, lines, sources, _compiler_id(compiler))

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
                _compile(own, compiler)
                shutil.copyfile(self._packed(dependencies, ".zip"), path)
                _add_to_zip(path, _list_files(own))

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
            _write_tar(path, sources, before=self._packed(vendored, ".tar.gz"))

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
            note.write_text("{} {}".format(*_measure(path)))
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
                _compiler_id(compiler),
            ]
        )
        folder = self.build / "wheels" / hashlib.sha256(recipe.encode()).hexdigest()[:16]
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            work = Path(scratch) / "site"
            _run_uv(Path(scratch), work, lines, target, unused)
            _require_pins(work, lines, target)
            _strip(work)
            _compile(work, compiler)
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
            files = _list_files(folder)
            if suffix == ".zip":
                zipfile.ZipFile(partial, "w").close()
                _add_to_zip(partial, files)
            else:
                _write_tar(partial, {f"vendor/{name}": at for name, at in files.items()})
            os.replace(partial, path)
        return path

    @functools.cache  # noqa: B019  (said once a packager, which lives as long as a synth)
    def _say_uncompiled(self, target: Target) -> None:
        self._report(
            f"asset: this machine has no Python {target.python}, so functions ship without "
            "bytecode and start up to three times slower; install it and synthesise again"
        )


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


def _compiler_id(interpreter: Path | None) -> str:
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


@functools.cache
def _own_source() -> str:
    return Path(__file__).read_text()


def _run_uv(
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


def _require_pins(folder: Path, lines: Sequence[str], target: Target) -> None:
    """Refuse a distribution that no requirement and no constraint pins to its version."""
    pinned = dict(_read_pins([*lines, *read_requirements(CONSTRAINTS)], target))
    for info in sorted(folder.glob("*.dist-info")):
        name, version = info.name.removesuffix(".dist-info").split("-", 1)
        wanted = pinned.get(_canonical(name))
        if wanted != version:
            raise AssetError(
                f"{name} {version} came along for {target.tag} but is "
                f"{'not pinned' if wanted is None else f'pinned to {wanted}'}; "
                f"write {_canonical(name)}=={version} into infra/{CONSTRAINTS.name}"
            )


def _read_pins(lines: Iterable[str], target: Target) -> Iterator[tuple[str, str]]:
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


def _strip(folder: Path) -> None:
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


def _compile(folder: Path, interpreter: Path | None) -> None:
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


def _list_files(folder: Path) -> dict[str, Path]:
    return {
        str(PurePosixPath(path.relative_to(folder))): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _add_to_zip(path: Path, files: Mapping[str, Path]) -> None:
    """Add files to a zip, whose bytes depend on names and contents only."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name].read_bytes())


def _write_tar(path: Path, files: Mapping[str, bytes | Path], before: Path | None = None) -> None:
    """Write a .tar.gz whose bytes depend on names and contents only.

    The archive `before` whose entries then follow is not packed anew: members of gzip may be joined
    (RFC 1952, 2.2), and the end of the first tar is left out.
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed,
    ):
        archive = tarfile.TarFile(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT)
        for name in sorted(files):
            given = files[name]
            content = given.read_bytes() if isinstance(given, Path) else given
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
        if before is None:
            archive.close()
    if before is not None:
        with path.open("ab") as end, before.open("rb") as follows:
            shutil.copyfileobj(follows, end)


def _measure(path: Path) -> tuple[int, int]:
    """Give the unpacked bytes and the number of files of an archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            sizes = [entry.file_size for entry in archive.infolist()]
    else:
        with tarfile.open(path, "r:gz") as packed:
            sizes = [entry.size for entry in packed.getmembers()]
    return sum(sizes), len(sizes)


def _print_to_stderr(line: str) -> None:
    """Say it where it cannot mix with a template on standard output."""
    print(line, file=sys.stderr)


def read_commit(root: Path) -> str:
    """Give the sources' commit, with "-dirty" if they differ from it; "unknown" without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
