from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from moe_replication.statistics.intervals import clopper_pearson
from moe_replication.statistics.power import (
    equivalence_power,
    needed_n,
    needed_n_bound,
    needed_n_equivalence,
    paired_power,
)


@pytest.mark.parametrize(("effect", "n"), [(0.5, 10), (1.0, 3), (2.0, 4)])
def test_power_agrees_with_statsmodels(effect, n):
    expected = TTestPower().power(effect, n, 0.05, alternative="two-sided")
    assert paired_power(-effect * 0.01, 0.01, n) == pytest.approx(expected, abs=1e-6)


def test_power_at_no_effect_is_alpha():
    assert paired_power(0.0, 1.0, 5) == pytest.approx(0.05)


def test_needed_n_is_the_textbook_value():
    # effect of half an sd, 80 % power, two-sided 5 %: 34 pairs
    assert needed_n(0.5, 1.0) == 34
    assert paired_power(0.5, 1.0, 33) < 0.8 <= paired_power(0.5, 1.0, 34)


def test_needed_n_gives_up_and_stops_early():
    assert needed_n(0.0, 1.0) is None
    assert needed_n(0.001, 1.0) is None
    assert needed_n(1000.0, 1.0) == 2


def test_equivalence_power_agrees_with_simulation():
    generator = np.random.default_rng(0)
    samples = generator.normal(0.2, 1.0, (4000, 10))
    half = 1.833113 * samples.std(axis=1, ddof=1) / np.sqrt(10)  # 95 % point of t with 9 degrees of freedom
    found = np.mean(np.abs(samples.mean(axis=1)) + half < 1.2)  # the 90 % interval lies inside, as TOST asks
    assert equivalence_power(0.2, 1.0, 1.2, 10) == pytest.approx(found, abs=0.02)


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
