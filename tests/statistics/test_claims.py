"""Verdicts on one claim by a t test: orderings, thresholds, equivalences and their one side."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics.claims import judge
from moe_replication.statistics.hypothesis_tests import holm

ANALYSIS = analysis_settings(Path(__file__).parents[2])
PAPER = "expert-threshold"
TESTS = {
    "ordering": "paired_t",
    "threshold": "one_sample_t",
    "equivalence": "tost",
    "at_most": "one_sided_t",
}


def claim(comparison="ordering", **keys):
    base = {
        "id": "a-x",
        "paper": PAPER,
        "place": "Table 1",
        "statement": "s",
        "metric": "val_loss",
        "conditions": ["et", "tc"],
        "comparison": comparison,
        "test": TESTS[comparison],
        "scales": ["smoke"],
        "figures": [],
        "family": "f",
    }
    return base | ({"direction": "less"} if comparison == "ordering" else {}) | keys


TC = [3.0, 3.1, 3.2]


def test_ordering_reproduced(verdicts):
    # differences -0.10, -0.11, -0.12: mean -0.11, sd 0.01, half width 4.303 * 0.01 / sqrt(3) = 0.0248
    (entry,) = verdicts(claim(paper_value=-0.05), {"et": [2.9, 2.99, 3.08], "tc": TC})
    assert entry["verdict"] == "reproduced"
    assert (entry["effect"], entry["n"]) == (pytest.approx(-0.11), 3)
    assert (entry["ci_low"], entry["ci_high"]) == (
        pytest.approx(-0.1348, abs=1e-4),
        pytest.approx(-0.0852, abs=1e-4),
    )
    assert (entry["p_sign_flip"], entry["p_minimum"]) == (0.25, 0.25)
    assert entry["note"] == "cannot reach alpha = 0.05 at n = 3"
    assert "Exact sign-flip p = 0.25: cannot reach alpha = 0.05 at n = 3." in entry["evidence"]
    assert "not significant" not in entry["evidence"]
    assert entry["sentence"].startswith("Reproduced: et minus tc in val_loss is -0.11 (95 % interval -0.1348 to -0.08")
    assert "The paper's difference is -0.05, at the paper's scale; here it may be another." in entry["evidence"]


def test_ordering_contradicted_on_the_other_side(verdicts):
    (entry,) = verdicts(claim(direction="greater"), {"et": [2.9, 2.99, 3.08], "tc": TC})
    assert entry["verdict"] == "contradicted"


def test_ordering_inconclusive_says_how_many_seeds_would_do(verdicts):
    # differences -0.1, 0.0, 0.01
    (entry,) = verdicts(claim(), {"et": [2.9, 3.1, 3.21], "tc": TC})
    assert entry["verdict"] == "inconclusive"
    assert entry["n_needed"] > 3
    assert f"About {entry['n_needed']} paired seeds would settle it as reproduced at this" in entry["evidence"]


def threshold(**keys):
    return claim("threshold", conditions=["et"], direction="less", threshold=0.07) | keys


def test_threshold_compares_the_mean_with_a_number(verdicts):
    # mean 0.05, sd 0.01: half width 4.303 * 0.01 / sqrt(3) = 0.0248, so below 0.08 and not safely below 0.07
    values = {"et": [0.04, 0.05, 0.06]}
    (entry,) = verdicts(threshold(threshold=0.08), values)
    assert (entry["verdict"], entry["effect"], entry["n"]) == ("reproduced", pytest.approx(0.05), 3)
    assert (entry["ci_low"], entry["ci_high"]) == (pytest.approx(0.0252, abs=1e-4), pytest.approx(0.0748, abs=1e-4))
    # t = -0.03 / (0.01 / sqrt(3)) = -5.196 with 2 degrees of freedom
    assert entry["p"] == pytest.approx(0.0351, abs=1e-4)
    assert "One-sample t test" in entry["evidence"]
    (entry,) = verdicts(threshold(), values)
    assert entry["verdict"] == "inconclusive"
    assert entry["n_needed"] > 3
    (entry,) = verdicts(threshold(direction="greater", threshold=0.08), values)
    assert entry["verdict"] == "contradicted"


def test_threshold_of_a_ratio_takes_logarithms(verdicts):
    """Ratios 1, 2 and 4: geometric mean 2, interval symmetric in logarithms."""
    (entry,) = verdicts(threshold(direction="greater", threshold=1.0, logarithmic=True), {"et": [1.0, 2.0, 4.0]})
    assert entry["effect"] == pytest.approx(2.0)
    assert entry["ci_low"] * entry["ci_high"] == pytest.approx(4.0)
    assert entry["verdict"] == "inconclusive"
    assert "geometric mean val_loss of et is 2 (95 % interval" in entry["sentence"]
    assert entry["sentence"].endswith("claimed: above 1.")


def test_four_conditions_compare_two_differences(verdicts):
    """(et - tc) - (dense - ec-batch) by seed: (-.1, -.1, -.1) - (-.1, -.11, -.12) = 0, .01, .02."""
    values = {"et": [2.9, 3.0, 3.1], "tc": TC, "dense": [2.9, 2.99, 3.08], "ec-batch": TC}
    conditions = ["et", "tc", "dense", "ec-batch"]
    (entry,) = verdicts(claim(conditions=conditions, direction="greater"), values)
    assert (entry["effect"], entry["n"]) == (pytest.approx(0.01), 3)
    assert entry["sentence"].startswith("Inconclusive: (et minus tc) minus (dense minus ec-batch) in val_loss is 0.01")
    (entry,) = verdicts(claim("equivalence", conditions=conditions, margin=0.1, margin_origin="ours"), values)
    assert entry["verdict"] == "reproduced"


def test_one_seed_is_inconclusive(verdicts):
    (entry,) = verdicts(claim(), {"et": [2.0], "tc": [3.0]})
    assert (entry["verdict"], entry["n"], entry["ci_low"], entry["p"]) == ("inconclusive", 1, None, None)
    assert "run at least two seeds" in entry["evidence"]


def test_pairs_are_made_by_seed_and_the_rest_is_reported(verdicts):
    (entry,) = verdicts(claim(), {"et": [2.9, 2.99, 3.08, 9.0], "tc": TC})
    assert (entry["n"], entry["verdict"]) == (3, "reproduced")
    assert "Left out for want of a partner with the same seed: 1 run" in entry["evidence"]


def test_holm_over_the_family_can_undo_a_verdict(verdicts):
    # differences -0.10, -0.13, -0.15: p = 0.0129; corrected over three such claims 0.039, over four 0.052
    values = {"et": [2.9, 2.97, 3.05], "tc": TC}
    (alone,) = verdicts(claim(), values)
    three = verdicts([claim(id=f"a-{i}") for i in range(3)], values)
    four = verdicts([claim(id=f"a-{i}") for i in range(4)], values)
    assert [entry["p_corrected"] for entry in three] == pytest.approx(holm([alone["p"]] * 3))
    assert {entry["verdict"] for entry in three} == {"reproduced"}
    assert {entry["verdict"] for entry in four} == {"inconclusive"}
    assert four[0]["ci_high"] < 0
    assert four[0]["n_needed"] > 3
    other_family = verdicts([claim(id=f"a-{i}", family=f"f{i}") for i in range(4)], values)
    assert {entry["verdict"] for entry in other_family} == {"reproduced"}


def test_claims_not_judged_do_not_count_in_the_family(verdicts):
    claims = [claim(), claim(id="a-no", conditions=["et", "dense"]), claim(id="a-paper", scales=["paper"])]
    entries = verdicts(claims, {"et": [2.9, 2.99, 3.08], "tc": TC})
    assert [entry["verdict"] for entry in entries] == ["reproduced", "not_run", "untestable"]
    assert entries[0]["p_corrected"] == entries[0]["p"]
    assert entries[1]["sentence"] == "Not run at scale smoke: no run of dense."
    assert entries[2]["sentence"] == "Untestable at scale smoke: judged at paper only."
    assert (entries[1]["n"], entries[1]["effect"], entries[1]["p"]) == (0, None, None)


def test_a_metric_nobody_measured_is_not_run(verdicts):
    (entry,) = verdicts(claim(metric="usage_std", conditions=["et", "dense"]), {"et": TC, "dense": TC})
    assert (entry["verdict"], entry["sentence"]) == (
        "not_run",
        "Not run at scale smoke: no run of dense has a value of usage_std.",
    )


def test_equal_differences_rest_on_the_sign_flip_test(verdicts):
    counts = claim(metric="dead_experts", direction="greater")
    (three,) = verdicts(counts, {"et": [5] * 3, "tc": [1] * 3}, metric="dead_experts")
    assert (three["verdict"], three["p"], three["ci_low"], three["n_needed"]) == (
        "inconclusive",
        0.25,
        None,
        6,
    )
    (six,) = verdicts(counts, {"et": [5] * 6, "tc": [1] * 6}, metric="dead_experts")
    assert (six["verdict"], six["p"]) == ("reproduced", 0.03125)
    (none,) = verdicts(counts, {"et": [1] * 6, "tc": [1] * 6}, metric="dead_experts")
    assert (none["verdict"], none["p"], none["n_needed"]) == ("inconclusive", 1.0, None)


def equivalence(margin):
    return claim("equivalence", margin=margin, margin_origin="ours")


def test_equivalence(verdicts):
    # differences 0.10, 0.11, 0.12: 90 % interval 0.11 +- 0.0169, 95 % 0.11 +- 0.0248
    values = {"et": [3.1, 3.21, 3.32], "tc": TC}
    found = [verdicts(equivalence(margin), values)[0] for margin in (0.15, 0.12, 0.08)]
    assert [entry["verdict"] for entry in found] == ["reproduced", "inconclusive", "contradicted"]
    assert found[1]["n_needed"] > 3
    assert found[1]["p_sign_flip"] is None
    assert "Margin 0.12 (ours)." in found[1]["evidence"]
    assert found[0]["p"] < 0.05
    (below,) = verdicts(equivalence(0.08), {"et": [2.9, 2.99, 3.08], "tc": TC})
    assert below["verdict"] == "contradicted"


def test_equivalence_of_identical_runs_is_never_settled(verdicts):
    """The t test has no scale, and nothing says that the next pair is as equal."""
    for values in (TC, [3.0] * 5, [3.0] * 45):
        (entry,) = verdicts(equivalence(0.1), {"et": values, "tc": values})
        assert (entry["verdict"], entry["p"], entry["n_needed"]) == ("inconclusive", 1.0, None)
    assert entry["evidence"].startswith("All differences are equal, which leaves a t test without a scale: p = 1")
    assert "No number of paired seeds like these, all equal, would settle it" in entry["evidence"]


def test_equal_values_say_that_their_test_cannot_reach_alpha(verdicts):
    counts = claim(metric="dead_experts", direction="greater")
    four = [counts | {"id": f"a-{index}"} for index in range(4)]
    entries = verdicts(four, {"et": [5] * 3, "tc": [1] * 3}, metric="dead_experts")
    # 2/2^3
    assert "Cannot reach alpha = 0.05 at n = 3 in a family of 4: smallest p 0.25." in entries[0]["evidence"]
    entries = verdicts(four, {"et": [5] * 6, "tc": [1] * 6}, metric="dead_experts")
    assert "in a family of 4: smallest p 0.0312, unless others of it pass first." in entries[0]["evidence"]
    (alone,) = verdicts(counts, {"et": [1] * 6, "tc": [1] * 6}, metric="dead_experts")
    assert "smallest p" not in alone["evidence"]


def at_most(**keys):
    return claim("at_most", direction="less", margin=0.12, margin_origin="ours") | keys


def test_at_most_is_one_side_of_an_equivalence(verdicts):
    """Differences 0.10, 0.11, 0.12 against a margin of 0.15: t = -0.04 / (0.01 / sqrt(3)) = -6.93."""
    values = {"et": [3.1, 3.21, 3.32], "tc": TC}
    found = [verdicts(at_most(margin=margin), values)[0] for margin in (0.15, 0.12, 0.08)]
    assert [entry["verdict"] for entry in found] == ["reproduced", "inconclusive", "contradicted"]
    assert found[0]["p"] == pytest.approx(0.0101, abs=1e-4)
    assert found[1]["n_needed"] > 3
    assert found[0]["evidence"].startswith("One-sided paired t test at the margin: p = 0.01")
    assert found[0]["sentence"].endswith("claimed: below +0.15.")
    # far below is no worse, which an equivalence would not allow
    (below,) = verdicts(at_most(margin=0.01), {"et": [2.9, 2.99, 3.08], "tc": TC})
    assert below["verdict"] == "reproduced"


def test_at_most_from_the_other_side(verdicts):
    values = {"et": [2.9, 2.99, 3.08], "tc": TC}
    found = [verdicts(at_most(direction="greater", margin=margin), values)[0] for margin in (0.15, 0.08)]
    assert [entry["verdict"] for entry in found] == ["reproduced", "contradicted"]
    assert found[0]["sentence"].endswith("claimed: above -0.15.")


def counts(first, second, n, **keys):
    """What judge says of n equal pairs of counts of 16 experts."""
    rows = [
        {"paper": PAPER, "condition": name, "seed": seed, "experts": 16, "dead_experts": float(value)}
        for name, value in (("et", first), ("tc", second))
        for seed in range(n)
    ]
    claimed = at_most(metric="dead_experts", margin=1) | keys
    return judge([claimed], pl.DataFrame(rows), None, "smoke", ANALYSIS)[0]


def test_equal_counts_are_no_equivalence_until_many_agree():
    """One run in 16 with 16 dead experts has the mean of the margin, and does not show in (15/16)^n of samples."""
    five = counts(0, 0, 5)
    assert (five["verdict"], five["n_needed"], five["power"]) == ("inconclusive", 66, None)
    # ten stakes of a tenth to ten tenths, each of which wins a fifteenth of itself a pair
    assert five["p"] == pytest.approx(10 / sum((1 + tenth / 150) ** 5 for tenth in range(1, 11)))
    assert five["evidence"].startswith(
        "All differences are equal, so the exact sign-flip test stands in, with the test from the range of a count, the"
    )
    assert "66 paired seeds like these, all equal, would settle it as reproduced." in five["evidence"]
    assert "Cannot reach alpha = 0.05 at n = 5: smallest p 0.0626." in five["evidence"]
    assert [counts(0, 0, n)["verdict"] for n in (65, 66)] == ["inconclusive", "reproduced"]
    same = {"comparison": "equivalence", "test": "tost"}
    assert [counts(0, 0, n, **same)["verdict"] for n in (10, 39, 65, 66)] == ["inconclusive"] * 3 + ["reproduced"]


def test_equal_counts_on_the_margin_and_beyond_it():
    assert (counts(2, 1, 6)["verdict"], counts(2, 1, 6)["p"]) == ("inconclusive", 1.0)
    near, far = counts(3, 1, 6), counts(16, 0, 10)
    assert (near["verdict"], near["n_needed"]) == ("inconclusive", 89)
    assert (far["verdict"], far["p"]) == ("contradicted", pytest.approx(0.0145, abs=1e-4))


def test_a_contradiction_shows_the_p_for_beyond_the_margin(verdicts):
    """0.10, 0.11, 0.12 against 0.08: t = 0.03 / (0.01 / sqrt(3)) = 5.196 with 2 degrees of freedom, p doubled."""
    values = {"et": [3.1, 3.21, 3.32], "tc": TC}
    for claimed in (at_most(margin=0.08), equivalence(0.08)):
        (entry,) = verdicts(claimed, values)
        assert (entry["verdict"], entry["p"]) == ("contradicted", pytest.approx(0.0351, abs=1e-4))
        assert entry["evidence"].startswith("One-sided t test for a mean beyond the margin, doubled: p = 0.0351")
    two = verdicts([at_most(margin=0.08, id=f"a-{n}") for n in range(2)], values)
    assert [(entry["verdict"], entry["p_corrected"]) for entry in two] == [("inconclusive", 2 * two[0]["p"])] * 2
    assert "would settle it as contradicted" in two[0]["evidence"]


def test_p_over_the_whole_paper_stands_beside_that_of_the_family(verdicts):
    claims = [claim(id="a-one"), claim(id="a-two", family="g"), equivalence(0.2) | {"id": "a-three", "family": "h"}]
    entries = verdicts(claims, {"et": [2.9, 2.99, 3.08], "tc": TC})
    assert [entry["p_corrected"] for entry in entries] == [entry["p"] for entry in entries]
    assert [entry["p_paper"] for entry in entries] == pytest.approx(
        holm([entry["p"] for entry in entries], [False, False, True])
    )


def test_runs_without_a_value_are_left_out_and_counted(verdicts):
    (entry,) = verdicts(claim(), {"et": [2.9, 2.99, 3.08, None], "tc": [*TC, 3.3]})
    assert (entry["n"], entry["verdict"]) == (3, "reproduced")
    assert "Left out for want of a partner with the same seed: 1 run(s)." in entry["evidence"]
    assert "Left out, as they have no value of val_loss: 1 run(s)." in entry["evidence"]
