"""How likely the runs at hand were to settle a claim, before one looks at what they say.

Power at the observed effect is p in other words (Hoenig and Heisey, 2001). Where a claim gives the paper's difference,
that takes its place; else no difference does where the claim is that there is none worth speaking of.
"""

from __future__ import annotations

from dataclasses import dataclass

from moe_replication.statistics.finding import Finding
from moe_replication.statistics.power import detectable, equivalence_power, one_sided_power, paired_power

PAPER, NO_DIFFERENCE, OBSERVED = "the paper's difference", "no difference", "the observed effect"
# Comparisons whose paper_value is the first condition minus the second and whose test is a t test.
WITH_PAPER = ("ordering", "equivalence", "at_most")


@dataclass(frozen=True, kw_only=True)
class ClaimPower:
    """Chance, at n and sd of the runs, that the claim's test is significant were `at` the true difference.

    detectable: the smallest distance from zero, or from the threshold, found with 80 % power, in the unit of sd; None
    for equivalence and at_most, which look for none.
    """

    power: float | None = None
    at: str | None = None
    detectable: float | None = None


def claim_power(claim: dict, finding: Finding, alpha: float) -> ClaimPower:
    """At `alpha`, corrected as for the first of the family to pass.

    All None where no t test decides: exact tests, bounds and cells, one run or pair, values that are all equal.
    """
    if finding.n < 2 or not finding.sd or claim["comparison"] not in (*WITH_PAPER, "threshold"):
        return ClaimPower()
    n, sd = finding.n, finding.sd
    at, difference = _assumed(claim, finding)
    if claim["comparison"] == "equivalence":
        return ClaimPower(power=equivalence_power(difference, sd, claim["margin"], n, alpha), at=at)
    if claim["comparison"] == "at_most":
        room = claim["margin"] + (-difference if claim["direction"] == "less" else difference)
        return ClaimPower(power=one_sided_power(room, sd, n, alpha), at=at)
    power = paired_power(difference, sd, n, alpha)
    return ClaimPower(power=power, at=at, detectable=detectable(sd, n, alpha))


def _assumed(claim: dict, finding: Finding) -> tuple[str, float]:
    """The true difference, or distance from the threshold, that power is stated for, and its name."""
    if claim["comparison"] in WITH_PAPER and "paper_value" in claim:
        return PAPER, claim["paper_value"]
    if claim["comparison"] in ("equivalence", "at_most"):
        return NO_DIFFERENCE, 0.0
    return OBSERVED, finding.effect if finding.distance is None else finding.distance
