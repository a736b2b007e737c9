"""What became of single experts of paper B from census to census: which came back, which stayed dead."""

from __future__ import annotations

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.collect import KEYS
from moe_replication.statistics.trajectories import is_late


def expert_lives(experts: pl.DataFrame, analysis: AnalysisSettings) -> pl.DataFrame:
    """KEYS, experts_returned and experts_dead_lasting of every run with a census; of layers the one with most.

    Returned: alive at a census, dead at a later one and alive at the last. An expert dead from the first census on has
    not lived before: that it is chosen in the end is the repair of a start. Lasting: dead at every census of the last
    late_fraction of the horizon.
    """
    rows = experts.drop_nulls("epoch").sort(*KEYS, "layer", "expert", "epoch")
    dead, epoch = pl.col("usage") < analysis.dead_share, pl.col("epoch")
    died_after_living = epoch.filter(dead).last() > epoch.filter(~dead).first()
    lives = rows.group_by(*KEYS, "layer", "expert", maintain_order=True).agg(
        returned=died_after_living.fill_null(False) & ~dead.last(),
        lasting=dead.filter(is_late(analysis)).all(),
    )
    layers = lives.group_by(*KEYS, "layer", maintain_order=True).agg(pl.col("returned", "lasting").sum())
    return layers.group_by(KEYS, maintain_order=True).agg(
        experts_returned=pl.col("returned").max().cast(pl.Float64),
        experts_dead_lasting=pl.col("lasting").max().cast(pl.Float64),
    )
