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
