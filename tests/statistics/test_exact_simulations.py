"""Error rates of exact tests and pooled verdicts and coverage over pools by simulation; of Clopper-Pearson exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from moe_replication.statistics.bootstrap import bootstrap_groups
from moe_replication.statistics.exact_tests import sign_test, stratified_fisher, stratified_permutation
from moe_replication.statistics.intervals import clopper_pearson
from moe_replication.statistics.pooled_findings import measure_groups, measure_sign
from moe_replication.statistics.pools import interquartile_mean, probability_of_improvement

pytestmark = pytest.mark.slow
SIZES = (3, 5, 10)
REPLICATES = 1000
# Four binomial standard errors of a rate of 5 %.
SLACK = 4 * np.sqrt(0.05 * 0.95 / REPLICATES)


@pytest.mark.parametrize("n", [*SIZES, 72])
def test_clopper_pearson_covers_at_least_95_percent_at_every_rate(n):
    limits = [clopper_pearson(events, n) for events in range(n + 1)]
    for rate in np.linspace(0.001, 0.999, 999):
        holding = [events for events, (low, high) in enumerate(limits) if low <= rate <= high]
        assert stats.binom.pmf(holding, n, rate).sum() >= 0.95 - 1e-12, rate


@pytest.mark.parametrize("n", SIZES)
def test_stratified_permutation_keeps_5_percent(n):
    """Two data sets that differ much, counts within each; no more than 5 %, and as near as ties let it from n = 5."""
    counts = np.random.default_rng([0, n]).poisson([[[2.0]], [[9.0]]], (REPLICATES, 2, 2, n))
    rejected = np.mean([stratified_permutation(strata.tolist()).p < 0.05 for strata in counts])
    assert rejected <= 0.05 + SLACK
    assert n == 3 or rejected > 0.05 - SLACK


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rates", [(0.2, 0.7), (0.5, 0.5)])
def test_stratified_fisher_keeps_5_percent(n, rates):
    draws = np.random.default_rng([1, n]).random((REPLICATES, 2, 2, n)) < np.array(rates)[:, None, None]
    rejected = np.mean([stratified_fisher(strata.astype(int).tolist()).p < 0.05 for strata in draws])
    assert rejected <= 0.05 + SLACK
    assert n == 3 or rejected > 0.01


@pytest.mark.parametrize("n", SIZES)
def test_sign_test_keeps_5_percent_and_rejects_as_often_as_it_can(n):
    """Level by hand: none of 2/2^3 and 2/2^5 is below 5 %; of ten, 0, 1, 9 and 10 above are, 22/1024."""
    values = np.random.default_rng([2, n]).normal(size=(4000, n))
    rejected = np.mean([sign_test(row).p < 0.05 for row in values])
    level = {3: 0.0, 5: 0.0, 10: 22 / 1024}[n]
    assert rejected == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 4000))


def groups_of_alike_runs(seed: int, conditions: int) -> pl.DataFrame:
    """Three runs a condition, counts around the condition's own mean, conditions of both groups from one population."""
    generator = np.random.default_rng([seed, conditions])
    means = generator.gamma(1.0, 5.0, 2 * conditions)
    return pl.DataFrame(
        [
            {"paper": "p", "condition": f"c{index}", "seed": run, "dataset": "d", "dead": float(count)}
            for index, mean in enumerate(means)
            for run, count in enumerate(generator.poisson(mean, 3))
        ]
    )


@pytest.mark.parametrize("test", ["permutation", "fisher"])
@pytest.mark.parametrize("conditions", SIZES)
def test_pooled_groups_keep_5_percent_where_runs_alone_do_not(test, conditions, analysis):
    names = [f"c{index}" for index in range(2 * conditions)]
    claim = {"paper": "p", "metric": "dead", "test": test, "threshold": 4, "conditions": names[:conditions],
             "against": names[conditions:]}  # fmt: skip
    tables = [groups_of_alike_runs(seed, conditions) for seed in range(300)]
    few_draws = replace(analysis, resamples=100)
    findings = [measure_groups(claim, table, table, "", few_draws) for table in tables]
    over_runs = [float(found.note.split()[2]) for found in findings]
    slack = 4 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean([found.p < 0.05 for found in findings]) <= 0.05 + slack
    assert np.mean([p < 0.05 for p in over_runs]) > 0.05 + slack


@pytest.mark.parametrize("conditions", SIZES)
def test_a_pooled_sign_keeps_5_percent_where_runs_alone_do_not(conditions):
    generator = np.random.default_rng([5, conditions])
    values = generator.normal(size=(REPLICATES, conditions, 1)) + 0.3 * generator.normal(
        size=(REPLICATES, conditions, 3)
    )
    findings = [
        measure_sign({"threshold": 0.0}, {f"c{index}": row.tolist() for index, row in enumerate(table)})
        for table in values
    ]
    assert np.mean([found.p < 0.05 for found in findings]) <= 0.05 + SLACK
    assert np.mean([sign_test(table.ravel()).p < 0.05 for table in values]) > 0.05 + SLACK


@pytest.mark.parametrize(("conditions", "covers"), [(3, 0.8), (5, 0.87), (10, 0.92)])
def test_bootstrap_over_few_conditions_only_describes(conditions, covers):
    """Three runs a condition around its own mean: far below 95 % with few conditions."""
    generator = np.random.default_rng([6, conditions])
    means = generator.normal(size=(REPLICATES, 2, conditions, 1))
    values = means + 0.3 * generator.normal(size=(REPLICATES, 2, conditions, 3))
    held = np.mean([holds(*bootstrap_groups([pair.tolist()], 300, seed), 0.0) for seed, pair in enumerate(values)])
    assert held == pytest.approx(covers, abs=4 * np.sqrt(covers * (1 - covers) / REPLICATES))
    assert held < 0.95


def holds(low: float, high: float, truth: float) -> bool:
    return low <= truth <= high


@pytest.mark.parametrize("n", SIZES)
def test_pool_intervals_cover_too_little_with_few_runs_and_drawing_tasks_apart_would_cover_less(n):
    """Runs that are good or bad at all of eight tasks: an interval that draws each task's runs anew sees averages of
    eight independent draws where there is one."""
    generator = np.random.default_rng([6, n])
    scores_RTS = generator.normal(size=(300, 1, n)) + 0.3 * generator.normal(size=(300, 8, n))
    estimates = [interquartile_mean(scores_TS, 500, seed) for seed, scores_TS in enumerate(scores_RTS)]
    whole = np.mean([holds(estimate.low, estimate.high, 0.0) for estimate in estimates])
    apart = np.mean([holds(*drawn_apart(scores_TS, generator), 0.0) for scores_TS in scores_RTS])
    assert apart < whole - 0.2
    assert whole < 0.95
    assert n < 10 or whole > 0.85


def drawn_apart(scores_TS: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """The interval of Agarwal et al. (2021), whose tasks have runs of their own."""
    picks = generator.integers(scores_TS.shape[1], size=(500, *scores_TS.shape))
    means = stats.trim_mean(np.take_along_axis(scores_TS[None], picks, axis=2).reshape(500, -1), 0.25, axis=1)
    return tuple(np.quantile(means, [0.025, 0.975]))


@pytest.mark.parametrize(("n", "covers"), [(3, 0.86), (5, 0.91), (10, 0.95)])
def test_probability_of_improvement_covers_a_half_the_better_the_more_runs(n, covers):
    """As any bootstrap over few runs, too seldom with three and five."""
    generator = np.random.default_rng(7)
    pairs = generator.normal(size=(200, 2, 1, n)) + generator.normal(size=(200, 2, 6, n))
    found = [probability_of_improvement(*pair, 500, seed) for seed, pair in enumerate(pairs)]
    covered = np.mean([holds(estimate.low, estimate.high, 0.5) for estimate in found])
    assert covered == pytest.approx(covers, abs=4 * np.sqrt(covers * (1 - covers) / 200))
    assert covered < 0.95
