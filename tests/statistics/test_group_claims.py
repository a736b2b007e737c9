from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from moe_replication.config.analysis import analysis_settings
from moe_replication.report.scorecard_words import ours
from moe_replication.statistics.claims import judge
from moe_replication.statistics.hypothesis_tests import holm
from moe_replication.statistics.wording import percent

ANALYSIS = analysis_settings(Path(__file__).parents[2])
PAPER = "expert-ecology"
SETS = {
    "v3-e0.30": "digits-100",
    "v3-e0.545": "digits-100",
    "v6": "digits-200",
}


def table(values, **columns):
    """One run a value, seeds 0, 1, ... by condition."""
    rows = [
        {
            "paper": PAPER,
            "condition": name,
            "seed": seed,
            "dataset": SETS.get(name, "digits-10"),
            "dead_experts": float(value),
        }
        | columns
        for name, column in values.items()
        for seed, value in enumerate(column)
    ]
    return pl.DataFrame(rows)


def groups(**keys):
    return {
        "id": "b-x",
        "paper": PAPER,
        "place": "p",
        "statement": "s",
        "metric": "dead_experts",
        "conditions": ["line-b-0"],
        "against": ["v1"],
        "comparison": "groups",
        "test": "permutation",
        "direction": "greater",
        "family": "f",
        "scales": ["smoke"],
        "figures": [],
    } | keys


def sign(**keys):
    claim = groups(comparison="sign", test="sign_test", threshold=4, conditions=["v1", "v6"]) | keys
    return {key: value for key, value in claim.items() if key != "against"}


def verdicts(claims, values, curves=None):
    return judge(claims if isinstance(claims, list) else [claims], table(values), curves, "smoke", ANALYSIS)


def test_more_dead_experts_in_one_group():
    """All of 4 above all of 4: 2 of 70 assignments are as far off."""
    (entry,) = verdicts(groups(), {"line-b-0": [9, 8, 9, 10], "v1": [0, 1, 0, 0]})
    assert (entry["verdict"], entry["n"], entry["effect"]) == ("reproduced", 8, pytest.approx(8.75))
    assert entry["p"] == entry["p_corrected"] == pytest.approx(2 / 70)
    assert entry["p_minimum"] == pytest.approx(2 / 70)
    assert (entry["against"], entry["kind"], entry["ci_low"]) == (["v1"], "same claim at our scale", 8.0)
    assert entry["sentence"] == (
        "Reproduced: mean dead_experts is 9 over 4 runs of line-b-0 and 0.25 over 4 runs of v1, "
        "a difference of 8.75 within data sets (descriptive 95 % bootstrap interval over runs 8 to 9.5); "
        "claimed: above zero."
    )
    assert entry["evidence"] == (
        "Exact permutation test within data sets: p = 0.02857, Holm-corrected over 1 in family f 0.02857. "
        f"With groups 1 sd of their runs apart (simulated), the test would pass with a chance of "
        f"{percent(entry['power'])} (alpha = 0.05)."
    )


def test_the_other_side_contradicts():
    (entry,) = verdicts(groups(direction="less"), {"line-b-0": [9, 8, 9, 10], "v1": [0, 1, 0, 0]})
    assert entry["verdict"] == "contradicted"


def test_three_against_three_cannot_settle_it():
    (entry,) = verdicts(groups(), {"line-b-0": [9, 8, 10], "v1": [0, 1, 0]})
    assert (entry["verdict"], entry["p"]) == ("inconclusive", pytest.approx(0.1))
    assert (entry["n_needed"], entry["n_needed_of"]) == (12, "runs")
    assert entry["p_minimum"] == pytest.approx(0.1)
    assert "Cannot reach alpha = 0.05 with 3 runs against 3: smallest p 0.1." in entry["evidence"]


def test_runs_are_compared_within_data_sets_only():
    """digits-100 has more dead experts in both groups; pooled without strata the first group would look better."""
    claim = groups(conditions=["line-b-0", "v3-e0.30"], against=["v1", "v3-e0.545"])
    values = {"line-b-0": [2] * 6, "v1": [0] * 2, "v3-e0.30": [12] * 2, "v3-e0.545": [10] * 6}
    (entry,) = verdicts(claim, values)
    assert (entry["verdict"], entry["effect"]) == ("inconclusive", pytest.approx(2.0))
    # over runs one of C(8, 2) assignments in each stratum, and none as far off on the other side; over conditions one
    # of two in each, and its mirror image
    assert entry["p"] == entry["p_minimum"] == pytest.approx(1 / 2)
    assert entry["note"] == (
        "p = 0.00128 over runs and 0.5 over 2 conditions against 2, which can reach 0.5; the larger counts"
    )
    assert "is 4.5 over 8 runs of line-b-0, v3-e0.30 and 7.5 over 8 runs of v1, v3-e0.545" in entry["sentence"]


FIRST, SECOND = [f"line-h-{index}" for index in range(4)], [f"line-o-{index}" for index in range(4)]


def test_conditions_whose_runs_resemble_one_another_are_no_runs_of_their_own():
    """Means 9, 9, 9, 0 against 0, 0, 0, 9: 34 of 70 assignments of conditions are as far off, far fewer of runs."""
    means = dict(zip(FIRST + SECOND, [9, 9, 9, 0, 0, 0, 0, 9], strict=True))
    (entry,) = verdicts(groups(conditions=FIRST, against=SECOND), {name: [mean] * 5 for name, mean in means.items()})
    assert (entry["verdict"], entry["p"]) == ("inconclusive", pytest.approx(34 / 70))
    assert entry["p_minimum"] == pytest.approx(2 / 70)
    assert "over runs and 0.486 over 4 conditions against 4, which can reach 0.0286; the larger counts" in entry["note"]
    assert float(entry["note"].split()[2]) < 0.01
    assert "Cannot reach" not in entry["evidence"]


@pytest.mark.parametrize("test", ["permutation", "fisher"])
def test_enough_conditions_settle_it(test):
    values = {name: [9, 8, 9] for name in FIRST} | {name: [0, 0, 0] for name in SECOND}
    claims = [groups(id=f"b-{n}", conditions=FIRST, against=SECOND, test=test) for n in range(2)]
    (entry,) = verdicts(claims[0], values)
    assert (entry["verdict"], entry["p"]) == ("reproduced", pytest.approx(2 / 70))
    two, _ = verdicts(claims, values)
    assert two["verdict"] == "inconclusive"
    assert (
        "Cannot reach alpha = 0.05 with 4 conditions against 4 in a family of 2: smallest p 0.0286, "
        "unless others of it pass first."
    ) in two["evidence"]


def test_shares_of_runs_are_what_fisher_permutes_over_conditions():
    """Shares of runs above 0: 1/2 and 1 against 0 and 0; sums 3/2, 1, 1/2 of the 6 pairs, so 2 of 6 as far off."""
    claim = groups(conditions=FIRST[:2], against=SECOND[:2], test="fisher")
    (entry,) = verdicts(claim, dict(zip(FIRST[:2] + SECOND[:2], [[1, 0], [9, 1], [0, 0], [0, 0]], strict=True)))
    assert entry["p"] == pytest.approx(2 / 6)
    assert entry["effect"] == pytest.approx(0.75)


def test_what_is_left_out_is_named():
    claim = groups(conditions=["line-b-0", "v3-e0.30", "v6"], against=["v1", "v3-e0.545"])
    values = {"line-b-0": [9, 8, 9, 10], "v6": [7, 7], "v1": [0, 1, 0, 0]}
    (entry,) = verdicts(claim, values)
    assert (entry["verdict"], entry["n"]) == ("reproduced", 8)
    assert entry["note"] == (
        "left out, not run or without a value here: v3-e0.30, v3-e0.545; "
        "left out, as only one group has runs on digits-200: 2 run(s)"
    )


def test_a_group_without_runs_is_not_run():
    claim = groups(against=["v3-e0.545", "v6"])
    (entry,) = verdicts(claim, {"line-b-0": [9, 8], "v1": [0]})
    assert (entry["verdict"], entry["p"]) == ("not_run", None)
    assert entry["sentence"] == "Not run at scale smoke: no run of v3-e0.545, v6 has a value of dead_experts."
    (entry,) = verdicts(claim, {"line-b-0": [9, 8], "v6": [0]})
    assert entry["sentence"] == "Not run at scale smoke: no data set has runs of both groups."


def test_the_share_of_runs_with_a_dead_expert():
    """Fisher's tea: four of four against none of four is 2/70."""
    claim = groups(test="fisher")
    (entry,) = verdicts(claim, {"line-b-0": [9, 1, 2, 1], "v1": [0] * 4})
    assert (entry["verdict"], entry["effect"], entry["p"]) == ("reproduced", 1.0, pytest.approx(2 / 70))
    assert "dead_experts is above 0 in 4 of 4 runs of line-b-0 and 0 of 4 runs of v1" in entry["sentence"]
    assert "Fisher's exact test within data sets: p = 0.02857" in entry["evidence"]
    # 1 - 0.025^(1/4)
    assert "none in the second group's 4 run(s) still allows a rate up to 60.2 %" in entry["note"]
    assert "odds ratio inf (Mantel-Haenszel)" in entry["note"]
    (entry,) = verdicts(claim | {"threshold": 1}, {"line-b-0": [9, 1, 2, 1], "v1": [0] * 4})
    assert (entry["verdict"], entry["p"]) == ("inconclusive", pytest.approx(30 / 70))
    assert entry["sentence"].startswith("Inconclusive: dead_experts is above 1 in 2 of 4 runs")


def test_a_group_claim_at_an_epoch_reads_the_curve():
    values = {"line-b-0": [9, 8, 9, 10], "v1": [0, 1, 0, 0]}
    later, end = ({name: [count] * 4 for name in values} for count in (3, 0))
    curves = pl.concat([table(values, epoch=1.0), table(later, epoch=2.0)]).drop("dataset")
    entries = verdicts([groups(epoch=epoch, family=f"f{epoch}") for epoch in (1, 2, 3)], end, curves)
    assert [entry["verdict"] for entry in entries] == ["reproduced", "inconclusive", "not_run"]
    assert entries[1]["effect"] == 0.0
    assert entries[2]["sentence"].endswith("no run of line-b-0 has a value of dead_experts at epoch 3.")


def test_sign_pools_the_runs_and_drops_those_on_the_threshold():
    (entry,) = verdicts(sign(conditions=["v6"]), {"v6": [9, 8, 7, 6, 4, 5, 6, 7, 8, 4]})
    # eight of eight above: 2/256; Clopper-Pearson from 0.025^(1/8)
    assert (entry["verdict"], entry["n"], entry["effect"]) == ("reproduced", 8, 1.0)
    assert (entry["p"], entry["p_minimum"]) == (pytest.approx(2 / 256), 2 / 256)
    assert (entry["ci_low"], entry["ci_high"]) == (pytest.approx(0.025 ** (1 / 8)), 1.0)
    assert entry["sentence"] == (
        "Reproduced: dead_experts is above 4 in 8, below it in 0 and equal to it in 2 runs of v6; claimed: above 4."
    )
    assert entry["evidence"].startswith("Exact sign test: p = 0.007812")
    (other,) = verdicts(sign(direction="less", conditions=["v6"]), {"v6": [9, 8, 7, 6, 5, 6, 7, 8]})
    assert other["verdict"] == "contradicted"


def test_a_sign_over_conditions_takes_their_medians():
    """Medians of six conditions above 4: 2/2^6; of five above and one on it: 2/2^5, however many runs."""
    names = [*FIRST, *SECOND[:2]]
    claim, values = sign(conditions=names), {name: [9, 8, 4] for name in names}
    (entry,) = verdicts(claim, values)
    assert (entry["verdict"], entry["n"], entry["p"]) == ("reproduced", 12, 2 / 64)
    assert entry["note"].endswith("0.0312 over the medians of 6 conditions, which can reach 0.0312; the larger counts")
    (entry,) = verdicts(claim, values | {names[0]: [9, 4, 4]})
    assert (entry["verdict"], entry["p"]) == ("inconclusive", 2 / 32)
    assert (entry["n_needed"], entry["n_needed_of"]) == (6, "conditions")
    assert "Cannot reach alpha = 0.05 with 5 conditions off the threshold: smallest p 0.0625." in entry["evidence"]
    assert (
        "About 6 conditions off the threshold, at the observed share, would settle it as reproduced."
        in entry["evidence"]
    )


def test_a_sign_leaves_out_conditions_without_a_value():
    """v6 ran, and its revival, say, has no meaning; a condition that did not run still stops the claim."""
    runs = table({"v1": [9] * 8}).vstack(table({"v6": [0, 0]}).with_columns(dead_experts=pl.lit(None, pl.Float64)))
    (entry,) = judge([sign()], runs, None, "smoke", ANALYSIS)
    assert (entry["verdict"], entry["n"]) == ("reproduced", 8)
    assert "Left out, as they have no value of dead_experts: 2 run(s)." in entry["evidence"]
    (entry,) = judge([sign(conditions=["v6"])], runs, None, "smoke", ANALYSIS)
    assert entry["sentence"] == "Not run at scale smoke: no run of v6 has a value of dead_experts."


def test_the_scorecard_says_what_the_numbers_are():
    entries = verdicts([sign(conditions=["v1"]), groups()], {"v1": [9, 8, 7, 6], "line-b-0": [10, 10, 10, 10]})
    assert [ours(entry) for entry in entries] == ["share above 1 [0.3976, 1]", "2.5 [1.5, 3.5]"]


def passing(rates, alpha=0.05):
    """Chance that Fisher's exact test of 5 against 5 runs passes on the first group's side, by scipy."""
    return sum(
        stats.binom.pmf(a, 5, rates[0]) * stats.binom.pmf(b, 5, rates[1])
        for a, b in product(range(6), repeat=2)
        if a > b and stats.fisher_exact([[a, 5 - a], [b, 5 - b]]).pvalue < alpha
    )


def test_power_of_groups_is_simulated_at_a_stated_alternative():
    """Four binomial standard errors of 400 draws are 10 points."""
    values = {"line-b-0": [9, 1, 2, 1, 0], "v1": [0] * 5}
    more, fewer = (verdicts(groups(test="fisher", direction=side), values)[0] for side in ("greater", "less"))
    assert more["power"] == pytest.approx(passing((0.9, 0.1)), abs=0.1)
    assert fewer["power"] == pytest.approx(more["power"], abs=0.1)
    assert more["power_at"] == "90 % of one group's runs above the threshold, 10 % of the other's (simulated)"
    assert verdicts(groups(test="fisher"), values)[0]["power"] == more["power"]
    # a normal spread: the t test's power is near that of the permutation test
    spread = stats.norm.ppf((np.arange(12) + 0.5) / 12)
    (means,) = verdicts(groups(), {"line-b-0": 3 + spread, "v1": spread})
    expected = TTestIndPower().power(1.0, 12, 0.05)
    assert means["power"] == pytest.approx(expected, abs=0.1)
    (equal,) = verdicts(groups(), {"line-b-0": [2] * 4, "v1": [0] * 4})
    assert (equal["power"], equal["power_reason"]) == (None, "all values are equal, so that their spread is unknown")


def test_power_over_conditions_counts_conditions():
    """Three against three conditions cannot reach 5 %, whatever their runs."""
    values = {name: [index, index + 1, index] for index, name in enumerate(FIRST[:3] + SECOND[:3])}
    (entry,) = verdicts(groups(conditions=FIRST[:3], against=SECOND[:3]), values)
    assert (entry["power"], entry["power_at"]) == (0.0, "groups 1 sd of their conditions apart (simulated)")


def test_power_of_a_sign_test_is_binomial():
    """Of ten runs nine or ten pass: 22/1024. At 90 % each, 0.9^10 + 10 * 0.1 * 0.9^9."""
    (entry,) = verdicts(sign(conditions=["v1"]), {"v1": [9, 3] * 5})
    assert entry["power"] == pytest.approx(0.9**10 + 0.9**9)
    assert "With 90 % of the runs on the claimed side, the test would pass with a chance of 74 %" in entry["evidence"]
    (over,) = verdicts(sign(conditions=["v1", *FIRST]), {name: [9] * 5 for name in ("v1", *FIRST)})
    assert (over["power"], over["power_at"]) == (0.0, "90 % of the conditions on the claimed side")
    for one in (entry, over):
        assert (one["detectable"], one["power_reason"]) == (None, None)


def test_five_runs_cannot_settle_a_sign():
    (entry,) = verdicts(sign(conditions=["v1"]), {"v1": [5] * 5})
    assert (entry["verdict"], entry["n_needed"], entry["p_minimum"]) == ("inconclusive", 6, 0.0625)
    assert "Cannot reach alpha = 0.05 at n = 5: smallest p 0.0625." in entry["evidence"]
    assert "About 6 runs off the threshold, at the observed share, would settle it as reproduced." in entry["evidence"]
    (mixed,) = verdicts(sign(conditions=["v1"]), {"v1": [5, 3] * 5})
    assert (mixed["verdict"], mixed["n_needed"], mixed["effect"]) == ("inconclusive", None, 0.5)


def test_runs_that_all_lie_on_the_threshold():
    (entry,) = verdicts(sign(conditions=["v1"]), {"v1": [4, 4]})
    assert (entry["verdict"], entry["n"], entry["effect"], entry["p"]) == ("inconclusive", 0, None, 1.0)
    assert "above 4 in 0, below it in 0 and equal to it in 2 runs of v1" in entry["sentence"]


def test_a_sign_claim_needs_all_its_conditions():
    (entry,) = verdicts(sign(), {"v1": [5, 5]})
    assert entry["sentence"] == "Not run at scale smoke: no run of v6."


def test_holm_takes_the_exact_tests_with_the_rest_of_the_family():
    values = {"line-b-0": [9, 8, 9, 10], "v1": [0, 1, 0, 2], "v6": [5] * 8}
    ordering = groups(comparison="ordering", test="paired_t", conditions=["line-b-0", "v1"])
    claims = [groups(), groups(test="fisher"), sign(conditions=["v6"]), ordering]
    entries = verdicts([claim | {"id": f"b-{index}"} for index, claim in enumerate(claims)], values)
    assert [entry["p_corrected"] for entry in entries] == pytest.approx(holm([entry["p"] for entry in entries]))
    # alone 2/70 would do
    assert entries[0]["p_corrected"] == pytest.approx(4 / 70)
    assert [entry["verdict"] for entry in entries] == ["inconclusive", "inconclusive", "reproduced", "reproduced"]
    (alone,) = verdicts(groups(), values)
    assert alone["verdict"] == "reproduced"
