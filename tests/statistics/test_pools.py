from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from moe_replication.statistics.pools import interquartile_mean, probability_of_improvement


def test_interquartile_mean_by_hand():
    # 1..8: two fall on either side, the mean of 3..6 is 4.5; the outlier has no say
    scores = np.array([[1.0, 8000.0], [3.0, 2.0], [4.0, 7.0], [6.0, 5.0]])
    assert interquartile_mean(scores, 100, 0).value == 4.5


def test_probability_of_improvement_by_hand():
    # task 1: 2 beats 1, ties 2: 1.5 of 2; 3 beats both: 2 of 2. Task 2: 0 of 4. Mean of 3.5/4 and 0
    first, second = np.array([[2.0, 3.0], [0.0, 0.0]]), np.array([[1.0, 2.0], [1.0, 1.0]])
    assert probability_of_improvement(first, second, 100, 0).value == pytest.approx(3.5 / 8)
    assert probability_of_improvement(second, first, 100, 0).value == pytest.approx(4.5 / 8)


def test_probability_is_the_mann_whitney_share():
    # Agarwal et al. (2021): the mean over tasks of U / (n m)
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(6, 4)), generator.normal(size=(6, 3))
    shares = [stats.mannwhitneyu(x, y).statistic / 12 for x, y in zip(first, second, strict=True)]
    assert probability_of_improvement(first, second, 100, 0).value == pytest.approx(np.mean(shares))


def test_interval_resamples_whole_runs():
    # every task has the same scores, so a run is good everywhere or nowhere: the bootstrap sees two runs, not twenty
    scores = np.tile([0.0, 1.0], (10, 1))
    draws = [np.mean(pair) for pair in itertools.product([0.0, 1.0], repeat=2)]
    estimate = interquartile_mean(scores, 2000, 0)
    assert (estimate.low, estimate.high) == (min(draws), max(draws))
    assert interquartile_mean(scores, 50, 3) == interquartile_mean(scores, 50, 3)


def test_one_run_has_no_interval():
    one, two = np.array([[1.0], [2.0]]), np.array([[0.0, 3.0], [0.0, 3.0]])
    assert interquartile_mean(one, 100, 0).low is None
    estimate = probability_of_improvement(one, two, 100, 0)
    assert (estimate.value, estimate.low, estimate.high) == (0.5, None, None)
