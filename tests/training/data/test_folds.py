"""Folds keep groups whole and follow the order of time."""

import numpy as np

from training.data.folds import make_folds


def test_folds_do_not_overlap_and_keep_groups_and_order() -> None:
    """Random folds partition, group folds keep groups whole, time folds only look back."""
    for train, validation in make_folds(90, folds=3, seed=1, strata=np.arange(90) % 2):
        assert not set(train) & set(validation)
        assert len(train) + len(validation) == 90
        assert abs((validation % 2).mean() - 0.5) < 0.05
    groups = np.array([f"g{i % 13}" for i in range(90)])
    for train, validation in make_folds(90, folds=3, seed=1, groups=groups):
        assert not set(groups[train]) & set(groups[validation])
    order = np.random.default_rng(0).permutation(90).astype(float)
    for train, validation in make_folds(90, folds=3, seed=1, order=order):
        assert order[train].max() < order[validation].min()


def test_rows_of_one_place_are_in_one_fold() -> None:
    """Copies, and rows of one entity, are never on both sides of a fold."""
    random = np.random.default_rng(1)
    places = random.random(80)[random.integers(0, 80, 900)]
    strata = random.integers(0, 2, 900).astype(np.intp)
    pairs = make_folds(900, folds=3, seed=7, strata=strata, places=places)
    assert len(pairs) == 3
    for train, validation in pairs:
        assert not set(places[train]) & set(places[validation])
        assert len(train) + len(validation) == 900
    assert sorted(np.concatenate([v for _, v in pairs])) == list(range(900))
