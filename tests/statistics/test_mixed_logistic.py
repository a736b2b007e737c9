from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from moe_replication.statistics.mixed_logistic import mixed_logistic

GROUPS, RUNS = 60, 20
NAMES = [f"c{index // RUNS:02}" for index in range(GROUPS * RUNS)]
ONE_SET = ["digits-10"] * (GROUPS * RUNS)


def simulated(slope, random_sd, seed=0):
    """Outcomes of 60 configurations, 20 runs each, whose covariate has mean 0 and sd 1."""
    generator = np.random.default_rng(seed)
    by_group = generator.normal(size=GROUPS)
    covariate = np.repeat((by_group - by_group.mean()) / by_group.std(), RUNS)
    intercepts = np.repeat(random_sd * generator.normal(size=GROUPS), RUNS)
    chance = 1 / (1 + np.exp(-(-0.5 + slope * covariate + intercepts)))
    return generator.random(GROUPS * RUNS) < chance, covariate


@pytest.mark.parametrize("slope", [-1.5, 0.0, 1.0])
def test_a_known_slope_is_found(slope):
    """Tolerance: three times sqrt(0.8^2 + 1 / (20 * 0.2)) / sqrt(60) = 0.12, the slope's rough standard error."""
    outcomes, covariate = simulated(slope, random_sd=0.8)
    found = mixed_logistic(outcomes, covariate, NAMES, ONE_SET)
    assert (found.n, found.groups, found.converged) == (1200, 60, True)
    assert found.slope == pytest.approx(slope, abs=0.36)
    assert found.intercept == pytest.approx(-0.5, abs=0.36)
    assert found.random_sd == pytest.approx(0.8, abs=0.3)
    assert found.random_sd_low < found.random_sd < found.random_sd_high
    assert 0 < found.slope_sd < 0.36


def test_the_covariate_is_standardised_and_the_fit_repeats():
    outcomes, covariate = simulated(-1.5, random_sd=0.8)
    found = mixed_logistic(outcomes, covariate, NAMES, ONE_SET)
    assert mixed_logistic(outcomes, covariate, NAMES, ONE_SET) == found
    scaled = mixed_logistic(outcomes, 3 + 10 * covariate, NAMES, ONE_SET)
    assert dataclasses.astuple(scaled) == pytest.approx(dataclasses.astuple(found), rel=1e-3)


def test_a_slope_is_one_within_data_sets():
    """Within each of two sets the slope is -1.5; pooled it is turned round, as the set with high E has more deaths."""
    _, covariate = simulated(0.0, random_sd=0.0)
    harder = np.repeat(np.arange(GROUPS) % 2, RUNS)
    generator = np.random.default_rng(1)
    chance = 1 / (1 + np.exp(-(-3 - 1.5 * covariate + 6 * harder)))
    outcomes, shifted = generator.random(GROUPS * RUNS) < chance, covariate + 4 * harder
    strata = ["digits-200" if hard else "digits-10" for hard in harder]
    found = mixed_logistic(outcomes, shifted, NAMES, strata)
    # the slope is per standard deviation of the covariate
    assert found.slope / shifted.std() == pytest.approx(-1.5, abs=0.36)
    assert mixed_logistic(outcomes, shifted, NAMES, ONE_SET).slope > 0
    # at the mean covariate, 2, the sets' logits are -3 - 1.5 * 2 and -3 - 1.5 * (2 - 4) + 6
    assert found.intercept == pytest.approx((-6 + 6) / 2, abs=0.8)


def test_outcomes_that_the_covariate_separates_stay_finite():
    covariate = np.arange(12.0)
    found = mixed_logistic(covariate < 6, covariate, [str(index // 3) for index in range(12)], ["s"] * 12)
    assert found.slope < -1
    assert math.isfinite(found.slope_sd)


@pytest.mark.parametrize(
    ("outcomes", "covariate", "groups", "strata", "message"),
    [
        ([0, 0, 0], [1, 2, 3], "abc", "sss", "the outcome is the same in all 3 runs"),
        ([0, 1, 0], [2, 2, 2], "abc", "sss", "the covariate is the same in all runs of every stratum"),
        ([0, 1, 0], [2, 2, 3], "abc", "sst", "the covariate is the same in all runs of every stratum"),
        ([0, 1, 0], [1, 2, -math.inf], "abc", "sss", "the covariate is not finite in every run"),
        ([0, 1, 0], [1, 2, 3], "ab", "sss", "lengths differ: 3 outcomes, 3 covariates, 2 groups, 3 strata"),
    ],
)
def test_what_cannot_be_fitted_is_refused(outcomes, covariate, groups, strata, message):
    with pytest.raises(ValueError, match=message):
        mixed_logistic(outcomes, covariate, list(groups), list(strata))
