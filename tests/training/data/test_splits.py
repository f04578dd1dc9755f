"""Splits: nothing leaks, membership is stable, and a champion's unseen rows are known exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TrainingError
from training.data.splits import split_rows, unseen_by


def table(rows: int, columns: int = 4, seed: int = 0) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(rows, columns))
    matrix[::7, 0] = np.nan
    return matrix


def test_random_split_keeps_the_share_in_every_class() -> None:
    """Each class is held out in the stated share, to the row."""
    strata = np.repeat([0, 1, 2], [400, 80, 20])
    split = split_rows(table(500), strategy="random", holdout=0.25, seed=7, strata=strata)
    assert np.bincount(strata[split.holdout]).tolist() == [100, 20, 5]
    assert len(np.intersect1d(split.train, split.holdout)) == 0
    assert len(split.train) + len(split.holdout) == 500


@settings(max_examples=25, deadline=None)
@given(st.integers(12, 300), st.integers(0, 2**32 - 1), st.floats(0.1, 0.6))
def test_both_sides_partition_the_rows(rows: int, seed: int, holdout: float) -> None:
    """Whatever the size, seed and share, every row is on exactly one side."""
    share = min(max(holdout, 4 / rows), 1 - 7 / rows)  # enough rows on each side
    split = split_rows(table(rows), strategy="random", holdout=share, seed=seed)
    assert sorted([*split.train, *split.holdout]) == list(range(rows))


def test_order_of_rows_does_not_matter() -> None:
    """A row's side depends on its values, not on its position."""
    matrix = table(300)
    shuffle = np.random.default_rng(1).permutation(300)
    first = split_rows(matrix, strategy="random", holdout=0.25, seed=7)
    second = split_rows(matrix[shuffle], strategy="random", holdout=0.25, seed=7)
    assert set(first.holdout) == set(shuffle[second.holdout])


def test_copies_of_a_row_stay_on_one_side() -> None:
    """Repeated rows do not leak from training into the holdout."""
    matrix = np.repeat(table(200), 2, axis=0)
    distinct = np.vstack([matrix, table(600, seed=3)])
    split = split_rows(distinct, strategy="random", holdout=0.25, seed=7)
    held = set(split.holdout)
    assert all((2 * i in held) == (2 * i + 1 in held) for i in range(200))
    assert split.record["by"] == "row"


def test_a_table_of_few_distinct_rows_is_still_split_by_rows() -> None:
    """Equal rows of a table of counts are different cases: they land on both sides."""
    matrix = np.random.default_rng(0).integers(0, 2, size=(400, 3)).astype(float)
    split = split_rows(matrix, strategy="random", holdout=0.25, seed=7)
    assert split.record["by"] == "case"
    assert len(split.holdout) == 100
    assert len(np.unique(matrix[split.holdout], axis=0)) == 8


def test_growth_moves_few_rows_and_the_record_knows_them() -> None:
    """After the table grew, `unseen_by` admits no row that the earlier model was trained on."""
    old, strata = table(1000), np.arange(1000) % 2
    first = split_rows(old, strategy="random", holdout=0.25, seed=7, strata=strata)
    grown = np.vstack([old, table(400, seed=9)])
    more = np.r_[strata, np.arange(400) % 2]
    second = split_rows(grown, strategy="random", holdout=0.25, seed=7, strata=more)
    moved = np.intersect1d(second.holdout, first.train)
    assert len(moved) < 40
    unseen = unseen_by(first.record, grown, strata=more)
    assert not unseen[first.train].any()
    assert unseen[first.holdout].all()
    assert unseen[second.holdout].mean() > 0.9


def test_time_split_holds_out_the_newest_and_never_parts_a_moment() -> None:
    """Every held-out row is later than every training row; blocks of neighbours are resampled."""
    times = np.floor(np.random.default_rng(2).uniform(0, 60, 400))
    split = split_rows(table(400), strategy="time", holdout=0.25, seed=7, times=times)
    assert times[split.train].max() < times[split.holdout].min()
    assert len(np.unique(split.units[split.holdout])) < len(split.holdout)
    assert not unseen_by(split.record, table(400), times=times)[split.train].any()


def test_group_split_keeps_groups_whole() -> None:
    """No group is on both sides, and the share is as near as whole groups allow."""
    groups = np.random.default_rng(3).choice([f"g{i}" for i in range(40)], 800)
    split = split_rows(table(800), strategy="group", holdout=0.25, seed=7, groups=groups)
    assert not set(groups[split.train]) & set(groups[split.holdout])
    assert abs(len(split.holdout) / 800 - 0.25) < 0.05
    assert not unseen_by(split.record, table(800), groups=groups)[split.train].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "time"}, "time_column"),
        ({"strategy": "time", "times": np.zeros(40)}, "one moment"),
        ({"strategy": "group"}, "group_column"),
        ({"strategy": "group", "groups": np.array(["a", "b"] * 20)}, "groups"),
    ],
)
def test_impossible_splits_say_what_to_change(options: dict, words: str) -> None:
    """The error names the key of project.toml that would help."""
    with pytest.raises(TrainingError, match=words):
        split_rows(table(40), holdout=0.25, seed=7, **options)


def test_too_few_rows_are_refused() -> None:
    """A holdout of one row judges nothing."""
    with pytest.raises(TrainingError, match="more rows"):
        split_rows(table(5), strategy="random", holdout=0.25, seed=7)


def named(rows: int, start: int = 0) -> np.ndarray:
    return np.array([f"c{start + i}" for i in range(rows)], dtype=object)


def test_an_entity_stays_on_its_side_for_ever() -> None:
    """A customer keeps its side while its columns and its answer change and the table grows."""
    ids = named(600)
    random = np.random.default_rng(2)
    strata = (random.random(600) < 0.3).astype(np.intp)
    first = split_rows(table(600), strategy="random", holdout=0.25, seed=7, strata=strata, ids=ids)
    sides = dict.fromkeys(ids[first.train], "train") | dict.fromkeys(ids[first.holdout], "holdout")
    for day in range(1, 6):
        grown = np.concatenate([ids, named(100 * day, start=600)])
        answers = (random.random(len(grown)) < 0.3).astype(np.intp)
        split = split_rows(
            table(len(grown), seed=day),
            strategy="random",
            holdout=0.25,
            seed=7,
            strata=answers,
            ids=grown,
            inherited=first.record,
        )
        held = set(grown[split.holdout])
        assert all((name in held) == (side == "holdout") for name, side in sides.items())
        assert len(split.holdout) == pytest.approx(0.25 * len(grown), rel=0.2)


def test_a_cut_that_no_longer_serves_is_made_anew() -> None:
    """A champion's cut that would leave a class without held-out rows is not taken over."""
    ids = named(200)
    first = split_rows(table(200), strategy="random", holdout=0.25, seed=7, ids=ids)
    held = set(ids[first.holdout])
    strata = np.array([name not in held for name in ids]).astype(np.intp)
    split = split_rows(
        table(200),
        strategy="random",
        holdout=0.25,
        seed=7,
        strata=strata,
        ids=ids,
        inherited=first.record,
    )
    assert set(strata[split.holdout]) == {0, 1}
    assert set(strata[split.train]) == {0, 1}


def test_groups_keep_the_champions_cut() -> None:
    """A group that was held out is held out when more groups come."""
    groups = np.repeat(named(60), 5)
    first = split_rows(table(300), strategy="group", holdout=0.25, seed=7, groups=groups)
    more = np.concatenate([groups, np.repeat(named(30, start=60), 5)])
    split = split_rows(
        table(450), strategy="group", holdout=0.25, seed=7, groups=more, inherited=first.record
    )
    before = set(groups[first.holdout])
    assert before == set(more[split.holdout]) & set(groups)


def test_copies_of_a_class_are_split_whole() -> None:
    """The copies of a case are on one side, also where few rows of the table are distinct."""
    random = np.random.default_rng(0)
    rare, rest = table(30, seed=1), table(400, seed=2)
    matrix = np.vstack([rest, rare[random.integers(0, 30, 1200)]])
    labels = np.r_[np.zeros(400), np.ones(1200)]
    split = split_rows(
        matrix,
        strategy="random",
        holdout=0.25,
        seed=7,
        strata=labels.astype(np.intp),
        labels=labels,
    )
    held = {row.tobytes() for row in matrix[split.holdout]}
    assert not held & {row.tobytes() for row in matrix[split.train]}
    assert split.record["by"] == "row"
