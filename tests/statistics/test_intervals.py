from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moe_replication.statistics.bootstrap import bootstrap_interval, bootstrap_label
from moe_replication.statistics.intervals import (
    clopper_pearson,
    mean_interval,
    paired_interval,
    prediction_interval,
)

T_2 = 4.302653  # 97.5 % point of t with 2 degrees of freedom, from tables


def test_mean_interval_by_hand():
    # 1, 2, 3: mean 2, sd 1, half width 4.3027 / sqrt(3) = 2.4841
    interval = mean_interval([1.0, 2.0, 3.0])
    assert (interval.n, interval.mean, interval.sd) == (3, 2.0, 1.0)
    assert interval.low == pytest.approx(2 - T_2 / math.sqrt(3), abs=1e-5)
    assert interval.high == pytest.approx(4.48414, abs=1e-4)


def test_prediction_interval_by_hand():
    # half width 4.3027 * sqrt(1 + 1/3) = 4.9683
    interval = prediction_interval([1.0, 2.0, 3.0])
    assert (interval.low, interval.high) == (
        pytest.approx(-2.96828, abs=1e-4),
        pytest.approx(6.96828, abs=1e-4),
    )


def test_paired_interval_by_hand():
    # differences 1, 2, 3
    interval = paired_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert interval == mean_interval([1.0, 2.0, 3.0])


def test_paired_interval_of_the_sleep_data():
    # Student (1908), as in R's ?sleep: mean of the differences 1.58, 95 % interval 0.7001142 to 2.4598858
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    interval = paired_interval(second, first)
    found = (interval.mean, interval.low, interval.high)
    assert found == pytest.approx((1.58, 0.7001142, 2.4598858), abs=5e-8)


# Efron and Tibshirani (1993), Table 2.1: days survived by the treated mice.
MICE = [94.0, 197.0, 16.0, 38.0, 99.0, 141.0, 23.0]


def every_resample(values: list[float]) -> np.ndarray:
    """Means of all n^n resamples."""
    return np.array([np.mean(sample) for sample in itertools.product(values, repeat=len(values))])


def test_percentile_interval_agrees_with_every_resample():
    # all 7^7 resamples of the mice; 20,000 drawn ones place a quantile within about one day
    low, high = bootstrap_interval(MICE, "percentile", 20_000, seed=0)
    assert (low, high) == pytest.approx(tuple(np.quantile(every_resample(MICE), [0.025, 0.975])), abs=2.0)


def test_bca_interval_agrees_with_the_formula():
    # Efron and Tibshirani (1993), equations 14.9, 14.10, 14.14 and 14.15, over all resamples
    means, values = every_resample(MICE), np.array(MICE)
    mean = values.mean()
    left_out = (values.sum() - values) / (len(values) - 1)
    pull = left_out.mean() - left_out
    acceleration = (pull**3).sum() / (6 * (pull**2).sum() ** 1.5)
    bias = stats.norm.ppf((np.mean(means < mean) + np.mean(means <= mean)) / 2)
    shifted = bias + stats.norm.ppf([0.025, 0.975])
    quantiles = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
    assert acceleration > 0.02
    found = bootstrap_interval(MICE, "BCa", 20_000, seed=0)
    assert found == pytest.approx(tuple(np.quantile(means, quantiles)), abs=2.5)
    assert found[0] > bootstrap_interval(MICE, "percentile", 20_000, seed=0)[0]


def test_bootstrap_takes_its_seed_and_needs_values_that_differ():
    assert bootstrap_interval(MICE, "BCa", 200, seed=1) == bootstrap_interval(MICE, "BCa", 200, seed=1)
    assert bootstrap_interval(MICE, "BCa", 200, seed=1) != bootstrap_interval(MICE, "BCa", 200, seed=2)
    assert bootstrap_interval([0.1, 0.1, 0.1], "BCa", 200, seed=1) == (None, None)
    assert bootstrap_interval([3.0], "percentile", 200, seed=1) == (None, None)


def test_bootstrap_is_labelled_below_twenty():
    assert (bootstrap_label(19), bootstrap_label(20)) == ("descriptive", "")


def test_one_value_has_no_width():
    interval = mean_interval([5.0])
    assert (interval.mean, interval.sd, interval.low, interval.high) == (5.0, None, None, None)


def test_equal_values_have_sd_exactly_zero():
    # the mean of three times 0.1 is not 0.1 in floating point, so a naive sd is about 1e-17
    assert mean_interval([0.1, 0.1, 0.1]).sd == 0.0


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0]]])
def test_mean_interval_refuses(values):
    with pytest.raises(ValueError, match="finite numbers"):
        mean_interval(values)


def test_clopper_pearson_by_hand():
    # 0 of n: high = 1 - 0.025^(1/n); n of n mirrors it; 1 of 2 is symmetric with low = 1 - sqrt(0.975)
    assert clopper_pearson(0, 3) == (0.0, pytest.approx(1 - 0.025 ** (1 / 3)))
    assert clopper_pearson(3, 3) == (pytest.approx(0.025 ** (1 / 3)), 1.0)
    low, high = clopper_pearson(1, 2)
    assert low == pytest.approx(1 - math.sqrt(0.975))
    assert low + high == pytest.approx(1.0)


def test_clopper_pearson_of_mendels_peas():
    # Conover (1971, p. 97), as in R's ?binom.test: 682 of 925 plants, 95 % interval 0.7076683 to 0.7654066
    assert clopper_pearson(682, 925) == pytest.approx((0.7076683, 0.7654066), abs=5e-8)


@given(n=st.integers(1, 40), data=st.data())
def test_clopper_pearson_agrees_with_scipy_and_holds_the_rate(n, data):
    events = data.draw(st.integers(0, n))
    low, high = clopper_pearson(events, n)
    reference = stats.binomtest(events, n).proportion_ci(method="exact")
    assert (low, high) == (pytest.approx(reference.low, abs=1e-9), pytest.approx(reference.high, abs=1e-9))
    assert low <= events / n <= high


def test_clopper_pearson_refuses_more_events_than_trials():
    with pytest.raises(ValueError, match="events = 4, n = 3"):
        clopper_pearson(4, 3)
