"""Secondary analysis: any dead expert against a covariate, a random intercept per configuration, data sets fixed.

The exact tests of exact_tests.py decide; this fit adds how steep the dependence is when runs of one configuration
resemble one another. It is a variational approximation to a Bayesian model with normal priors (sd 2 on fixed effects
and 1 on the logarithm of the random sd; statsmodels' BinomialBayesMixedGLM), which tends to understate spread.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM
from statsmodels.tools.sm_exceptions import ConvergenceWarning

FIXED_EFFECT_SD, LOG_RANDOM_SD_SD = 2.0, 1.0
# Where the spreads start; fixed, as statsmodels draws them at random otherwise.
START_SD = 0.6


@dataclass(frozen=True, kw_only=True)
class MixedLogistic:
    """Posterior means and sds in logits; slope: per standard deviation (divisor n) of the covariate, within strata.
    intercept: at the mean covariate, over the strata as mixed.

    random_sd: median of the sd between groups; random_sd_low, _high: its 95 % interval. converged: False is to be told
    wherever the fit is shown.
    """

    n: int
    groups: int
    intercept: float
    intercept_sd: float
    slope: float
    slope_sd: float
    random_sd: float
    random_sd_low: float
    random_sd_high: float
    converged: bool


def mixed_logistic(
    outcomes: Sequence[bool], covariate: Sequence[float], groups: Sequence[str], strata: Sequence[str]
) -> MixedLogistic:
    """Fit logit P(outcome) = intercept + slope * standardised covariate + effect of the stratum + intercept of the
    group: strata (data sets) are fixed effects, groups (conditions) random ones.

    One entry of each a run. ValueError when the outcome does not vary, the covariate does not vary within any stratum,
    or is not finite (log E of E = 0).
    """
    outcomes, covariate = np.asarray(outcomes, dtype=np.float64), np.asarray(covariate, dtype=np.float64)
    names = sorted(set(groups))
    lengths = {"outcomes": outcomes, "covariates": covariate, "groups": groups, "strata": strata}
    if len({len(entries) for entries in lengths.values()}) > 1:
        raise ValueError("lengths differ: " + ", ".join(f"{len(entries)} {name}" for name, entries in lengths.items()))
    if not np.isfinite(covariate).all():
        raise ValueError("the covariate is not finite in every run; leave runs without a logarithm out")
    if len(set(outcomes)) < 2:
        raise ValueError(f"the outcome is the same in all {len(outcomes)} runs: no slope can be fitted")
    if len(set(zip(strata, covariate, strict=True))) == len(set(strata)):
        raise ValueError("the covariate is the same in all runs of every stratum: no slope can be fitted")
    # F fixed effects: intercept, slope, every stratum but the first
    standardised = (covariate - covariate.mean()) / covariate.std()
    exog_NF = np.column_stack([np.ones_like(covariate), standardised, *_contrasts(strata)])
    member_NG = np.array([[group == name for name in names] for group in groups], dtype=np.float64)
    model = BinomialBayesMixedGLM(
        outcomes, exog_NF, member_NG, np.zeros(len(names), dtype=int), vcp_p=LOG_RANDOM_SD_SD, fe_p=FIXED_EFFECT_SD
    )
    size = exog_NF.shape[1] + 1 + len(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged`
        fit = model.fit_vb(mean=np.zeros(size), sd=np.full(size, START_SD))
    log_sd, log_sd_sd = fit.vcp_mean[0], fit.vcp_sd[0]
    return MixedLogistic(
        n=len(outcomes),
        groups=len(names),
        intercept=float(fit.fe_mean[0]),
        intercept_sd=float(fit.fe_sd[0]),
        slope=float(fit.fe_mean[1]),
        slope_sd=float(fit.fe_sd[1]),
        random_sd=math.exp(log_sd),
        random_sd_low=math.exp(log_sd - 1.96 * log_sd_sd),
        random_sd_high=math.exp(log_sd + 1.96 * log_sd_sd),
        converged=bool(fit.optim_retvals.success),
    )


def _contrasts(strata: Sequence[str]) -> list[np.ndarray]:
    """One column of every stratum but the first, of mean 0 so that the intercept stays that of all runs."""
    columns = [np.array([stratum == name for stratum in strata], dtype=np.float64) for name in sorted(set(strata))[1:]]
    return [column - column.mean() for column in columns]
