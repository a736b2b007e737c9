"""Metrics of a run that its record does not hold: from probes, curves and other runs of its seed.

They join the runs table where claims are judged; nothing here replaces a recorded metric.
"""

from __future__ import annotations

import polars as pl

from moe_replication.config.analysis import AnalysisSettings
from moe_replication.statistics.collect import KEYS
from moe_replication.statistics.expert_lives import expert_lives
from moe_replication.statistics.token_efficiency import EFFICIENCY_BASELINES, ratios_by_seed
from moe_replication.statistics.trajectories import trajectories

# Paper A, Figure 10: the first 4,000 of 19,073 steps, which its warm-up takes.
EARLY_SHARE = 4000 / 19073


def with_derived(
    runs: pl.DataFrame, curves: pl.DataFrame, experts: pl.DataFrame, probes: pl.DataFrame, analysis: AnalysisSettings
) -> pl.DataFrame:
    """`runs` with the probes' scalars, token ratios, early capacity rates, drifts and the census's course and lives."""
    of_curves = (token_ratios(curves), early_rates(curves), trajectories(runs, curves, analysis))
    for table in (own_choice(probes), *of_curves, threshold_drifts(experts), expert_lives(experts, analysis)):
        new = [name for name in table.columns if name not in runs.columns]
        runs = runs.join(table.select(*KEYS, *new), on=KEYS, how="left", maintain_order="left")
    return runs


def own_choice(probes: pl.DataFrame) -> pl.DataFrame:
    """`probes` with fanout_*_own: fan-out as the rule chooses in training where that was measured, else causally."""
    for name in ("fanout_first_position", "fanout_loss_slope"):
        found = [column for column in (f"{name}_training", name) if column in probes.columns]
        if found:
            probes = probes.with_columns(pl.coalesce(found).alias(f"{name}_own"))
    return probes


def token_ratios(curves: pl.DataFrame) -> pl.DataFrame:
    """token_ratio: tokens that the baseline spends over those that the run needs for the same loss.

    Where the run never reaches it, the largest ratio that it can have, with all its tokens as those it needs: leaving
    such a seed out would favour the run.
    """
    tables = []
    for paper in curves["paper"].unique(maintain_order=True):
        rows = curves.filter(pl.col("paper") == paper)
        for reference, baseline in EFFICIENCY_BASELINES.items():
            trained = rows.filter(pl.col("condition") == reference).group_by("seed").agg(pl.col("tokens").max())
            most = pl.col("baseline_tokens") / pl.col("tokens")
            ratios = (
                ratios_by_seed(rows, reference, baseline)
                .join(trained, on="seed", maintain_order="left")
                .with_columns(token_ratio=pl.col("ratio").fill_null(most))
            )
            labels = [pl.lit(paper).alias("paper"), pl.lit(reference).alias("condition")]
            tables.append(ratios.select(*labels, "seed", "token_ratio"))
    schema = {"paper": pl.String, "condition": pl.String, "seed": pl.Int64, "token_ratio": pl.Float64}
    return pl.concat([pl.DataFrame(schema=schema), *tables])


def early_rates(curves: pl.DataFrame) -> pl.DataFrame:
    """raw_usage and starvation, _early over the part of the horizon that the paper's warm-up takes, _late over the
    second half.
    """
    columns = [name for name in ("raw_usage_mean", "starvation") if name in curves.columns]
    share = pl.col("step") / pl.col("step").max().over(KEYS)
    marked = curves.with_columns(early=share <= EARLY_SHARE, late=share > 0.5)
    parts = [(name, part) for name in columns for part in ("early", "late")]
    means = [
        pl.col(name).filter(pl.col(part)).mean().alias(f"{name.removesuffix('_mean')}_{part}") for name, part in parts
    ]
    return marked.group_by(KEYS, maintain_order=True).agg(means)


def threshold_drifts(experts: pl.DataFrame) -> pl.DataFrame:
    """Of the first MoE layer: bias_final, the mean loss-free bias at the end, and threshold_drift.

    The drift is the distance that the mean cut-off, or bias, moves over the second half of training, in logits.
    """
    first = experts.filter(pl.col("layer") == 0).with_columns(level=pl.coalesce("cutoff", "bias"))
    means = (
        first.group_by(*KEYS, "step", maintain_order=True)
        .agg(pl.col("level").mean(), pl.col("bias").mean())
        .drop_nulls("level")
        .sort(*KEYS, "step")
    )
    late = means.filter(pl.col("step") >= pl.col("step").max().over(KEYS) / 2)
    return late.group_by(KEYS, maintain_order=True).agg(
        threshold_drift=(pl.col("level").last() - pl.col("level").first()).abs(), bias_final=pl.col("bias").last()
    )
