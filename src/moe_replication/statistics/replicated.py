"""How often the runs, or the conditions, behind an exact test would have to be there again for it to pass.

What was observed is repeated as it is, so that means and shares stay and only the numbers grow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean

import numpy as np
from scipy import stats

from moe_replication.statistics.exact_tests import (
    Strata,
    stratified_fisher,
    stratified_permutation,
    table_cells,
    whole_strata,
)
from moe_replication.statistics.finding import Conditions
from moe_replication.statistics.power import MAX_N

MAX_FOLD = 100
# Up to about half a second a test; beyond, p is that of the normal approximation.
MAX_CELLS = 5 * 10**7


def of_runs(strata: Conditions) -> Strata:
    """The groups' runs, whatever their condition."""
    return [tuple([run for runs in group for run in runs] for group in pair) for pair in strata]


def of_conditions(strata: Conditions) -> Strata:
    """The groups' conditions, each by its mean."""
    return [tuple([fmean(runs) for runs in group] for group in pair) for pair in strata]


def single_pair(strata: Conditions) -> bool:
    """Whether each side is one condition, so that runs decide."""
    return len(strata) == 1 and all(len(group) == 1 for group in strata[0])


def needed_fold(strata: Conditions, fisher: bool, alpha: float) -> tuple[int | None, str]:
    """How many times the "seeds" or, where the p over conditions is not below alpha, the "conditions" are needed.

    Fisher's strata hold outcomes 0 and 1. None where 100 times do not do, by the normal approximation.
    """
    runs, conditions = of_runs(strata), of_conditions(strata)
    seeds_do = single_pair(strata) or stratified_permutation(conditions).p < alpha

    def passes(fold: int, p_of: Callable) -> bool:
        test = stratified_fisher if fisher else stratified_permutation
        return p_of(runs, fold, test) < alpha and (seeds_do or p_of(conditions, fold, stratified_permutation) < alpha)

    return _smallest_fold(passes), "seeds" if seeds_do else "conditions"


def needed_signs(above_of: tuple[tuple[int, int], ...], alpha: float) -> tuple[int | None, str]:
    """How many "runs" or, where the p over conditions is not below alpha, "conditions" off the threshold the sign test
    needs at the observed share; fractions of one count against it. None above 10,000 and at an even split."""
    (above, n), unit = above_of[0], "runs"
    if not n:
        return None, unit
    totals = np.arange(n + 1, MAX_N + 1)
    passed = _sign_p(above, n, totals) < alpha
    if len(above_of) > 1:
        above_conditions, conditions = above_of[1]
        if _sign_p(above_conditions, conditions, np.array([conditions]))[0] >= alpha:
            unit, totals = "conditions", np.arange(conditions + 1, MAX_N + 1)
            passed = _sign_p(above_conditions, conditions, totals) < alpha
            passed &= _sign_p(above, n, totals * n // conditions) < alpha
    return (int(totals[passed.argmax()]) if passed.any() else None), unit


def _smallest_fold(passes: Callable[[int, Callable], bool]) -> int | None:
    """From where the normal approximation passes, up or down to where the exact test does."""
    fold = next((fold for fold in range(2, MAX_FOLD + 1) if passes(fold, _normal_p)), None)
    if fold is None:
        return None
    while fold > 2 and passes(fold - 1, p_of_folds):
        fold -= 1
    return next((fold for fold in range(fold, MAX_FOLD + 1) if passes(fold, p_of_folds)), None)


def p_of_folds(strata: Strata, fold: int, test: Callable, most: int = MAX_CELLS) -> float:
    """Two-sided p of the strata `fold` times over: exact, or by the normal approximation where that takes long."""
    if table_cells(strata, fold) > most:
        return _normal_p(strata, fold, test)
    return test([(list(first) * fold, list(second) * fold) for first, second in strata]).p


def _normal_p(strata: Strata, fold: int, _: Callable) -> float:
    """From mean and variance of the first group's sum when labels are permuted."""
    distance = variance = 0.0
    for first, second in whole_strata(strata):
        values = np.array([*first, *second], dtype=np.float64)
        n, share = len(values), len(first) / len(values)
        distance += fold * (sum(first) - share * values.sum())
        variance += fold**2 * share * len(second) * ((values - values.mean()) ** 2).sum() / (fold * n - 1)
    return 2 * float(stats.norm.sf(abs(distance) / math.sqrt(variance))) if variance else 1.0


def _sign_p(above: int, n: int, totals: np.ndarray) -> np.ndarray:
    """Two-sided p of the sign test of each total at the share above/n, the larger side rounded down."""
    larger = max(above, n - above) * totals // n if n else totals // 2
    return np.minimum(1.0, 2 * stats.binom.cdf(totals - larger, totals, 0.5))
