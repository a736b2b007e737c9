"""Power beside the verdicts: at which difference it is stated, at which alpha, and what it says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from statsmodels.stats.power import TTestPower

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics.claim_power import ClaimPower, claim_power
from moe_replication.statistics.claims import decide
from moe_replication.statistics.finding import Finding
from moe_replication.statistics.findings import measure
from moe_replication.statistics.hypothesis_tests import ALPHA
from moe_replication.statistics.needed import what_settles
from moe_replication.statistics.power import equivalence_power
from moe_replication.statistics.wording import evidence

ANALYSIS = analysis_settings(Path(__file__).parents[2])
FOUND = Finding(n=5, effect=-0.02, sd=0.05, low=-0.08, high=0.04, p=0.42)


def claim(comparison="ordering", **keys):
    tests = {"ordering": "paired_t", "threshold": "one_sample_t", "equivalence": "tost", "at_most": "one_sided_t"}
    base = {"comparison": comparison, "test": tests[comparison], "direction": "less", "family": "f", "metric": "m"}
    margins = {"margin": 0.1, "margin_origin": "ours"} if comparison in ("equivalence", "at_most") else {}
    return base | margins | keys


def said(entry, family_size=1, finding=FOUND, scale="paper"):
    """The sentences of an entry's evidence."""
    finding = replace(finding, paper_difference=entry.get("paper_value"))
    power = claim_power(entry, finding, ALPHA / family_size, scale, ANALYSIS)
    inconclusive = decide(entry, finding, finding.p) == "inconclusive"
    needed = what_settles(entry, finding, family_size) if inconclusive else None
    return evidence(entry, finding, finding.p, family_size, needed, power)


def power_of(entry, finding=FOUND, alpha=0.05, scale="paper"):
    return claim_power(entry, replace(finding, paper_difference=entry.get("paper_value")), alpha, scale, ANALYSIS)


@pytest.mark.parametrize("family_size", [1, 12])
def test_an_ordering_is_held_against_the_papers_difference(family_size):
    alpha = 0.05 / family_size
    found = power_of(claim(paper_value=-0.1), alpha=alpha)
    assert found.power == pytest.approx(TTestPower().power(0.1 / 0.05, 5, alpha), abs=1e-6)
    assert found.at == "the paper's difference"
    assert found.detectable == pytest.approx(0.05 * TTestPower().solve_power(nobs=5, alpha=alpha, power=0.8), rel=1e-4)
    assert found.needed_paper == math.ceil(TTestPower().solve_power(0.1 / 0.05, alpha=alpha, power=0.8))


def test_without_the_papers_difference_power_is_at_the_observed_effect_and_says_so():
    found = power_of(claim())
    assert (found.at, found.power) == ("the observed effect", pytest.approx(TTestPower().power(0.4, 5, 0.05), abs=1e-6))
    text = said(claim())
    assert "Were the observed effect the true one, the chance to find it would be 11 % (5 paired seeds, alpha" in text
    assert "taking this sd as exact); this restates p. A true difference of 0.08" in text
    assert found.needed_paper is None


def test_the_sentence_names_the_design_and_its_corrected_alpha():
    text = said(claim(paper_value=-0.1), family_size=12)
    assert (
        "The paper's difference is -0.1. Were it the true one here, the test would pass with a chance of at least 33 % "
        "(5 paired seeds, alpha = 0.05/12, taking this sd as exact); 80 % takes at most 8 paired seeds. "
        "A true difference of 0.1654 or more would be found with a chance of at least 80 %."
    ) in text
    assert "a chance of over 99 % (" in said(claim(paper_value=-1.0))
    assert "a chance of 91 % (" in said(claim(paper_value=-0.1))
    beyond = claim("equivalence", paper_value=0.3)
    assert "a chance of under 1 % (" in said(beyond)
    assert "a chance of under 1 % unless others of its family pass first (" in said(beyond, family_size=3)
    assert "); no number of paired seeds up to 10,000 gives 80 %." in said(beyond)


def test_equivalence_is_held_against_no_difference_or_the_papers():
    found = power_of(claim("equivalence"))
    assert found == ClaimPower(power=equivalence_power(0.0, 0.05, 0.1, 5), at="no difference")
    assert "Were there no difference at all, the test would pass with a chance of" in said(claim("equivalence"))
    papers = power_of(claim("equivalence", paper_value=-0.04))
    assert papers.power == pytest.approx(equivalence_power(0.04, 0.05, 0.1, 5))
    assert (papers.at, papers.detectable) == ("the paper's difference", None)


@pytest.mark.parametrize(("direction", "paper_value", "room"), [("less", 0.04, 0.06), ("greater", 0.04, 0.14)])
def test_at_most_counts_from_the_margin_on_its_side(direction, paper_value, room):
    found = power_of(claim("at_most", direction=direction, paper_value=paper_value))
    assert found.power == pytest.approx(TTestPower().power(room / 0.05, 5, 0.05, alternative="larger"), abs=1e-6)
    assert found.detectable is None


def test_a_threshold_counts_from_the_threshold_and_ratios_by_factors():
    found = Finding(n=5, effect=2.0, distance=math.log(2.0), sd=0.5, low=1.1, high=3.7, p=0.04)
    ratio = claim("threshold", threshold=1.0, logarithmic=True)
    power = power_of(ratio, found)
    assert power.power == pytest.approx(TTestPower().power(math.log(2) / 0.5, 5, 0.05), abs=1e-6)
    smallest = 0.5 * TTestPower().solve_power(nobs=5, alpha=0.05, power=0.8)
    assert power.detectable == pytest.approx(math.exp(smallest), rel=1e-4)
    assert f"A mean off the threshold by a factor of {power.detectable:.4g} or more would be" in said(ratio, 1, found)
    assert power_of(ratio, replace(found, n=2, sd=9.0), alpha=0.001).detectable is None
    plain = said(claim("threshold", threshold=0.3), 1, Finding(n=5, effect=0.28, distance=-0.02, sd=0.05, p=0.42))
    assert "(5 runs, alpha = 0.05, taking this sd as exact)" in plain
    assert "A mean off the threshold by 0.08" in plain


def test_below_the_papers_scale_its_difference_may_be_another():
    entry = claim(paper_value=-0.1)
    here, there = power_of(entry, scale="demo"), power_of(entry, scale="paper")
    assert (here.at, here.power) == ("the paper's difference, at the paper's scale", there.power)
    assert (
        "The paper's difference is -0.1, at the paper's scale; here it may be another. Were it the true one here, the"
    ) in said(entry, scale="demo")


def test_epochs_are_taken_as_the_same_part_of_our_horizon(analysis):
    """20 of 100 epochs are 8 of 40."""
    entry = claim(paper="p", metric="recovery_epoch", conditions=["x", "y"], paper_value=20, paper_epochs=100)
    rows = [
        {"paper": "p", "condition": name, "seed": seed, "epochs": 40, "recovery_epoch": value + seed % 2}
        for name, value in (("x", 30.0), ("y", 21.0))
        for seed in range(4)
    ]
    rows[0]["recovery_epoch"] += 20
    found = measure(entry, pl.DataFrame(rows), None, analysis)
    assert found.paper_difference == 8.0
    assert claim_power(entry, found, 0.05, "cpu", analysis).power == pytest.approx(
        TTestPower().power(8 / found.sd, 4, 0.05), abs=1e-6
    )
    text = evidence(entry, found, found.p, 1, None, claim_power(entry, found, 0.05, "cpu", analysis))
    assert "The paper's difference is 20 of its 100 epochs, 8 of ours, at the paper's scale; here it may" in text


@pytest.mark.parametrize(
    ("finding", "reason"),
    [
        (Finding(n=1, effect=1.0), "one value has no spread"),
        (Finding(n=3, effect=1.0, sd=0.0, p=0.25), "all values are equal, so that their spread is unknown"),
        (Finding(missing="no run of et"), "not run"),
    ],
)
def test_no_spread_leaves_power_undefined(finding, reason):
    assert power_of(claim(paper_value=-0.1), finding) == ClaimPower(reason=reason)


@pytest.mark.parametrize("comparison", ["value", "difference"])
def test_cells_have_no_power_and_say_why(comparison):
    found = power_of({"comparison": comparison, "paper_value": 1.0})
    assert found == ClaimPower(reason=found.reason)
    assert "no hypothesis is tested" in found.reason


def test_power_of_a_bound_is_the_chance_of_a_counter_example():
    entry = {"comparison": "bound", "margin": 0.05, "margin_origin": "ours", "metric": "m", "test": "clopper_pearson"}
    runs = Finding(n=15, effect=0.0, low=0.0, high=0.2)
    found = power_of(entry, runs)
    assert (found.power, found.at) == (pytest.approx(1 - 0.95**15), "a rate of breaking runs of 0.05")
    text = evidence(entry, runs, None, 1, None, found)
    assert text.startswith("At a rate of breaking runs of 0.05, 15 runs would break it with a chance of 54 %.")


@pytest.mark.parametrize(("logarithmic", "distance"), [(True, math.log(1.6 / 1.25)), (False, 0.35)])
def test_a_threshold_is_held_against_the_papers_value(analysis, logarithmic, distance):
    rows = [{"paper": "p", "condition": "x", "seed": seed, "m": value} for seed, value in enumerate((1.3, 1.5, 1.7))]
    entry = claim("threshold", paper="p", conditions=["x"], threshold=1.25, paper_value=1.6, direction="greater")
    found = measure(entry | {"logarithmic": logarithmic}, pl.DataFrame(rows), None, analysis)
    power = claim_power(entry | {"logarithmic": logarithmic}, found, 0.05, "cpu", analysis)
    assert found.paper_difference == pytest.approx(distance)
    assert power.power == pytest.approx(TTestPower().power(distance / found.sd, 3, 0.05), abs=1e-6)
    text = evidence(entry, found, found.p, 1, None, power)
    assert "The paper's value is 1.6, at the paper's scale; here it may be another." in text


def counts(values, comparison="at_most", **keys):
    entry = claim(comparison, **({"margin": 1} | keys))
    limits = (-16.0, 16.0) if comparison == "at_most" else (-1.0, 15.0)
    mean = sum(values) / len(values)
    return entry, Finding(n=len(values), effect=mean, distance=mean, sd=1.0, p=0.5, values=tuple(values), limits=limits)


def test_power_of_counts_is_simulated_over_both_tests():
    """Revival of 8 and 9 against a threshold of 1 is found by any five runs; the range alone keeps zeros from it."""
    entry, found = counts([7.0, 8.0, 7.0, 8.0, 7.0], "threshold", direction="greater", threshold=1, paper_value=7.0)
    power = power_of(entry, found)
    assert power == power_of(entry, found)
    assert (power.power > 0.9, power.at) == (True, "the paper's difference (simulated)")
    assert power.needed_paper is not None
    assert power.detectable is None
    entry, found = counts([0.0, 0.0, 0.0, 0.0, 1.0])
    none = power_of(entry, found)
    assert (none.power, none.at) == (0.0, "no difference (simulated)")
    assert "with a chance of under 1 % (5 paired seeds, alpha = 0.05, drawn from those seen)." in said(entry, 1, found)
