"""Paper B: how the experts of the vision conditions divide among the six classes of the census."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import ecology_runs, paper_rows, reported_dead, set_order, set_title
from moe_replication.figures.style import FigureInfo

# The dead lie at the left end, where their number can be read off.
CLASSES = {
    "dead": style.VERMILION,
    "noise": "#CFCFCF",
    "edge": "#F0E442",
    "weak_core": style.PURPLE,
    "broad_core": style.SKY,
    "pure_core": style.BLUE,
}
COLUMNS = tuple(f"taxonomy_{name}" for name in CLASSES)
OUT = ("source", "dataset", "data_used", "condition", "experts", "seed", "class", "value", "n", "place")
ROW_HEIGHT = 0.165  # inches


def taxonomy_data(runs: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """Columns of OUT: experts by class, `mean` over seeds; `run` holds each seed's dead ones, `paper` the paper's."""
    found = ecology_runs(runs, ("experts", "control_number", *COLUMNS)).with_columns(own=paper_rows())
    found = found.filter(pl.col("own").list.len() > 0, task="vision").drop_nulls(COLUMNS)
    keys = ["dataset", "data_used", "condition", "experts"]
    long = found.unpivot(COLUMNS, index=[*keys, "seed"], variable_name="class")
    long = long.with_columns(pl.col("class").str.strip_prefix("taxonomy_"))
    means = long.group_by(*keys, "class", maintain_order=True).agg(pl.col("value").mean(), n=pl.len().cast(pl.Int64))
    parts = [
        means.with_columns(source=pl.lit("mean")),
        long.filter(pl.col("class") == "dead").with_columns(source=pl.lit("run")),
        reported_cells(found, values),
    ]
    both = pl.concat([*parts, pl.DataFrame(schema={"place": pl.String})], how="diagonal")
    return both.select(OUT).sort("dataset", "condition", "source", "class", "seed")


def reported_cells(runs: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """The paper's dead counts at the conditions that they are of: those of a row named in the place and of its E.

    Where a condition bears the row's own name (v6), the others of the row are its ablations and get none.
    """
    first = runs.unique("condition", maintain_order=True)
    rows = []
    for cell in reported_dead(values).iter_rows(named=True):
        chosen = first.filter((pl.col("control_number").round(3) == cell["control_number"]), dataset=cell["dataset"])
        for row in re.findall(r"\bV\d+", cell["place"]):
            of_it = chosen.filter(pl.col("own").list.contains(row))
            named = of_it.filter(pl.col("condition") == row.lower())
            for run in (of_it if named.is_empty() else named).iter_rows(named=True):
                label = {name: run[name] for name in OUT[1:5]}
                rows.append(
                    label | {"source": "paper", "class": "dead", "value": cell["value"], "place": cell["place"]}
                )
    return pl.DataFrame(rows).unique(maintain_order=True)


def panel(ax: Axes, data: pl.DataFrame) -> None:
    """One data set: a bar a condition, every seed's dead experts as dots, the paper's count as an open marker."""
    names = data["condition"].unique().sort().to_list()
    means = data.filter(pl.col("source") == "mean")
    left = np.zeros(len(names))
    for name, colour in CLASSES.items():
        by_condition = dict(means.filter(pl.col("class") == name).select("condition", "value").iter_rows())
        width = np.array([by_condition[condition] for condition in names])
        ax.barh(names, width, left=left, color=colour, height=0.8, linewidth=0)
        left += width
    for slot, name in enumerate(names):
        here = data.filter(pl.col("condition") == name)
        seeds = here.filter(pl.col("source") == "run")["value"].to_numpy()
        dots = {"color": style.BLACK, "markersize": 3, "markeredgecolor": "white", "markeredgewidth": 0.4}
        ax.plot(seeds, slot + style.side_by_side(0.28, len(seeds)), "o", clip_on=False, zorder=4, **dots)
        for value in here.filter(pl.col("source") == "paper")["value"]:
            style.paper_point(ax, value, slot, "o")
    counts = means.unique("condition")["n"].to_list()
    ax.set_title(
        f"{set_title(data['dataset'][0], data['data_used'])}, {style.seeds_text(counts)}", loc="left", fontsize=7.5
    )
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, labelsize=6.5)
    ax.grid(False, axis="y")


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-taxonomy: experts by class at the end of the paper's own vision conditions."""
    with style.styled():
        data = taxonomy_data(tables["runs"], info.paper_values)
        if data.is_empty():
            return style.save_empty(f"no vision runs of paper B at scale {info.scale}", OUT, out_base)
        sets = set_order(data["dataset"])
        sizes = [data.filter(pl.col("dataset") == name)["condition"].n_unique() for name in sets]
        height = 0.9 + 0.3 * len(sets) + ROW_HEIGHT * sum(sizes)
        figure, axes = style.panels(width=style.DOUBLE, height=height, rows=len(sets), sharex=True)
        axes[0, 0].get_gridspec().set_height_ratios([size + 0.2 for size in sizes])
        for ax, name in zip(axes[:, 0], sets, strict=True):
            panel(ax, data.filter(pl.col("dataset") == name))
        axes[0, 0].set_xlim(-0.4, data["experts"].max())
        axes[-1, 0].set_xlabel("experts at the end of training (mean over seeds)")
        _legend(figure)
        style.save(figure, data, out_base)


def _legend(figure: Figure) -> None:
    handles = [Patch(color=colour, label=name.upper()) for name, colour in CLASSES.items()]
    seed = style.legend_dot("one seed's DEAD", size=3)
    seed.set(markerfacecolor=style.BLACK, markeredgecolor=style.BLACK)
    paper = style.legend_dot("paper's DEAD", open_marker=True)
    figure.legend(handles=[*handles, seed, paper], loc="outside upper center", ncols=4)
