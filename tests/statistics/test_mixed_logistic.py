from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from moe_replication.statistics.mixed_logistic import mixed_logistic

GROUPS, RUNS = 60, 20
NAMES = [f"c{index // RUNS:02}" for index in range(GROUPS * RUNS)]


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
    found = mixed_logistic(outcomes, covariate, NAMES)
    assert (found.n, found.groups, found.converged) == (1200, 60, True)
    assert found.slope == pytest.approx(slope, abs=0.36)
    assert found.intercept == pytest.approx(-0.5, abs=0.36)
    assert found.random_sd == pytest.approx(0.8, abs=0.3)
    assert found.random_sd_low < found.random_sd < found.random_sd_high
    assert 0 < found.slope_sd < 0.36


def test_the_covariate_is_standardised_and_the_fit_repeats():
    outcomes, covariate = simulated(-1.5, random_sd=0.8)
    found = mixed_logistic(outcomes, covariate, NAMES)
    assert mixed_logistic(outcomes, covariate, NAMES) == found
    scaled = mixed_logistic(outcomes, 3 + 10 * covariate, NAMES)
    assert dataclasses.astuple(scaled) == pytest.approx(dataclasses.astuple(found), rel=1e-3)


def test_outcomes_that_the_covariate_separates_stay_finite():
    covariate = np.arange(12.0)
    found = mixed_logistic(covariate < 6, covariate, [str(index // 3) for index in range(12)])
    assert found.slope < -1
    assert math.isfinite(found.slope_sd)


@pytest.mark.parametrize(
    ("outcomes", "covariate", "groups", "message"),
    [
        ([0, 0, 0], [1, 2, 3], "abc", "the outcome is the same in all 3 runs"),
        ([0, 1, 0], [2, 2, 2], "abc", "the covariate is the same in all 3 runs"),
        ([0, 1, 0], [1, 2, -math.inf], "abc", "the covariate is not finite in every run"),
        ([0, 1, 0], [1, 2, 3], "ab", "lengths differ: 3 outcomes, 3 covariates, 2 groups"),
    ],
)
def test_what_cannot_be_fitted_is_refused(outcomes, covariate, groups, message):
    with pytest.raises(ValueError, match=message):
        mixed_logistic(outcomes, covariate, list(groups))
