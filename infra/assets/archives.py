"""Archives whose bytes depend on the names and the contents of their files only."""

import gzip
import io
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

# A fixed date, the earliest that a zip can hold: the same content then has the same bytes.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def list_files(folder: Path) -> dict[str, Path]:
    """Give the files below a folder, by their path in it."""
    return {
        str(PurePosixPath(path.relative_to(folder))): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def add_to_zip(path: Path, files: Mapping[str, Path]) -> None:
    """Add files to a zip, whose bytes depend on names and contents only."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name].read_bytes())


def write_tar(path: Path, files: Mapping[str, bytes | Path], before: Path | None = None) -> None:
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


def measure(path: Path) -> tuple[int, int]:
    """Give the unpacked bytes and the number of files of an archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            sizes = [entry.file_size for entry in archive.infolist()]
    else:
        with tarfile.open(path, "r:gz") as packed:
            sizes = [entry.size for entry in packed.getmembers()]
    return sum(sizes), len(sizes)
