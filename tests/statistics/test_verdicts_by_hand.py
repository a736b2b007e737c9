"""Verdicts of `judge` on made-up runs, every number of the entry computed again with scipy and arithmetic alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics.claims import judge

ANALYSIS = analysis_settings(Path(__file__).parents[2])
ET = [2.912, 2.958, 2.871, 2.930, 2.894]
TC = [2.951, 2.987, 2.935, 2.961, 2.951]
EC = [2.915, 2.954, 2.872, 2.933, 2.895]
KEYS = {"paper": "expert-threshold", "place": "Table 1", "statement": "s", "scales": ["demo"], "figures": []}


def claim(name, comparison, test, *conditions, **keys):
    base = {"id": name, "comparison": comparison, "test": test, "conditions": list(conditions), "metric": "val_loss"}
    return KEYS | base | keys


CLAIMS = [
    claim("a-1", "ordering", "paired_t", "et", "tc", direction="less", paper_value=-0.049, family="table-1"),
    claim("a-2", "equivalence", "tost", "et", "ec", margin=0.01, margin_origin="ours", family="table-1"),
    claim("a-3", "ordering", "paired_t", "ec", "et", direction="less", family="table-1"),
    claim("a-4", "threshold", "one_sample_t", "et", direction="less", threshold=3.0, family="other"),
    claim("a-5", "value", "prediction_interval", "tc", paper_value=2.893, margin=0.02, margin_origin="ours"),
]
DIFFERENCES = {"a-1": np.subtract(ET, TC), "a-2": np.subtract(ET, EC), "a-3": np.subtract(EC, ET)}


def runs(values, **columns):
    return pl.DataFrame(
        [
            {"paper": "expert-threshold", "condition": name, "seed": seed, "val_loss": value} | columns
            for name, column in values.items()
            for seed, value in enumerate(column)
        ]
    )


@pytest.fixture(scope="module")
def judged():
    entries = judge(CLAIMS, runs({"et": ET, "tc": TC, "ec": EC}), None, "demo", ANALYSIS)
    return {entry["id"]: entry for entry in entries}


@pytest.fixture(scope="module")
def p_by_scipy():
    """Raw p of the three claims of family table-1."""
    equal = DIFFERENCES["a-2"]
    sides = [
        stats.ttest_1samp(equal, -0.01, alternative="greater").pvalue,
        stats.ttest_1samp(equal, 0.01, alternative="less").pvalue,
    ]
    return {"a-1": stats.ttest_rel(ET, TC).pvalue, "a-2": max(sides), "a-3": stats.ttest_rel(EC, ET).pvalue}


def holm_by_hand(p_values):
    """Times three, then times three again where a-2, an equivalence, has passed, which stays in the count, else times
    two; none below the one before, none above one."""
    smallest, middle, largest = sorted(p_values, key=p_values.get)
    assert (smallest, middle) == ("a-2", "a-1")
    first = 3 * p_values[smallest]
    second = max(first, 3 * p_values[middle])
    return {smallest: first, middle: second, largest: max(second, min(1.0, 2 * p_values[largest]))}


@pytest.mark.parametrize(("name", "verdict"), [("a-1", "reproduced"), ("a-2", "reproduced"), ("a-3", "inconclusive")])
def test_pairs_and_their_family(judged, p_by_scipy, name, verdict):
    entry, differences = judged[name], DIFFERENCES[name]
    interval = stats.t.interval(0.95, 4, differences.mean(), stats.sem(differences))
    assert entry["verdict"] == verdict
    assert (entry["n"], entry["family"], entry["kind"]) == (5, "table-1", "same claim at our scale")
    assert (entry["effect"], entry["sd"]) == pytest.approx((differences.mean(), differences.std(ddof=1)))
    assert (entry["ci_low"], entry["ci_high"]) == pytest.approx(tuple(interval))
    assert entry["p"] == pytest.approx(p_by_scipy[name])
    assert entry["p_corrected"] == pytest.approx(holm_by_hand(p_by_scipy)[name])
    assert (entry["p_corrected"] < 0.05) == (verdict == "reproduced")


@pytest.mark.parametrize("name", ["a-1", "a-3"])
def test_the_sign_flip_p_beside_an_ordering(judged, name):
    def distance(values, axis):
        return np.abs(values.mean(axis=axis))

    flipped = stats.permutation_test(
        (DIFFERENCES[name],), distance, permutation_type="samples", alternative="greater", vectorized=True
    )
    assert judged[name]["p_sign_flip"] == pytest.approx(flipped.pvalue)
    assert judged[name]["p_minimum"] == 2 / 2**5
    assert judged["a-2"]["p_sign_flip"] is None


def t_power(shift, n, alpha):
    """Both tails of noncentral t beyond the two-sided critical value."""
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    return stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)


def test_power_of_an_ordering_at_the_papers_difference(judged):
    entry, alpha = judged["a-1"], 0.05 / 3
    assert entry["power_at"] == "the paper's difference, at the paper's scale"
    sd = DIFFERENCES["a-1"].std(ddof=1)
    critical = stats.t.ppf(1 - alpha / 2, 4)
    # the lower tail is nil at this shift
    assert entry["power"] == pytest.approx(stats.nct.sf(critical, 4, 0.049 / sd * math.sqrt(5)))
    assert stats.nct.sf(critical, 4, entry["detectable"] / sd * math.sqrt(5)) == pytest.approx(0.8, abs=1e-6)
    enough = [n for n in range(2, 500) if t_power(0.049 / sd * math.sqrt(n), n, alpha) >= 0.8]
    assert entry["n_needed_paper"] == enough[0]
    assert entry["n_needed"] is None


def test_an_inconclusive_ordering_needs_the_first_n_with_80_percent(judged):
    entry, sd, alpha = judged["a-3"], DIFFERENCES["a-3"].std(ddof=1), 0.05 / 3
    size = DIFFERENCES["a-3"].mean() / sd
    assert entry["power_at"] == "the observed effect"
    assert entry["power"] == pytest.approx(t_power(size * math.sqrt(5), 5, alpha))
    enough = [n for n in range(2, 500) if t_power(size * math.sqrt(n), n, alpha) >= 0.8]
    assert entry["n_needed"] == enough[0]
    assert enough == list(range(enough[0], 500))


def test_power_of_an_equivalence_at_no_difference(judged):
    """Both tests reject when |mean| + t s / sqrt(n) is below the margin; s^2 (n - 1) / sd^2 is chi-squared."""
    entry, sd, alpha = judged["a-2"], DIFFERENCES["a-2"].std(ddof=1), 0.05 / 3
    error, critical = sd / math.sqrt(5), stats.t.ppf(1 - alpha, 4)

    def density(ratio):
        """Of s / sd times the chance that the mean is close enough."""
        room = 0.01 / error - critical * ratio
        return 8 * ratio * stats.chi2.pdf(4 * ratio**2, 4) * (2 * stats.norm.cdf(room) - 1)

    expected, _ = integrate.quad(density, 0, 0.01 / (error * critical))
    assert (entry["power_at"], entry["detectable"]) == ("no difference", None)
    assert entry["power"] == pytest.approx(expected, abs=1e-6)
    assert 0.1 < expected < 0.9999


def test_a_threshold(judged):
    entry, distances = judged["a-4"], np.array(ET) - 3.0
    interval = stats.t.interval(0.95, 4, np.mean(ET), stats.sem(ET))
    assert (entry["verdict"], entry["effect"]) == ("reproduced", pytest.approx(np.mean(ET)))
    assert (entry["ci_low"], entry["ci_high"]) == pytest.approx(tuple(interval))
    assert entry["p"] == entry["p_corrected"] == pytest.approx(stats.ttest_1samp(ET, 3.0).pvalue)
    shift = distances.mean() / stats.sem(distances)
    assert entry["power"] == pytest.approx(stats.nct.sf(stats.t.ppf(0.975, 4), 4, abs(shift)))


def test_a_cell(judged):
    """Mean +- t sd sqrt(1 + 1/n) against 2.873 to 2.913."""
    entry = judged["a-5"]
    half = stats.t.ppf(0.975, 4) * np.std(TC, ddof=1) * math.sqrt(1 + 1 / 5)
    assert (entry["ci_low"], entry["ci_high"]) == pytest.approx((np.mean(TC) - half, np.mean(TC) + half))
    assert (entry["p"], entry["power"], entry["kind"]) == (None, None, "the paper's cell")
    assert "No power applies: no hypothesis is tested" in entry["evidence"]
    assert 2.873 < entry["ci_low"] < 2.913 < entry["ci_high"]
    assert entry["verdict"] == "inconclusive"


def test_groups_and_a_bound_in_one_family():
    """Five runs with a dead expert against none of six: Fisher's p is 1 / C(11, 5)."""
    dead = {"low": [3, 1, 2, 1, 4], "high": [0, 0, 0, 0, 0, 0]}
    claims = [
        claim("b-1", "groups", "fisher", "low", against=["high"], direction="greater", family="e"),
        claim("b-2", "groups", "permutation", "low", against=["high"], direction="greater", family="e"),
        claim("b-3", "bound", "clopper_pearson", "high", direction="less", paper_value=0, margin=0.05,
              margin_origin="ours"),
    ]  # fmt: skip
    fisher, means, bound = judge(claims, runs(dead, dataset="digits-10"), None, "demo", ANALYSIS)
    share = stats.fisher_exact([[5, 0], [0, 6]]).pvalue
    assert share == pytest.approx(1 / math.comb(11, 5))
    mean = stats.permutation_test(
        (dead["low"], dead["high"]), lambda x, y: abs(np.mean(x) - np.mean(y)), alternative="greater"
    ).pvalue
    assert (fisher["p"], means["p"]) == pytest.approx((share, mean))
    assert (fisher["p_corrected"], means["p_corrected"]) == pytest.approx((2 * share, 2 * share))
    assert (fisher["effect"], means["effect"]) == pytest.approx((1.0, np.mean(dead["low"])))
    assert (fisher["verdict"], means["verdict"], bound["verdict"]) == ("reproduced", "reproduced", "inconclusive")
    exact = stats.binomtest(0, 6).proportion_ci(0.95, method="exact")
    assert (bound["ci_low"], bound["ci_high"]) == pytest.approx((exact.low, exact.high))
    enough = next(n for n in range(1, 200) if stats.binomtest(0, n).proportion_ci(0.95, method="exact").high < 0.05)
    assert (bound["n_needed"], bound["power"]) == (enough, pytest.approx(1 - 0.95**6))
