"""Exact tests of two groups compared within strata (data sets), and the sign test; the unit is a run or a condition.

Stratified tests keep the size of each group in each stratum and every stratum's outcomes; under the null hypothesis
any of a stratum's units may carry the label "first". The statistic is the first group's sum, whose
distribution is computed exactly, not sampled. Its distance from its expectation is the sum over strata of
w * (mean of first - mean of second) with w = n1 * n2 / (n1 + n2), the weights of Mantel and Haenszel (1959).
Every unit counts as a draw of its own; where runs of one condition resemble one another, p over runs is too small, and
the verdicts take the larger of it and that over conditions (pooled_findings.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from moe_replication.statistics.hypothesis_tests import TIE_TOLERANCE

# Probabilities that differ by less than this are equal up to rounding, as in R's fisher.test.
EQUAL_PROBABILITIES = 1 + 1e-7
# Values spread wider, or without a common small denominator, are rounded to this many steps of their range.
STEPS = 1000
# Of means of counts over runs, and shares of runs: with it they enter exactly, and sums that tie stay tied.
DENOMINATORS = range(1, 31)

Strata = Sequence[tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True, kw_only=True)
class GroupTest:
    """difference: weighted mean of first minus second over strata. minimum: the smallest p that groups of these sizes
    reach at any outcomes. odds_ratio: of Mantel and Haenszel, for Fisher's test; None where it is 0/0."""

    difference: float
    p: float
    minimum: float
    odds_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class SignTest:
    """Values above and below zero, zeros dropped; minimum: the smallest p that above + below values can reach."""

    above: int
    below: int
    zeros: int
    p: float
    minimum: float


def stratified_permutation(strata: Strata) -> GroupTest:
    """Two-sided permutation test of a difference in means: p is the share of label assignments within strata whose
    weighted difference is at least as far from zero as the observed one.

    Multiples of 1/d, d up to 30, enter as they are where their range has at most 1,000 of them, other values rounded
    to thousandths of their range: the test stays exact, of the rounded values. ValueError for a stratum
    that lacks a group.
    """
    observed, expected, sums, chances = _null_distribution(whole_strata(strata))
    distances = np.abs(sums - expected)
    tolerance = TIE_TOLERANCE * max(1.0, np.abs(sums).max())
    p_value = _total(chances[distances >= abs(observed - expected) - tolerance])
    return GroupTest(difference=weighted_difference(strata), p=p_value, minimum=_smallest_p(strata))


def stratified_fisher(strata: Strata) -> GroupTest:
    """Fisher's exact test of "any" outcomes (0 or 1) in two groups, conditional on both margins of every stratum: the
    exact conditional Cochran-Mantel-Haenszel test (R's mantelhaen.test with exact = TRUE).

    p sums the tables that are at most as likely as the observed one. ValueError for a stratum that lacks a group.
    """
    observed, _, sums, chances = _null_distribution(strata)
    p_value = _total(chances[chances <= chances[sums == observed].item() * EQUAL_PROBABILITIES])
    return GroupTest(
        difference=weighted_difference(strata),
        p=p_value,
        minimum=_smallest_p(strata),
        odds_ratio=_odds_ratio(strata),
    )


def sign_test(differences: Sequence[float]) -> SignTest:
    """Two-sided exact sign test of a median of zero: binomial, zeros dropped (p = 1 when nothing is left)."""
    above, below = sum(value > 0 for value in differences), sum(value < 0 for value in differences)
    counted = above + below
    p_value = float(stats.binomtest(above, counted).pvalue) if counted else 1.0
    minimum = min(1.0, 2.0 / 2.0**counted)
    return SignTest(above=above, below=below, zeros=len(differences) - counted, p=p_value, minimum=minimum)


def weighted_difference(strata: Strata) -> float:
    """Mean of first minus mean of second, averaged over strata with Mantel and Haenszel's weights."""
    weights = [len(first) * len(second) / (len(first) + len(second)) for first, second in strata]
    return float(np.average([np.mean(first) - np.mean(second) for first, second in strata], weights=weights))


def whole_strata(strata: Strata) -> list[tuple[list[int], list[int]]]:
    """The values as whole numbers, which the distribution of their sums needs."""
    values = [value for pair in strata for group in pair for value in group]
    low, spread = min(values, default=0), max(values, default=0) - min(values, default=0)
    exact = (d for d in DENOMINATORS if spread * d <= STEPS and all(_is_whole(value * d) for value in values))
    scale, origin = next(((d, 0) for d in exact), (STEPS / spread if spread else 1, low))
    return [tuple([round((value - origin) * scale) for value in group] for group in pair) for pair in strata]


def table_cells(strata: Strata, fold: int) -> int:
    """Steps that the largest stratum's distribution takes with every value `fold` times: it grows with the cube."""
    return max(
        fold**3 * len(first) ** 2 * (len(first) + len(second)) * (max(*first, *second) - min(*first, *second) + 1)
        for first, second in whole_strata(strata)
    )


def _smallest_p(strata: Strata) -> float:
    """One assignment of all, the most extreme; where groups are of equal size in every stratum, its mirror image is as
    far off."""
    assignments = math.prod(math.comb(len(first) + len(second), len(first)) for first, second in strata)
    return (2 if all(len(first) == len(second) for first, second in strata) else 1) / assignments


def _total(chances: np.ndarray) -> float:
    """Their sum to 12 digits: a p of 1/20 is 0.05, not a rounding error below it."""
    return float(f"{chances.sum():.12g}")


def _null_distribution(strata: Strata) -> tuple[int, float, np.ndarray, np.ndarray]:
    """The first group's sum, its expectation, and every sum with its chance under the null hypothesis."""
    observed, expected, lowest, chances = 0, 0.0, 0, np.ones(1)
    for first, second in strata:
        if not len(first) or not len(second):
            raise ValueError("every stratum needs a run of each group; leave the others out")
        values = [int(value) for value in (*first, *second)]
        observed += sum(values[: len(first)])
        expected += len(first) * sum(values) / len(values)
        lowest += len(first) * min(values)
        chances = np.convolve(chances, _sum_chances([value - min(values) for value in values], len(first)))
    return observed, expected, lowest + np.arange(len(chances)), chances


def _sum_chances(values: Sequence[int], chosen: int) -> np.ndarray:
    """Chance of each sum 0, 1, ... of `chosen` of the values (whole, from 0), drawn without replacement.

    Values are passed one by one; one is drawn with chance (still to draw) / (still to pass).
    """
    # K drawn so far, S their sum
    chances_KS = np.zeros((chosen + 1, chosen * max(values) + 1))
    chances_KS[0, 0] = 1.0
    for passed, value in enumerate(values):
        drawn_K1 = ((chosen - np.arange(chosen + 1)) / (len(values) - passed))[:, None]
        taken_KS = drawn_K1 * chances_KS
        chances_KS = (1 - drawn_K1) * chances_KS
        chances_KS[1:, value:] += taken_KS[:-1, : chances_KS.shape[1] - value]
    return chances_KS[chosen]


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) <= TIE_TOLERANCE * max(1.0, abs(value))


def _odds_ratio(strata: Strata) -> float | None:
    """Sum of a * d / n over that of b * c / n; a, b: first group's runs with and without, c, d: second group's."""
    for_first = against_first = 0.0
    for first, second in strata:
        a, c, n = sum(first), sum(second), len(first) + len(second)
        for_first += a * (len(second) - c) / n
        against_first += (len(first) - a) * c / n
    if against_first:
        return for_first / against_first
    return float("inf") if for_first else None
