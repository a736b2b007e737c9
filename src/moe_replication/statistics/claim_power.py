"""How likely the runs at hand were to settle a claim, before one looks at what they say.

Power at the observed effect is p in other words (Hoenig and Heisey, 2001). Where a claim gives the paper's number, that
takes its place; else no difference does where the claim is that there is none worth speaking of. Below the paper's
scale its difference may be another one, which the names say. t tests take the sd of the runs as exact; where a count is
held against a margin or threshold, runs are drawn from those seen, moved to that difference. Bounds, sign tests and
groups have alternatives of their own (exact_power.py). Alpha is that of the first of the family to pass: the others
have no smaller power.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import numpy as np

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.exact_power import bound_power, groups_power, sign_power
from moe_replication.statistics.finding import Finding
from moe_replication.statistics.margins import AT_MARGIN, needed_by_range, room, within_p
from moe_replication.statistics.power import (
    detectable,
    equivalence_power,
    needed_n,
    needed_n_equivalence,
    needed_n_one_sided,
    one_sided_power,
    paired_power,
)

PAPER, NO_DIFFERENCE, OBSERVED = "the paper's difference", "no difference", "the observed effect"
PAPER_ELSEWHERE = f"{PAPER}, at the paper's scale"
# Comparisons whose paper_value is the first condition minus the second, or the mean, and that a t test decides.
WITH_PAPER = ("ordering", "threshold", "equivalence", "at_most")
LARGEST_LOGARITHM = math.log(sys.float_info.max)
NO_TEST = "no power applies: no hypothesis is tested, a prediction interval is compared with the paper's number"
NO_SPREAD = "all values are equal, so that their spread is unknown"


@dataclass(frozen=True, kw_only=True)
class ClaimPower:
    """Chance, at n and sd of the runs, that the claim's test is significant were `at` the true difference.

    detectable: the smallest distance from zero, or from the threshold, found with 80 % power, a factor where logarithms
    are compared; None for equivalence and at_most, which look for none, and for a factor too large to write.
    needed_paper: n with 80 % power at the paper's difference, None without one or above 10,000.
    reason: why power is None.
    """

    power: float | None = None
    at: str | None = None
    detectable: float | None = None
    needed_paper: int | None = None
    reason: str | None = None


def claim_power(claim: dict, finding: Finding, alpha: float, scale: str, analysis: AnalysisSettings) -> ClaimPower:
    """At `alpha`, corrected as for the first of the family to pass; power is None where `reason` says why."""
    if reason := _undefined(claim, finding):
        return ClaimPower(reason=reason)
    if claim["comparison"] in ("bound", "sign", "groups"):
        return _at_stated(claim, finding, alpha, analysis)
    at, difference = _assumed(claim, finding, scale)
    if finding.limits is not None:
        return _of_counts(claim, finding, alpha, at, difference, analysis)
    n, sd = finding.n, finding.sd
    needed = None if finding.paper_difference is None else _needed_paper(claim, finding, alpha)
    if claim["comparison"] == "equivalence":
        power = equivalence_power(difference, sd, claim["margin"], n, alpha)
        return ClaimPower(power=power, at=at, needed_paper=needed)
    if claim["comparison"] == "at_most":
        power = one_sided_power(float(room(claim, difference)), sd, n, alpha)
        return ClaimPower(power=power, at=at, needed_paper=needed)
    smallest = detectable(sd, n, alpha)
    return ClaimPower(
        power=paired_power(difference, sd, n, alpha),
        at=at,
        detectable=_factor(smallest) if claim.get("logarithmic") else smallest,
        needed_paper=needed,
    )


def _at_stated(claim: dict, finding: Finding, alpha: float, analysis: AnalysisSettings) -> ClaimPower:
    if claim["comparison"] == "bound":
        found = bound_power(claim, finding)
    elif claim["comparison"] == "sign":
        found = sign_power(finding, alpha, analysis) if finding.n else None
    else:
        found = groups_power(claim, finding, alpha, analysis)
    return ClaimPower(power=found[0], at=found[1]) if found else ClaimPower(reason=NO_SPREAD)


def _of_counts(
    claim: dict, finding: Finding, alpha: float, at: str, difference: float, analysis: AnalysisSettings
) -> ClaimPower:
    """How often both tests pass on as many runs drawn from those seen, moved to the difference within their range."""
    generator = np.random.default_rng([analysis.resample_seed, finding.n])
    moved = _moved(finding, difference)
    drawn = generator.choice(moved, (analysis.resamples, finding.n))
    power, needed = float(np.mean(within_p(claim, drawn, finding.limits) < alpha)), None
    if finding.paper_difference is not None and (needed := _needed_paper(claim, finding, alpha)) is not None:
        by_range = needed_by_range(claim, moved, finding.limits, alpha)
        needed = None if by_range is None else max(needed, by_range)
    return ClaimPower(power=power, at=f"{at} (simulated)", needed_paper=needed)


def _moved(finding: Finding, difference: float) -> np.ndarray:
    values = np.array(finding.values)
    return np.clip(values - values.mean() + difference, *finding.limits)


def _factor(logarithm: float) -> float | None:
    return math.exp(logarithm) if logarithm < LARGEST_LOGARITHM else None


def _undefined(claim: dict, finding: Finding) -> str | None:
    if finding.missing:
        return "not run"
    if claim["comparison"] in ("value", "difference"):
        return NO_TEST
    if claim["comparison"] in ("bound", "sign", "groups"):
        return None
    if finding.n < 2:
        return "one value has no spread"
    return None if finding.sd else NO_SPREAD


def _assumed(claim: dict, finding: Finding, scale: str) -> tuple[str, float]:
    """The true difference, or distance from the threshold, that power is stated for, and its name."""
    if finding.paper_difference is not None:
        return PAPER if scale == "paper" else PAPER_ELSEWHERE, finding.paper_difference
    if claim["comparison"] in AT_MARGIN:
        return NO_DIFFERENCE, 0.0
    return OBSERVED, finding.effect if finding.distance is None else finding.distance


def _needed_paper(claim: dict, finding: Finding, alpha: float) -> int | None:
    difference, sd = finding.paper_difference, finding.sd
    if claim["comparison"] == "equivalence":
        return needed_n_equivalence(difference, sd, claim["margin"], alpha)
    if claim["comparison"] == "at_most":
        return needed_n_one_sided(float(room(claim, difference)), sd, alpha)
    return needed_n(difference, sd, alpha)
