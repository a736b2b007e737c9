from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from moe_replication.statistics.hypothesis_tests import (
    holm,
    paired_t,
    permutation,
    permutation_minimum,
    sign_flip,
    sign_flip_minimum,
    sign_flip_note,
    welch_t,
)
from moe_replication.statistics.intervals import mean_interval
from moe_replication.statistics.margins import within_p

# Student (1908): hours of sleep gained with two drugs by the same ten patients (R's `sleep`).
SLEEP_FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SLEEP_DIFFERENCES = [second - first for first, second in zip(SLEEP_FIRST, SLEEP_SECOND, strict=True)]


def tost(differences, margin):
    return within_p({"comparison": "equivalence", "margin": margin}, differences, None)


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


def test_tost_of_equal_differences_says_nothing():
    """No symmetry about the margin lends it a sign-flip test: a rare large value may not have come up yet."""
    assert tost([0.1, 0.1, 0.1], 0.5) == tost([0.0] * 50, 0.5) == tost([0.5, 0.5], 0.5) == 1.0


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=6, unique=True), st.floats(0.1, 2))
def test_tost_agrees_with_its_interval(differences, margin):
    # p < 0.05 exactly when the 90 % interval lies within the margin
    low, high = stats.t.interval(0.9, len(differences) - 1, np.mean(differences), stats.sem(differences))
    if min(abs(abs(low) - margin), abs(abs(high) - margin)) > 1e-6:
        assert (tost(differences, margin) < 0.05) == (-margin < low and high < margin)


def test_paired_t_of_the_sleep_data():
    # Student (1908), as in R's ?sleep: t = -4.0621, df = 9, p = 0.002833
    assert paired_t(SLEEP_DIFFERENCES) == pytest.approx(0.002833, abs=5e-7)


def test_sign_flip_of_the_sleep_data_by_hand():
    # one zero and nine differences of one sign: only all plus and all minus reach the sum, each with either zero
    assert sign_flip(SLEEP_DIFFERENCES) == 4 / 2**10


def test_welch_of_the_sleep_data():
    # R's ?sleep: t = -1.8608, df = 17.776, p-value = 0.07939
    assert welch_t(SLEEP_FIRST, SLEEP_SECOND) == pytest.approx(0.07939, abs=5e-6)


def test_welch_by_hand():
    # means 2 and 5, variances 1 and 4 over 3: t = -3 / sqrt(5/3), df = (5/3)^2 / ((1/3)^2/2 + (4/3)^2/2) = 50/17
    t, df = 3 / np.sqrt(5 / 3), 50 / 17
    assert welch_t([1.0, 2.0, 3.0], [3.0, 5.0, 7.0]) == pytest.approx(2 * stats.t.sf(t, df))


@pytest.mark.parametrize("samples", [([1.0], [1.0, 2.0]), ([1.0, 1.0], [2.0, 2.0])])
def test_welch_refuses(samples):
    with pytest.raises(ValueError, match="Welch"):
        welch_t(*samples)


def test_tost_of_a_bioequivalence_study():
    # SAS/STAT User's Guide, The TTEST Procedure, "Equivalence Testing with Lognormal Data" (Wellek, 2003, p. 212):
    # ratio of geometric means 0.9412 with 90 % interval 0.8634 to 1.0260, equivalent within 0.8 to 1.25
    test = [103.4, 59.92, 68.17, 94.54, 69.48, 72.17, 74.37, 84.44, 96.74, 94.26, 48.52, 95.68]
    reference = [90.11, 77.71, 77.71, 97.51, 58.21, 101.3, 79.84, 96.06, 89.30, 97.22, 61.62, 85.80]
    ratios = np.log(test) - np.log(reference)
    interval = mean_interval(ratios, level=0.9)
    assert np.exp([interval.mean, interval.low, interval.high]) == pytest.approx([0.9412, 0.8634, 1.0260], abs=5e-5)
    # at the margin that the interval just touches, p is 5 %
    assert tost(ratios, -interval.low) == pytest.approx(0.05)
    assert tost(ratios, np.log(1.25)) < 0.01
    assert tost(ratios, np.log(1.25)) == pytest.approx(ttost_paired(ratios, 0 * ratios, np.log(0.8), np.log(1.25))[0])


def test_permutation_by_hand():
    # {1, 2} against {3, 4}: six splits, the observed one and its mirror are extreme
    assert permutation([1.0, 2.0], [3.0, 4.0]) == pytest.approx(2 / 6)
    assert permutation([1.0], [1.0, 1.0]) == 1.0
    # {1, 2} against {2, 3, 4}: of ten splits only {1, 2} (twice, as there are two 2s) and {3, 4} are 1.5 or more apart
    assert permutation([1.0, 2.0], [2.0, 3.0, 4.0]) == pytest.approx(3 / 10)


def test_permutation_of_the_mouse_data():
    # Efron and Tibshirani (1993), Tables 2.1 and 15.1: 1,000 of the 11,440 splits gave a one-sided p of 0.132
    treatment, control = [94, 197, 16, 38, 99, 141, 23], [52, 104, 146, 10, 51, 30, 40, 27, 46]
    two_sided = permutation(treatment, control)
    assert two_sided / 2 == pytest.approx(0.132, abs=3 * np.sqrt(0.132 * 0.868 / 1000))
    reference = stats.permutation_test(
        (treatment, control), lambda x, y: abs(np.mean(x) - np.mean(y)), alternative="greater", n_resamples=np.inf
    )
    assert two_sided == pytest.approx(reference.pvalue)


def test_permutation_reaches_its_minimum_and_refuses():
    assert [permutation_minimum(n) for n in (1, 2, 3)] == [1.0, 2 / 6, 2 / 20]
    assert permutation([1.0, 2.0, 3.0], [7.0, 8.0, 9.0]) == permutation_minimum(3)
    with pytest.raises(ValueError, match="500000 splits"):
        permutation(range(12), range(12))


def test_holm_agrees_with_statsmodels():
    p_values = [0.0001, 0.0058, 0.0132, 0.0289, 0.0498, 0.0911, 0.2012, 0.5718, 0.8912, 0.9011]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


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


def test_holm_keeps_tests_of_a_margin_in_the_count():
    """0.01 stays when it has passed, so 0.02 is still tripled; 0.02 leaves, and 0.03 is doubled, not less than 0.06."""
    assert holm([0.03, 0.01, 0.02], [False, True, False]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.03, 0.01, 0.02], [True] * 3) == pytest.approx([0.09, 0.03, 0.06])
    assert holm([0.03, 0.01, 0.02]) == holm([0.03, 0.01, 0.02], [False] * 3) == pytest.approx([0.04, 0.03, 0.04])
