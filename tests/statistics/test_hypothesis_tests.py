from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moe_replication.statistics.hypothesis_tests import (
    holm,
    paired_t,
    permutation,
    sign_flip,
    sign_flip_minimum,
    sign_flip_note,
    tost,
)


def test_sign_flip_by_hand():
    # 1, 2, 3 all positive: only +++ and --- reach |sum| 6, so 2/8
    assert sign_flip([1.0, 2.0, 3.0]) == 0.25
    # 1, 2, -3: sum 0, every pattern is at least as large
    assert sign_flip([1.0, 2.0, -3.0]) == 1.0
    # 1, -2, 3: |sum| 2; of 0, 2, 4, 6 (two patterns each) six reach it
    assert sign_flip([1.0, -2.0, 3.0]) == 0.75


def test_sign_flip_counts_rounding_ties():
    # sums of size 0.5, 0.3, 0.3, 0.1, each twice: six reach 0.3, but two of them round to a hair below it
    assert sign_flip([-0.3, -0.1, 0.1]) == 0.75
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0


def test_sign_flip_of_zeros_is_one():
    assert sign_flip([0.0, 0.0, 0.0]) == 1.0


def test_three_seeds_cannot_reach_alpha():
    assert sign_flip_minimum(3) == 0.25
    assert sign_flip_note(3) == "cannot reach alpha = 0.05 at n = 3"
    assert sign_flip_note(5) == "cannot reach alpha = 0.05 at n = 5"
    assert sign_flip_note(6) == ""


def test_sign_flip_at_its_limit_and_beyond():
    assert sign_flip([1.0] * 20) == sign_flip_minimum(20)
    with pytest.raises(ValueError, match="1 <= n <= 20, got 21"):
        sign_flip([1.0] * 21)


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=8))
def test_sign_flip_agrees_with_scipy(differences):
    def statistic(x, axis):
        return np.abs(np.sum(x, axis=axis))

    reference = stats.permutation_test(
        (np.array(differences),),
        statistic,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
    )
    assert sign_flip(differences) == pytest.approx(reference.pvalue)
    assert sign_flip(differences) >= sign_flip_minimum(len(differences))


def test_paired_t_by_hand():
    # 1, 2, 3: t = 2 sqrt(3) = 3.4641 with 2 degrees of freedom; p = 1 - t / sqrt(t^2 + 2)
    assert paired_t([1.0, 2.0, 3.0]) == pytest.approx(1 - 3.4641016 / np.sqrt(14))
    with pytest.raises(ValueError, match="not all equal"):
        paired_t([1.0, 1.0])


def test_tost_by_hand():
    # 1, 2, 3 within +-5: the nearer bound is 5: t = (2 - 5) sqrt(3) = -5.19615, one-sided p with 2 df
    t = 3 * np.sqrt(3)
    assert tost([1.0, 2.0, 3.0], 5.0) == pytest.approx((1 - t / np.sqrt(t * t + 2)) / 2)
    assert tost([1.0, 2.0, 3.0], 2.0) == pytest.approx(0.5)


def test_tost_of_equal_differences_is_the_exact_sign_flip():
    assert tost([0.1, 0.1, 0.1], 0.5) == 0.125
    assert tost([0.5, 0.5], 0.5) == 1.0


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=6, unique=True), st.floats(0.1, 2))
def test_tost_agrees_with_its_interval(differences, margin):
    # p < 0.05 exactly when the 90 % interval lies within the margin
    low, high = stats.t.interval(0.9, len(differences) - 1, np.mean(differences), stats.sem(differences))
    if min(abs(abs(low) - margin), abs(abs(high) - margin)) > 1e-6:
        assert (tost(differences, margin) < 0.05) == (-margin < low and high < margin)


def test_permutation_by_hand():
    # {1, 2} against {3, 4}: six splits, the observed one and its mirror are extreme
    assert permutation([1.0, 2.0], [3.0, 4.0]) == pytest.approx(2 / 6)
    assert permutation([1.0, 2.0], [3.0, 4.0], "less") == pytest.approx(1 / 6)
    assert permutation([1.0, 2.0], [3.0, 4.0], "greater") == 1.0
    assert permutation([1.0], [1.0, 1.0]) == 1.0


def test_permutation_refuses():
    with pytest.raises(ValueError, match="choose two-sided, less or greater"):
        permutation([1.0], [2.0], "lower")
    with pytest.raises(ValueError, match="500000 splits"):
        permutation(range(12), range(12))


def test_holm_by_hand():
    # sorted .01, .03, .04: 3*.01 = .03, 2*.03 = .06, 1*.04 raised to .06
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p_values):
    corrected = holm(p_values)
    assert all(c >= p and c <= 1 for c, p in zip(corrected, p_values, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(corrected)[order]) >= 0)
