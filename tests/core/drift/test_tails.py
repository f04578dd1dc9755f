"""Tail probabilities agree with scipy far into the tails."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.drift.tails import (
    beta_cdf,
    chi_square_tail,
    exceedance_tail,
    f_tail,
    hypergeometric_tail,
    normal_tail,
    normal_two_sided,
    t_two_sided,
)


def close(found: float, expected: float) -> bool:
    return found == pytest.approx(expected, rel=1e-6, abs=1e-14)


@given(st.floats(-8, 30))
def test_normal(z: float) -> None:
    assert close(normal_tail(z), stats.norm.sf(z))
    assert close(normal_two_sided(z), 2 * stats.norm.sf(abs(z)))


@given(st.floats(1e-3, 400), st.integers(1, 100))
def test_chi_square(x: float, df: int) -> None:
    assert close(chi_square_tail(x, df), stats.chi2.sf(x, df))


@given(st.floats(1e-3, 60), st.integers(1, 100), st.integers(4, 5000))
def test_f_and_t(x: float, df1: int, df2: int) -> None:
    assert close(f_tail(x, df1, df2), stats.f.sf(x, df1, df2))
    assert close(t_two_sided(x, df2), 2 * stats.t.sf(x, df2))


@given(st.integers(0, 60), st.integers(0, 80), st.integers(0, 300), st.integers(1, 800))
def test_hypergeometric(k: int, marked: int, drawn: int, rest: int) -> None:
    total = max(marked, drawn) + rest
    found = hypergeometric_tail(k, marked, drawn, total)
    assert close(found, stats.hypergeom.sf(k - 1, total, marked, drawn))


def test_exceedance_is_the_share_of_orders_in_which_the_top_k_are_the_windows() -> None:
    assert exceedance_tail(0, 5, 5) == 1.0
    assert exceedance_tail(6, 5, 5) == 0.0
    assert exceedance_tail(1, 3, 7) == pytest.approx(3 / 10)
    assert exceedance_tail(2, 3, 7) == pytest.approx(3 / 10 * 2 / 9)


def test_degenerate_arguments_have_plain_answers() -> None:
    assert chi_square_tail(0.0, 3) == 1.0
    assert f_tail(-1.0, 2, 10) == 1.0
    assert beta_cdf(0.0, 1, 1) == 0.0
    assert beta_cdf(1.0, 1, 1) == 1.0
    assert chi_square_tail(1e6, 5) == 0.0
    assert math.isclose(hypergeometric_tail(0, 0, 5, 10), 1.0)
