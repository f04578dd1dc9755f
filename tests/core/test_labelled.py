"""The monitor's own columns are told from a table's of the same name."""

import pytest

from core.labelled import find_own, name_own


@pytest.mark.parametrize(
    ("taken", "own"),
    [
        ([], "entity_hash"),
        (["entity", "hash"], "entity_hash"),
        (["entity_hash"], "entity_hash_"),
        (["entity_hash_"], "entity_hash__"),
        (["entity_hash", "entity_hash__"], "entity_hash___"),
    ],
)
def test_training_finds_the_column_that_the_monitor_named(taken: list[str], own: str) -> None:
    """Whatever the table has, the longest name is the monitor's."""
    assert name_own("entity_hash", taken) == own
    assert find_own("entity_hash", [*taken, own]) == own
