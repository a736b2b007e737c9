"""The census's course on runs that can be followed by hand; definitions as in config/analysis.yaml."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from moe_replication.config.analysis import analysis_settings
from moe_replication.statistics.collect import KEYS
from moe_replication.statistics.trajectories import trajectories

ANALYSIS = analysis_settings(Path(__file__).parents[2])
NAMES = {"paper": "expert-ecology", "condition": "v6", "seed": 0}


def _course(*, experts: int = 16, tiers: tuple[int, ...] = (8, 4, 4), **columns: list[float | None]) -> dict:
    """Metrics of one run with a census at epochs 1, 2, ...; a row without one stands before each."""
    runs = pl.DataFrame({**NAMES, "experts": experts, "tiers": [list(tiers)]})
    epochs = range(1, len(columns["dead_experts"]) + 1)
    census = pl.DataFrame({"epoch": [float(epoch) for epoch in epochs], **columns})
    between = census.select(pl.col("epoch") - 0.5)
    curves = pl.concat([between, census], how="diagonal").sort("epoch")
    labels = [pl.lit(value, pl.Int64 if name == "seed" else pl.String).alias(name) for name, value in NAMES.items()]
    return trajectories(runs, curves.select(*labels, pl.all()), ANALYSIS).row(0, named=True)


def _dead(row: dict) -> tuple:
    return row["dead_experts_revived"], row["recovery_epoch"]


def test_a_rise_and_a_recovery():
    """Peak of 12 at epoch 2; none dead at epoch 5, two once more, and from epoch 7 on none."""
    row = _course(dead_experts=[3.0, 12.0, 12.0, 8.0, 0.0, 2.0, 0.0, 0.0])
    assert _dead(row) == (12.0, 7.0)
    assert (row["collapsed"], row["collapse_epoch"]) == (0.0, 2.0)


def test_without_full_recovery_the_last_epoch_is_a_lower_bound():
    """The paper's TinyImageNet: of twelve dead experts four are so to the end."""
    assert _dead(_course(dead_experts=[3.0, 12.0, 8.0, 4.0, 4.0])) == (8.0, 5.0)


def test_experts_that_never_come_back():
    row = _course(dead_experts=[2.0, 8.0, 12.0, 11.0, 12.0])
    assert _dead(row) == (0.0, 5.0)
    assert (row["collapsed"], row["collapse_epoch"]) == (1.0, 2.0)  # 8 of 16 are half


def test_where_no_expert_was_ever_dead_nothing_revives_or_recovers():
    row = _course(dead_experts=[0.0, 0.0, 0.0])
    assert _dead(row) == (None, None)
    assert (row["collapsed"], row["collapse_epoch"]) == (0.0, None)


def test_collapse_is_a_share_of_the_experts():
    assert _course(dead_experts=[15.0], experts=32)["collapsed"] == 0.0
    assert _course(dead_experts=[16.0], experts=32)["collapsed"] == 1.0


def test_one_epoch_has_no_course():
    row = _course(dead_experts=[5.0], test_loss=[1.0], test_accuracy=[0.5], tier_share_0=[1.0])
    assert _dead(row) == (0.0, 1.0)
    assert (row["overfit"], row["dead_since_best"]) == (0.0, None)
    assert row["late_accuracy_range"] is None
    assert row["tier_share_gain_0"] is None


def test_a_tier_starves_below_a_part_of_its_fair_share():
    """8:4:4 of 16: fair shares 1/2, 1/4, 1/4, so the limits at 0.16 of them are 8 %, 4 % and 4 %."""
    shares = {"tier_share_0": [0.07], "tier_share_1": [0.89], "tier_share_2": [0.041]}
    row = _course(dead_experts=[0.0], **shares)
    assert (row["starved_tiers"], row["smallest_relative_share"]) == (1.0, pytest.approx(0.07 / 0.5))
    assert _course(dead_experts=[0.0], **{**shares, "tier_share_2": [0.039]})["starved_tiers"] == 2.0


def test_gain_of_a_tier_is_since_epoch_30_of_99():
    """The paper's third tier of 4:4:4:4, 0.9 % at epoch 30 and 9.1 % at epoch 99."""
    share = [0.5] * 29 + [0.009] + [0.3] * 68 + [0.091]
    row = _course(dead_experts=[0.0] * 99, tiers=(4, 4, 4, 4), tier_share_0=[0.5] * 99, tier_share_1=share)
    assert row["tier_share_gain_1"] == pytest.approx(0.082)
    assert row["tier_share_gain_0"] == 0.0


def test_accuracy_ranges_over_epochs_91_to_99_of_99():
    accuracy = [0.1] * 89 + [0.2] + [0.470, 0.475] + [0.472] * 6 + [0.471]
    assert _course(dead_experts=[0.0] * 99, test_accuracy=accuracy)["late_accuracy_range"] == pytest.approx(0.005)


@pytest.mark.parametrize("loss", ["test_loss", "val_loss"])
def test_overfitting_and_the_experts_that_died_meanwhile(loss):
    """The lowest loss, 2.0 at epoch 2, had one dead expert; at the end the loss is 2.75 and three are dead."""
    row = _course(dead_experts=[4.0, 1.0, 2.0, 3.0], **{loss: [3.0, 2.0, 2.5, 2.75]})
    assert (row["overfit"], row["dead_since_best"]) == (0.75, 2.0)


def test_without_overfitting_nobody_has_died_since_the_lowest_loss():
    """A rise just below the limit, or a loss that only falls, is none."""
    for loss, overfit in ([3.0, 2.0], 0.0), ([2.0, 2.0 + ANALYSIS.overfit_limit - 1e-6], ANALYSIS.overfit_limit - 1e-6):
        row = _course(dead_experts=[1.0, 4.0], test_loss=loss)
        assert (row["overfit"], row["dead_since_best"]) == (pytest.approx(overfit), None)


def test_what_no_run_recorded_is_null():
    row = _course(dead_experts=[2.0, 1.0])
    names = ("overfit", "dead_since_best", "late_accuracy_range", "starved_tiers", "smallest_relative_share")
    assert [row[name] for name in names] == [None] * 5


def test_runs_without_a_census_have_no_row():
    names = {"paper": ["expert-threshold"], "condition": ["et"], "seed": [0]}
    runs = pl.DataFrame({**names, "experts": [16], "tiers": [None]}, schema_overrides={"tiers": pl.List(pl.Int64)})
    found = trajectories(runs, pl.DataFrame({**names, "step": [1], "epoch": [None], "val_loss": [3.0]}), ANALYSIS)
    assert found.is_empty()
    assert found.columns[:5] == [*KEYS, "dead_experts_revived", "recovery_epoch"]


def test_runs_are_kept_apart_and_their_order_does_not_matter():
    runs = pl.DataFrame({**NAMES, "seed": [0, 1], "experts": 16, "tiers": [[8, 4, 4]] * 2})
    rows = {"seed": [1, 0, 1, 0], "epoch": [2.0, 2.0, 1.0, 1.0], "dead_experts": [0.0, 6.0, 5.0, 7.0]}
    curves = pl.DataFrame(rows).with_columns(paper=pl.lit(NAMES["paper"]), condition=pl.lit("v6"))
    found = trajectories(runs, curves, ANALYSIS).select("seed", "dead_experts_revived", "recovery_epoch")
    assert found.rows() == [(0, 1.0, 2.0), (1, 5.0, 2.0)]
