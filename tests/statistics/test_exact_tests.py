from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from moe_replication.statistics.exact_tests import sign_test, stratified_fisher, stratified_permutation
from moe_replication.statistics.hypothesis_tests import permutation

# Agresti (1990, pages 231-237; R's mantelhaen.test): rabbits cured and not by penicillin at once, and 1.5 h later, at
# five doses.
RABBITS = [(0, 6, 0, 5), (3, 3, 0, 6), (6, 0, 2, 4), (5, 1, 6, 0), (2, 0, 5, 0)]


def table(with_first, without_first, with_second, without_second):
    return [1] * with_first + [0] * without_first, [1] * with_second + [0] * without_second


def assignments(strata):
    """Every choice of the first groups' members: (first group's values) by stratum."""
    return itertools.product(*(itertools.combinations((*first, *second), len(first)) for first, second in strata))


def test_permutation_by_hand():
    """Stratum [2] against [0, 0]: sum 2 with chance 1/3; [1] against [0]: 1 with 1/2. Together 0, 1, 2, 3 with chances
    1/3, 1/3, 1/6, 1/6 around 7/6; only 3 is as far off as 3."""
    found = stratified_permutation([([2], [0, 0]), ([1], [0])])
    assert (found.p, found.minimum) == (pytest.approx(1 / 6), pytest.approx(1 / 6))
    # weights 2/3 and 1/2: (2/3 * 2 + 1/2 * 1) / (7/6)
    assert found.difference == pytest.approx(11 / 7)
    # the other way round in the second stratum: sum 2, and only 0 and 3 are further from 7/6 than 5/6
    assert stratified_permutation([([2], [0, 0]), ([0], [1])]).p == pytest.approx(1 / 3 + 1 / 6 + 1 / 6)


def test_three_runs_against_three_cannot_reach_alpha():
    found = stratified_permutation([([5, 6, 7], [0, 1, 2])])
    assert (found.p, found.minimum) == (pytest.approx(2 / 20), pytest.approx(2 / 20))


def test_one_in_twenty_is_not_below_alpha():
    found = stratified_permutation([([40], [0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 7, 7, 8, 9, 9, 9, 9, 9, 9])])
    assert (found.p, found.minimum) == (0.05, 0.05)


def test_groups_without_difference():
    found = stratified_permutation([([4, 4], [4, 4, 4])])
    assert (found.difference, found.p, found.minimum) == (0.0, 1.0, 0.1)
    found = stratified_fisher([table(0, 3, 0, 4)])
    assert (found.difference, found.p, found.minimum, found.odds_ratio) == (0.0, 1.0, 1 / 35, None)


@pytest.mark.parametrize("sizes", [[(3, 3)], [(3, 5)], [(4, 2)], [(3, 3), (2, 2)], [(3, 3), (2, 1)], [(1, 1)]])
@pytest.mark.parametrize("test", [stratified_permutation, stratified_fisher])
def test_groups_wholly_apart_reach_the_smallest_p(test, sizes):
    """One assignment of all and, where the groups of every stratum are of equal size, its mirror image."""
    found = test([([1] * first, [0] * second) for first, second in sizes])
    ways = math.prod(math.comb(first + second, first) for first, second in sizes)
    assert found.p == pytest.approx((2 if all(first == second for first, second in sizes) else 1) / ways)
    assert found.minimum == pytest.approx(found.p)


@pytest.mark.parametrize("seed", range(20))
def test_permutation_agrees_with_enumeration(seed):
    generator = np.random.default_rng(seed)
    strata = [
        tuple(generator.integers(0, 6, size).tolist() for size in generator.integers(1, 4, 2))
        for _ in range(generator.integers(1, 4))
    ]
    expected = sum(len(first) * np.mean(first + second) for first, second in strata)
    sums = np.array([sum(map(sum, chosen)) for chosen in assignments(strata)])
    observed = abs(sum(sum(first) for first, _ in strata) - expected)
    found = stratified_permutation(strata)
    assert found.p == pytest.approx(np.mean(np.abs(sums - expected) >= observed - 1e-9))
    assert found.minimum <= found.p + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_one_stratum_is_the_plain_permutation_test(seed):
    first, second = np.random.default_rng(seed).integers(-8, 9, (2, 6)).tolist()
    assert stratified_permutation([(first, second)]).p == pytest.approx(permutation(first, second))


def test_values_that_are_no_counts():
    """Quarters of the range fall on whole thousandths, so rounding changes nothing."""
    values = ([10.0, 10.5], [11.0, 12.0])
    assert stratified_permutation([values]).p == pytest.approx(permutation(*values)) == pytest.approx(2 / 6)
    wide = ([0, 100_000], [200_000, 400_000])
    assert stratified_permutation([wide]).p == pytest.approx(permutation(*wide))


@pytest.mark.parametrize("seed", range(5))
def test_means_of_counts_keep_their_ties(seed):
    """Means of three and five counts have the common denominator 15; sums that tie are as far off, not nearly so."""
    generator = np.random.default_rng(seed)
    first, second = ((generator.integers(0, 8, 5) / size).tolist() for size in (3, 5))
    assert stratified_permutation([(first, second)]).p == pytest.approx(permutation(first, second))


def test_many_strata_of_many_runs_are_cheap_and_near_the_normal_limit():
    generator = np.random.default_rng(3)
    strata = [(generator.integers(0, 17, 20).tolist(), generator.integers(1, 18, 25).tolist()) for _ in range(6)]
    distance, variance = 0.0, 0.0
    for first, second in strata:
        everyone = np.array(first + second)
        distance += sum(first) - len(first) * everyone.mean()
        variance += len(first) * len(second) / len(everyone) * everyone.var(ddof=1)
    normal = 2 * stats.norm.sf(abs(distance) / math.sqrt(variance))
    assert stratified_permutation(strata).p == pytest.approx(normal, rel=0.1)


def test_fishers_tea_tasting():
    """Fisher (1935, chapter 2): eight cups, four of each kind. Three right: 34/70; all right: 2/70."""
    three = stratified_fisher([table(3, 1, 1, 3)])
    assert (three.p, three.odds_ratio, three.difference) == (pytest.approx(34 / 70), pytest.approx(9), 0.5)
    four = stratified_fisher([table(4, 0, 0, 4)])
    assert (four.p, four.odds_ratio) == (pytest.approx(2 / 70), math.inf)
    assert three.minimum == four.minimum == pytest.approx(2 / 70)


def test_penicillin_in_rabbits():
    """R 4 gives p = 0.0399449 for mantelhaen.test(Rabbits, exact = TRUE) and the odds ratio 7 without exact."""
    found = stratified_fisher([table(*counts) for counts in RABBITS])
    assert found.p == pytest.approx(0.0399449, abs=5e-8)
    assert found.odds_ratio == pytest.approx(7.0)


@pytest.mark.parametrize("seed", range(20))
def test_one_table_agrees_with_scipy(seed):
    counts = np.random.default_rng(seed).integers(1, 12, 4).tolist()
    reference = stats.fisher_exact([counts[:2], counts[2:]])
    found = stratified_fisher([table(*counts)])
    assert (found.p, found.odds_ratio) == (pytest.approx(reference.pvalue), pytest.approx(reference.statistic))


@pytest.mark.parametrize("seed", range(10))
def test_strata_agree_with_enumeration_and_statsmodels(seed):
    generator = np.random.default_rng(seed)
    tables = [generator.integers(1, 3, 4).tolist() for _ in range(2)]
    strata = [table(*counts) for counts in tables]
    sums = [sum(map(sum, chosen)) for chosen in assignments(strata)]
    chance = {value: sums.count(value) / len(sums) for value in set(sums)}
    seen = chance[sum(sum(first) for first, _ in strata)]
    found = stratified_fisher(strata)
    assert found.p == pytest.approx(sum(value for value in chance.values() if value <= seen * (1 + 1e-9)))
    pooled = StratifiedTable([np.reshape(counts, (2, 2)) for counts in tables]).oddsratio_pooled
    assert found.odds_ratio == pytest.approx(pooled)


@pytest.mark.parametrize("test", [stratified_permutation, stratified_fisher])
def test_a_stratum_without_a_group_is_refused(test):
    with pytest.raises(ValueError, match="every stratum needs a run of each group"):
        test([([1, 0], [0]), ([1], [])])


def test_sign_test_by_hand():
    """Eight above, one below, one dropped: 2 * (C(9, 0) + C(9, 1)) / 2^9 = 20/512."""
    found = sign_test([3, 1, 2, 5, 4, 1, 1, 2, -1, 0])
    assert (found.above, found.below, found.zeros) == (8, 1, 1)
    assert (found.p, found.minimum) == (pytest.approx(20 / 512), 2 / 512)


def test_sign_test_of_few_runs():
    assert sign_test([1.0] * 5).p == sign_test([-1.0] * 5).minimum == pytest.approx(0.0625)
    nothing = sign_test([0.0, 0.0])
    assert (nothing.zeros, nothing.p, nothing.minimum) == (2, 1.0, 1.0)
