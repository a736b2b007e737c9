from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from moe_replication.statistics.effect_sizes import (
    correlation,
    hedges_independent,
    hedges_paired,
    small_sample_factor,
)

# Student (1908), R's `sleep`
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
DIFFERENCES = np.subtract(SECOND, FIRST)


@pytest.mark.parametrize(("df", "factor"), [(2, 0.5642), (3, 0.7236), (4, 0.7979), (10, 0.9228), (20, 0.9619)])
def test_small_sample_factor_is_hedges_table(df, factor):
    # Hedges (1981), Hedges and Olkin (1985, Table 2, p. 80); at df = 2 it is 1 / sqrt(pi)
    assert small_sample_factor(df) == pytest.approx(factor, abs=6e-5)


def test_paired_by_hand():
    # 1, 2, 3: mean 2, sd 1, factor of two degrees of freedom 1 / sqrt(pi)
    assert hedges_paired([1.0, 2.0, 3.0]).g == pytest.approx(2 / math.sqrt(math.pi))
    mirrored = hedges_paired([-1.0, -2.0, -3.0])
    effect = hedges_paired([1.0, 2.0, 3.0])
    assert (mirrored.low, mirrored.high) == pytest.approx((-effect.high, -effect.low))


def test_independent_by_hand():
    # means 2 and 5, pooled variance (2 + 8) / 4 = 2.5; factor of four degrees of freedom sqrt(2 / pi)
    effect = hedges_independent([1.0, 2.0, 3.0], [3.0, 5.0, 7.0])
    assert effect.g == pytest.approx(-3 / math.sqrt(2.5) * math.sqrt(2 / math.pi))


@pytest.mark.parametrize(
    ("effect", "t", "df", "unit"),
    [
        (hedges_paired(DIFFERENCES), 4.0621, 9, 1 / math.sqrt(10)),
        (hedges_independent(SECOND, FIRST), 1.8608, 18, math.sqrt(2 / 10)),
        (hedges_paired([90.0, 91.0, 91.5]), 205.9906, 2, 1 / math.sqrt(3)),
    ],
)
def test_interval_ends_leave_tails_of_a_fortieth(effect, t, df, unit):
    # the noncentral t of each end, without its factor, leaves 2.5 % beyond the observed t
    low, high = (end / (small_sample_factor(df) * unit) for end in (effect.low, effect.high))
    assert effect.g / (small_sample_factor(df) * unit) == pytest.approx(t, rel=2e-5)
    assert stats.nct.sf(t, df, low) == pytest.approx(0.025, abs=2e-4)
    assert stats.nct.cdf(t, df, high) == pytest.approx(0.025, abs=2e-4)


def test_limits_join_where_the_inversion_ends():
    # t just below and just above 1,000: the exact limits and those for large t
    low, high = (hedges_paired([mean - 1.0, mean, mean + 1.0]) for mean in (577.0, 578.0))
    assert low.g * math.sqrt(3 * math.pi) < 1000 < high.g * math.sqrt(3 * math.pi)
    assert (high.low / low.low, high.high / low.high) == pytest.approx((578 / 577, 578 / 577), abs=1e-3)


def test_interval_excludes_zero_with_the_t_test():
    # p = 0.002833 paired and 0.0794 unpaired with equal variances
    assert hedges_paired(DIFFERENCES).low > 0
    assert hedges_independent(SECOND, FIRST).low < 0 < hedges_independent(SECOND, FIRST).high


def test_undefined_effects():
    assert hedges_paired([1.0, 2.0]) is None
    assert hedges_paired([0.1, 0.1, 0.1]) is None
    assert hedges_independent([1.0], [1.0, 2.0]) is None
    assert hedges_independent([1.0, 1.0], [2.0, 2.0]) is None


def test_correlation_of_the_sleep_data_and_where_there_is_none():
    assert correlation(FIRST, SECOND) == pytest.approx(0.7951702, abs=5e-8)
    assert correlation([1.0, 2.0], [3.0, 5.0]) is None
    assert correlation([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) is None
