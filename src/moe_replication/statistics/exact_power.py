"""Power of bounds, sign tests and groups: binomial, or simulated, at an alternative that config/analysis.yaml states.

Where conditions decide, the runs of one are taken to be alike, so that the test over conditions is what must pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.exact_tests import (
    Strata,
    stratified_fisher,
    stratified_permutation,
    weighted_difference,
)
from moe_replication.statistics.finding import Finding
from moe_replication.statistics.replicated import of_conditions, of_runs, p_of_folds, single_pair

# Steps of the largest stratum's distribution, a few milliseconds; beyond, p is that of the normal approximation.
SIMULATED_CELLS = 3 * 10**5


def bound_power(claim: dict, finding: Finding) -> tuple[float, str]:
    """Chance that one of the runs breaks the bound where runs do so at the margin's rate; and that rate in words."""
    return 1 - (1 - claim["margin"]) ** finding.n, f"a rate of breaking runs of {claim['margin']:g}"


def sign_power(finding: Finding, alpha: float, analysis: AnalysisSettings) -> tuple[float, str]:
    """Chance that the sign test passes where a stated share of what decides lies on the claimed side, exactly."""
    n, units = finding.above_of[-1][1], "conditions" if len(finding.above_of) > 1 else "runs"
    claimed = np.arange(n // 2 + 1, n + 1)
    passed = claimed[2 * stats.binom.sf(claimed - 1, n, 0.5) < alpha]
    share = analysis.power_share
    return float(stats.binom.pmf(passed, n, share).sum()), f"{100 * share:g} % of the {units} on the claimed side"


def groups_power(claim: dict, finding: Finding, alpha: float, analysis: AnalysisSettings) -> tuple[float, str] | None:
    """Simulated chance that the test passes on the claimed side; None where values without a spread give no unit."""
    single = single_pair(finding.strata)
    seen, units = (of_runs if single else of_conditions)(finding.strata), "runs" if single else "conditions"
    generator = np.random.default_rng([analysis.resample_seed, len(seen), finding.n])
    side = 1 if claim["direction"] == "greater" else -1
    test = stratified_fisher if single and claim["test"] == "fisher" else stratified_permutation
    if claim["test"] == "fisher":
        share = analysis.power_share
        at = f"{100 * share:g} % of one group's {units} above the threshold, {100 * (1 - share):g} % of the other's"
        chances = (share, 1 - share)[::side]
        made = (_outcomes(seen, chances, generator) for _ in range(analysis.power_draws))
    else:
        left = [[value - np.mean(group) for value in group] for pair in seen for group in pair]
        residuals = np.array([value for group in left for value in group])
        if not residuals.any():
            return None
        at = f"groups {analysis.power_shift:g} sd of their {units} apart"
        shift = analysis.power_shift * np.sqrt((residuals**2).sum() / max(1, len(residuals) - len(left)))
        made = (_shifted(seen, residuals, side * shift, generator) for _ in range(analysis.power_draws))
    passed = [
        side * weighted_difference(strata) > 0 and p_of_folds(strata, 1, test, SIMULATED_CELLS) < alpha
        for strata in made
    ]
    return float(np.mean(passed)), f"{at} (simulated)"


def _outcomes(seen: Strata, chances: tuple[float, float], generator: np.random.Generator) -> Strata:
    """Outcomes 0 and 1 of as many units as were seen, with the chances of the first and of the second group."""
    return [
        tuple(_drawn(group, chance, generator) for group, chance in zip(pair, chances, strict=True)) for pair in seen
    ]


def _drawn(group: Sequence[float], chance: float, generator: np.random.Generator) -> list[int]:
    return (generator.random(len(group)) < chance).astype(int).tolist()


def _shifted(seen: Strata, residuals: np.ndarray, shift: float, generator: np.random.Generator) -> Strata:
    """As many units as were seen, spread as those, the first group moved by the shift."""
    return [
        (
            (generator.choice(residuals, len(first)) + shift).tolist(),
            generator.choice(residuals, len(second)).tolist(),
        )
        for first, second in seen
    ]
