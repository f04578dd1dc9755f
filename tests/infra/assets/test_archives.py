"""Archives: the same names and contents give the same bytes."""

import os
import tarfile
from pathlib import Path

from infra.assets.archives import add_to_zip, write_tar


def test_times_and_modes_of_files_do_not_matter(tmp_path: Path) -> None:
    """Only names and contents enter an archive."""
    file = tmp_path / "a.py"
    file.write_text("x = 1\n")
    archives = []
    for stamp, mode in ((1_000_000_000, 0o600), (1_700_000_000, 0o755)):
        os.utime(file, (stamp, stamp))
        file.chmod(mode)
        (tmp_path / "a.zip").unlink(missing_ok=True)
        add_to_zip(tmp_path / "a.zip", {"a.py": file})
        write_tar(tmp_path / "a.tar.gz", {"a.py": file})
        archives.append(((tmp_path / "a.zip").read_bytes(), (tmp_path / "a.tar.gz").read_bytes()))
    assert archives[0] == archives[1]


def test_dependencies_are_packed_once_and_read_as_one_archive(tmp_path: Path) -> None:
    """A change of the code joins the new code to the old dependencies, without a seam."""
    vendored = tmp_path / "dep.py"
    vendored.write_text("y = 2\n")
    write_tar(tmp_path / "dependencies.tar.gz", {"vendor/dep.py": vendored})
    for code in (b"x = 1\n", b"x = 3\n"):
        path = tmp_path / "source.tar.gz"
        write_tar(path, {"a.py": code}, before=tmp_path / "dependencies.tar.gz")
        with tarfile.open(path, "r:gz") as archive:
            archive.extractall(tmp_path / "read", filter="data")
            assert archive.getnames() == ["a.py", "vendor/dep.py"]
        assert (tmp_path / "read/a.py").read_bytes() == code
        assert (tmp_path / "read/vendor/dep.py").read_bytes() == b"y = 2\n"
