"""The files of a model: whole, verified, never half written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import bundle
from core.bundle import CONTRACT, MANIFEST, MODEL, Bundle, Manifest, write_bundle
from core.contract import Column, Contract
from core.errors import BundleError

CONTRACT_OF_TEST = Contract("regression", (Column("x", "number"),), target="y")
FILES = {
    MODEL: b"{}",
    CONTRACT: CONTRACT_OF_TEST.to_json(),
    "evaluation.json": b'{"metrics": {}}',
    "golden.json": b"[]",
    "lineage.json": b"not json",
}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A bundle gives back its files, its contract and its documents."""
    manifest = write_bundle(tmp_path / "model", FILES)
    read = Bundle.from_folder(tmp_path / "model")

    assert read.manifest == manifest
    assert read.names == tuple(sorted(FILES))
    assert {name: read.file(name) for name in read.names} == FILES
    assert read.contract() == CONTRACT_OF_TEST
    assert read.evaluation() == {"metrics": {}}
    assert MODEL in read
    assert "model.onnx" not in read
    assert sorted(os.listdir(tmp_path)) == ["model"]


def test_a_missing_or_altered_file_is_refused_by_name(tmp_path: Path) -> None:
    """One flipped bit is enough, and the message says in which file."""
    write_bundle(tmp_path / "model", FILES)
    (tmp_path / "model" / MODEL).write_bytes(b"{} ")
    (tmp_path / "model" / CONTRACT).unlink()
    read = Bundle.from_folder(tmp_path / "model")

    with pytest.raises(BundleError, match=r"model\.json was altered"):
        read.file(MODEL)
    with pytest.raises(BundleError, match=r"cannot read contract\.json"):
        read.contract()
    with pytest.raises(BundleError, match=r"the bundle has no model\.onnx"):
        read.file("model.onnx")
    with pytest.raises(BundleError):
        read.verify()


def test_a_document_of_the_wrong_shape_is_refused(tmp_path: Path) -> None:
    """An array where an object belongs, or no JSON at all, is a clear error."""
    write_bundle(tmp_path / "model", FILES)
    read = Bundle.from_folder(tmp_path / "model")

    with pytest.raises(BundleError, match="not an object"):
        read.golden()
    with pytest.raises(BundleError, match="is not JSON"):
        read.lineage()


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    """Half a bundle cannot be opened, because its manifest is written last."""
    (tmp_path / MODEL).write_bytes(b"{}")

    with pytest.raises(BundleError, match=r"cannot read manifest\.json"):
        Bundle.from_folder(tmp_path)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"format": 1, "files": {"a": {}}}', b'{"format": 1, "files": []}'],
)
def test_a_manifest_that_is_none_is_refused(text: bytes) -> None:
    """Whatever lies at manifest.json, reading it ends in one clear error."""
    with pytest.raises(BundleError, match="not a bundle's manifest"):
        Manifest.from_json(text)


def test_a_manifest_of_another_format_or_with_a_path_is_refused() -> None:
    """A newer format asks for a newer release; a name never leads out of the folder."""
    with pytest.raises(BundleError, match="format 2"):
        Manifest.from_json(b'{"format": 2, "files": {}}')
    with pytest.raises(BundleError, match="cannot be the name"):
        Manifest.from_json(b'{"format": 1, "files": {"../x": {"sha256": "0", "bytes": 1}}}')


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    """A second write to the same folder is refused and leaves the first as it was."""
    write_bundle(tmp_path / "model", FILES)

    with pytest.raises(BundleError, match="never overwritten"):
        write_bundle(tmp_path / "model", {MODEL: b"other"})
    assert Bundle.from_folder(tmp_path / "model").file(MODEL) == b"{}"


def test_an_empty_folder_that_exists_is_filled(tmp_path: Path) -> None:
    """SageMaker makes the model folder before the job runs."""
    (tmp_path / "model").mkdir()
    write_bundle(tmp_path / "model", FILES)

    Bundle.from_folder(tmp_path / "model").verify()


def test_a_mounted_folder_gets_the_manifest_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder cannot be replaced by a rename, the manifest still comes last."""

    def refuse(*_: object) -> None:
        raise OSError(16, "Device or resource busy")

    written: list[str] = []
    flush = bundle._write_flushed

    def record(path: Path, content: bytes) -> None:
        written.append(f"{path.parent.name}/{path.name}")
        flush(path, content)

    (tmp_path / "model").mkdir()
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(bundle, "_write_flushed", record)
    write_bundle(tmp_path / "model", FILES)

    assert [name for name in written if name.startswith("model/")][-1] == f"model/{MANIFEST}"
    Bundle.from_folder(tmp_path / "model").verify()
    assert os.listdir(tmp_path) == ["model"]


def test_a_full_disk_leaves_a_mounted_folder_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files are written in place, those of a write that failed are taken away again."""

    def refuse(*_: object) -> None:
        raise OSError(16, "Device or resource busy")

    flush = bundle._write_flushed

    def fill(path: Path, content: bytes) -> None:
        if path == tmp_path / "model" / MANIFEST:
            raise OSError(28, "No space left on device")
        flush(path, content)

    (tmp_path / "model").mkdir()
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(bundle, "_write_flushed", fill)
    with pytest.raises(BundleError, match="No space left"):
        write_bundle(tmp_path / "model", FILES)
    assert os.listdir(tmp_path) == ["model"]
    assert os.listdir(tmp_path / "model") == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way ends in one error and no folder."""

    def fill(path: Path, content: bytes) -> None:
        if path.name == CONTRACT:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(bundle, "_write_flushed", fill)
    with pytest.raises(BundleError, match="No space left"):
        write_bundle(tmp_path / "model", FILES)
    assert os.listdir(tmp_path) == []


def test_what_a_killed_writer_left_is_removed_and_what_another_writes_is_not(
    tmp_path: Path,
) -> None:
    """Half a bundle goes with the next one, unless the process that writes it is still there."""
    left, busy = tmp_path / ".one.0.partial", tmp_path / ".two.0.partial"
    for folder in (left, busy):
        folder.mkdir()
        (folder / MODEL).write_bytes(b"{}")
    script = "import sys; from core.bundle import _lock; _lock(sys.argv[1]); print(); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(busy)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdout.readline()

    write_bundle(tmp_path / "model", FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == [busy.name, "model"]
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()
    write_bundle(tmp_path / "next", FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "next"]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../a", MANIFEST])
def test_a_file_name_is_a_plain_name(tmp_path: Path, name: str) -> None:
    """No file of a bundle lies outside it or poses as its manifest."""
    with pytest.raises(BundleError, match="cannot be the name"):
        write_bundle(tmp_path / "model", {name: b""})


def test_the_digest_names_the_content() -> None:
    """Two bundles have the same digest exactly if they hold the same files."""
    one = Manifest.of({"a": b"1", "b": b"2"})

    assert one.digest == Manifest.of({"b": b"2", "a": b"1"}).digest
    assert one.digest != Manifest.of({"a": b"1", "b": b"3"}).digest
    assert one.digest != Manifest.of({"a": b"1"}).digest
    assert Manifest.from_json(one.to_json()) == one
