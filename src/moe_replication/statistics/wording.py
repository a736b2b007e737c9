"""A finding in plain English: one sentence on what was found, and the evidence behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moe_replication.statistics.claim_power import NO_DIFFERENCE, NO_TEST, OBSERVED, PAPER_ELSEWHERE, ClaimPower
from moe_replication.statistics.hypothesis_tests import ALPHA
from moe_replication.statistics.power import MAX_N

if TYPE_CHECKING:
    from moe_replication.statistics.finding import Finding
    from moe_replication.statistics.needed import Needed

TESTS = {
    "paired_t": "Paired t test",
    "one_sample_t": "One-sample t test",
    "one_sided_t": "One-sided paired t test at the margin",
    "tost": "TOST",
    "permutation": "Exact permutation test within data sets",
    "fisher": "Fisher's exact test within data sets",
    "sign_test": "Exact sign test",
}


def number(value: float) -> str:
    """Four significant digits, a plain minus sign."""
    return f"{value:.4g}"


def percent(share: float) -> str:
    """A power as text; near 0 and 1 its digits would say more than an estimated sd can."""
    if share < 0.01:
        return "under 1 %"
    return "over 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def sentence(claim: dict, finding: Finding, verdict: str, scale: str) -> str:
    """What was found, in one sentence that starts with the verdict."""
    if verdict == "untestable":
        return f"Untestable at scale {scale}: judged at {', '.join(claim['scales'])} only."
    if verdict == "not_run":
        return f"Not run at scale {scale}: {finding.missing}."
    comparison = claim["comparison"]
    body = {"bound": _bound, "groups": _groups, "sign": _sign}.get(comparison, _estimate)(claim, finding)
    if verdict == "reproduced" and comparison == "bound":
        return f"Reproduced, as far as {finding.n} runs go: {body}."
    return f"{verdict.capitalize()}: {body}."


def evidence(
    claim: dict,
    finding: Finding,
    p_corrected: float | None,
    family_size: int,
    needed: Needed | None,
    power: ClaimPower,
) -> str:
    """Tests, corrections, what would settle it where it is inconclusive, power, and where the margin comes from."""
    parts = []
    if finding.p is not None:
        parts.append(
            f"{_test(claim, finding)}: p = {number(finding.p)}, "
            f"Holm-corrected over {family_size} in family {claim['family']} {number(p_corrected)}."
        )
    if finding.p_sign_flip is not None:
        parts.append(
            f"Exact sign-flip p = {number(finding.p_sign_flip)}" + (f": {finding.note}." if finding.note else ".")
        )
    elif finding.note:
        parts.append(f"{finding.note[0].upper()}{finding.note[1:]}.")
    if needed is not None:
        parts += [*_limit(finding, family_size), needed.text]
    if finding.paper_difference is not None:
        parts.append(_papers(claim, finding, power))
    if power.power is not None:
        parts += _power(claim, finding, power, family_size)
    elif power.reason == NO_TEST:
        parts.append(f"{power.reason[0].upper()}{power.reason[1:]}.")
    if finding.unpaired:
        parts.append(f"Left out for want of a partner with the same seed: {finding.unpaired} run(s).")
    if finding.valueless:
        parts.append(f"Left out, as they have no value of {claim['metric']}: {finding.valueless} run(s).")
    if "margin" in claim:
        parts.append(f"Margin {number(claim['margin'])} ({claim['margin_origin']}).")
    return " ".join(parts)


def _test(claim: dict, finding: Finding) -> str:
    """The test behind p, and what stands in for it where it has no scale or says too little."""
    name = "One-sided t test for a mean beyond the margin, doubled" if finding.beyond else TESTS[claim["test"]]
    if finding.sd == 0:
        flips = claim["comparison"] == "ordering" or finding.limits is not None
        what = "differences" if unit(claim) == "paired seed" else "values"
        instead = "so the exact sign-flip test stands in" if flips else "which leaves a t test without a scale"
        name = f"All {what} are equal, {instead}"
    return name if finding.limits is None else f"{name}, with the test from the range of a count, the larger"


def _limit(finding: Finding, family_size: int) -> list[str]:
    """A sentence where the test cannot settle the claim with what was run, however clear the outcome."""
    if finding.p is None or finding.reach is None or finding.reach * family_size < ALPHA:
        return []
    family = f" in a family of {family_size}" if family_size > 1 else ""
    # Once others have passed, Holm multiplies by what is left of the family.
    unless = ", unless others of it pass first" if finding.reach < ALPHA else ""
    return [f"Cannot reach alpha = {ALPHA:g} {finding.units}{family}: smallest p {finding.reach:.3g}{unless}."]


def _papers(claim: dict, finding: Finding, power: ClaimPower) -> str:
    value = number(claim["paper_value"])
    if "paper_epochs" in claim:
        value += f" of its {number(claim['paper_epochs'])} epochs, {number(finding.paper_difference)} of ours"
    what = "value" if claim["comparison"] == "threshold" else "difference"
    if PAPER_ELSEWHERE in (power.at or ""):
        return f"The paper's {what} is {value}, at the paper's scale; here it may be another."
    return f"The paper's {what} is {value}."


def _power(claim: dict, finding: Finding, power: ClaimPower, family_size: int) -> list[str]:
    """Power at this n and sd, n for the paper's difference, and the smallest difference that would have been found."""
    alpha = f"alpha = {ALPHA:g}" + (f"/{family_size}" if family_size > 1 else "")
    if claim["comparison"] == "bound":
        return [f"At {power.at}, {_count(claim, finding)} would break it with a chance of {percent(power.power)}."]
    chance = _chance(power.power, family_size)
    if claim["comparison"] in ("groups", "sign"):
        return [f"With {power.at}, the test would pass with a chance of {chance} ({alpha})."]
    spread = "drawn from those seen" if finding.limits else "taking this sd as exact"
    chance = f"{chance} ({_count(claim, finding)}, {alpha}, {spread})"
    if power.at.startswith(NO_DIFFERENCE):
        found = f"Were there no difference at all, the test would pass with a chance of {chance}."
    elif power.at.startswith(OBSERVED):
        found = f"Were the observed effect the true one, the chance to find it would be {chance}; this restates p."
    else:
        needed = _for_paper(claim, power, family_size)
        found = f"Were it the true one here, the test would pass with a chance of {chance}; {needed}."
    if power.detectable is None:
        return [found]
    return [found, f"{_detectable(claim, power.detectable)} or more would be found with a chance of at least 80 %."]


def _chance(power: float, family_size: int) -> str:
    """In a family it is that of the first to pass; once others have passed, Holm corrects by less."""
    shown = percent(power)
    if family_size == 1 or shown.startswith("over"):
        return shown
    return f"{shown} unless others of its family pass first" if shown.startswith("under") else f"at least {shown}"


def _for_paper(claim: dict, power: ClaimPower, family_size: int) -> str:
    if power.needed_paper is None:
        return f"no number of {unit(claim)}s up to {MAX_N:,} gives 80 %"
    return f"80 % takes {'at most ' if family_size > 1 else ''}{power.needed_paper} {unit(claim)}s"


def _detectable(claim: dict, distance: float) -> str:
    if claim.get("logarithmic"):
        return f"A mean off the threshold by a factor of {number(distance)}"
    if claim["comparison"] == "threshold":
        return f"A mean off the threshold by {number(distance)}"
    return f"A true difference of {number(distance)}"


def _count(claim: dict, finding: Finding) -> str:
    return f"{finding.n} {unit(claim)}{'s' if finding.n > 1 else ''}"


def unit(claim: dict) -> str:
    """What the n of a claim counts that is judged by values, one by one or in pairs."""
    return "run" if claim["comparison"] in ("value", "threshold", "bound") else "paired seed"


def _estimate(claim: dict, finding: Finding) -> str:
    conditions, metric = claim["conditions"], claim["metric"]
    paired = claim["comparison"] not in ("value", "threshold")
    mean = "geometric mean" if claim.get("logarithmic") else "mean"
    what = f"{_difference(conditions)} in {metric}" if paired else f"{mean} {metric} of {conditions[0]}"
    count = _count(claim, finding)
    kind = "95 % prediction interval" if claim["comparison"] in ("value", "difference") else "95 % interval"
    if finding.low is not None:
        spread = f"{kind} {number(finding.low)} to {number(finding.high)}, {count}"
    elif finding.n > 1:
        spread = f"the same in all {count}, so an interval would have no width"
    else:
        spread = f"{count}, no interval"
    return f"{what} is {number(finding.effect)} ({spread}); {_claimed(claim)}"


def _difference(conditions: list[str]) -> str:
    pairs = [f"{first} minus {second}" for first, second in zip(conditions[::2], conditions[1::2], strict=True)]
    return pairs[0] if len(pairs) == 1 else f"({pairs[0]}) minus ({pairs[1]})"


def _claimed(claim: dict) -> str:
    if claim["comparison"] in ("threshold", "sign"):
        return f"claimed: {'below' if claim['direction'] == 'less' else 'above'} {number(claim['threshold'])}"
    if claim["comparison"] in ("ordering", "groups"):
        return f"claimed: {'below' if claim['direction'] == 'less' else 'above'} zero"
    if claim["comparison"] == "equivalence":
        return f"claimed: within ±{number(claim['margin'])}"
    if claim["comparison"] == "at_most":
        return f"claimed: {'below +' if claim['direction'] == 'less' else 'above -'}{number(claim['margin'])}"
    return f"the paper has {number(claim['paper_value'])}, margin ±{number(claim['margin'])}"


def _bound(claim: dict, finding: Finding) -> str:
    less, bound, metric = claim["direction"] == "less", number(claim["paper_value"]), claim["metric"]
    if finding.broken:
        return (
            f"{finding.broken} of {finding.n} runs have {metric} {'above' if less else 'below'} {bound} "
            f"({'highest' if less else 'lowest'} {number(finding.worst)})"
        )
    return (
        f"no counter-example in {finding.n} run{'s' if finding.n > 1 else ''} "
        f"({metric} {'at most' if less else 'at least'} {bound} in all), but up to "
        f"{number(100 * finding.high)} % of runs could break it "
        "(upper end of the two-sided 95 % Clopper-Pearson interval)"
    )


def _groups(claim: dict, finding: Finding) -> str:
    names, metric = (_named(claim["conditions"]), _named(claim["against"])), claim["metric"]
    if claim["test"] == "fisher":
        counts = [round(mean * size) for mean, size in zip(finding.means, finding.sizes, strict=True)]
        each = [
            f"{count} of {size} runs of {name}" for count, size, name in zip(counts, finding.sizes, names, strict=True)
        ]
        found = f"{metric} is above {number(claim.get('threshold', 0))} in {each[0]} and {each[1]}"
    else:
        each = [
            f"{number(mean)} over {size} runs of {name}"
            for mean, size, name in zip(finding.means, finding.sizes, names, strict=True)
        ]
        found = f"mean {metric} is {each[0]} and {each[1]}"
    spread = "" if finding.low is None else f" ({finding.interval} {number(finding.low)} to {number(finding.high)})"
    return f"{found}, a difference of {number(finding.effect)} within data sets{spread}; {_claimed(claim)}"


def _sign(claim: dict, finding: Finding) -> str:
    above = round((finding.effect or 0) * finding.n)
    return (
        f"{claim['metric']} is above {number(claim['threshold'])} in {above}, below it in {finding.n - above} and "
        f"equal to it in {finding.ties} runs of {_named(claim['conditions'])}; {_claimed(claim)}"
    )


def _named(conditions: list[str]) -> str:
    if len(conditions) <= 3:
        return ", ".join(conditions)
    return f"{conditions[0]}, {conditions[1]} and {len(conditions) - 2} more"
