"""What a model was trained on is told from what it cannot have seen."""

import numpy as np
import pytest

from core.errors import BundleError
from training.data import seen
from training.data.hashing import hash_values
from training.data.seen import Seen


def test_rows_that_were_trained_on_are_never_excluded() -> None:
    """Every entity of the record is seen; of new ones nearly all are known to be new."""
    trained = hash_values([f"c{i}" for i in range(5000)], seen.SEED)
    fresh = hash_values([f"n{i}" for i in range(5000)], seen.SEED)
    record = Seen.from_bytes(Seen.of(trained, "id").to_bytes())
    assert record.by == "id"
    assert not record.excludes(trained).any()
    assert record.excludes(fresh).mean() > 0.999


def test_a_long_record_is_cut_and_errs_on_the_safe_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what the record holds, rows count as seen; below it, the truth is told."""
    monkeypatch.setattr(seen, "MAX_ENTITIES", 1000)
    trained = hash_values([f"c{i}" for i in range(4000)], seen.SEED)
    fresh = hash_values([f"n{i}" for i in range(4000)], seen.SEED)
    record = Seen.from_bytes(Seen.of(trained, "row").to_bytes())
    assert not record.excludes(trained).any()
    assert 0.2 < record.excludes(fresh).mean() < 0.3
    assert len(record.to_bytes()) == 16 + 8 * 1000


def test_an_empty_record_excludes_everything() -> None:
    """A model that was trained on nothing has seen nothing."""
    assert Seen.of(np.array([]), "row").excludes(np.array([0.1, 0.9])).all()


@pytest.mark.parametrize("content", [b"", b"short", bytes(17), b"\xff" * 24])
def test_another_file_is_refused(content: bytes) -> None:
    """A damaged record is an error, not an empty one."""
    with pytest.raises(BundleError):
        Seen.from_bytes(content)
