"""Bootstrap intervals of a difference between groups: whole conditions are drawn, within data sets and groups."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from moe_replication.statistics.bootstrap import bootstrap_groups


def every_draw(first, second):
    """Mean over runs of each possible draw of whole conditions, first minus second; one data set."""
    means = [
        [np.mean([run for runs in drawn for run in runs]) for drawn in product(group, repeat=len(group))]
        for group in (first, second)
    ]
    return np.sort(np.subtract.outer(*means).ravel())


def test_ends_are_the_quantiles_of_every_draw():
    """4^4 draws of each group; conditions with more runs weigh more."""
    first, second = [[9, 8], [5], [7, 7, 1], [3, 4]], [[0, 1], [2], [2, 6], [1, 1, 0]]
    low, high = np.quantile(every_draw(first, second), [0.025, 0.975])
    assert bootstrap_groups([(first, second)], 40_000, seed=0) == pytest.approx((low, high), abs=0.05)


def test_conditions_are_drawn_and_not_their_runs():
    """Two conditions of six equal runs each: only three means are possible, and both ends are the extreme ones."""
    assert bootstrap_groups([([[0] * 6, [8] * 6], [[1] * 6])], 2000, seed=0) == (-1.0, 7.0)


def test_data_sets_do_not_mix():
    """Within each data set the conditions are equal, so every draw gives the same, far apart as data sets are."""
    strata = [([[12], [12]], [[10], [10]]), ([[2], [2]], [[0], [0]])]
    assert bootstrap_groups(strata, 200, seed=0) == (None, None)
    # a difference in one of them, at half of the weight
    strata[1] = ([[2], [4]], [[0], [0]])
    assert bootstrap_groups(strata, 2000, seed=0) == (2.0, 3.0)


def test_the_seed_decides():
    strata = [([[9.1], [8.3], [7.2]], [[0.4], [1.7], [0.2]])]
    assert bootstrap_groups(strata, 200, seed=1) == bootstrap_groups(strata, 200, seed=1)
    assert bootstrap_groups(strata, 200, seed=1) != bootstrap_groups(strata, 200, seed=2)
