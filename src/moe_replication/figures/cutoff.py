"""Paper A: how far cut-offs and expert usage move from batch to batch under EC and ET."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper

RUNS = ("condition", "title", "rule", "experts")
EXPERTS = ("condition", "seed", "step", "layer", "expert", "usage", "cutoff_deviation")
OUT = ("condition", "title", "rule", "series", "step", "n", "experts_averaged", "mean", "sd", "one_expert")
LARGEST_POOL_FIRST = ("ec-batch", "ec-64k", "ec-8k", "ec-sequence")
SERIES = {
    "cutoff_deviation": "cut-off minus its running mean (logits)",
    "usage": "tokens going to an expert (%)",
}


def compared_conditions(runs: pl.DataFrame) -> list[str]:
    """EC with the largest pool that was run and the main ET condition: the pair that differs only in the rule."""
    present = set(of_paper(runs, THRESHOLD, RUNS)["condition"])
    choice = [name for name in LARGEST_POOL_FIRST if name in present]
    return [*choice[:1], *(["et"] if "et" in present else [])]


def cutoff_data(runs: pl.DataFrame, experts: pl.DataFrame) -> pl.DataFrame:
    """Mean and sd over experts, layers and seeds per step, and one expert of one layer of the first seed."""
    chosen = compared_conditions(runs)
    rows = of_paper(experts, THRESHOLD, EXPERTS).filter(pl.col("condition").is_in(chosen))
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    rows = rows.with_columns(usage=pl.col("usage") * 100)
    first = (pl.col("seed") == pl.col("seed").min().over("condition")) & (
        (pl.col("layer") == pl.col("layer").min().over("condition")) & (pl.col("expert") == 0)
    )
    rows = rows.with_columns(one=first)
    parts = [_over_experts(rows, series) for series in SERIES]
    names = of_paper(runs, THRESHOLD, RUNS).select("condition", "title", "rule").unique("condition", keep="first")
    joined = pl.concat(parts).join(names, on="condition", how="left", maintain_order="left")
    return joined.select(OUT).sort("series", "condition", "step")


def _over_experts(rows: pl.DataFrame, series: str) -> pl.DataFrame:
    return (
        rows.drop_nulls(series)
        .group_by("condition", "step", maintain_order=True)
        .agg(
            n=pl.col("seed").n_unique(),
            experts_averaged=pl.struct("layer", "expert").n_unique(),
            mean=pl.col(series).mean(),
            sd=pl.col(series).std(ddof=1),
            one_expert=pl.col(series).filter(pl.col("one")).first(),
        )
        .with_columns(series=pl.lit(series))
    )


def series_panel(ax: Axes, data: pl.DataFrame, series: str, order: list[str]) -> None:
    """Band of mean +- sd over experts and seeds per condition, with one expert as a faint line."""
    for condition in order:
        rows = data.filter((pl.col("condition") == condition) & (pl.col("series") == series))
        if rows.is_empty():
            continue
        look = style.condition_look(condition, rows["rule"][0])
        steps, mean, sd = rows["step"], rows["mean"], rows["sd"].fill_null(0.0)
        label = style.condition_label(rows["title"][0] or condition, rows["n"].to_list())
        ax.fill_between(steps, mean - sd, mean + sd, color=look.colour, alpha=0.22, linewidth=0)
        ax.plot(steps, rows["one_expert"], color=look.colour, alpha=0.45, linewidth=0.7)
        ax.plot(steps, mean, color=look.colour, label=label)
    ax.set_xlabel("training step")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(SERIES[series])


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig03-cutoff-usage: cut-off deviation and usage over training, EC against ET."""
    with style.styled():
        data = cutoff_data(tables["runs"], tables["experts"])
        if data.is_empty():
            return style.save_empty(f"no EC or ET runs of paper A at scale {info.scale}", OUT, out_base)
        order = compared_conditions(tables["runs"])
        figure, axes = style.panels(width=style.DOUBLE, height=2.9, columns=2)
        titles = ("cut-off deviation", "expert usage")
        for ax, letter, series, title in zip(axes[0], "ab", SERIES, titles, strict=True):
            series_panel(ax, data, series, order)
            style.panel_letter(ax, letter, title)
        runs = of_paper(tables["runs"], THRESHOLD, RUNS).filter(pl.col("condition").is_in(order))
        if experts := runs["experts"].max():
            look = {"color": style.BLACK, "linestyle": ":", "linewidth": 1, "zorder": 1}
            axes[0, 1].axhline(100 / experts, label=f"1 / {experts}", **look)
        figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        style.save(figure, data, out_base)
