"""Every claim can be settled either way by made-up runs as clear as can be, at the seeds of one of its scales.

Of a family the worst is assumed: that no other claim of it passes first, so that p is multiplied by the family's size.
Claims that no such runs can settle are listed with the reason, and their evidence says what they lack.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from moe_replication.config import load_project
from moe_replication.config.analysis import analysis_settings
from moe_replication.config.claims import load_claims
from moe_replication.statistics.bounded import COUNTS as BOUNDED_COUNTS
from moe_replication.statistics.claim_power import claim_power
from moe_replication.statistics.claims import decide
from moe_replication.statistics.findings import measure
from moe_replication.statistics.hypothesis_tests import ALPHA
from moe_replication.statistics.margins import AT_MARGIN
from moe_replication.statistics.needed import Needed, what_settles
from moe_replication.statistics.wording import evidence

ROOT = Path(__file__).parents[2]
ANALYSIS = analysis_settings(ROOT)
FEW_DRAWS = dataclasses.replace(ANALYSIS, power_draws=1, resamples=10)
CLAIMS = load_claims(ROOT / "config/claims", ROOT / "workflow/schemas/claims.schema.yaml")
SCALES = {path.stem: load_project(ROOT, {"scale": path.stem}) for path in (ROOT / "config/scales").glob("*.yaml")}
FAMILIES = Counter((claim["paper"], claim.get("family"), scale) for claim in CLAIMS for scale in claim["scales"])
# Whole numbers, and the range that they can have in every condition.
COUNTS = {
    "dead_experts": (0, 16),
    "dead_experts_assigned": (0, 16),
    "dead_experts_fair_share": (0, 16),
    "dead_experts_peak": (0, 16),
    "dead_experts_revived": (0, 16),
    "dead_experts_tenth_percent": (0, 16),
    "dead_since_best": (-16, 16),
    "experts_dead_lasting": (0, 16),
    "experts_returned": (0, 16),
    "silent_experts": (0, 16),
    "starved_tiers": (0, 3),
    "collapsed": (0, 1),
    "recovery_epoch": (1, 100),
    "scan_active_range": (0, 16),
    "scan_mass_active_range": (0, 16),
}

# A rate below one in twenty takes 72 runs without a counter-example.
BOUNDS = (
    "b-v1-no-dead",
    "b-v3-no-dead",
    "b-guarantee-hard-task",
    "b-l1-no-dead",
    "b-l4-no-dead",
    "b-l3-trained-no-dead",
    "b-iso-no-dead",
    "b-grid-no-dead",
    "b-lines-no-dead",
    "b-heldout-no-dead",
    "b-two-tiers-remain",
    "b-x1-late-accuracy-stable",
    "b-no-balance-needed",
    "b-no-balance-needed-elsewhere",
    "b-definition-tenth-percent",
    "b-definition-assigned",
    "b-definition-silent",
    "b-definition-lasting",
    "b-definition-fair-share",
)
# Three counts that differ by one leave a prediction interval of +-2.9; three equal ones leave none.
COUNT_CELLS = (
    "b-cell-v6-dead",
    "b-cell-v7-dead",
    "b-cell-v8-dead",
    "b-cell-v6-dead-early",
    "b-cell-v6-dead-late",
    "b-cell-v6-no-balance-dead",
    "b-cell-v3-peak",
    "b-cell-v5-peak",
)
# Counts of 16 against a margin or threshold of one expert: without an assumption on their shape 66 equal pairs are the
# fewest that settle it on the claimed side, and five as far off as can be do not on the other.
COUNT_MARGINS = tuple(
    claim["id"] for claim in CLAIMS if claim["comparison"] in AT_MARGIN and claim["metric"] in BOUNDED_COUNTS
)
FEW_DEATHS = ("b-v6-no-balance-stalls", "b-l3-healthy", "b-l3-high-healthy", "b-v1-healthy", "b-l4-healthy")
# A count that is never negative lies below one half only where it is 0 in all, or nearly all, runs: p = 2/2^5 at best.
NO_CHANGE = ("b-v1-scan-mass-active", "b-v6-scan-mass-active")
NO_REVIVAL = ("b-v6-revives", "b-v3-revives", "b-v6-returns", "b-v3-returns")
NEVER_REPRODUCED = (*BOUNDS, *COUNT_CELLS, *NO_CHANGE, *COUNT_MARGINS, *FEW_DEATHS)
NEVER_CONTRADICTED = (*NO_REVIVAL, *COUNT_MARGINS, *FEW_DEATHS[1:])
SIDES = ((True, "reproduced", NEVER_REPRODUCED), (False, "contradicted", NEVER_CONTRADICTED))


def levels(claim: dict, good: bool) -> Iterator[list[float]]:
    """Values of the first condition and of all others, well on the claimed side or well on the other one."""
    low, high = COUNTS.get(claim["metric"], (0.2, 0.8))
    comparison, up = claim["comparison"], (claim.get("direction") == "greater") == good
    margin, limit = claim.get("margin"), claim.get("threshold", claim.get("paper_value"))
    if comparison in ("ordering", "groups"):
        yield [high, low] if up else [low, high]
    elif comparison in ("threshold", "sign"):
        whole = claim["metric"] in COUNTS
        beyond = [limit / 2, limit * 2] if claim.get("logarithmic") else [limit - abs(limit) / 2, limit * 1.5]
        beyond = [-0.5, 0.5] if not limit else beyond
        yield [(high if whole else beyond[1]) if up else (low if whole else beyond[0])] * 2
    elif comparison == "bound":
        worse = limit + 1 if claim["direction"] == "less" else limit - 1
        yield [limit if good else worse] * 2
    elif comparison in ("value", "difference"):
        far = limit + 10 * margin
        if claim["metric"] in COUNTS:
            far = low if limit > (low + high) / 2 else high
        yield [limit if good else far, 0.0]
    else:
        step = math.ceil(3 * margin) if claim["metric"] in COUNTS else 3 * margin
        yield [low, low] if good else [low, low + step] if claim.get("direction") == "greater" else [low + step, low]
        if "direction" in claim or not good:
            yield [low, high] if (claim.get("direction") == "less") == good else [high, low]


def wiggles(claim: dict, n: int) -> Iterator[list[float]]:
    """What is added to the first condition by seed: nothing, one unit at one seed, or a little at every seed."""
    yield [0.0] * n
    if claim["metric"] in COUNTS:
        yield from ([unit] + [0.0] * (n - 1) for unit in (1.0, -1.0))
    else:
        yield [0.01 * claim.get("margin", 0.01) * (seed % 3 - 1) for seed in range(n)]


def made_up(claim: dict, good: bool, n: int, data_sets: dict) -> Iterator[pl.DataFrame]:
    """Tables of runs of all conditions of the claim, with n seeds, within the range of a count."""
    low, high = COUNTS.get(claim["metric"], (-math.inf, math.inf))
    high = max(high, claim.get("paper_value", high))
    firsts = claim["conditions"] if claim["comparison"] in ("groups", "bound", "sign") else claim["conditions"][:1]
    names = [*claim["conditions"], *claim.get("against", [])]
    for first, rest in levels(claim, good):
        for wiggle in wiggles(claim, n):
            rows = [
                {
                    "paper": claim["paper"],
                    "condition": name,
                    "seed": seed,
                    "dataset": data_sets[claim["paper"], name],
                    "epoch": float(claim.get("epoch", 0)),
                    "experts": 16,
                    claim["metric"]: (first if name in firsts else rest) + wiggle[seed] * (name == names[0]),
                }
                for name in names
                for seed in range(n)
            ]
            yield pl.DataFrame(rows).with_columns(pl.col(claim["metric"]).clip(low, high))


def seeds_at(claim: dict, scale: str) -> int:
    """Seeds that all conditions of a claim have at a scale; those that the scale leaves out do not count."""
    conditions = SCALES[scale].papers[claim["paper"]].conditions
    names = (*claim["conditions"], *claim.get("against", []))
    return min((len(conditions[name].seeds) for name in names if name in conditions), default=1)


def outcomes(claim: dict, good: bool, data_sets: dict) -> Iterator[tuple[str, Needed | None, str]]:
    """(verdict, what settles it, evidence) of every made-up table at every scale of the claim, the scale with most
    seeds first."""
    for scale in sorted(claim["scales"], key=lambda scale: -seeds_at(claim, scale)):
        size = FAMILIES[claim["paper"], claim.get("family"), scale]
        for runs in made_up(claim, good, seeds_at(claim, scale), data_sets):
            finding = measure(claim, runs, runs, ANALYSIS)
            p_corrected = None if finding.p is None else min(1.0, finding.p * size)
            verdict = decide(claim, finding, p_corrected)
            needed = what_settles(claim, finding, size) if verdict == "inconclusive" else None
            power = claim_power(claim, finding, ALPHA / size, scale, FEW_DRAWS)
            yield verdict, needed, evidence(claim, finding, p_corrected, size, needed, power)


@pytest.fixture(scope="module")
def data_sets():
    papers = load_project(ROOT, {"scale": "paper"}).papers
    return {
        (paper, name): condition.values["data"].get("set")
        for paper, section in papers.items()
        for name, condition in section.conditions.items()
    }


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
@pytest.mark.parametrize(("good", "verdict", "unreachable"), SIDES, ids=[side[1] for side in SIDES])
def test_a_claim_is_settled_by_clear_runs_or_says_what_it_lacks(claim, good, verdict, unreachable, data_sets):
    found = outcomes(claim, good, data_sets)
    if claim["id"] not in unreachable:
        assert any(verdict == reached for reached, *_ in found), "make it reachable, or list it with the reason"
        return
    found = list(found)
    assert verdict not in {reached for reached, *_ in found}, "it can be reached: strike it off the list"
    needed, text = next((needed, text) for reached, needed, text in found if reached == "inconclusive")
    assert needed.n is not None or "Cannot reach alpha" in text


def test_the_lists_name_claims_that_exist():
    ids = {claim["id"] for claim in CLAIMS}
    assert (set(NEVER_REPRODUCED) | set(NEVER_CONTRADICTED)) - ids == set()
