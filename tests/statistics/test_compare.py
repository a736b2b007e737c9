from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest
from scipy import stats

from moe_replication.config.analysis import analysis_settings
from moe_replication.errors import BadInput
from moe_replication.statistics.collect import collect, read_runs
from moe_replication.statistics.compare import compare as compare_with
from moe_replication.statistics.compare import paper_differences, summarise, write_comparisons

PAPER = "expert-threshold"
ANALYSIS = analysis_settings(Path(__file__).parents[2])


def compare(runs, baselines, reported=None):
    return compare_with(runs, baselines, ANALYSIS, reported or {})


@pytest.fixture
def runs(write_run, tmp_path):
    """tc has losses 3.0, 3.1, 3.2; et is lower by 0.1, 0.2, 0.3 and has a fourth seed without a partner."""
    losses = {"tc": [3.0, 3.1, 3.2], "et": [2.9, 2.9, 2.9, 9.0], "dense": [3.5]}
    directories = [
        write_run(tmp_path, PAPER, condition, seed, metrics={"val_loss": loss})
        for condition, values in losses.items()
        for seed, loss in enumerate(values)
    ]
    collect(directories, tmp_path)
    return read_runs(tmp_path / "runs.parquet")


def one(table, **keys):
    return table.filter(**keys).row(0, named=True)


def test_summary_by_hand(runs):
    row = one(summarise(runs), condition="tc", metric="val_loss")
    assert (row["n"], row["mean"], row["sd"]) == (3, pytest.approx(3.1), pytest.approx(0.1))
    assert row["ci_high"] == pytest.approx(3.1 + 4.302653 * 0.1 / math.sqrt(3))
    assert row["title"] == "TC"


def test_one_seed_has_no_interval(runs):
    row = one(summarise(runs), condition="dense", metric="val_loss")
    assert (row["n"], row["mean"], row["sd"], row["ci_low"], row["ci_high"]) == (1, 3.5, None, None, None)


def test_summary_leaves_out_what_was_not_measured(runs):
    metrics = summarise(runs).filter(condition="dense")["metric"].to_list()
    assert metrics == ["val_loss", "train_loss", "perplexity", "generalization_gap"]


def test_comparison_by_hand(runs):
    row = one(compare(runs, {(PAPER, "et"): "tc", (PAPER, "tc"): None}), condition="et")
    assert (row["n"], row["baseline"], row["metric"]) == (3, "tc", "val_loss")
    # differences -0.1, -0.2, -0.3: mean -0.2, sd 0.1
    assert (row["difference"], row["sd"]) == (pytest.approx(-0.2), pytest.approx(0.1))
    assert row["ci_low"] == pytest.approx(-0.2 - 4.302653 * 0.1 / math.sqrt(3))
    assert (row["p_sign_flip"], row["p_minimum"]) == (0.25, 0.25)
    assert row["note"] == "cannot reach alpha = 0.05 at n = 3"


def test_a_baseline_that_did_not_run_gives_no_row(runs):
    assert compare(runs, {(PAPER, "et"): "ec-batch"}).is_empty()


def test_a_single_pair_has_a_difference_and_no_interval(runs):
    row = one(compare(runs, {(PAPER, "et"): "dense"}), condition="et")
    assert (row["n"], row["difference"], row["ci_low"]) == (1, pytest.approx(-0.6), None)


def test_more_seeds_than_the_exact_test_takes(runs):
    many = pl.concat(
        [runs.filter(condition="tc").head(1).with_columns(seed=pl.lit(s).cast(pl.Int64)) for s in range(21)]
    )
    other = many.with_columns(condition=pl.lit("et"), val_loss=pl.col("val_loss") + pl.col("seed") * 0.01)
    row = one(compare(pl.concat([many, other]), {(PAPER, "et"): "tc"}), condition="et")
    assert (row["n"], row["p_sign_flip"], row["note"]) == (21, None, "no exact sign-flip p above n = 20")


def test_files_of_a_finished_tree(collected_results):
    baselines = {(PAPER, "et"): "dense", ("expert-ecology", "v6-no-balance"): "v6"}
    write_comparisons(collected_results, baselines, ANALYSIS, {})
    assert pl.read_parquet(collected_results / "summary.parquet").columns[:4] == [
        "paper",
        "condition",
        "title",
        "metric",
    ]
    found = pl.read_parquet(collected_results / "comparisons.parquet").select("condition", "metric").rows()
    assert found == [
        ("v6-no-balance", "test_accuracy"),
        ("v6-no-balance", "dead_experts"),
        ("et", "val_loss"),
    ]


def test_missing_runs_table_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"runs\.parquet: no such file"):
        write_comparisons(tmp_path, {}, ANALYSIS, {})


def test_tests_and_effect_sizes_by_hand(runs):
    row = one(compare(runs, {(PAPER, "et"): "tc"}), condition="et")
    # differences -0.1, -0.2, -0.3: t = -2 sqrt(3), two degrees of freedom; et is constant, tc has sd 0.1
    assert row["p_t"] == pytest.approx(2 * stats.t.sf(2 * math.sqrt(3), 2))
    assert row["p_welch"] == pytest.approx(row["p_t"])
    # 2.9, 2.9, 2.9 against 3.0, 3.1, 3.2: only the observed split and its mirror, of 20
    assert (row["p_permutation"], row["p_permutation_minimum"]) == (0.1, 0.1)
    assert row["g_paired"] == pytest.approx(-2 / math.sqrt(math.pi))
    # pooled sd sqrt(0.01 / 2), factor of four degrees of freedom sqrt(2 / pi)
    assert row["g_independent"] == pytest.approx(-0.2 / math.sqrt(0.005) * math.sqrt(2 / math.pi))
    assert row["g_paired_low"] < row["g_paired"] < row["g_paired_high"]
    # et does not vary, so nothing correlates
    assert row["correlation"] is None


def test_bootstrap_columns_are_labelled(runs):
    row = one(compare(runs, {(PAPER, "et"): "tc"}), condition="et")
    assert row["bootstrap_label"] == "descriptive"
    # resampled means of three differences lie between the smallest and the largest
    ends = [row[name] for name in ("bca_low", "percentile_low", "percentile_high", "bca_high")]
    assert all(-0.3 - 1e-9 <= end <= -0.1 + 1e-9 for end in ends)
    assert row["percentile_low"] < row["difference"] < row["percentile_high"]


def test_power_for_our_difference_and_the_papers(runs):
    row = one(compare(runs, {(PAPER, "et"): "tc"}, {(PAPER, "et", "tc", "val_loss"): -0.05}), condition="et")
    # -0.2 at sd 0.1 needs five pairs, -0.05 the textbook's 34
    assert (row["n_needed"], row["paper_n_needed"], row["paper_difference"]) == (5, 34, -0.05)
    assert 0.05 < row["paper_power"] < row["power"] < 0.8


def test_holm_over_the_comparisons_of_a_metric(runs):
    table = compare(runs.with_columns(pl.col("val_loss") + 0.01 * pl.col("seed") ** 2),
                    {(PAPER, "et"): "tc", (PAPER, "tc"): "et", (PAPER, "dense"): "tc"})  # fmt: skip
    # two comparisons have a p, the same one: each is doubled; a single pair has none
    found = {row["condition"]: (row["p_t"], row["p_t_holm"]) for row in table.iter_rows(named=True)}
    assert found["et"][1] == pytest.approx(2 * found["et"][0])
    assert found["tc"][1] == found["et"][1]
    assert found["dense"] == (None, None)


def test_equal_differences_leave_scaled_values_undefined(runs):
    same = runs.filter(condition="tc").with_columns(condition=pl.lit("et"), val_loss=pl.col("val_loss") + 1.0)
    moved = pl.concat([runs.filter(condition="tc"), same]).with_columns(pl.col("val_loss").round(1))
    row = one(compare(moved.with_columns(pl.col("val_loss") * 2**10 // 1), {(PAPER, "et"): "tc"}), condition="et")
    undefined = ("p_t", "p_t_holm", "g_paired", "bca_low", "percentile_high", "power", "n_needed")
    assert (row["sd"], [row[name] for name in undefined]) == (0.0, [None] * len(undefined))
    assert row["p_sign_flip"] == 0.25


def test_paper_differences_from_cells_and_claims():
    cells = pl.DataFrame(
        [
            (PAPER, "et", "val_loss", None, 2.844),
            (PAPER, "dense", "val_loss", None, 3.002),
            (PAPER, None, "val_loss", None, 1.0),
            (PAPER, "tc", "val_loss", 40, 2.893),
            (PAPER, "tc", "core", None, 17.983),
        ],
        schema=["paper", "condition", "metric", "epoch", "value"],
        orient="row",
    )
    claim = {"paper": PAPER, "metric": "val_loss", "conditions": ["et", "tc"], "comparison": "ordering"}
    claims = [
        claim | {"paper_value": -0.049},
        claim | {"conditions": ["tc", "dense"], "paper_value": -0.2, "epoch": 40},
        claim | {"conditions": ["et", "ec"], "comparison": "bound", "paper_value": 0},
        claim | {"conditions": ["tc", "ec"]},
    ]
    assert paper_differences(claims, cells) == {
        (PAPER, "et", "dense", "val_loss"): -0.158,
        (PAPER, "dense", "et", "val_loss"): 0.158,
        (PAPER, "et", "tc", "val_loss"): -0.049,
    }


def test_mixed_runs_are_compared_when_asked_and_named(runs, tmp_path):
    runs.with_columns(lock_sha256=pl.format("{}", "seed")).write_parquet(tmp_path / "runs.parquet")
    with pytest.raises(BadInput, match="lock_sha256"):
        write_comparisons(tmp_path, {(PAPER, "et"): "tc"}, ANALYSIS, {})
    (warning,) = write_comparisons(tmp_path, {(PAPER, "et"): "tc"}, ANALYSIS, {}, mixed=True)
    assert f"{PAPER} at scale smoke pools versions of lock_sha256" in warning
    assert pl.read_parquet(tmp_path / "comparisons.parquet")["n"].to_list() == [3]
