"""Paper B: final test accuracy of its main vision conditions."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from matplotlib.axes import Axes

from moe_replication.figures import style
from moe_replication.figures.ecology_runs import ecology_runs, set_look, set_order, set_title, with_means
from moe_replication.figures.style import FigureInfo
from moe_replication.figures.tables import ECOLOGY

ROWS = ("V1", "V3", "V6", "V7", "V8", "X1")
MEASURE = "test_accuracy"
KEYS = ("condition", "dataset", "data_used")
OUT = ("source", *KEYS, "seed", "value", "n", "ci_low", "ci_high", "epoch", "place")
ROW_HEIGHT = 0.2  # inches


def accuracy_data(runs: pl.DataFrame, info: FigureInfo) -> pl.DataFrame:
    """Columns of OUT: every run of ROWS, the means over seeds, and the paper's values at its own scale; shares of 1.

    `epoch` is when the paper read its value, null at the end of its training.
    """
    found = ecology_runs(runs, (MEASURE,))
    chosen = found.filter(pl.col("rows").list.set_intersection(list(ROWS)).list.len() > 0)
    own = with_means(chosen, KEYS, [MEASURE])
    known = (pl.col("paper") == ECOLOGY) & (pl.col("metric") == MEASURE) & pl.lit(info.scale == "paper")
    values = info.paper_values.filter(known).select("condition", "value", "epoch", "place", source=pl.lit("paper"))
    paper = values.join(own.select(KEYS).unique(maintain_order=True), on="condition", maintain_order="left")
    both = pl.concat([own, paper], how="diagonal_relaxed").select(OUT)
    return both.sort("dataset", "condition", "source", "seed", maintain_order=True)


def panel(ax: Axes, data: pl.DataFrame) -> None:
    """One data set: a line a condition, every run a dot, the mean a bar with its interval, the paper's values open."""
    names = data["condition"].unique().sort().to_list()
    look = set_look(data["dataset"][0])
    percent = data.with_columns(pl.col("value") * 100)
    for place, name in enumerate(names):
        here = percent.filter(pl.col("condition") == name)
        runs = here.filter(pl.col("source") == "run")["value"].to_list()
        style.seed_points(ax, place, runs, look, horizontal=True, jitter=0.2)
        for value in here.filter(pl.col("source") == "paper")["value"]:
            style.paper_point(ax, value, place, look.marker)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0, labelsize=6.5)
    counts = data.filter(pl.col("source") == "mean")["n"].to_list()
    title = f"{set_title(data['dataset'][0], data['data_used'])}, {style.seeds_text(counts)}"
    ax.set_title(title, loc="left", fontsize=7.5)


def draw(tables: dict[str, pl.DataFrame], info: FigureInfo, out_base: Path | str) -> None:
    """b-accuracy: test accuracy at the end of training, one panel a data set."""
    with style.styled():
        data = accuracy_data(tables["runs"], info)
        if data.is_empty():
            message = f"no runs of rows {', '.join(ROWS)} of paper B at scale {info.scale}"
            return style.save_empty(message, OUT, out_base)
        sets = set_order(data["dataset"])
        sizes = [data.filter(pl.col("dataset") == name)["condition"].n_unique() for name in sets]
        height = 0.8 + 0.45 * len(sets) + ROW_HEIGHT * sum(sizes)
        figure, axes = style.panels(width=style.DOUBLE, height=height, rows=len(sets))
        axes[0, 0].get_gridspec().set_height_ratios([size + 0.2 for size in sizes])
        for ax, name in zip(axes[:, 0], sets, strict=True):
            panel(ax, data.filter(pl.col("dataset") == name))
        axes[-1, 0].set_xlabel("test accuracy at the end of training (%)")
        handles = [style.legend_dot("one run", size=3.6), style.legend_mean(horizontal=True)]
        if "paper" in data["source"]:
            handles.append(style.legend_dot("paper's value", open_marker=True))
        style.legend_on_top(figure, handles)
        style.save(figure, data, out_base)
