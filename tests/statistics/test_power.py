from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from moe_replication.statistics.intervals import clopper_pearson
from moe_replication.statistics.power import (
    detectable,
    equivalence_power,
    needed_n,
    needed_n_bound,
    needed_n_equivalence,
    one_sided_power,
    paired_power,
)


@pytest.mark.parametrize(("effect", "n"), [(0.5, 10), (1.0, 3), (2.0, 4)])
def test_power_agrees_with_statsmodels(effect, n):
    expected = TTestPower().power(effect, n, 0.05, alternative="two-sided")
    assert paired_power(-effect * 0.01, 0.01, n) == pytest.approx(expected, abs=1e-6)


def test_power_at_no_effect_is_alpha():
    assert paired_power(0.0, 1.0, 5) == pytest.approx(0.05)


def test_needed_n_is_that_of_statsmodels_and_r():
    """Half an sd, two-sided 5 %: 34 pairs for 80 %. At 75 % R's pwr.t.test(d=, type="paired", power=0.75) prints n =
    29.7355 for d = 0.5 and 112.9798 for 0.25 (pastebin.com/dTaadhYz)."""
    assert needed_n(0.5, 1.0) == math.ceil(TTestPower().solve_power(0.5, alpha=0.05, power=0.8)) == 34
    assert [needed_n(effect, 1.0, power=0.75) for effect in (0.5, 0.25)] == [30, 113]
    assert paired_power(0.5, 1.0, 33) < 0.8 <= paired_power(0.5, 1.0, 34)


def test_needed_n_gives_up_and_stops_early():
    assert needed_n(0.0, 1.0) is None
    assert needed_n(0.001, 1.0) is None
    assert needed_n(1000.0, 1.0) == 2


def test_power_by_hand_at_three_pairs():
    # two degrees of freedom, alpha 5 %, a shift of 10: chi has F(s) = 1 - exp(-s^2) for s = sd / sigma, so that
    # power is the integral of phi(z) F((10 + z) / 4.3027) over z
    z = np.linspace(-10, 10, 200_001)
    by_hand = np.trapezoid(stats.norm.pdf(z) * -np.expm1(-(((10 + z) / 4.302653) ** 2)), z)
    assert paired_power(10 / math.sqrt(3), 1.0, 3) == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.05), (3, 0.05), (3, 0.05 / 15), (10, 0.05), (10, 0.05 / 40)])
def test_detectable_is_where_power_is_80_percent(n, alpha):
    assert paired_power(detectable(0.3, n, alpha), 0.3, n, alpha) == pytest.approx(0.8, abs=1e-9)


def test_detectable_agrees_with_statsmodels():
    assert detectable(2.0, 10) == pytest.approx(2 * TTestPower().solve_power(nobs=10, alpha=0.05, power=0.8))


@pytest.mark.parametrize(("room", "n", "alpha"), [(0.5, 10, 0.05), (1.0, 3, 0.025), (-0.3, 5, 0.05)])
def test_one_sided_power_agrees_with_statsmodels(room, n, alpha):
    expected = TTestPower().power(room, n, alpha, alternative="larger")
    assert one_sided_power(0.1 * room, 0.1, n, alpha) == pytest.approx(expected, abs=1e-6)


def test_an_sd_of_rounding_errors_leaves_power_one():
    assert paired_power(0.1, 1e-17, 3) == one_sided_power(0.1, 1e-17, 3) == 1.0
    assert needed_n(0.1, 1e-17) == 2
    assert equivalence_power(0.0, 1e-17, 0.1, 3) == pytest.approx(1.0)


def test_equivalence_power_of_a_crossover_study():
    # PowerTOST (R), power.TOST(CV = 0.3, n = 40): 0.8158453 at a ratio of 0.95 within 0.8 to 1.25. Its error,
    # sd * sqrt(2 / 40), has 38 degrees of freedom; 39 pairs with the same error have as many.
    error = math.sqrt(math.log(1 + 0.3**2)) * math.sqrt(2 / 40)
    power = equivalence_power(math.log(0.95), error * math.sqrt(39), math.log(1.25), 39)
    assert power == pytest.approx(0.8158453, abs=5e-7)


def test_equivalence_power_at_the_margin_is_alpha_and_beyond_it_less():
    # a margin of 20 sd leaves the other side without a say
    assert equivalence_power(20.0, 1.0, 20.0, 5) == pytest.approx(0.05)
    assert equivalence_power(-21.0, 1.0, 20.0, 5) < 0.005


def test_needed_n_equivalence():
    n = needed_n_equivalence(0.2, 1.0, 1.2)
    assert equivalence_power(0.2, 1.0, 1.2, n - 1) < 0.8 <= equivalence_power(0.2, 1.0, 1.2, n)
    assert needed_n_equivalence(0.0, 1e-6, 1.0) == 2
    assert needed_n_equivalence(-1.0, 1.0, 1.0) is None


def test_needed_n_bound_is_the_first_that_fits():
    n = needed_n_bound(0.05)
    assert n == 72
    assert clopper_pearson(0, n)[1] < 0.05 <= clopper_pearson(0, n - 1)[1]


def test_power_refuses_a_zero_spread():
    with pytest.raises(ValueError, match="sd > 0"):
        paired_power(1.0, 0.0, 3)
