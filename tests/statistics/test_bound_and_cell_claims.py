"""Verdicts on guarantees, which one run can break, and on the papers' own numbers."""

from __future__ import annotations

import pytest

SHARED = {"place": "p", "statement": "s", "scales": ["smoke"], "figures": [], "margin_origin": "ours"}


def bound(**keys):
    base = {
        "id": "b-x",
        "paper": "expert-ecology",
        "metric": "dead_experts",
        "conditions": ["v6", "v7-e1.0"],
        "comparison": "bound",
        "test": "clopper_pearson",
        "direction": "less",
        "paper_value": 0,
        "margin": 0.05,
    }
    return SHARED | base | keys


def dead(verdicts, entry, values):
    return verdicts(entry, values, "dead_experts", "expert-ecology")[0]


def test_one_counter_example_contradicts_a_guarantee(verdicts):
    entry = dead(verdicts, bound(), {"v6": [0, 0, 0], "v7-e1.0": [0, 7, 0]})
    assert (entry["verdict"], entry["effect"], entry["n"]) == ("contradicted", pytest.approx(1 / 6), 6)
    assert entry["sentence"] == "Contradicted: 1 of 6 runs have dead_experts above 0 (highest 7)."
    assert entry["p"] is entry["p_corrected"] is None


def test_no_counter_example_in_few_runs_is_no_guarantee(verdicts):
    entry = dead(verdicts, bound(), {"v6": [0, 0, 0], "v7-e1.0": [0, 0, 0]})
    assert (entry["verdict"], entry["n_needed"]) == ("inconclusive", 72)
    assert entry["ci_high"] == pytest.approx(1 - 0.025 ** (1 / 6))
    assert "no counter-example in 6 runs" in entry["sentence"]
    assert "72 runs without a counter-example would settle it." in entry["evidence"]


def test_a_loose_margin_lets_a_clean_sheet_count(verdicts):
    entry = dead(verdicts, bound(margin=0.5), {"v6": [0, 0, 0], "v7-e1.0": [0, 0, 0]})
    assert entry["verdict"] == "reproduced"
    assert entry["sentence"].startswith("Reproduced, as far as 6 runs go: no counter-example")


def test_a_bound_from_below(verdicts):
    entry = dead(verdicts, bound(direction="greater", paper_value=3, conditions=["v6"]), {"v6": [3, 4, 2]})
    assert entry["sentence"] == "Contradicted: 1 of 3 runs have dead_experts below 3 (lowest 2)."


def test_a_bound_over_a_condition_that_did_not_run(verdicts):
    assert dead(verdicts, bound(), {"v6": [0, 0, 0]})["verdict"] == "not_run"


def value(paper_value, margin, **keys):
    base = {"id": "a-x", "paper": "expert-threshold", "metric": "val_loss", "conditions": ["et"], "comparison": "value"}
    numbers = {"test": "prediction_interval", "paper_value": paper_value, "margin": margin}
    return SHARED | base | numbers | keys


def test_a_cell_against_our_prediction_interval(verdicts):
    # 3.00, 3.01, 3.02: prediction interval 3.01 +- 4.303 * 0.01 * sqrt(4/3) = 3.01 +- 0.0497
    values = {"et": [3.0, 3.01, 3.02]}
    cases = [(3.01, 0.06), (3.01, 0.03), (3.2, 0.1)]
    found = [verdicts(value(*case), values)[0] for case in cases]
    assert [entry["verdict"] for entry in found] == ["reproduced", "inconclusive", "contradicted"]
    assert (found[0]["ci_low"], found[0]["kind"]) == (
        pytest.approx(3.01 - 0.0497, abs=1e-4),
        "the paper's cell",
    )
    assert "the paper has 3.01, margin ±0.06" in found[0]["sentence"]


def test_a_cell_of_equal_counts_is_not_settled_by_three(verdicts):
    entry = verdicts(value(7, 1, metric="dead_experts"), {"et": [7, 7, 7]}, metric="dead_experts")[0]
    assert (entry["verdict"], entry["n_needed"]) == ("inconclusive", 39)


def test_a_difference_cell_is_paired(verdicts):
    cell = value(-0.1, 0.2, comparison="difference", conditions=["et", "tc"])
    (entry,) = verdicts(cell, {"et": [2.9, 2.99, 3.08], "tc": [3.0, 3.1, 3.2]})
    # -0.11 +- 0.0497
    assert (entry["verdict"], entry["ci_high"]) == ("reproduced", pytest.approx(-0.11 + 0.0497, abs=1e-4))


def test_a_cell_at_an_epoch_is_read_from_the_curve(verdicts):
    # the fixture's curve of dead_experts falls by 1 an epoch, whatever the record's last value is
    cell = {"id": "b-x", "paper": "expert-ecology", "metric": "dead_experts", "conditions": ["v6"]}
    entries = verdicts(
        [value(0, 1, epoch=epoch) | cell for epoch in (1, 2, 40)],
        {"v6": [99.0, 99.0, 99.0]},
        "dead_experts",
        "expert-ecology",
    )
    assert entries[0]["effect"] - entries[1]["effect"] == pytest.approx(1.0)
    assert entries[0]["effect"] < 20
    assert entries[2]["sentence"].endswith("no run of v6 has a value of dead_experts at epoch 40.")
