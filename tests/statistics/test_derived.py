from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics.derived import early_rates, own_choice, threshold_drifts, token_ratios, with_derived

ANALYSIS = analysis_settings(Path(__file__).parents[2])
RUN = {"paper": "expert-threshold", "seed": 0}


def _curve(condition: str, losses: list[float], **columns: list[float | None]) -> pl.DataFrame:
    steps = list(range(1, len(losses) + 1))
    rows = {"step": steps, "tokens": [100 * step for step in steps], "val_loss": losses, **columns}
    return pl.DataFrame(rows).select(
        pl.lit(RUN["paper"]).alias("paper"),
        pl.lit(condition).alias("condition"),
        pl.lit(0, pl.Int64).alias("seed"),
        pl.all(),
    )


def test_tokens_of_the_baseline_over_those_needed():
    curves = pl.concat([_curve("et", [4.0, 2.0, 1.0, 0.5]), _curve("tc-aux", [4.0, 3.0, 2.5, 2.0])])
    assert token_ratios(curves).rows() == [("expert-threshold", "et", 0, 2.0)]


def test_a_loss_that_is_never_reached_gets_the_largest_ratio_it_can_have():
    """The baseline's best loss came after 200 of its tokens; 300 of the reference's do not reach it."""
    curves = pl.concat([_curve("et", [4.0, 3.0, 2.5]), _curve("tc-aux", [4.0, 2.0, 2.1])])
    assert token_ratios(curves)["token_ratio"].to_list() == pytest.approx([200 / 300])


def test_early_rates_cover_the_papers_warm_up_share_of_the_horizon():
    losses = [1.0] * 10
    curve = _curve("et", losses, raw_usage_mean=[0.1, 0.3] + [0.9] * 8, starvation=[None, 0.5] + [0.0] * 8)
    # 4,000 of 19,073 is 0.21: steps 1 and 2 of 10
    row = early_rates(curve).select("raw_usage_early", "starvation_early", "raw_usage_late", "starvation_late").row(0)
    assert row == pytest.approx((0.2, 0.5, 0.9, 0.0))


def _experts(condition: str, column: str, levels: list[list[float]]) -> pl.DataFrame:
    rows = [
        {**RUN, "condition": condition, "step": step, "layer": layer, "expert": expert, column: level + 10.0 * layer}
        for step, row in enumerate(levels, start=1)
        for layer in (0, 1)
        for expert, level in enumerate(row)
    ]
    table = pl.DataFrame(rows)
    other = {"epoch", "usage", "cutoff", "bias"} - {column}
    return table.with_columns(pl.lit(None, pl.Float64).alias(name) for name in other).select(
        "paper", "condition", "seed", "step", "epoch", "layer", "expert", "usage", "cutoff", "bias"
    )


def test_drift_is_that_of_the_first_layers_mean_over_the_second_half():
    bias = _experts("tc-loss-free", "bias", [[0.0, 0.0], [0.1, 0.3], [0.2, 0.4], [0.5, 0.7]])
    cutoff = _experts("et", "cutoff", [[9.0, 9.0], [2.0, 1.0], [1.8, 1.0], [1.6, 1.0]])
    drifts = {row[1]: row[3:] for row in threshold_drifts(pl.concat([bias, cutoff])).rows()}
    assert drifts["tc-loss-free"] == pytest.approx((0.4, 0.6))
    assert drifts["et"][0] == pytest.approx(0.2)
    assert drifts["et"][1] is None


def test_own_choice_prefers_the_training_mode():
    probes = pl.DataFrame({"fanout_first_position": [2.0, 1.5], "fanout_first_position_training": [9.0, None]})
    assert own_choice(probes)["fanout_first_position_own"].to_list() == [9.0, 1.5]


def _derived(run: dict, curves: pl.DataFrame) -> dict:
    """The one row of with_derived; a row of `probes` is there for it."""
    shape = {"experts": 16, "tiers": [[8, 4, 4]]}
    runs = pl.DataFrame({**RUN, "condition": "et", **shape, **run})
    probes = pl.DataFrame({**RUN, "condition": "et", "fanout_mean": 7.0, "loss_code": 2.5})
    return with_derived(runs, curves, _experts("et", "cutoff", [[1.0], [1.0]]), probes, ANALYSIS).row(0, named=True)


def test_recorded_metrics_are_not_replaced():
    row = _derived({"fanout_mean": 1.0}, _curve("et", [3.0, 2.0], raw_usage_mean=[0.1, 0.2], starvation=[0.0, 0.0]))
    assert (row["fanout_mean"], row["loss_code"], row["threshold_drift"]) == (1.0, 2.5, 0.0)
    assert row["token_ratio"] is None


def test_the_course_of_the_census_joins_the_runs_that_have_one():
    """Two of three dead experts come back by epoch 2, while the loss is lowest at epoch 1."""
    curves = _curve("et", [2.0, 2.5], epoch=[1.0, 2.0], dead_experts=[3.0, 1.0], tier_share_0=[0.5, 0.5])
    row = _derived({"dead_experts_peak": 9.0}, curves)
    assert (row["dead_experts_revived"], row["recovery_epoch"], row["overfit"]) == (2.0, 2.0, 0.5)
    assert row["dead_experts_peak"] == 9.0
    without = _derived({}, _curve("et", [2.0, 2.5], epoch=[1.0, 2.0]))
    assert {without[name] for name in ("dead_experts_revived", "collapsed", "overfit")} == {None}
