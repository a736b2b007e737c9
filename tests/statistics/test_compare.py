from __future__ import annotations

import math

import polars as pl
import pytest

from moe_replication.errors import BadInput
from moe_replication.statistics.collect import collect, read_runs
from moe_replication.statistics.compare import compare, summarise, write_comparisons

PAPER = "expert-threshold"


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


def test_files_of_a_finished_tree(finished_results):
    results = finished_results / "results/smoke"
    collect(sorted((results / "runs").glob("*/*/seed-*")), results)
    write_comparisons(results, {(PAPER, "et"): "dense", ("expert-ecology", "v6-no-balance"): "v6"})
    assert pl.read_parquet(results / "summary.parquet").columns[:4] == [
        "paper",
        "condition",
        "title",
        "metric",
    ]
    found = pl.read_parquet(results / "comparisons.parquet").select("condition", "metric").rows()
    assert found == [
        ("v6-no-balance", "test_accuracy"),
        ("v6-no-balance", "dead_experts"),
        ("et", "val_loss"),
    ]


def test_missing_runs_table_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"runs\.parquet: no such file"):
        write_comparisons(tmp_path, {})
