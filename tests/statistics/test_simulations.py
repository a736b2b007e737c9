"""Coverage and error rates by simulation: normal values, fixed seeds; counts are in test_skewed_counts.py.

A rate from R replicates has a standard error of sqrt(p (1 - p) / R); the tolerance is four of them, so that a right
method fails one such check in about 16,000 seeds.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from moe_replication.statistics.bootstrap import bootstrap_interval
from moe_replication.statistics.effect_sizes import hedges_independent, hedges_paired, small_sample_factor
from moe_replication.statistics.hypothesis_tests import (
    holm,
    paired_t,
    permutation,
    sign_flip,
    sign_flip_minimum,
    welch_t,
)
from moe_replication.statistics.intervals import mean_interval, prediction_interval
from moe_replication.statistics.margins import within_p
from moe_replication.statistics.power import detectable, equivalence_power, one_sided_power, paired_power

pytestmark = pytest.mark.slow
SIZES = (3, 5, 10)


def tolerance(rate: float, replicates: int) -> float:
    """Four binomial standard errors."""
    return 4 * math.sqrt(rate * (1 - rate) / replicates)


def normal(replicates: int, *shape: int, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(mean, 1.0, (replicates, *shape))


def tost(values: np.ndarray, margin: float) -> np.ndarray:
    return within_p({"comparison": "equivalence", "margin": margin}, values, None)


def coverage(intervals, truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize("n", SIZES)
def test_t_interval_covers_95_percent(n):
    intervals = [mean_interval(values) for values in normal(4000, n, mean=1.0)]
    covered = coverage([(interval.low, interval.high) for interval in intervals], 1.0)
    assert covered == pytest.approx(0.95, abs=tolerance(0.95, 4000))


@pytest.mark.parametrize("n", SIZES)
def test_prediction_interval_holds_95_percent_of_new_runs(n):
    *seen, new = np.moveaxis(normal(4000, n + 1, mean=2.0), 1, 0)
    intervals = [prediction_interval(values) for values in np.transpose(seen)]
    held = np.mean([found.low <= value <= found.high for found, value in zip(intervals, new, strict=True)])
    assert held == pytest.approx(0.95, abs=tolerance(0.95, 4000))


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_bootstrap_covers_too_little_below_twenty_and_better_with_n(method):
    covered = {
        n: coverage([bootstrap_interval(values, method, 999, seed) for seed, values in enumerate(normal(1500, n))], 0.0)
        for n in (*SIZES, 20)
    }
    for n in SIZES:
        assert covered[n] < 0.95 - tolerance(0.95, 1500), covered
    assert covered[3] < covered[5] < covered[10] < covered[20]
    assert covered[20] > 0.95 - tolerance(0.95, 1500) - 0.02, covered


@pytest.mark.parametrize(("n", "alpha"), [(3, 0.25), (5, 0.0625), (5, 0.25), (10, 0.05)])
def test_sign_flip_rejects_as_often_as_its_attainable_level(n, alpha):
    # p is a multiple of 2 / 2^n, so the level is alpha rounded down to one
    step = sign_flip_minimum(n)
    level = math.floor(alpha / step) * step
    rejected = np.mean([sign_flip(values) <= alpha for values in normal(4000, n)])
    assert rejected == pytest.approx(level, abs=tolerance(level, 4000))


@pytest.mark.parametrize("n", [3, 5])
def test_sign_flip_never_rejects_at_5_percent_below_six_pairs(n):
    assert min(sign_flip(values) for values in normal(500, n, mean=50.0)) == sign_flip_minimum(n) > 0.05


@pytest.mark.parametrize(("n", "alpha", "replicates"), [(3, 0.1, 4000), (5, 0.05, 4000), (10, 0.05, 600)])
def test_permutation_rejects_as_often_as_its_attainable_level(n, alpha, replicates):
    step = 2 / math.comb(2 * n, n)
    level = math.floor(alpha / step + 1e-9) * step
    rejected = np.mean([permutation(first, second) <= alpha + 1e-12 for first, second in normal(replicates, 2, n)])
    assert rejected == pytest.approx(level, abs=tolerance(level, replicates))


@pytest.mark.parametrize("n", SIZES)
def test_paired_t_rejects_5_percent(n):
    rejected = np.mean([paired_t(values) < 0.05 for values in normal(4000, n, seed=1)])
    assert rejected == pytest.approx(0.05, abs=tolerance(0.05, 4000))


@pytest.mark.parametrize("n", SIZES)
def test_welch_holds_5_percent_with_unequal_spread(n):
    samples = normal(4000, 2, n) * np.array([[1.0], [3.0]])
    rejected = np.mean([welch_t(first, second) < 0.05 for first, second in samples])
    assert rejected == pytest.approx(0.05, abs=tolerance(0.05, 4000))


@pytest.mark.parametrize("n", SIZES)
def test_tost_at_the_margin_declares_equivalence_5_percent_of_the_time(n):
    # a margin of 20 sd leaves the other side without a say, so the level is exact
    declared = np.mean(tost(normal(4000, n, mean=20.0), 20.0) < 0.05)
    assert declared == pytest.approx(0.05, abs=tolerance(0.05, 4000))


@pytest.mark.parametrize("n", SIZES)
def test_tost_is_conservative_at_a_margin_within_the_noise(n):
    declared = np.mean(tost(normal(4000, n, mean=0.5), 0.5) < 0.05)
    assert declared <= 0.05 + tolerance(0.05, 4000)


@pytest.mark.parametrize("n", SIZES)
def test_holm_keeps_the_family_at_5_percent(n):
    # five independent true nulls: Holm's first step alone decides, 1 - 0.99^5
    families = normal(1000, 5, n)
    false = np.mean([min(holm([paired_t(values) for values in family])) < 0.05 for family in families])
    level = 1 - 0.99**5
    assert false == pytest.approx(level, abs=tolerance(level, 1000))
    # two huge effects besides three nulls: the nulls' first step is p < 0.05 / 3
    families = families + np.array([1e6, 1e6, 0.0, 0.0, 0.0])[:, None]
    false = np.mean([min(holm([paired_t(values) for values in family])[2:]) < 0.05 for family in families])
    level = 1 - (1 - 0.05 / 3) ** 3
    assert false == pytest.approx(level, abs=tolerance(level, 1000))


@pytest.mark.parametrize("n", SIZES)
def test_hedges_g_is_unbiased_and_its_interval_covers(n):
    paired = [hedges_paired(values) for values in normal(4000, n, mean=1.0)]
    independent = [hedges_independent(first + 1.0, second) for first, second in normal(4000, 2, n)]
    for effects, df in ((paired, n - 1), (independent, 2 * n - 2)):
        values = np.array([effect.g for effect in effects])
        if df > 2:  # with two degrees of freedom g has no variance, so its mean settles too slowly to test
            assert values.mean() == pytest.approx(1.0, abs=4 * values.std() / math.sqrt(len(values)))
        # the interval is exact for the effect before Hedges' factor
        factor = small_sample_factor(df)
        covered = coverage([(effect.low / factor, effect.high / factor) for effect in effects], 1.0)
        assert covered == pytest.approx(0.95, abs=tolerance(0.95, 4000))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
def test_power_is_how_often_the_tests_pass(n, alpha):
    samples, effect = normal(20_000, n, seed=3), detectable(1.0, n, alpha)

    def passed(mean: float, limit: float, alternative: str) -> np.ndarray:
        return stats.ttest_1samp(samples + mean, limit, axis=1, alternative=alternative).pvalue < alpha

    within = passed(0.5, -effect, "greater") & passed(0.5, effect, "less")
    for power, rejected in (
        (0.8, passed(effect, 0.0, "two-sided")),
        (paired_power(1.0, 1.0, n, alpha), passed(1.0, 0.0, "two-sided")),
        (one_sided_power(1.5, 1.0, n, alpha), passed(0.5, 2.0, "less")),
        (equivalence_power(0.5, 1.0, effect, n, alpha), within),
    ):
        assert rejected.mean() == pytest.approx(power, abs=tolerance(power, 20_000))
