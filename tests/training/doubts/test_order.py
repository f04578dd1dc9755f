"""Rows in order: a random split among them is doubted, and so are windows into the future."""

import numpy as np

from training.doubts import Variable
from training.doubts.order import find_moment, find_order, find_windows


def demand(rows: int = 800) -> np.ndarray:
    """Make a series whose neighbours are alike (autoregressive, 0.8)."""
    random = np.random.default_rng(2)
    values = np.zeros(rows)
    for t in range(1, rows):
        values[t] = 0.8 * values[t - 1] + random.normal()
    return 100 + 10 * values


def mean_over(series: np.ndarray, lags: range) -> Variable:
    columns = [np.roll(series, -lag) for lag in lags]
    return Variable("mean", "number", np.mean(columns, axis=0))


def test_neighbours_with_like_targets_are_doubted() -> None:
    """A series in order is seen; the same rows in random order are not."""
    series = demand()
    noise = Variable("x", "number", np.random.default_rng(0).normal(size=len(series)))
    found = find_order([noise], series, classes=False)
    assert found is not None
    assert found.name == "order"
    shuffled = np.random.default_rng(1).permutation(series)
    assert find_order([noise], shuffled, classes=False) is None


def test_a_table_sorted_by_a_column_or_its_target_is_another_matter() -> None:
    """There the order is explained: `init` says by what."""
    series = demand()
    random = np.random.default_rng(0)
    day = Variable("day", "number", np.arange(len(series)).astype(float))
    assert find_order([day], series, classes=False) is None
    noise = Variable("x", "number", random.normal(size=len(series)))
    assert find_order([noise], np.sort(series), classes=False) is None


def test_a_window_into_the_future_is_doubted() -> None:
    """A mean over yesterday, today and tomorrow knows the answer; of earlier days it does not."""
    series = demand()
    assert [d.name for d in find_windows([mean_over(series, range(-1, 2))], series)] == [
        "window:mean"
    ]
    assert [d.name for d in find_windows([mean_over(series, range(-2, 1))], series)] == [
        "window:mean"
    ]
    assert find_windows([mean_over(series, range(-3, 0))], series) == []
    noise = Variable("x", "number", np.random.default_rng(0).normal(size=len(series)))
    assert find_windows([noise], series) == []


def test_a_moment_in_whose_order_targets_are_alike_is_found() -> None:
    """A shuffled file still says when each row happened; an unrelated date does not."""
    series = demand()
    random = np.random.default_rng(0)
    shuffle = random.permutation(len(series))
    at = Variable("measured_at", "number", 1.7e9 + 10_800.0 * shuffle)
    born = Variable("born", "number", random.uniform(-1e9, 1e9, len(series)))
    assert find_moment([born, at], series[shuffle], classes=False) == "measured_at"
    assert find_moment([born], series[shuffle], classes=False) is None
