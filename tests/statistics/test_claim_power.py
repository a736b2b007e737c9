"""Power beside the verdicts: at which difference it is stated, at which alpha, and what it says."""

from __future__ import annotations

import math

import pytest
from statsmodels.stats.power import TTestPower

from moe_replication.statistics.claim_power import ClaimPower, claim_power
from moe_replication.statistics.claims import decide
from moe_replication.statistics.finding import Finding
from moe_replication.statistics.hypothesis_tests import ALPHA
from moe_replication.statistics.power import equivalence_power
from moe_replication.statistics.wording import evidence

FOUND = Finding(n=5, effect=-0.02, sd=0.05, low=-0.08, high=0.04, p=0.42)


def claim(comparison="ordering", **keys):
    tests = {"ordering": "paired_t", "threshold": "one_sample_t", "equivalence": "tost", "at_most": "one_sided_t"}
    base = {"comparison": comparison, "test": tests[comparison], "direction": "less", "family": "f", "metric": "m"}
    margins = {"margin": 0.1, "margin_origin": "ours"} if comparison in ("equivalence", "at_most") else {}
    return base | margins | keys


def said(entry, family_size=1, finding=FOUND):
    """The sentences of an entry's evidence."""
    power = claim_power(entry, finding, ALPHA / family_size)
    verdict, needed = decide(entry, finding, finding.p, family_size)
    return evidence(entry, finding, verdict, finding.p, family_size, needed, power)


@pytest.mark.parametrize("family_size", [1, 12])
def test_an_ordering_is_held_against_the_papers_difference(family_size):
    alpha = 0.05 / family_size
    found = claim_power(claim(paper_value=-0.1), FOUND, alpha)
    assert found.power == pytest.approx(TTestPower().power(0.1 / 0.05, 5, alpha), abs=1e-6)
    assert found.at == "the paper's difference"
    assert found.detectable == pytest.approx(0.05 * TTestPower().solve_power(nobs=5, alpha=alpha, power=0.8), rel=1e-4)


def test_without_the_papers_difference_power_is_at_the_observed_effect_and_says_so():
    found = claim_power(claim(), FOUND, 0.05)
    assert (found.at, found.power) == ("the observed effect", pytest.approx(TTestPower().power(0.4, 5, 0.05), abs=1e-6))
    text = said(claim())
    assert "Were the observed effect the true one, the chance to find it would be 11 % (power of 5 paired" in text
    assert "); this restates p. 80 % power takes a true difference of 0.08" in text


def test_the_sentence_names_the_design_and_its_corrected_alpha():
    text = said(claim(paper_value=-0.1), family_size=12)
    assert (
        "The paper's difference is -0.1. Were that the true one, the test would pass with a chance of 33 % "
        "(power of 5 paired seeds at this sd and alpha = 0.05/12). "
        "80 % power takes a true difference of 0.1654 or more."
    ) in text
    assert "a chance of over 99 % (" in said(claim(paper_value=-1.0))
    assert "a chance of under 1 % (" in said(claim("equivalence", paper_value=0.3))


def test_equivalence_is_held_against_no_difference_or_the_papers():
    found = claim_power(claim("equivalence"), FOUND, 0.05)
    assert found == ClaimPower(power=equivalence_power(0.0, 0.05, 0.1, 5), at="no difference")
    assert "Were there no difference at all, the test would pass with a chance of" in said(claim("equivalence"))
    papers = claim_power(claim("equivalence", paper_value=-0.04), FOUND, 0.05)
    assert papers.power == pytest.approx(equivalence_power(0.04, 0.05, 0.1, 5))
    assert (papers.at, papers.detectable) == ("the paper's difference", None)


@pytest.mark.parametrize(("direction", "paper_value", "room"), [("less", 0.04, 0.06), ("greater", 0.04, 0.14)])
def test_at_most_counts_from_the_margin_on_its_side(direction, paper_value, room):
    found = claim_power(claim("at_most", direction=direction, paper_value=paper_value), FOUND, 0.05)
    assert found.power == pytest.approx(TTestPower().power(room / 0.05, 5, 0.05, alternative="larger"), abs=1e-6)
    assert found.detectable is None


def test_a_threshold_counts_from_the_threshold_and_ratios_by_factors():
    found = Finding(n=5, effect=2.0, distance=math.log(2.0), sd=0.5, low=1.1, high=3.7, p=0.04)
    ratio = claim("threshold", threshold=1.0, logarithmic=True)
    assert claim_power(ratio, found, 0.05).power == pytest.approx(
        TTestPower().power(math.log(2) / 0.5, 5, 0.05), abs=1e-6
    )
    factor = math.exp(claim_power(ratio, found, 0.05).detectable)
    assert f"80 % power takes a mean off the threshold by a factor of {factor:.4g} or more." in said(ratio, 1, found)
    plain = said(claim("threshold", threshold=0.3), 1, Finding(n=5, effect=0.28, distance=-0.02, sd=0.05, p=0.42))
    assert "(power of 5 runs at this sd and alpha = 0.05)" in plain
    assert "a mean off the threshold by 0.08" in plain


@pytest.mark.parametrize("finding", [Finding(n=1, effect=1.0), Finding(n=3, effect=1.0, sd=0.0, p=0.25)])
def test_no_spread_leaves_power_undefined(finding):
    assert claim_power(claim(paper_value=-0.1), finding, 0.05) == ClaimPower()


@pytest.mark.parametrize("comparison", ["bound", "value", "difference", "groups", "sign"])
def test_other_comparisons_have_no_power(comparison):
    assert claim_power({"comparison": comparison, "paper_value": 1.0}, FOUND, 0.05) == ClaimPower()
