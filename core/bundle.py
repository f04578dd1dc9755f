"""The files of a trained model: their names, their hashes, reading and writing them.

A bundle is one folder, on disk or under one S3 prefix. `manifest.json` is written last and holds
the SHA-256 of every other file, so a folder without a manifest is not a bundle, and a file that
does not match its hash is never used.
"""

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contract import Contract
from core.errors import BundleError

MODEL = "model.json"
ONNX = "model.onnx"
JOBLIB = "model.joblib"
CONTRACT = "contract.json"
BASELINE = "baseline.json"
EVALUATION = "evaluation.json"
GOLDEN = "golden.json"
LINEAGE = "lineage.json"
REPORT = "report.html"
SEEN = "seen.bin"
ENTITY_KEY = "entity.key"
ENTITIES = "entities.bin"
MANIFEST = "manifest.json"

FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds: the SHA-256 (hex) and size (bytes) of each file."""

    sha256: Mapping[str, str]
    sizes: Mapping[str, int]
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """Name the whole bundle by one SHA-256, over the names and hashes of its files."""
        lines = "".join(f"{self.sha256[name]}  {name}\n" for name in sorted(self.sha256))
        return hashlib.sha256(lines.encode()).hexdigest()

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> "Manifest":
        """Describe `files`, sorted by name."""
        return cls(
            sha256={name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)},
            sizes={name: len(files[name]) for name in sorted(files)},
        )

    def to_json(self) -> bytes:
        """Write the manifest as JSON."""
        files = {n: {"sha256": self.sha256[n], "bytes": self.sizes[n]} for n in sorted(self.sha256)}
        return (json.dumps({"format": self.format, "files": files}, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes | str) -> "Manifest":
        """Read a manifest; raises BundleError if it is not one, or from a newer release."""
        try:
            document = json.loads(text)
            version, files = document["format"], document["files"]
            manifest = cls(
                sha256={str(name): str(entry["sha256"]) for name, entry in files.items()},
                sizes={str(name): int(entry["bytes"]) for name, entry in files.items()},
                format=version,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{MANIFEST} is not a bundle's manifest: {error!r}") from error
        if version != FORMAT:
            raise BundleError(
                f"{MANIFEST} has format {version!r}, this release reads {FORMAT}: "
                "use the release that wrote the bundle, or train again"
            )
        for name in manifest.sha256:
            _check_name(name)
        return manifest


class Bundle:
    """A trained model's files, each verified against the manifest when it is read."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """Open the bundle whose files `read(name)` gives; `read` may raise what it likes.

        Raises BundleError if there is no usable manifest.
        """
        self._read = read
        self.manifest = Manifest.from_json(self._fetch(MANIFEST))

    @classmethod
    def from_folder(cls, path: Path | str) -> "Bundle":
        """Open the bundle in a folder on disk."""
        folder = Path(path)
        return cls(lambda name: (folder / name).read_bytes())

    def __contains__(self, name: object) -> bool:
        """Say whether the manifest lists `name`."""
        return name in self.manifest.sha256

    @property
    def names(self) -> tuple[str, ...]:
        """The files that the manifest lists, sorted."""
        return tuple(self.manifest.sha256)

    def file(self, name: str) -> bytes:
        """Read one file; raises BundleError if it is absent or differs from its hash."""
        expected = self.manifest.sha256.get(name)
        if expected is None:
            raise BundleError(
                f"the bundle has no {name}; it has {', '.join(self.names) or 'nothing'}"
            )
        content = self._fetch(name)
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise BundleError(
                f"{name} was altered: its SHA-256 is {found[:12]}..., the manifest says "
                f"{expected[:12]}...; restore the file or use another model version"
            )
        return content

    def json(self, name: str) -> Any:
        """Read one JSON file; raises BundleError as `file` does, or if it is not JSON."""
        try:
            return json.loads(self.file(name))
        except ValueError as error:
            raise BundleError(f"{name} is not JSON: {error}") from error

    def contract(self) -> Contract:
        """Read the contract."""
        return Contract.from_json(self.file(CONTRACT))

    def evaluation(self) -> dict[str, Any]:
        """Read the evaluation: metrics with intervals, threshold, decision."""
        return self._object(EVALUATION)

    def golden(self) -> dict[str, Any]:
        """Read the golden rows and the answers expected of them."""
        return self._object(GOLDEN)

    def lineage(self) -> dict[str, Any]:
        """Read where the model comes from: data, commit, packages, seeds."""
        return self._object(LINEAGE)

    def verify(self) -> None:
        """Read every file once; raises BundleError at the first that is absent or altered."""
        for name in self.names:
            self.file(name)

    def _object(self, name: str) -> dict[str, Any]:
        document = self.json(name)
        if not isinstance(document, dict):
            raise BundleError(f"{name} holds {type(document).__name__}, not an object")
        return document

    def _fetch(self, name: str) -> bytes:
        try:
            return self._read(name)
        except BundleError:
            raise
        except Exception as error:
            raise BundleError(f"cannot read {name} of the bundle: {error}") from error


def write_bundle(folder: Path | str, files: Mapping[str, bytes]) -> Manifest:
    """Write `files` and their manifest as one bundle, whole or not at all.

    Everything is written beside `folder`, flushed to disk with the manifest last, then renamed into
    place, so that a reader never sees half a bundle. A folder that already holds nothing but an
    empty directory is replaced; an existing bundle is not (BundleError). A file system that refuses
    the rename (the mounted model folder of a training container) gets the files one by one, the
    manifest still last. What writers that were killed left beside `folder` is removed first.
    """
    target = Path(folder)
    for name in files:
        _check_name(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BundleError(
            f"{target} already exists and is not empty; a bundle is never overwritten"
        )
    manifest = Manifest.of(files)
    staging = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.partial"
    locks: list[int | None] = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        locks.append(_lock(target.parent, wait=True))
        _remove_abandoned(target.parent)
        staging.mkdir()
        locks.append(_lock(staging))
        _unlock(locks.pop(0))
        for name, content in {**files, MANIFEST: manifest.to_json()}.items():
            _write_flushed(staging / name, content)
        _flush_folder(staging)
        _move_into_place(staging, target, [*files, MANIFEST])
    except OSError as error:
        raise BundleError(f"cannot write the bundle {target}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for lock in locks:
            _unlock(lock)
    return manifest


def _remove_abandoned(folder: Path) -> None:
    """Remove half-written bundles of processes that have ended: their lock is free."""
    for left in folder.glob(".*.partial"):
        lock = _lock(left)
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
        _unlock(lock)


def _lock(folder: Path, *, wait: bool = False) -> int | None:
    """Lock a folder for this process; None where another holds it or the file system has no locks.

    The lock lasts until `_unlock` or the end of the process, whatever ends it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _move_into_place(staging: Path, target: Path, names: list[str]) -> None:
    try:
        os.replace(staging, target)
    except OSError:
        target.mkdir(parents=True, exist_ok=True)
        try:
            for name in names:
                _write_flushed(target / name, (staging / name).read_bytes())
        except OSError:
            for name in names:
                (target / name).unlink(missing_ok=True)
            raise
        _flush_folder(target)
    _flush_folder(target.parent)


def _write_flushed(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_name(name: str) -> None:
    if not name or name == MANIFEST or name != os.path.basename(name) or name.startswith("."):
        raise BundleError(f"{name!r} cannot be the name of a file in a bundle")
