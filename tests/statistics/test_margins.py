"""The test of a mean from its range, by hand, and both sides of a margin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from moe_replication.statistics.bounded import bounded_p, count_range, difference_range
from moe_replication.statistics.margins import below_p, beyond_p, needed_by_range, room, within_p

TENTHS = [tenth / 10 for tenth in range(1, 11)]
LESS = {"comparison": "at_most", "direction": "less", "margin": 1}
GREATER = LESS | {"direction": "greater"}
SAME = {"comparison": "equivalence", "margin": 1}


def test_one_value_by_hand():
    """At 0, limit 1 and highest 3 a stake wins half of itself: wealth 1.05 to 1.5, 1.275 on average."""
    assert bounded_p([0.0], 1.0, 3.0) == pytest.approx(1 / 1.275)
    # at 3 it is lost: wealth 0.9 to 0, 0.45 on average, and p is never above one
    assert bounded_p([3.0], 1.0, 3.0) == 1.0


def test_values_multiply_and_stakes_are_averaged():
    """0, 2 and -1 below a limit of 1: gains of 1/2, -1/2 and 1 for each unit staked."""
    wealth = np.mean([(1 + s / 2) * (1 - s / 2) * (1 + s) for s in TENTHS])
    assert bounded_p([0.0, 2.0, -1.0], 1.0, 3.0) == pytest.approx(1 / wealth)
    twice = np.mean([((1 + s / 2) * (1 - s / 2) * (1 + s)) ** 2 for s in TENTHS])
    assert bounded_p([0.0, 2.0, -1.0], 1.0, 3.0, fold=2) == pytest.approx(1 / twice)
    assert bounded_p([0.0, 2.0, -1.0] * 2, 1.0, 3.0) == pytest.approx(1 / twice)


def test_nothing_is_said_without_a_range_or_beyond_it():
    assert bounded_p([0.0] * 50, 1.0, math.inf) == bounded_p([0.0] * 50, 3.0, 3.0) == 1.0


def test_wealth_is_one_on_average_where_the_mean_is_at_the_limit():
    """All 4^4 samples of 0, 0, 1 and 3, whose mean is 1."""
    grid = np.stack(np.meshgrid(*[[0.0, 0.0, 1.0, 3.0]] * 4), axis=-1).reshape(-1, 4)
    wealth = np.mean([np.prod(1 + s * (1 - grid) / 2, axis=1) for s in TENTHS], axis=0)
    assert wealth.mean() == pytest.approx(1.0)
    assert bounded_p(grid, 1.0, 3.0) == pytest.approx(np.minimum(1, 1 / wealth))


def test_ranges_of_counts_and_of_their_differences():
    assert count_range("val_loss", 16) is None
    assert count_range("dead_experts", 16) == (0, 16)
    assert count_range("dead_since_best", 16) == (-16, 16)
    assert count_range("dead_experts", None) == (0, math.inf)
    assert difference_range([(0, 32), (0, 16)]) == (-16, 32)
    assert difference_range([(0, 1), (0, 2), (0, 4), (0, 8)]) == (-6, 9)
    assert difference_range([(0, 16), None]) is None


def test_other_metrics_have_the_t_test_alone():
    values = np.array([0.1, 0.4, 0.2])
    by_scipy = stats.ttest_1samp(values, 1.0, alternative="less").pvalue
    assert below_p(values, 1.0, None) == within_p(LESS, values, None) == pytest.approx(by_scipy)
    assert within_p(GREATER, -values, None) == pytest.approx(by_scipy)
    assert beyond_p(LESS, values + 2, None) == pytest.approx(
        2 * stats.ttest_1samp(values + 2, 1.0, alternative="greater").pvalue
    )
    two_sided = within_p({"comparison": "threshold"}, values - 0.5, None)
    assert two_sided == pytest.approx(stats.ttest_1samp(values, 0.5).pvalue)


def test_a_count_must_pass_both_tests():
    """0, 0, 0, 0, 1: t says 0.8 %, the range of 16 that this is no evidence."""
    values = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    assert below_p(values, 1.0, None) < 0.01
    assert below_p(values, 1.0, 16.0) == bounded_p(values, 1.0, 16.0) > 0.5
    # the other way round where values are spread wide below the limit and cannot be far above it
    wide = np.array([-9.0, 0.0, 0.0])
    assert below_p(wide, 1.0, 1.5) == below_p(wide, 1.0, None) > 0.1 > bounded_p(wide, 1.0, 1.5)


@pytest.mark.parametrize("claim", [LESS, GREATER, SAME])
def test_both_sides_agree_with_the_room_that_is_left(claim):
    for effect in (-3.0, 0.0, 3.0):
        values = np.array([effect - 0.1, effect, effect + 0.1])
        inside = room(claim, effect) > 0
        assert (within_p(claim, values, None) < 0.05) == inside
        assert (beyond_p(claim, values, None) < 0.05) == (not inside)


def test_the_needed_n_is_the_first_that_passes():
    n = needed_by_range(LESS, [0.0, 0.0], (-16, 16), 0.05)
    assert n == 66
    assert bounded_p([0.0] * 66, 1.0, 16.0) < 0.05 < bounded_p([0.0] * 65, 1.0, 16.0)
    assert needed_by_range(LESS, [1.0, 1.0], (-16, 16), 0.05) is None
    assert needed_by_range(LESS, [0.0, 0.0], (-16, math.inf), 0.05) is None
