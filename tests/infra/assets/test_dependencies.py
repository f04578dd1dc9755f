"""Dependencies: pinned to one version, and stripped of what never runs."""

from pathlib import Path

import pytest

from infra.assets.archives import list_files
from infra.assets.dependencies import read_pins, read_requirements, strip
from infra.assets.errors import AssetError
from infra.assets.targets import Target, host_target


class TestPins:
    def test_markers_pick_the_pin_of_the_target(self) -> None:
        """One file serves several Pythons."""
        lines = ['a==2; python_version >= "3.12"', 'a==1; python_version < "3.12"', "b[x]==3"]
        old = Target("3.11", "x86_64", "x86_64-manylinux_2_28")
        new = Target("3.13", "aarch64", "aarch64-manylinux_2_28")
        assert dict(read_pins(lines, old)) == {"a": "1", "b": "3"}
        assert dict(read_pins(lines, new)) == {"a": "2", "b": "3"}

    @pytest.mark.parametrize("line", ["thing>=1", "thing", 'thing==1; sys_platform == "linux"'])
    def test_anything_but_a_pin_is_refused(self, line: str) -> None:
        """A range would give other bytes tomorrow."""
        with pytest.raises(AssetError, match="requirement"):
            dict(read_pins([line], host_target()))

    def test_includes_are_followed_and_a_missing_file_is_named(self, tmp_path: Path) -> None:
        """`-r other.txt` is read in its place."""
        (tmp_path / "a.txt").write_text("-r b.txt\nx==1  # why\n")
        (tmp_path / "b.txt").write_text("# first\ny==2\n")
        assert read_requirements(tmp_path / "a.txt") == ["y==2", "x==1"]
        with pytest.raises(AssetError, match=r"c\.txt"):
            read_requirements(tmp_path / "c.txt")


def test_what_never_runs_is_stripped(tmp_path: Path) -> None:
    """Tests, stubs and headers go; of a distribution's metadata, name and version stay."""
    for name in (
        "thing/__init__.py",
        "thing/tests/test_it.py",
        "thing/it.pyi",
        "thing/include/it.h",
        "bin/thing",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    info = tmp_path / "thing-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: thing\nVersion: 1.2\nSummary: it\n\nVersion: a readme"
    )
    (info / "RECORD").write_text("")
    strip(tmp_path)
    assert set(list_files(tmp_path)) == {
        "thing/__init__.py",
        "thing-1.2.dist-info/METADATA",
    }
    assert (info / "METADATA").read_text() == ("Metadata-Version: 2.1\nName: thing\nVersion: 1.2\n")
