"""How many times the runs or conditions of an exact test are needed: the first number of times at which it passes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from moe_replication.statistics.exact_tests import stratified_fisher, stratified_permutation
from moe_replication.statistics.finding import Finding
from moe_replication.statistics.needed import what_settles
from moe_replication.statistics.replicated import needed_fold, needed_signs, of_conditions, of_runs

CLAIM = {"comparison": "groups", "test": "permutation", "direction": "greater"}


def repeated(strata, seeds=1, conditions=1):
    return [tuple([list(runs) * seeds for runs in group] * conditions for group in pair) for pair in strata]


def permutation_p(first, second):
    found = stats.permutation_test(
        (first, second), lambda x, y: abs(np.mean(x) - np.mean(y)), alternative="greater", n_resamples=np.inf
    )
    return found.pvalue


def test_runs_of_two_conditions_are_repeated_until_scipys_test_passes():
    """3 against 3: 0.1 at best, so never at once; twice is 2/924 when apart, and 0, 1 against 1, 2 takes longer."""
    assert needed_fold([([[9, 8, 10]], [[0, 1, 0]])], False, 0.05) == (2, "seeds")
    first, second = [2, 1], [0, 1]
    fold, _ = needed_fold([([first], [second])], False, 0.05)
    assert permutation_p(first * fold, second * fold) < 0.05 <= permutation_p(first * (fold - 1), second * (fold - 1))
    assert fold == 3


@pytest.mark.parametrize("alpha", [0.015, 0.004])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fisher", [False, True])
def test_the_first_number_of_times_that_passes_both_tests(fisher, seed, alpha):
    generator = np.random.default_rng(seed)
    high = 2 if fisher else 5
    strata = [
        tuple([generator.integers(side, high + side * (not fisher), 2).tolist() for _ in range(3)] for side in sides)
        for sides in ((1, 0), (1, 0))
    ]
    test = stratified_fisher if fisher else stratified_permutation

    def p_of(seeds=1, conditions=1):
        there = repeated(strata, seeds, conditions)
        return max(test(of_runs(there)).p, stratified_permutation(of_conditions(there)).p)

    fold, of = needed_fold(strata, fisher, alpha)
    assert p_of() >= alpha
    assert of == ("seeds" if stratified_permutation(of_conditions(strata)).p < alpha else "conditions")
    assert p_of(**{of: fold}) < alpha
    assert fold == 2 or p_of(**{of: fold - 1}) >= alpha


def test_seeds_cannot_make_up_for_conditions():
    """Two conditions against two: 1/3 at best, however many seeds."""
    strata = [([[9, 8], [8, 9]], [[0, 1], [1, 0]])]
    fold, of = needed_fold(strata, False, 0.05)
    assert (fold, of) == (2, "conditions")
    finding = Finding(n=8, effect=8.0, p=1 / 3, strata=strata)
    found = what_settles(CLAIM, finding, family_size=1)
    assert (found.n, found.of) == (8, "conditions")
    assert found.text == (
        "More seeds of these conditions would not settle it, as p over conditions is too large: about 2 times as many "
        "conditions like these, 8, would, as reproduced."
    )


def test_seeds_of_single_conditions_are_enough():
    """Fisher's tea with three cups of each: 2/20 at best; with six 2/924."""
    finding = Finding(n=6, effect=1.0, p=0.1, strata=[([[1] * 3], [[0] * 3])])
    found = what_settles(CLAIM | {"test": "fisher"}, finding, family_size=1)
    assert (found.n, found.of) == (12, "runs")
    assert found.text == "About 2 times as many seeds like these, 12 runs, would settle it as reproduced."


def test_seeds_are_asked_for_where_conditions_agree_and_runs_do_not():
    """Means over three runs 1/3 against 0 in all of 4 and 4 conditions: 2/70; runs 4 of 12 against none: 0.093."""
    strata = [([[1, 0, 0]] * 4, [[0, 0, 0]] * 4)]
    assert stratified_fisher(of_runs(strata)).p == pytest.approx(stats.fisher_exact([[4, 8], [0, 12]]).pvalue)
    fold, of = needed_fold(strata, True, 0.05)
    assert of == "seeds"
    assert stats.fisher_exact([[4 * fold, 8 * fold], [0, 12 * fold]]).pvalue < 0.05


def test_the_other_side_would_be_contradicted():
    finding = Finding(n=6, effect=-1.0, p=0.1, strata=[([[0] * 3], [[1] * 3])])
    assert "as contradicted" in what_settles(CLAIM, finding, 1).text


def test_groups_that_do_not_differ_are_not_settled_by_more_of_them():
    strata = [([[1, 2, 1, 2]], [[2, 1, 2, 1]])]
    found = what_settles(CLAIM, Finding(n=8, effect=0.0, p=1.0, strata=strata), family_size=1)
    assert (found.n, found.text) == (None, "Not even 100 times as many seeds like these would settle it.")


def test_where_exact_distributions_grow_large_the_normal_approximation_stands_in(monkeypatch):
    """About 30 times 3 runs of each group: near enough to normal."""
    strata = [([[0, 9, 4]], [[1, 7, 2]])]
    exact, _ = needed_fold(strata, False, 0.05)
    monkeypatch.setattr("moe_replication.statistics.replicated.MAX_CELLS", 0)
    approximate, _ = needed_fold(strata, False, 0.05)
    assert exact > 20
    assert approximate == pytest.approx(exact, abs=1)


@pytest.mark.parametrize(("above", "n", "needed"), [(5, 5, 6), (0, 5, 6), (5, 10, None), (0, 0, None)])
def test_signs_at_the_observed_share(above, n, needed):
    assert needed_signs(((above, n),), 0.05) == (needed, "runs")


@pytest.mark.parametrize(("above", "n"), [(3, 4), (7, 12)])
def test_the_first_number_of_signs_that_passes(above, n):
    """Of so many runs as large a part above, rounded down."""
    enough = [m for m in range(n + 1, 400) if stats.binomtest(above * m // n, m).pvalue < 0.05]
    assert needed_signs(((above, n),), 0.05) == (enough[0], "runs")
    assert needed_signs(((n - above, n),), 0.05) == (enough[0], "runs")


def test_signs_over_conditions_that_are_too_few():
    """Five medians above: 2/2^5; six would do, and 30 runs instead of 25."""
    assert needed_signs(((25, 25), (5, 5)), 0.05) == (6, "conditions")
    # ten conditions agree; their runs, two of three above, do not yet
    found, of = needed_signs(((8, 12), (10, 10)), 0.05)
    assert of == "runs"
    assert (
        stats.binomtest(2 * found // 3, found).pvalue < 0.05 <= stats.binomtest(2 * (found - 1) // 3, found - 1).pvalue
    )


def test_all_on_the_threshold_is_said():
    claim = {"comparison": "sign", "direction": "greater"}
    found = what_settles(claim, Finding(n=0, p=1.0, above_of=((0, 0),)), family_size=1)
    assert found.text == "No number of runs up to 10,000 would settle it while all lie on the threshold."
