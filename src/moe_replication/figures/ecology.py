"""Paper B: usage of every expert over training, and shares of the tiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import ecology_runs, paper_rows, share_text
from moe_replication.figures.style import FigureInfo, Look
from moe_replication.figures.tables import ECOLOGY, complete_band, of_paper

EXPERTS = ("condition", "seed", "epoch", "layer", "expert", "tier", "usage")
USAGE_OUT = ("condition", "seed", "epoch", "expert", "tier", "usage")
SHARE_OUT = ("condition", "seed", "epoch", "tier", "experts", "n", "mean", "ci_low", "ci_high")
# One condition per question: sufficiency, low E, the hard task, its ablation, more experts, language.
HEATMAPS = ("v1", "v3-e0.30", "v6", "v6-no-balance", "v8-32-experts", "l1")
USAGE_FLOOR = 0.001  # lower shares are drawn as this one
APART = 0.18  # from one tier's final shares to the next, as a share of the training time
TIER_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE)


def usage_data(experts: pl.DataFrame) -> pl.DataFrame:
    """Usage by epoch and expert of the first seed of the chosen conditions, averaged over layers."""
    rows = of_paper(experts, ECOLOGY, EXPERTS).drop_nulls("usage")
    present = rows["condition"].unique().sort().to_list()
    chosen = [name for name in HEATMAPS if name in present] or present[: len(HEATMAPS)]
    first = rows.filter(pl.col("condition").is_in(chosen) & (pl.col("seed") == pl.col("seed").min().over("condition")))
    mean = first.group_by("condition", "seed", "epoch", "expert", "tier", maintain_order=True).agg(
        pl.col("usage").mean()
    )
    order = pl.col("condition").replace_strict({name: n for n, name in enumerate(chosen)}, return_dtype=pl.Int64)
    return mean.select(USAGE_OUT).sort(order, "epoch", "expert")


def usage_colours(dead_share: float) -> LinearSegmentedColormap:
    """Oranges for dead experts, blues for living ones, on a logarithmic scale from USAGE_FLOOR to 1."""
    dead = 1 - np.log10(dead_share) / np.log10(USAGE_FLOOR)
    stops = [(0.0, "#8C3A00"), (dead, "#F9C79F"), (dead, "#E3EEF7"), (1.0, "#08306B")]
    return LinearSegmentedColormap.from_list("usage", stops)


def usage_panel(ax: Axes, data: pl.DataFrame, norm: LogNorm, colours: LinearSegmentedColormap) -> QuadMesh:
    """Heat map of one run: epochs across, experts down, tiers apart."""
    wide = data.pivot(on="epoch", index=["expert", "tier"], values="usage").sort("expert")
    epochs = data["epoch"].unique().sort().to_numpy()
    grid = np.maximum(wide.drop("expert", "tier").to_numpy(), norm.vmin)
    step = float(np.diff(epochs).min()) if len(epochs) > 1 else 1.0
    edges = np.append(epochs - step / 2, epochs[-1] + step / 2)
    rows = np.arange(len(grid) + 1)
    mesh = ax.pcolormesh(edges, rows, grid, norm=norm, cmap=colours, rasterized=True)
    starts = wide.with_row_index("row").group_by("tier", maintain_order=True).agg(pl.col("row").min(), size=pl.len())
    for row in starts["row"].to_list()[1:]:
        ax.axhline(row, color=style.BLACK, linewidth=1.2)
    centres = (starts["row"] + starts["size"] / 2).to_list()
    names = [f"tier {tier}" if tier is not None else "experts" for tier in starts["tier"]]
    ax.set_yticks(centres, names)
    ax.set_ylim(len(grid), 0)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.grid(False)
    ax.set_title(f"{data['condition'][0]}, seed {data['seed'][0]}", loc="left")
    return mesh


def draw_usage(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-usage-by-epoch: which experts live and die, epoch by epoch."""
    with style.styled():
        data = usage_data(tables["experts"])
        if data.is_empty():
            return style.save_empty(f"no runs of paper B at scale {info.scale}", USAGE_OUT, out_base)
        names = data["condition"].unique(maintain_order=True).to_list()
        figure, axes = style.grid(len(names), columns=3, panel_height=1.75)
        norm = LogNorm(vmin=USAGE_FLOOR, vmax=1.0)
        dead = info.analysis.dead_share
        for ax, name in zip(axes.flat, names, strict=False):
            mesh = usage_panel(ax, data.filter(pl.col("condition") == name), norm, usage_colours(dead))
        bar = figure.colorbar(mesh, ax=axes, label="top-1 share (log)", extend="min", pad=0.01)
        marks = {share: share_text(share) for share in (USAGE_FLOOR, 0.1, 1.0)} | {dead: f"{share_text(dead)} DEAD"}
        bar.set_ticks(list(marks), labels=list(marks.values()))
        bar.ax.axhline(dead, color=style.BLACK, linewidth=1.6)
        figure.supxlabel("epoch", fontsize=8)
        style.save(figure, data, out_base)


def share_data(experts: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Mean share of each tier per epoch with 95 % t interval over seeds, and every seed's at its last epoch.

    Of the conditions of the paper's own rows that have more than one tier.
    """
    own = ecology_runs(runs, ()).filter(paper_rows().list.len() > 0)["condition"].unique()
    rows = of_paper(experts, ECOLOGY, EXPERTS).drop_nulls(["usage", "tier"])
    rows = rows.filter(pl.col("condition").is_in(own.to_list()))
    layers = rows.group_by("condition", "seed", "epoch", "layer", "tier", maintain_order=True).agg(
        pl.col("usage").sum(), experts=pl.len().cast(pl.Int64)
    )
    shares = layers.group_by("condition", "seed", "epoch", "tier", maintain_order=True).agg(
        pl.col("usage").mean(), pl.col("experts").first()
    )
    shares = shares.filter(pl.col("tier").n_unique().over("condition") > 1)
    band = complete_band(shares, ["condition", "tier", "experts"], "epoch", "usage")
    ends = band.group_by("condition").agg(pl.col("epoch").max())
    last = shares.join(ends, on=["condition", "epoch"], how="semi").sort("condition", "tier", "seed")
    both = pl.concat([band, last.rename({"usage": "mean"}).with_columns(n=pl.lit(1, pl.Int64))], how="diagonal")
    return both.select(SHARE_OUT)


def share_panel(ax: Axes, data: pl.DataFrame, title: str) -> None:
    """Stacked mean shares of one condition; on the right each tier's final share by seed, with mean and interval."""
    means = data.filter(pl.col("seed").is_null())
    epochs = means["epoch"].unique().sort()
    tiers = means["tier"].unique().sort().to_list()
    frames = [means.filter(pl.col("tier") == tier).sort("epoch") for tier in tiers]
    colours = [tier_colour(tier) for tier in tiers]
    ax.stackplot(epochs, [frame["mean"] for frame in frames], colors=colours, alpha=0.75, linewidth=0)
    span = max(epochs.max() - epochs.min(), 1.0)
    for number, (tier, colour) in enumerate(zip(tiers, colours, strict=True)):
        seeds = data.filter(pl.col("seed").is_not_null() & (pl.col("tier") == tier))["mean"].to_list()
        x = epochs.max() + span * (0.13 + APART * number)
        style.seed_points(ax, x, seeds, Look(colour=colour, marker="o"), jitter=0.01 * span)
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.5, 1])
    ax.set_xlim(epochs.min(), epochs.max() + span * (0.08 + APART * len(tiers)))
    ax.set_xticks([epochs.min(), epochs.max()])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_title(title, loc="left", fontsize=7)


def tier_colour(tier: int) -> str:
    """The colour of a tier in every panel."""
    return TIER_COLOURS[tier % len(TIER_COLOURS)]


def draw_shares(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-tier-shares: how top-1 routing divides among the tiers over training."""
    with style.styled():
        data = share_data(tables["experts"], tables["runs"])
        if data.is_empty():
            return style.save_empty(f"no tiered runs of paper B at scale {info.scale}", SHARE_OUT, out_base)
        seeds = dict(
            data.group_by("condition", maintain_order=True).agg(pl.col("n").max()).sort("condition").iter_rows()
        )
        figure, axes = style.grid(len(seeds), columns=5, panel_height=1.25, sharey=True, header=0.5)
        same = len(set(seeds.values())) == 1
        for ax, (name, n) in zip(axes.flat, seeds.items(), strict=False):
            title = name if same else style.condition_label(name, [n])
            share_panel(ax, data.filter(pl.col("condition") == name), title)
        figure.supxlabel(f"epoch ({style.seeds_text(list(seeds.values()))} per condition)", fontsize=8)
        figure.supylabel("share of top-1 routing", fontsize=8)
        tiers = data["tier"].unique().sort().to_list()
        handles = [Patch(color=tier_colour(tier), alpha=0.75, label=f"tier {tier}") for tier in tiers]
        style.legend_on_top(figure, [*handles, style.legend_dot("one seed at the end"), style.legend_mean()])
        style.save(figure, data, out_base)
