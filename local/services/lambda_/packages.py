"""What a function's process imports from: the deployed zip, and what AWS's runtime provides."""

from __future__ import annotations

import importlib.util
import io
import shutil
import threading
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moto.awslambda.models import LambdaFunction

# What AWS's Python runtime carries beside the standard library.
RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "dateutil", "six")


class Packages:
    """Unpack each deployed asset once; hold the packages of the runtime."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self.runtime = self._make_runtime()

    def _make_runtime(self) -> Path:
        """Make the folder of packages that AWS's runtime itself provides."""
        folder = self._folder / "runtime"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for package in RUNTIME_PACKAGES:
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                continue
            origin = Path(spec.origin)
            source = origin.parent if origin.name == "__init__.py" else origin
            (folder / source.name).symlink_to(source)
        return folder

    def code(self, function: LambdaFunction) -> Path:
        """Return the folder with the deployed zip, unpacked once."""
        folder = self._folder / "code" / function.code_digest
        with self._lock:
            if not folder.exists():
                partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
                with zipfile.ZipFile(io.BytesIO(function.code_bytes)) as archive:
                    archive.extractall(partial)
                    for entry in archive.infolist():
                        if entry.external_attr >> 16 & 0o111 and not entry.is_dir():
                            (partial / entry.filename).chmod(0o755)
                partial.rename(folder)
        return folder
