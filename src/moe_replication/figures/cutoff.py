"""Paper A: how far cut-offs and expert usage move from batch to batch under EC, by its pool, and under ET."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from moe_replication.figures import style
from moe_replication.figures.number_formats import short_numbers, short_powers
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import THRESHOLD, of_paper

RUNS = ("condition", "title", "rule", "pool_tokens", "experts")
EXPERTS = ("condition", "seed", "step", "layer", "expert", "usage", "cutoff_deviation")
OUT = (
    "condition", "title", "rule", "pool_tokens", "series", "step", "n", "experts_averaged", "mean", "sd", "one_expert",
)  # fmt: skip
COMPARED = {
    "ec-sequence": "EC, one sequence",
    "ec-8k": "EC, second pool",
    "ec-64k": "EC, third pool",
    "ec-batch": "EC, whole batch",
    "et": "ET",
}
SERIES = {
    "cutoff_deviation": "cut-off minus its\nrunning mean (logits)",
    "usage": "tokens going to\nan expert (%)",
}


def cutoff_data(runs: pl.DataFrame, experts: pl.DataFrame) -> pl.DataFrame:
    """Mean and sd over experts, layers and seeds per step, and one expert of one layer of the first seed."""
    rows = of_paper(experts, THRESHOLD, EXPERTS).filter(pl.col("condition").is_in(list(COMPARED)))
    if rows.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(OUT, pl.String))
    rows = rows.with_columns(usage=pl.col("usage") * 100)
    first = (pl.col("seed") == pl.col("seed").min().over("condition")) & (
        (pl.col("layer") == pl.col("layer").min().over("condition")) & (pl.col("expert") == 0)
    )
    rows = rows.with_columns(one=first)
    parts = [_over_experts(rows, series) for series in SERIES]
    names = of_paper(runs, THRESHOLD, RUNS).drop("experts").unique("condition", keep="first")
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


def series_panel(ax: Axes, rows: pl.DataFrame) -> None:
    """Band of mean +- sd over experts and seeds of one condition, with one expert as a thin line."""
    look = style.condition_look(rows["condition"][0], rows["rule"][0])
    steps, mean, sd = rows["step"], rows["mean"], rows["sd"].fill_null(0.0)
    ax.fill_between(steps, mean - sd, mean + sd, color=look.colour, alpha=0.25, linewidth=0)
    ax.plot(steps, rows["one_expert"], color=look.colour, alpha=0.6, linewidth=0.6)
    ax.plot(steps, mean, color=look.colour)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    ax.xaxis.set_major_formatter(short_numbers)


def pool_title(rows: pl.DataFrame) -> str:
    """Name of a condition, the tokens of its pool as it ran, and its number of seeds."""
    pool = rows["pool_tokens"].drop_nulls()
    size = f"pool of {short_powers(pool[0])} tokens\n" if len(pool) else ""
    return f"{COMPARED[rows['condition'][0]]}\n{size}{style.seeds_text(rows['n'].to_list())}"


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """a-fig03-cutoff-usage: cut-off deviation and usage over training, EC with every pool that ran beside ET."""
    with style.styled():
        data = cutoff_data(tables["runs"], tables["experts"])
        if data.is_empty():
            return style.save_empty(f"no EC or ET runs of paper A at scale {info.scale}", OUT, out_base)
        order = [name for name in COMPARED if name in data["condition"].unique()]
        shape = {"rows": len(SERIES), "columns": len(order), "sharex": True, "sharey": "row"}
        figure, axes = style.panels(width=style.DOUBLE, height=3.9, **shape)
        runs = of_paper(tables["runs"], THRESHOLD, RUNS).filter(pl.col("condition").is_in(order))
        experts = runs["experts"].max()
        for row, (series, label) in enumerate(SERIES.items()):
            axes[row, 0].set_ylabel(label)
            for ax, name in zip(axes[row], order, strict=True):
                rows = data.filter((pl.col("condition") == name) & (pl.col("series") == series))
                if rows.is_empty():
                    style.say(ax, "not recorded")
                    continue
                series_panel(ax, rows)
                if row == 0:
                    ax.set_title(pool_title(rows), loc="left", fontsize=7.5)
                if series == "usage" and experts:
                    ax.axhline(100 / experts, color=style.BLACK, linestyle=":", linewidth=1, zorder=1)
        for ax in axes[-1]:
            ax.set_xlabel("training step")
        figure.legend(handles=_legend(experts), loc="outside lower center", ncols=4)
        style.save(figure, data, out_base)


def _legend(experts: float | None) -> list[Line2D | Patch]:
    handles = [
        Line2D([], [], color=style.GREY, label="mean over experts, layers, seeds"),
        Patch(color=style.GREY, alpha=0.3, linewidth=0, label="± one sd"),
        Line2D([], [], color=style.GREY, alpha=0.6, linewidth=0.6, label="one expert"),
    ]
    if experts:
        handles.append(Line2D([], [], color=style.BLACK, linestyle=":", linewidth=1, label=f"1 / {experts:g}"))
    return handles
