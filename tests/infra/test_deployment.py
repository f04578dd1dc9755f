"""A deployment: what it says of its sources."""

from pathlib import Path

from infra.deployment import read_commit


def test_a_tree_without_git_has_an_unknown_commit(tmp_path: Path) -> None:
    """A downloaded archive still synthesises."""
    assert read_commit(tmp_path) == "unknown"
