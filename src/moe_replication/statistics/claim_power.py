"""How likely the runs at hand were to settle a claim, before one looks at what they say.

Power at the observed effect is p in other words (Hoenig and Heisey, 2001). Where a claim gives the paper's difference,
that takes its place; else no difference does where the claim is that there is none worth speaking of. Below the paper's
scale its difference may be another one, which the names say. All of it takes the sd of the runs as exact, and alpha as
for the first of the family to pass: the others of a family have no smaller power.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

from moe_replication.statistics.finding import Finding
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
# Comparisons whose paper_value is the first condition minus the second and whose test is a t test.
WITH_PAPER = ("ordering", "equivalence", "at_most")
LARGEST_LOGARITHM = math.log(sys.float_info.max)
WITHOUT_POWER = {
    "bound": "a bound is tested against no alternative; n needed says how many clean runs it takes",
    "groups": "an exact test's power depends on how values are spread; its smallest p is stated instead",
    "sign": "an exact test's power depends on how values are spread; its smallest p is stated instead",
    "value": "no test: a prediction interval is compared with the paper's number",
    "difference": "no test: a prediction interval is compared with the paper's number",
}


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


def claim_power(claim: dict, finding: Finding, alpha: float, scale: str) -> ClaimPower:
    """At `alpha`, corrected as for the first of the family to pass; power is None where no t test decides."""
    if reason := _undefined(claim, finding):
        return ClaimPower(reason=reason)
    n, sd = finding.n, finding.sd
    at, difference = _assumed(claim, finding, scale)
    needed = None if finding.paper_difference is None else _needed_paper(claim, finding, alpha)
    if claim["comparison"] == "equivalence":
        power = equivalence_power(difference, sd, claim["margin"], n, alpha)
        return ClaimPower(power=power, at=at, needed_paper=needed)
    if claim["comparison"] == "at_most":
        return ClaimPower(power=one_sided_power(_room(claim, difference), sd, n, alpha), at=at, needed_paper=needed)
    smallest = detectable(sd, n, alpha)
    return ClaimPower(
        power=paired_power(difference, sd, n, alpha),
        at=at,
        detectable=_factor(smallest) if claim.get("logarithmic") else smallest,
        needed_paper=needed,
    )


def _factor(logarithm: float) -> float | None:
    return math.exp(logarithm) if logarithm < LARGEST_LOGARITHM else None


def _undefined(claim: dict, finding: Finding) -> str | None:
    if finding.missing:
        return "not run"
    if claim["comparison"] in WITHOUT_POWER:
        return WITHOUT_POWER[claim["comparison"]]
    if finding.n < 2:
        return "one value has no spread"
    return None if finding.sd else "all values are equal, so that their spread is unknown"


def _assumed(claim: dict, finding: Finding, scale: str) -> tuple[str, float]:
    """The true difference, or distance from the threshold, that power is stated for, and its name."""
    if finding.paper_difference is not None:
        return PAPER if scale == "paper" else PAPER_ELSEWHERE, finding.paper_difference
    if claim["comparison"] in ("equivalence", "at_most"):
        return NO_DIFFERENCE, 0.0
    return OBSERVED, finding.effect if finding.distance is None else finding.distance


def _needed_paper(claim: dict, finding: Finding, alpha: float) -> int | None:
    difference, sd = finding.paper_difference, finding.sd
    if claim["comparison"] == "equivalence":
        return needed_n_equivalence(difference, sd, claim["margin"], alpha)
    if claim["comparison"] == "at_most":
        return needed_n_one_sided(_room(claim, difference), sd, alpha)
    return needed_n(difference, sd, alpha)


def _room(claim: dict, difference: float) -> float:
    """From a difference to the margin of an at_most claim, on its claimed side."""
    return claim["margin"] + (-difference if claim["direction"] == "less" else difference)
